//! The log as topics of Apache Kafka. Nothing about replication is made here: a record counts as appended when Kafka has
//! acknowledged it for all replicas in sync, and is read only then.
//!
//! A Weir record is a Kafka record: its value the protobuf message `weir.v1.Record`, its header `weir` the provenance
//! (see [`Stamp`](super::remote::Stamp)). Any client of Kafka can read along. [`produce`] appends, [`tail`] receives what is
//! new, for those who read along, [`fetch`] reads what is older, [`admin`] makes topics and looks at them, and [`lag`] tells
//! Kafka how far the job is.

mod admin;
mod context;
mod error;
mod fetch;
mod lag;
mod member;
mod options;
mod peers;
mod produce;
mod tail;

pub use options::KafkaOptions;

use self::admin::Admin;
use self::fetch::Fetcher;
use self::lag::Lag;
use self::member::Member;
use self::produce::Appender;
use self::tail::Tailer;
use super::remote::{Chunks, Cluster, Fetch, RemoteLog, Tail, Wake};
use super::{Follow, LogError, NewBatch};
use crate::group::{Coordinator, Hands, Membership, Peer};
use std::sync::Arc;
use weir_proto::TopicId;

/// Bytes of a topic that are kept in memory for those who read along.
const TAIL_BYTES: u64 = 24 << 20;

/// The key of the header with the provenance.
const HEADER: &str = "weir";

/// What is said of a topic that must be there.
const GONE: &str = "is gone: it was deleted, or `log.kafka` names another cluster or prefix than before. Name the former \
                    ones. If it was deleted, its records are lost: start a new data directory with another `log.kafka.prefix`";

/// Topics of Kafka.
pub type KafkaLog = RemoteLog<Kafka>;

/// A cluster of Kafka.
pub struct Kafka {
    options: KafkaOptions,
    admin: Admin,
    appender: Appender,
    tailer: Tailer,
    fetcher: Fetcher,
    lag: Lag,
}

impl RemoteLog<Kafka> {
    /// Connects to Kafka. Topics are to be [added](super::LiveLog::add).
    pub fn open(options: KafkaOptions, partitions: u32, follow: Follow) -> Result<Self, LogError> {
        let (wake, tail_bytes) = (Wake::default(), TAIL_BYTES / u64::from(partitions.max(1)));
        let kafka = Kafka {
            admin: Admin::open(&options, partitions)?,
            appender: Appender::open(&options, wake.clone())?,
            tailer: Tailer::open(&options, tail_bytes, wake.clone())?,
            fetcher: Fetcher::new(&options, Chunks::of_a_job()),
            lag: Lag::open(&options)?,
            options,
        };
        Ok(RemoteLog::new(kafka, partitions, follow, wake))
    }

    /// Refuses to go on in another cluster than the one that a job has begun in, if that is known. A topic of the same
    /// name there is another topic.
    pub fn must_be_in(&self, known: Option<&str>) -> Result<(), LogError> {
        check_cluster(&self.cluster.options.brokers, known, &self.cluster.admin.cluster()?)
    }
}

/// Reads topics of Kafka beside a job.
pub(super) fn fetcher(options: &KafkaOptions) -> Arc<dyn Fetch> {
    Arc::new(Fetcher::new(options, Chunks::beside_a_job()))
}

/// Whether the brokers are in the cluster that is known; any one is where none is known yet.
fn check_cluster(brokers: &str, known: Option<&str>, found: &str) -> Result<(), LogError> {
    match known {
        Some(known) if known != found => Err(LogError::OtherCluster {
            brokers: brokers.to_owned(),
            found: found.to_owned(),
            known: known.to_owned(),
        }),
        _ => Ok(()),
    }
}

/// What a topic is called in Kafka.
fn name_of(options: &KafkaOptions, topic: TopicId) -> String {
    format!("{}.{topic}", options.prefix)
}

impl Cluster for Kafka {
    fn fetcher(&self) -> &dyn Fetch {
        &self.fetcher
    }

    fn ensure(&self, topic: &str) -> Result<(), LogError> {
        self.admin.ensure(topic)
    }

    fn delete(&self, topic: &str) -> Result<(), LogError> {
        self.admin.delete(topic)
    }

    fn trim(&self, topic: &str, below: &[u64]) -> Result<bool, LogError> {
        self.admin.trim(topic, below).map(|()| true)
    }

    fn append(&self, id: TopicId, topic: &str, partition: u32, batch: &NewBatch) -> Result<u64, LogError> {
        self.appender.append(id, topic, partition, batch)
    }

    fn is_durable(&self, id: TopicId, ticket: u64) -> bool {
        self.appender.deliveries().is_durable(id, ticket)
    }

    fn end(&self, id: TopicId, partition: u32, ticket: u64) -> Option<u64> {
        self.appender.deliveries().end(id, partition, ticket)
    }

    fn receive(&self, topic: &str, partition: u32, end: u64) -> Result<Arc<Tail>, LogError> {
        self.tailer.add(topic, partition, end)
    }

    fn leave(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        self.tailer.leave(topic, partition)
    }

    fn forget(&self, topic: &str) {
        self.fetcher.forget(topic);
    }

    fn failure(&self) -> Option<LogError> {
        self.appender.deliveries().failure().or_else(|| self.tailer.failure())
    }

    fn gone(&self, topic: String) -> LogError {
        LogError::of_kafka(topic, GONE.to_owned())
    }

    fn id(&self) -> Result<Option<String>, LogError> {
        self.admin.cluster().map(Some)
    }

    fn join(
        &self,
        topic: &str,
        membership: &Membership,
        hands: Arc<dyn Hands>,
    ) -> Result<Box<dyn Coordinator>, LogError> {
        Ok(Box::new(Member::join(&self.options, topic, membership, hands)?))
    }

    fn peers(&self) -> Result<Vec<Peer>, LogError> {
        peers::of(&self.options, &self.lag)
    }

    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        self.lag.tell(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_refused_with_both_ids_and_the_brokers() {
        assert!(check_cluster("a:9092", None, "X1").is_ok());
        assert!(check_cluster("a:9092", Some("X1"), "X1").is_ok());
        let error = check_cluster("a:9092,b:9092", Some("X1"), "Y2").unwrap_err();
        assert!(!error.is_away());
        let text = error.to_string();
        for part in ["X1", "Y2", "a:9092,b:9092", "log.kafka.brokers", "new data directory"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
