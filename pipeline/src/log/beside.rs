//! The log of a data directory, read beside a job that may be writing it, with topics of one's own.

use super::{
    Appended, EmbeddedLog, Fetched, FrameHead, Log, LogError, LogOptions, LogPlace, NewBatch, TopicReader,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use weir_proto::{TaskId, TopicId};

/// Reads topics as they stood when each was first asked for. The topics of one generation, if there is
/// one of our own, are written elsewhere.
pub struct BesideLog {
    place: LogPlace,
    readers: Mutex<BTreeMap<TopicId, Arc<TopicReader>>>,
    own: Option<(u32, EmbeddedLog)>,
}

impl BesideLog {
    /// Of the topics of a data directory.
    pub fn open(place: LogPlace) -> Self {
        BesideLog { place, readers: Mutex::default(), own: None }
    }

    /// With topics of a generation in another directory.
    pub fn with_own(
        place: LogPlace,
        generation: u32,
        own: &Path,
        partitions: u32,
        options: LogOptions,
    ) -> Self {
        let own = EmbeddedLog::empty(own, partitions, options);
        BesideLog { own: Some((generation, own)), ..Self::open(place) }
    }

    /// The topics of our own.
    pub fn own(&self) -> Option<&EmbeddedLog> {
        self.own.as_ref().map(|(_, log)| log)
    }

    /// Looks for a topic with so many partitions; what is said of it from now on is as of now.
    pub fn expect(&self, topic: TopicId, partitions: u32) -> Result<(), LogError> {
        match self.reader(topic)?.partitions() == partitions {
            true => Ok(()),
            false => Err(LogError::Away { what: "find all partitions of", topic: Some(topic.to_string()) }),
        }
    }

    fn owned(&self, topic: TopicId) -> Option<&EmbeddedLog> {
        self.own.as_ref().filter(|(generation, _)| *generation == topic.generation).map(|(_, log)| log)
    }

    fn reader(&self, topic: TopicId) -> Result<Arc<TopicReader>, LogError> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = readers.get(&topic) {
            return Ok(reader.clone());
        }
        let reader = Arc::new(TopicReader::open(&self.place, topic)?);
        readers.insert(topic, reader.clone());
        Ok(reader)
    }
}

impl Log for BesideLog {
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        self.owned(topic).ok_or(LogError::NoTopic(topic))?.append(topic, partition, batch)
    }

    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        self.owned(topic).is_some_and(|log| log.is_durable(topic, ticket))
    }

    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64 {
        match self.owned(topic) {
            Some(log) => log.high_watermark(topic, partition),
            None => self.reader(topic).map_or(0, |r| r.offsets(partition).1),
        }
    }

    fn start(&self, topic: TopicId, partition: u32) -> u64 {
        match self.owned(topic) {
            Some(log) => log.start(topic, partition),
            None => self.reader(topic).map_or(0, |r| r.offsets(partition).0),
        }
    }

    fn read(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
        max_records: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        match self.owned(topic) {
            Some(log) => log.read(topic, partition, offset, max_records, of),
            None => self.reader(topic)?.read(partition, offset, max_records, of),
        }
    }

    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        match self.owned(topic) {
            Some(log) => log.heads(topic, partition, offset),
            None => self.reader(topic)?.heads(partition, offset),
        }
    }

    fn trim(&self, topic: TopicId, _: &[u64]) -> Result<(), LogError> {
        Err(LogError::NoTopic(topic))
    }

    fn newest_file(&self, topic: TopicId) -> PathBuf {
        match self.owned(topic) {
            Some(log) => log.newest_file(topic),
            None => self.reader(topic).map_or_else(|_| self.place.path(topic), |r| r.newest_file()),
        }
    }

    fn size_bytes(&self, topic: TopicId) -> Option<u64> {
        match self.owned(topic) {
            Some(log) => log.size_bytes(topic),
            None => self.reader(topic).ok()?.size_bytes(),
        }
    }
}
