//! The log: durable, partitioned topics of batches.
//!
//! An append is visible to readers once it is durable, that is, below the partition's high
//! watermark. Whoever appends gets a ticket and asks later whether it is durable.

mod beside;
mod choice;
mod direct;
mod embedded;
mod error;
mod fluvio;
pub(crate) mod frame;
mod journal;
mod kafka;
mod place;
mod remote;
mod segment;

pub use beside::BesideLog;
pub use choice::{ClusterOptions, Follow, LogChoice};
pub use embedded::{EmbeddedLog, LogOptions};
pub use error::LogError;
pub(crate) use error::is_full;
pub(crate) use fluvio::{CUT as FLUVIO_CUT, RESENT as FLUVIO_RESENT};
pub use fluvio::{FluvioLog, FluvioOptions};
pub use frame::{Codec, FrameHead};
pub(crate) use journal::Journal;
pub use kafka::{KafkaLog, KafkaOptions};
pub use place::{LogPlace, TopicReader};
pub use segment::frame_at;

use crate::group::{Coordinator, Hands, Membership, Peer};
use std::path::PathBuf;
use std::sync::Arc;
use weir_proto::{Buffer, Producer, Provenance, TaskId, TopicId};

/// A batch to append to one partition.
pub struct NewBatch {
    /// Who appends.
    pub producer: Producer,
    /// The running number of its first record, per producer and partition.
    pub first_seq: u64,
    /// How many records.
    pub count: u32,
    /// The provenance of the last record.
    pub last: Provenance,
    /// The batch's bytes, see [`weir_proto::Batch`].
    pub bytes: Buffer,
}

/// A batch as it stands in a partition.
pub struct LoggedBatch {
    /// Where it stands and who made it.
    pub head: FrameHead,
    /// The batch's bytes.
    pub bytes: Buffer,
}

/// What an append is answered with.
#[derive(Clone, Copy, Debug)]
pub struct Appended {
    /// The partition's end offset behind the batch; or, where that is not known before the batch is durable, one that
    /// the batch does not stand below. See [`Log::end`].
    pub end: u64,
    /// To ask [`Log::is_durable`] with.
    pub ticket: u64,
}

/// Some batches of a partition.
#[derive(Default)]
pub struct Fetched {
    /// In offset order.
    pub batches: Vec<Arc<LoggedBatch>>,
    /// The offset to go on from.
    pub next: u64,
}

/// Durable, partitioned topics.
pub trait Log: Send + Sync {
    /// Appends a batch.
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError>;

    /// Whether everything up to a topic's ticket is durable.
    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool;

    /// The end offset behind a batch that is durable.
    fn end(&self, _topic: TopicId, _partition: u32, appended: &Appended) -> u64 {
        appended.end
    }

    /// The offset below which records are durable and may be read.
    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64;

    /// The same, asked for where it is not known: of a partition that is not followed.
    fn find_end(&self, topic: TopicId, partition: u32) -> Result<u64, LogError> {
        Ok(self.high_watermark(topic, partition))
    }

    /// The same as whoever holds the partition knows it now, be it followed or not.
    fn newest(&self, topic: TopicId, partition: u32) -> Result<u64, LogError> {
        self.find_end(topic, partition)
    }

    /// The lowest offset that has not been trimmed away.
    fn start(&self, topic: TopicId, partition: u32) -> u64;

    /// The batches from the one that holds `offset` on, at least one if there is any, until they
    /// hold `max_records`; with `of`, only those of one task.
    fn read(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
        max_records: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError>;

    /// The heads of the batches from the one that holds `offset` on.
    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError>;

    /// Says whether its producers have fallen behind, so that it may spend less on each batch.
    fn set_behind(&self, _behind: bool) {}

    /// Lets go of what stands below the given offset of each partition of a topic.
    fn trim(&self, topic: TopicId, below: &[u64]) -> Result<(), LogError>;

    /// The file that a topic ends with, to be named where something is missing at its end.
    fn newest_file(&self, topic: TopicId) -> PathBuf;

    /// Bytes that a topic takes on the disk of this machine; none if it is elsewhere.
    fn size_bytes(&self, topic: TopicId) -> Option<u64>;
}

/// The log of a job that runs.
pub trait LiveLog: Log {
    /// Opens or creates a topic, unless it is open.
    fn add(&self, topic: TopicId) -> Result<(), LogError>;

    /// Closes a topic and deletes it.
    fn remove(&self, topic: TopicId) -> Result<(), LogError>;

    /// Closes a topic that others may still use.
    fn leave(&self, topic: TopicId) -> Result<(), LogError> {
        let _ = topic;
        Ok(())
    }

    /// Says that many tasks are about to be opened, which look for the same; or that they are.
    fn opens_many(&self, opens: bool) {
        let _ = opens;
    }

    /// The topics that are open.
    fn topics(&self) -> Vec<TopicId>;

    /// Has `wake` called whenever something became durable, or a write failed. The job asks for it once.
    fn on_durable(&self, wake: Box<dyn Fn() + Send + Sync>);

    /// Why nothing more can be written to a topic, if that is so.
    fn failure(&self) -> Option<LogError>;

    /// Begins or stops to follow a partition of all topics: where workers share the partitions, each follows its own.
    fn follow(&self, _partition: u32, _follows: bool) -> Result<(), LogError> {
        Ok(())
    }

    /// Joins the group of those who share the partitions; `hands` is told which ones are its own.
    fn join(
        &self,
        _membership: &Membership,
        _hands: Arc<dyn Hands>,
    ) -> Result<Box<dyn Coordinator>, LogError> {
        Err(LogError::NoGroups)
    }

    /// The workers of the group, in order; none if there is no group.
    fn peers(&self) -> Result<Vec<Peer>, LogError> {
        Ok(Vec::new())
    }

    /// The id of the cluster that the topics are in, if they are in one.
    fn cluster(&self) -> Result<Option<String>, LogError> {
        Ok(None)
    }

    /// Says from where on partitions are still to be read, for tools of the log's own that show how far readers are.
    fn tell(&self, _positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        Ok(())
    }
}
