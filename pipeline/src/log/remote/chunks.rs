//! What was fetched last, in memory: readers go through several partitions at once, some a record at a time, and each
//! jump costs the client of the cluster a new beginning.

use crate::log::LoggedBatch;
use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

/// Bytes that are kept.
const MOST_BYTES: usize = 64 << 20;
/// Chunks that are kept.
const MOST: usize = 256;

/// A stretch of a partition.
struct Chunk {
    topic: String,
    partition: u32,
    batches: Vec<Arc<LoggedBatch>>,
    bytes: usize,
}

impl Chunk {
    fn holds(&self, topic: &str, partition: u32, offset: u64) -> bool {
        let (first, last) = (self.batches.first(), self.batches.last());
        let is_within =
            first.zip(last).is_some_and(|(f, l)| f.head.base_offset <= offset && offset < l.head.end());
        is_within && self.partition == partition && self.topic == topic
    }
}

/// The stretches that were fetched last, the newest at the end.
#[derive(Default)]
pub(crate) struct Chunks(Mutex<VecDeque<Chunk>>);

impl Chunks {
    /// The batches from the one that holds an offset on, if it is here, until they have so many records.
    pub(crate) fn read(
        &self,
        topic: &str,
        partition: u32,
        offset: u64,
        most: u64,
    ) -> Option<Vec<Arc<LoggedBatch>>> {
        let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = chunks.iter().rposition(|chunk| chunk.holds(topic, partition, offset))?;
        let chunk = chunks.remove(at)?;
        let found = from(&chunk.batches, offset, most);
        chunks.push_back(chunk);
        Some(found)
    }

    pub(crate) fn add(&self, topic: &str, partition: u32, batches: &[Arc<LoggedBatch>]) {
        let bytes = batches.iter().map(|batch| batch.bytes.len()).sum();
        let mut chunks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        chunks.push_back(Chunk { topic: topic.to_owned(), partition, batches: batches.to_vec(), bytes });
        let mut all: usize = chunks.iter().map(|chunk| chunk.bytes).sum();
        while (all > MOST_BYTES || chunks.len() > MOST) && chunks.len() > 1 {
            all -= chunks.pop_front().map_or(0, |chunk| chunk.bytes);
        }
    }

    /// Forgets a topic: one of its name may be made anew.
    pub(crate) fn forget(&self, topic: &str) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|chunk| chunk.topic != topic);
    }
}

/// The batches from the one that holds an offset on, until they have so many records, at least one.
pub(crate) fn from(batches: &[Arc<LoggedBatch>], offset: u64, most: u64) -> Vec<Arc<LoggedBatch>> {
    let first = batches.partition_point(|batch| batch.head.end() <= offset);
    let mut records = 0;
    let wanted = batches[first..].iter().take_while(|batch| {
        let before = records;
        records += u64::from(batch.head.count);
        before == 0 || before < most
    });
    wanted.cloned().collect()
}
