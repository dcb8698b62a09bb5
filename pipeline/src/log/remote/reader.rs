//! Topics in a cluster, read beside a job that may be running.

use super::{Fetch, until_found};
use crate::log::{ClusterOptions, Fetched, FrameHead, LogError};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use weir_proto::{TaskId, TopicId};

/// The topics of a data directory.
pub struct RemoteTopics {
    options: ClusterOptions,
    fetcher: Arc<dyn Fetch>,
}

impl RemoteTopics {
    pub(in crate::log) fn new(options: ClusterOptions) -> Self {
        RemoteTopics { fetcher: options.fetcher(), options }
    }

    pub(in crate::log) fn options(&self) -> &ClusterOptions {
        &self.options
    }

    pub(in crate::log) fn has(&self, topic: TopicId) -> Result<bool, LogError> {
        Ok(self.fetcher.partitions(&self.fetcher.name_of(topic))? > 0)
    }

    pub(in crate::log) fn path(&self, topic: TopicId) -> PathBuf {
        self.fetcher.path_of(topic)
    }

    /// None of its records, if there is no such topic.
    pub(in crate::log) fn reader(&self, topic: TopicId) -> Result<TopicReader, LogError> {
        let name = self.fetcher.name_of(topic);
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

/// One topic.
pub struct TopicReader {
    path: PathBuf,
    fetcher: Arc<dyn Fetch>,
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
