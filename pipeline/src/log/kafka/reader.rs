//! Topics of Kafka, read beside a job that may be running.

use super::fetch::Fetcher;
use super::{KafkaOptions, name_of, until_found};
use crate::log::{Fetched, FrameHead, LogError};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use weir_proto::{TaskId, TopicId};

/// The topics of a data directory.
pub struct KafkaTopics {
    options: KafkaOptions,
    fetcher: Arc<Fetcher>,
}

impl KafkaTopics {
    pub(in crate::log) fn new(options: KafkaOptions) -> Self {
        KafkaTopics { fetcher: Arc::new(Fetcher::new(&options)), options }
    }

    pub(in crate::log) fn options(&self) -> &KafkaOptions {
        &self.options
    }

    pub(in crate::log) fn has(&self, topic: TopicId) -> Result<bool, LogError> {
        Ok(self.fetcher.partitions(&name_of(&self.options, topic))? > 0)
    }

    pub(in crate::log) fn path(&self, topic: TopicId) -> PathBuf {
        path_of(&self.options, topic)
    }

    /// None of its records, if there is no such topic.
    pub(in crate::log) fn reader(&self, topic: TopicId) -> Result<TopicReader, LogError> {
        let name = name_of(&self.options, topic);
        let partitions = self.fetcher.partitions(&name)?;
        let reader = TopicReader {
            path: self.path(topic),
            fetcher: self.fetcher.clone(),
            name,
            offsets: RwLock::new(vec![(0, 0); partitions as usize]),
        };
        reader.refresh()?;
        Ok(reader)
    }
}

/// What stands for a topic in messages.
pub(super) fn path_of(options: &KafkaOptions, topic: TopicId) -> PathBuf {
    PathBuf::from(format!("kafka://{}/{}", options.brokers, name_of(options, topic)))
}

/// One topic.
pub struct TopicReader {
    path: PathBuf,
    fetcher: Arc<Fetcher>,
    name: String,
    /// The oldest and the end offset of each partition, as they were when it was looked last.
    offsets: RwLock<Vec<(u64, u64)>>,
}

impl TopicReader {
    pub(in crate::log) fn refresh(&self) -> Result<(), LogError> {
        let partitions = 0..self.partitions();
        let offsets = partitions.map(|partition| self.fetcher.offsets(&self.name, partition));
        let offsets = offsets.collect::<Result<Vec<_>, _>>()?;
        *self.offsets.write().unwrap_or_else(PoisonError::into_inner) = offsets;
        Ok(())
    }

    pub(in crate::log) fn partitions(&self) -> u32 {
        self.offsets.read().unwrap_or_else(PoisonError::into_inner).len() as u32
    }

    pub(in crate::log) fn offsets(&self, partition: u32) -> (u64, u64) {
        let offsets = self.offsets.read().unwrap_or_else(PoisonError::into_inner);
        offsets.get(partition as usize).copied().unwrap_or_default()
    }

    pub(in crate::log) fn read(
        &self,
        partition: u32,
        offset: u64,
        max: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        let end = self.offsets(partition).1;
        until_found(offset, end, of, |offset| self.fetcher.read(&self.name, partition, (offset, end), max))
    }

    pub(in crate::log) fn heads(&self, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        let (start, end) = self.offsets(partition);
        self.fetcher.heads(&self.name, partition, (offset.max(start), end))
    }

    pub(in crate::log) fn path(&self) -> PathBuf {
        self.path.clone()
    }
}
