//! Membership in the consumer group: Kafka says which worker has which partitions. Members subscribe to the topic `raw` and
//! read none of it that way; whoever has a partition of `raw` has that partition of all topics.

use super::lag;
use super::options::KafkaOptions;
use crate::group::{Coordinator, GroupError, Hands, Membership};
use crate::log::LogError;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_proto::TopicId;

/// How long a call waits for news of the group.
const POLL: Duration = Duration::from_millis(100);
/// A place that is taken again within this time is another process's.
const FENCED_AGAIN: Duration = Duration::from_secs(120);

/// What the client tells of the group.
struct Told(Arc<dyn Hands>);

impl ClientContext for Told {
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!("{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        super::context::tell(&error, reason);
    }
}

impl ConsumerContext for Told {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, change: &Rebalance<'_>) {
        if let Rebalance::Revoke(list) = change {
            // Whoever gets them begins when this returns.
            self.0.give_up(&partitions(list));
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, change: &Rebalance<'_>) {
        if let Rebalance::Assign(list) = change {
            if let Err(error) = consumer.pause(list) {
                tracing::error!("cannot pause partitions: {error}");
            }
            self.0.take(&partitions(list));
        }
    }
}

fn partitions(list: &TopicPartitionList) -> Vec<u32> {
    list.elements().iter().map(|element| element.partition().unsigned_abs()).collect()
}

/// A worker in the group.
pub(super) struct Member {
    consumer: BaseConsumer<Told>,
    options: KafkaOptions,
    topic: String,
    membership: Membership,
    hands: Arc<dyn Hands>,
    /// When its place was taken last.
    fenced: Option<Instant>,
}

impl Member {
    pub(super) fn join(
        options: &KafkaOptions,
        topic: &str,
        membership: &Membership,
        hands: Arc<dyn Hands>,
    ) -> Result<Self, LogError> {
        Ok(Member {
            consumer: consumer(options, topic, membership, hands.clone())?,
            options: options.clone(),
            topic: topic.to_owned(),
            membership: membership.clone(),
            hands,
            fenced: None,
        })
    }

    /// Joins anew. Whoever was silent for too long may find that it has taken its own place: an answer to its former self
    /// came late. If it happens again soon, another process has its number.
    fn rejoin(&mut self) -> Result<(), LogError> {
        if self.fenced.is_some_and(|at| at.elapsed() < FENCED_AGAIN) {
            let (worker, group) = (self.membership.worker, self.options.group().to_owned());
            return Err(LogError::SameWorker { worker, group });
        }
        tracing::warn!(
            "the group has given the place of worker {} away: it joins anew",
            self.membership.worker
        );
        self.fenced = Some(Instant::now());
        self.hands.give_up_all();
        self.consumer = consumer(&self.options, &self.topic, &self.membership, self.hands.clone())?;
        Ok(())
    }
}

fn consumer(
    options: &KafkaOptions,
    topic: &str,
    membership: &Membership,
    hands: Arc<dyn Hands>,
) -> Result<BaseConsumer<Told>, LogError> {
    let failed = |e: KafkaError| LogError::kafka_topic("join the group that shares", topic, &e);
    let mut config = options.consumer()?;
    let group = options.group();
    config
        // A worker that comes back within the session timeout has what it had: nothing moves.
        .set("group.instance.id", format!("{group}-{}", membership.worker))
        .set("client.id", super::peers::client_id(group, membership))
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", membership.session_timeout.as_millis().to_string())
        .set("heartbeat.interval.ms", (membership.session_timeout.as_millis() / 5).to_string());
    let consumer: BaseConsumer<Told> = config.create_with_context(Told(hands)).map_err(failed)?;
    consumer.subscribe(&[topic]).map_err(failed)?;
    Ok(consumer)
}

impl Coordinator for Member {
    fn attend(&mut self) -> Result<(), GroupError> {
        match self.consumer.poll(POLL) {
            Some(Err(error)) => match error.rdkafka_error_code() {
                Some(Code::FencedInstanceId | Code::Fatal) => Ok(self.rejoin()?),
                // The client tries again by itself; topics that are gone are noticed by those who read them.
                _ => {
                    tracing::debug!("the group: {error}");
                    Ok(())
                }
            },
            // A record may come before the pause: its partition is read elsewhere.
            _ => Ok(()),
        }
    }

    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        lag::commit(&self.options, &self.consumer, positions)
    }
}
