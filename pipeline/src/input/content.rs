//! What one task has handed to one partition, over all generations of a line, in the order of its
//! running numbers.

use super::Line;
use super::scan::{Head, Scan};
use crate::error::JobError;
use crate::log::Log;
use std::sync::Arc;
use weir_proto::{TaskId, TopicId};
use weir_state::Mark;

/// Records fetched at a time: there is one such reader for each upstream task and partition.
const AT_A_TIME: u64 = 1;

/// Reads the outputs of one task to one partition.
pub struct Content {
    log: Arc<dyn Log>,
    partition: u32,
    task: TaskId,
    /// Where running numbers are found: from which one on, in which topic.
    segments: Vec<(u64, TopicId)>,
    segment: usize,
    scan: Scan,
    next_seq: u64,
    head: Option<Head>,
}

impl Content {
    /// From the record behind a mark on.
    pub fn open(log: Arc<dyn Log>, line: &Line, partition: u32, mark: &Mark) -> Self {
        let task = mark.producer.task();
        let segments = line.segments(task, partition);
        let segment = segments.iter().rposition(|(from, _)| *from <= mark.next_seq).unwrap_or(0);
        let topic = segments[segment].1;
        let known = mark.producer.generation == topic.generation;
        let offset = if known { mark.offset } else { 0 };
        let scan = scan(&log, topic, partition, offset, task);
        Content { log, partition, task, segments, segment, scan, next_seq: mark.next_seq, head: None }
    }

    /// The next record, without taking it.
    pub fn peek(&mut self) -> Result<Option<Head>, JobError> {
        while self.head.is_none() {
            if let Some((from, topic)) = self.segments.get(self.segment + 1)
                && self.next_seq >= *from
            {
                self.scan = scan(&self.log, *topic, self.partition, 0, self.task);
                self.segment += 1;
            }
            let Some(head) = self.scan.advance()? else { return Ok(None) };
            if head.seq == self.next_seq {
                self.head = Some(head);
            } else if head.seq > self.next_seq {
                return Err(JobError::Gap {
                    task: self.task,
                    topic: self.scan.topic(),
                    upstream: head.producer,
                    expected: self.next_seq,
                    found: head.seq,
                });
            }
        }
        Ok(self.head)
    }

    /// Which of the topics of the line it reads, and the offset there behind everything read or passed over.
    pub fn position(&self) -> (usize, u64) {
        (self.segment, self.scan.position())
    }

    /// Takes the next record.
    pub fn take(&mut self) -> Result<Option<Head>, JobError> {
        let head = self.peek()?;
        if self.head.take().is_some() {
            self.next_seq += 1;
        }
        Ok(head)
    }

    /// The bytes of the record looked at or taken last.
    pub fn bytes(&self) -> &[u8] {
        self.scan.bytes()
    }
}

fn scan(log: &Arc<dyn Log>, topic: TopicId, partition: u32, offset: u64, task: TaskId) -> Scan {
    let offset = offset.max(log.start(topic, partition));
    Scan::new(log.clone(), topic, partition, offset, AT_A_TIME).of(task)
}
