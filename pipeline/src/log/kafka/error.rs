//! What an error of Kafka's client means for the log.

use crate::log::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::Arc;

impl LogError {
    pub(super) fn kafka(what: &'static str, source: &KafkaError) -> LogError {
        Self::of(what, None, source)
    }

    pub(super) fn kafka_topic(what: &'static str, topic: &str, source: &KafkaError) -> LogError {
        Self::of(what, Some(topic.to_owned()), source)
    }

    /// A topic on which the promises of the log do not hold.
    pub(super) fn of_kafka(topic: String, problem: String) -> LogError {
        LogError::WrongTopic { system: "Kafka", topic, problem }
    }

    fn of(what: &'static str, topic: Option<String>, source: &KafkaError) -> LogError {
        let code = match source {
            KafkaError::AdminOp(code) => Some(*code),
            other => other.rdkafka_error_code(),
        };
        match (code, topic) {
            (Some(code), topic) if is_away(code) => LogError::Away { what, topic },
            (Some(code), Some(topic)) if is_gone(code) => LogError::of_kafka(topic, super::GONE.to_owned()),
            (_, topic) => LogError::Kafka { what, topic, source: Arc::new(source.clone()) },
        }
    }
}

/// Whether it may be over after a while.
fn is_away(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::BrokerNotAvailable
            | Code::LeaderNotAvailable
            | Code::NotLeaderForPartition
            | Code::CoordinatorNotAvailable
            | Code::NotController
            | Code::NotEnoughReplicas
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
            | Code::ReplicaNotAvailable
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::Resolve
            | Code::WaitingForCoordinator
    )
}

/// Whether there is no such topic.
fn is_gone(code: Code) -> bool {
    matches!(code, Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition)
}
