//! Where the topics of a data directory are, for who reads them beside a job that may be running.

use super::journal::Journal;
use super::remote::{self, RemoteTopics};
use super::{ClusterOptions, Fetched, FrameHead, LogError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_proto::{TaskId, TopicId};

/// Where topics are.
#[derive(Clone)]
pub enum LogPlace {
    /// A folder each, in this directory.
    Files(PathBuf),
    /// In a cluster.
    In(Arc<RemoteTopics>),
}

impl LogPlace {
    /// In a cluster.
    pub fn cluster(options: ClusterOptions) -> Self {
        LogPlace::In(Arc::new(RemoteTopics::new(options)))
    }

    /// Which cluster, if they are in one.
    pub fn cluster_options(&self) -> Option<&ClusterOptions> {
        match self {
            LogPlace::Files(_) => None,
            LogPlace::In(topics) => Some(topics.options()),
        }
    }

    /// Whether there is such a topic.
    pub fn has(&self, topic: TopicId) -> Result<bool, LogError> {
        match self {
            LogPlace::Files(dir) => Ok(dir.join(topic.to_string()).is_dir()),
            LogPlace::In(topics) => topics.has(topic),
        }
    }

    /// What stands for a topic in messages.
    pub(super) fn path(&self, topic: TopicId) -> PathBuf {
        match self {
            LogPlace::Files(dir) => dir.join(topic.to_string()),
            LogPlace::In(topics) => topics.path(topic),
        }
    }
}

impl std::fmt::Debug for LogPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            LogPlace::Files(dir) => f.debug_tuple("Files").field(dir).finish(),
            LogPlace::In(topics) => f.debug_tuple(topics.options().name()).finish_non_exhaustive(),
        }
    }
}

impl From<&Path> for LogPlace {
    fn from(dir: &Path) -> Self {
        LogPlace::Files(dir.to_owned())
    }
}

/// One topic, read beside a job that may be running.
pub struct TopicReader {
    topic: TopicId,
    source: Source,
}

enum Source {
    Files(Box<Journal>),
    In(remote::TopicReader),
}

impl TopicReader {
    /// Opens a topic for reading.
    pub fn open(place: &LogPlace, topic: TopicId) -> Result<Self, LogError> {
        let source = match place {
            LogPlace::Files(dir) => {
                Source::Files(Box::new(Journal::open_read_only(dir.join(topic.to_string()))?))
            }
            LogPlace::In(topics) => Source::In(topics.reader(topic)?),
        };
        Ok(TopicReader { topic, source })
    }

    /// Looks at what has been written since.
    pub fn refresh(&self) -> Result<(), LogError> {
        match &self.source {
            Source::Files(journal) => journal.refresh(),
            Source::In(reader) => reader.refresh(),
        }
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        match &self.source {
            Source::Files(journal) => journal.partitions(),
            Source::In(reader) => reader.partitions(),
        }
    }

    /// The oldest and the end offset of a partition.
    pub fn offsets(&self, partition: u32) -> (u64, u64) {
        match &self.source {
            Source::Files(journal) => (journal.start(partition), journal.watermark(partition)),
            Source::In(reader) => reader.offsets(partition),
        }
    }

    /// Batches from the one that holds `offset` on, all or those of one task.
    pub fn read(
        &self,
        partition: u32,
        offset: u64,
        max: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        let start = self.offsets(partition).0;
        if offset < start {
            return Err(LogError::Trimmed { topic: self.topic, partition, offset, start });
        }
        match &self.source {
            Source::Files(journal) => journal.read(partition, offset, max, of),
            Source::In(reader) => reader.read(partition, offset, max, of),
        }
    }

    pub(super) fn heads(&self, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        match &self.source {
            Source::Files(journal) => journal.heads(partition, offset),
            Source::In(reader) => reader.heads(partition, offset),
        }
    }

    /// The file that it ends with.
    pub fn newest_file(&self) -> PathBuf {
        match &self.source {
            Source::Files(journal) => journal.newest_file(),
            Source::In(reader) => reader.path(),
        }
    }

    pub(super) fn size_bytes(&self) -> Option<u64> {
        match &self.source {
            Source::Files(journal) => Some(journal.size_bytes()),
            Source::In(_) => None,
        }
    }
}
