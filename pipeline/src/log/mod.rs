//! The log: durable, partitioned topics of batches.
//!
//! An append is visible to readers once it is durable, that is, below the partition's high
//! watermark. Whoever appends gets a ticket and asks later whether it is durable.

mod beside;
mod direct;
mod embedded;
pub(crate) mod frame;
mod journal;
mod kafka;
mod place;
mod segment;

pub use beside::BesideLog;
pub use embedded::{EmbeddedLog, LogOptions};
pub use frame::{Codec, FrameHead};
pub(crate) use journal::Journal;
pub use kafka::{KafkaLog, KafkaOptions};
pub use place::{LogPlace, TopicReader};
pub use segment::frame_at;

use crate::group::{Coordinator, Hands, Membership, Peer};
use std::path::PathBuf;
use std::sync::Arc;
use weir_proto::{Buffer, Producer, Provenance, TaskId, Topic, TopicId};

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

/// Which partitions a process reads as they grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// All of them.
    All,
    /// Those that it is told to [follow](LiveLog::follow).
    AsTold,
}

/// Which log a job has, and how.
#[derive(Clone, Debug)]
pub enum LogChoice {
    /// That in its data directory.
    Embedded(LogOptions),
    /// Kafka's.
    Kafka(KafkaOptions),
}

impl LogChoice {
    /// Which Kafka, if it is that.
    pub fn kafka(&self) -> Option<&KafkaOptions> {
        match self {
            LogChoice::Embedded(_) => None,
            LogChoice::Kafka(options) => Some(options),
        }
    }

    /// Opens it with the topics of the first generation; `dir` is where the embedded one is. If a job has `begun` with
    /// them, those that are not in Kafka were lost: none is made anew. Nor is anything touched in another `cluster` than
    /// the one that they are known to be in.
    pub fn open(
        &self,
        dir: &std::path::Path,
        partitions: u32,
        begun: bool,
        cluster: Option<&str>,
        follow: Follow,
    ) -> Result<Arc<dyn LiveLog>, LogError> {
        let first = || Topic::ALL.into_iter().map(|topic| topic.of(1));
        let log: Arc<dyn LiveLog> = match self {
            LogChoice::Embedded(options) => Arc::new(EmbeddedLog::empty(dir, partitions, *options)),
            LogChoice::Kafka(options) => {
                let log = KafkaLog::open(options.clone(), partitions, follow)?;
                log.must_be_in(cluster)?;
                if begun {
                    first().try_for_each(|topic| log.must_have(topic))?;
                }
                Arc::new(log)
            }
        };
        first().try_for_each(|topic| log.add(topic))?;
        Ok(log)
    }
}

impl Default for LogChoice {
    fn default() -> Self {
        LogChoice::Embedded(LogOptions::default())
    }
}

/// The log cannot do what is asked.
#[derive(Clone, Debug, thiserror::Error)]
pub enum LogError {
    /// A file operation failed.
    #[error("cannot {what} {path}: {source}{}", disk_full(source))]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: Arc<std::io::Error>,
    },
    /// Bytes on disk are not what was written.
    #[error(
        "{path} is damaged at byte {position}: {problem}. Restore the file from a backup; \
         if there is none, restore the whole data directory to a checkpoint before it"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// Where in it.
        position: u64,
        /// What is wrong.
        problem: &'static str,
    },
    /// A line of the properties for Kafka's client is none.
    #[error("line {line} of {path} is no property: write it as `name = value`, or begin it with #")]
    Properties {
        /// The file.
        path: PathBuf,
        /// Which line.
        line: usize,
    },
    /// Kafka has refused something, for good.
    #[error("cannot {what}{} Kafka: {source}", of_topic(topic))]
    Kafka {
        /// What was tried.
        what: &'static str,
        /// On which topic, if on one.
        topic: Option<String>,
        /// What Kafka, or its client, says.
        source: Arc<rdkafka::error::KafkaError>,
    },
    /// No broker of Kafka has answered in time.
    #[error(
        "cannot {what}{} Kafka: no broker has answered in time. Are those of `log.kafka.brokers` up?",
        of_topic(topic)
    )]
    Away {
        /// What was tried.
        what: &'static str,
        /// On which topic, if on one.
        topic: Option<String>,
    },
    /// The brokers are not those of the cluster that has the topics.
    #[error(
        "the brokers {brokers} of `log.kafka.brokers` are those of the cluster {found} of Kafka, and the topics of this job \
         are in the cluster {known}: name brokers of that one again, or start a new data directory"
    )]
    OtherCluster {
        /// The brokers that are named now.
        brokers: String,
        /// The id of the cluster that they belong to.
        found: String,
        /// The id of the cluster that the job has begun in.
        known: String,
    },
    /// A topic on which the promises of the log do not hold.
    #[error("the topic {topic} of Kafka {problem}")]
    WrongTopic {
        /// The topic.
        topic: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A record that is none of Weir.
    #[error(
        "the record at offset {offset} of {topic}-{partition} of Kafka is none of weir: {problem}. Only weir may append \
         to its topics: see who else does, and choose another `log.kafka.prefix`"
    )]
    Foreign {
        /// The topic.
        topic: String,
        /// The partition.
        partition: i32,
        /// The offset.
        offset: u64,
        /// What is wrong with it.
        problem: String,
    },
    /// Another process is the same worker.
    #[error(
        "another process is worker {worker} of the group {group}, too, and has taken its place: give each worker a number \
         of its own in `group.worker`"
    )]
    SameWorker {
        /// The number.
        worker: u16,
        /// The group.
        group: String,
    },
    /// This log knows no groups.
    #[error("this log knows no groups of workers: set `group.coordinator` to \"zookeeper\" or \"static\"")]
    NoGroups,
    /// What was to be appended is no batch.
    #[error("what was to be appended is no batch of records: this is a fault of weir")]
    NotABatch,
    /// A topic that is not there.
    #[error("there is no topic {0} here: its generation was dropped, or never begun")]
    NoTopic(TopicId),
    /// An offset that was trimmed away.
    #[error("offset {offset} of {topic}-{partition} was trimmed away; the oldest one left is {start}")]
    Trimmed {
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: u32,
        /// The offset asked for.
        offset: u64,
        /// The oldest one left.
        start: u64,
    },
}

impl LogError {
    /// Whether a write failed for want of room, so that it may be tried again. Of a failed fsync nobody knows what
    /// is on disk.
    pub fn is_full(&self) -> bool {
        match self {
            LogError::Io { what, source, .. } => *what != "sync" && is_full(source),
            _ => false,
        }
    }

    /// Whether the log could not be reached, so that it may be tried again later.
    pub fn is_away(&self) -> bool {
        matches!(self, LogError::Away { .. })
    }

    pub(crate) fn io(what: &'static str, path: &std::path::Path) -> impl FnOnce(std::io::Error) -> LogError {
        let path = path.to_owned();
        move |source| LogError::Io { what, path, source: Arc::new(source) }
    }
}

/// Whether a file operation failed for want of room.
pub(crate) fn is_full(source: &std::io::Error) -> bool {
    matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
}

fn of_topic(topic: &Option<String>) -> String {
    topic.as_ref().map_or_else(String::new, |topic| format!(" the topic {topic} of"))
}

fn disk_full(source: &std::io::Error) -> &'static str {
    if is_full(source) {
        ". The disk is full: make room and start weir again, it goes on where it stopped"
    } else {
        ""
    }
}
