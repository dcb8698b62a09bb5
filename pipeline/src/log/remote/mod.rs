//! Logs whose topics are in a cluster elsewhere: what Kafka's and Fluvio's have in common. A [`Cluster`] is what each of
//! them has of its own.
//!
//! What is new in a partition that is followed is received into its [`Tail`], for those who read along; what is older is
//! fetched, and kept for a while in [`Chunks`]. A batch counts as appended when the cluster has acknowledged it, see
//! [`Deliveries`].

mod chunks;
mod deliveries;
mod heads;
mod live;
mod reader;
mod stamp;
mod tail;

pub(crate) use chunks::Chunks;
pub(crate) use deliveries::Deliveries;
pub use live::RemoteLog;
pub use reader::{RemoteTopics, TopicReader};
pub(crate) use stamp::{Gather, STAMP_LEN, Stamp};
pub use tail::Tail;

use super::{Fetched, FrameHead, LogError, LoggedBatch, NewBatch};
use crate::group::{Coordinator, Hands, Membership, Peer};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir_proto::{TaskId, TopicId};

/// Records that are read at once to look at their heads.
const AT_A_TIME: u64 = 16_384;
/// Records of a batch that is put together from single ones.
pub(crate) const MOST: u32 = 1024;
/// How long it may take until every node of the cluster knows of a new topic.
pub(crate) const NEWS: Duration = Duration::from_secs(5);

/// Tells whoever waits for the log.
#[derive(Clone, Default)]
pub(crate) struct Wake(Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Wake {
    pub(crate) fn call(&self) {
        if let Some(wake) = self.0.get() {
            wake();
        }
    }
}

/// Reading of topics that are in a cluster.
pub trait Fetch: Send + Sync {
    /// What a topic is called there.
    fn name_of(&self, topic: TopicId) -> String;

    /// What stands for a topic in messages.
    fn path_of(&self, topic: TopicId) -> PathBuf;

    /// How many partitions a topic has; none if there is no such topic.
    fn partitions(&self, topic: &str) -> Result<u32, LogError>;

    /// The oldest offset of a partition, and the one behind its newest record.
    fn offsets(&self, topic: &str, partition: u32) -> Result<(u64, u64), LogError>;

    /// The batches from the one that holds the first offset on, until they have so many records or what is fetched at once
    /// ends; at least one, unless the first offset is the second one, which exists or is the end.
    fn read(
        &self,
        topic: &str,
        partition: u32,
        range: (u64, u64),
        most: u64,
    ) -> Result<Vec<Arc<LoggedBatch>>, LogError>;

    /// The heads of the batches between two offsets.
    fn heads(&self, topic: &str, partition: u32, (from, to): (u64, u64)) -> Result<Vec<FrameHead>, LogError> {
        let (mut next, mut heads) = (from, Vec::new());
        while next < to {
            let batches = self.read(topic, partition, (next, to), AT_A_TIME)?;
            next = batches.last().map_or(to, |batch| batch.head.end());
            heads.extend(batches.iter().map(|batch| batch.head));
        }
        Ok(heads)
    }
}

/// What a cluster must be able to do to keep the topics of a job.
pub trait Cluster: Send + Sync {
    /// Reads its topics.
    fn fetcher(&self) -> &dyn Fetch;

    /// Makes sure of a topic that is as it must be.
    fn ensure(&self, topic: &str) -> Result<(), LogError>;

    /// Deletes a topic, if it is there.
    fn delete(&self, topic: &str) -> Result<(), LogError>;

    /// Lets go of what stands below the given offset of each partition; whether it has, or only will in its own time.
    fn trim(&self, topic: &str, below: &[u64]) -> Result<bool, LogError>;

    /// Sends a batch; its ticket.
    fn append(&self, id: TopicId, topic: &str, partition: u32, batch: &NewBatch) -> Result<u64, LogError>;

    /// Whether everything up to a topic's ticket is acknowledged.
    fn is_durable(&self, id: TopicId, ticket: u64) -> bool;

    /// The end offset behind a batch that is acknowledged; it is told once.
    fn end(&self, id: TopicId, partition: u32, ticket: u64) -> Option<u64>;

    /// Receives what is appended to a partition from an offset on, by whomever.
    fn receive(&self, topic: &str, partition: u32, end: u64) -> Result<Arc<Tail>, LogError>;

    /// Does not receive it any more, if it did.
    fn leave(&self, topic: &str, partition: u32) -> Result<(), LogError>;

    /// Forgets what it has of a topic in memory.
    fn forget(&self, topic: &str);

    /// Why nothing more can be appended or received, if that is so.
    fn failure(&self) -> Option<LogError>;

    /// What is said of a topic that must be there.
    fn gone(&self, topic: String) -> LogError;

    /// How long the cluster may take after its start to know all of its topics again.
    fn news(&self) -> Duration {
        NEWS
    }

    /// The id of the cluster, if clusters of its kind have one.
    fn id(&self) -> Result<Option<String>, LogError> {
        Ok(None)
    }

    /// Joins the group of those who share the partitions of a topic.
    fn join(
        &self,
        _topic: &str,
        _membership: &Membership,
        _hands: Arc<dyn Hands>,
    ) -> Result<Box<dyn Coordinator>, LogError> {
        Err(LogError::NoGroups)
    }

    /// The workers of the group, in order.
    fn peers(&self) -> Result<Vec<Peer>, LogError> {
        Ok(Vec::new())
    }

    /// Says from where on partitions are still to be read, for tools of the cluster's own.
    fn tell(&self, _positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        Ok(())
    }
}

/// Reads on until something of what is wanted is found, or nothing is left.
fn until_found(
    mut offset: u64,
    end: u64,
    of: Option<TaskId>,
    mut read: impl FnMut(u64) -> Result<Vec<Arc<LoggedBatch>>, LogError>,
) -> Result<Fetched, LogError> {
    let mut batches = Vec::new();
    while batches.is_empty() && offset < end {
        batches = read(offset)?;
        offset = batches.last().map_or(end, |batch| batch.head.end());
        batches.retain(|batch| of.is_none_or(|of| batch.head.producer.task() == of));
    }
    Ok(Fetched { batches, next: offset })
}
