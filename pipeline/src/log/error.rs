//! Why a log cannot do what is asked.

use std::path::PathBuf;
use std::sync::Arc;
use weir_proto::TopicId;

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
    /// Fluvio has refused something, for good.
    #[error("cannot {what}{} Fluvio: {reason}", of_topic(topic))]
    Fluvio {
        /// What was tried.
        what: &'static str,
        /// On which topic, if on one.
        topic: Option<String>,
        /// What Fluvio, or its client, says.
        reason: String,
    },
    /// Fluvio could not be reached, or has not answered in time.
    #[error(
        "cannot {what}{} Fluvio: {reason}. Is the cluster of `log.fluvio.address` up, with all of its SPUs?",
        of_topic(topic)
    )]
    FluvioAway {
        /// What was tried.
        what: &'static str,
        /// On which topic, if on one.
        topic: Option<String>,
        /// What has happened.
        reason: String,
    },
    /// A topic on which the promises of the log do not hold.
    #[error("the topic {topic} of {system} {problem}")]
    WrongTopic {
        /// Whose it is.
        system: &'static str,
        /// The topic.
        topic: String,
        /// What is wrong with it, and what to do.
        problem: String,
    },
    /// A record that is none of Weir.
    #[error(
        "the record at offset {offset} of {topic}-{partition} of {system} is none of weir: {problem}. Only weir may append \
         to its topics: see who else does, and choose another `prefix` of topics in [log.{}]",
        system.to_lowercase()
    )]
    Foreign {
        /// Whose topic it is.
        system: &'static str,
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
        matches!(self, LogError::Away { .. } | LogError::FluvioAway { .. })
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
