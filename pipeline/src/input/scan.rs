//! Records of one topic's partition as they stand there, all or those of one task.

use crate::error::JobError;
use crate::log::{Log, LoggedBatch};
use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use weir_proto::{BatchCursor, Producer, Provenance, TaskId, TopicId};

/// Who made a record, from what, and where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// Its offset in its topic.
    pub offset: u64,
    /// Who made it.
    pub producer: Producer,
    /// Its running number, per producer and partition.
    pub seq: u64,
    /// What it was made from.
    pub provenance: Provenance,
}

struct Open {
    batch: Arc<LoggedBatch>,
    cursor: BatchCursor,
    read: u64,
    bytes: Range<usize>,
}

/// Reads a partition in offset order. Between two calls more may have been appended.
pub struct Scan {
    log: Arc<dyn Log>,
    topic: TopicId,
    partition: u32,
    of: Option<TaskId>,
    at_a_time: u64,
    /// The offset to fetch from.
    fetch: u64,
    /// The offset behind the record read last.
    next: u64,
    fetched: VecDeque<Arc<LoggedBatch>>,
    open: Option<Open>,
}

impl Scan {
    /// From an offset on; `at_a_time` records are fetched together, about.
    pub fn new(log: Arc<dyn Log>, topic: TopicId, partition: u32, offset: u64, at_a_time: u64) -> Self {
        let (fetched, open) = (VecDeque::new(), None);
        Scan { log, topic, partition, of: None, at_a_time, fetch: offset, next: offset, fetched, open }
    }

    /// Only the records of one task.
    pub fn of(mut self, task: TaskId) -> Self {
        self.of = Some(task);
        self
    }

    /// The topic.
    pub fn topic(&self) -> TopicId {
        self.topic
    }

    /// The offset behind everything read or passed over.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// The offset behind the newest durable record.
    pub fn end(&self) -> u64 {
        self.log.high_watermark(self.topic, self.partition)
    }

    /// Durable records not read yet.
    pub fn backlog(&self) -> u64 {
        self.end().saturating_sub(self.next)
    }

    /// Moves to the next record, if there is one.
    pub fn advance(&mut self) -> Result<Option<Head>, JobError> {
        loop {
            if let Some(open) = &mut self.open {
                let head = &open.batch.head;
                let (offset, seq) = (head.base_offset + open.read, head.first_seq + open.read);
                if let Some(record) = open.cursor.next(&open.batch.bytes) {
                    let record = record?;
                    let start = record.bytes.as_ptr() as usize - open.batch.bytes.as_ptr() as usize;
                    open.bytes = start..start + record.bytes.len();
                    open.read += 1;
                    if offset < self.next {
                        continue;
                    }
                    self.next = offset + 1;
                    let (producer, provenance) = (head.producer, record.provenance);
                    return Ok(Some(Head { offset, producer, seq, provenance }));
                }
                self.open = None;
            }
            let Some(batch) = self.fetch()? else { return Ok(None) };
            let cursor = BatchCursor::open(&batch.bytes)?;
            self.open = Some(Open { batch, cursor, read: 0, bytes: 0..0 });
        }
    }

    fn fetch(&mut self) -> Result<Option<Arc<LoggedBatch>>, JobError> {
        if self.fetched.is_empty() {
            let found = self.log.read(self.topic, self.partition, self.fetch, self.at_a_time, self.of)?;
            self.fetch = found.next;
            self.fetched = found.batches.into();
            if self.fetched.is_empty() {
                self.next = self.next.max(self.fetch);
            }
        }
        Ok(self.fetched.pop_front())
    }

    /// The bytes of the record moved to last.
    pub fn bytes(&self) -> &[u8] {
        self.open.as_ref().map_or(&[], |open| &open.batch.bytes[open.bytes.clone()])
    }
}
