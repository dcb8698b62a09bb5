//! The newest records of a partition, as they were received, in memory for those who read along.

use super::chunks;
use crate::log::LoggedBatch;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The end of one partition.
pub struct Tail {
    ring: Mutex<VecDeque<Arc<LoggedBatch>>>,
    bytes: AtomicU64,
    /// The offset below which all was received.
    end: AtomicU64,
    most_bytes: u64,
}

impl Tail {
    pub(crate) fn new(end: u64, most_bytes: u64) -> Self {
        Tail { ring: Mutex::default(), bytes: AtomicU64::new(0), end: AtomicU64::new(end), most_bytes }
    }

    fn ring(&self) -> MutexGuard<'_, VecDeque<Arc<LoggedBatch>>> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// The batches from the one that holds an offset on, if it is in memory, until they have so many records.
    pub(crate) fn read(&self, offset: u64, most: u64) -> Option<Vec<Arc<LoggedBatch>>> {
        let mut ring = self.ring();
        if ring.front().is_none_or(|first| first.head.base_offset > offset) {
            return None;
        }
        Some(chunks::from(ring.make_contiguous(), offset, most))
    }

    pub(crate) fn push(&self, batch: LoggedBatch) {
        let (end, size) = (batch.head.end(), batch.bytes.len() as u64);
        let mut ring = self.ring();
        // Two may receive it, where a partition has just got another leader.
        if batch.head.base_offset < self.end() {
            return;
        }
        ring.push_back(Arc::new(batch));
        let mut bytes = self.bytes.load(Ordering::Relaxed) + size;
        while bytes > self.most_bytes && ring.len() > 1 {
            bytes -= ring.pop_front().map_or(0, |batch| batch.bytes.len() as u64);
        }
        self.bytes.store(bytes, Ordering::Relaxed);
        self.end.store(end, Ordering::Release);
    }
}
