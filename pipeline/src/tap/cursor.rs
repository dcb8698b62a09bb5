//! Where a tap stands in a partition, and the records from there on.

use super::TapError;
use super::position::{From, STRETCH, Until, begin_of};
use crate::log::{FrameHead, LoggedBatch, TopicReader};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use weir_proto::{Batch, BatchRecord, EntryKind, Producer, Provenance, Record};

/// A record and where it stands.
pub struct Found<'a> {
    /// The frame that holds it.
    pub head: &'a FrameHead,
    /// Its offset.
    pub offset: u64,
    /// Where it comes from.
    pub provenance: Provenance,
    /// The record.
    pub record: Record<'a>,
}

impl Found<'_> {
    /// Whether it is there for the job alone: a tick, or the balance that an accounts file brought forward.
    pub fn is_internal(&self) -> bool {
        match &self.record {
            Record::Tick(_) => true,
            Record::Charge(charge) => charge.kind == EntryKind::BroughtForward,
            _ => false,
        }
    }
}

/// Goes through a partition.
#[derive(Debug)]
pub struct Cursor {
    partition: u32,
    next: u64,
    /// Nothing from it on is read.
    end: u64,
    /// The running number that is expected of each task, in each generation: in `adjustments` each begins with 0. A lower
    /// one is of a record that it has repeated, as a worker may that has lost its partitions without knowing.
    expected: BTreeMap<Producer, u64>,
}

impl Cursor {
    /// Stands at the beginning of what is wanted of a partition, or where a tap before it ended.
    pub fn new(
        reader: &TopicReader,
        partition: u32,
        (from, until): (From, Option<Until>),
        resume: Option<u64>,
    ) -> Result<Self, TapError> {
        let (start, end) = reader.offsets(partition);
        let next = match (resume, from) {
            (Some(offset), _) => offset,
            (None, From::Start) => start,
            (None, From::End) => end,
            (None, From::Offset(offset)) => offset.max(start),
            (None, From::Minute(minute)) => begin_of(reader, partition, minute)?,
        };
        let end = match until {
            None => u64::MAX,
            Some(Until::End) => end,
            Some(Until::Offset(offset)) => end.min(offset),
            Some(Until::Minute(minute)) => begin_of(reader, partition, minute)?,
        };
        Ok(Cursor { partition, next, end, expected: BTreeMap::new() })
    }

    /// The partition.
    pub fn partition(&self) -> u32 {
        self.partition
    }

    /// Where to go on: every wanted record below it was visited.
    pub fn position(&self) -> u64 {
        self.next
    }

    /// Visits the records of the next stretch; whether there was any to read.
    pub fn advance(
        &mut self,
        reader: &TopicReader,
        mut visit: impl FnMut(Found<'_>) -> Result<ControlFlow<()>, TapError>,
    ) -> Result<bool, TapError> {
        let end = self.end.min(reader.offsets(self.partition).1);
        if self.next >= end {
            return Ok(false);
        }
        let batches = reader.read(self.partition, self.next, STRETCH, None)?.batches;
        for LoggedBatch { head, bytes } in batches.iter().map(AsRef::as_ref) {
            for (offset, record) in (head.base_offset..end).zip(Batch::open(bytes)?) {
                if offset < self.next {
                    continue;
                }
                self.next = offset + 1;
                let seq = head.first_seq + (offset - head.base_offset);
                let expected = self.expected.entry(head.producer).or_insert(seq);
                if seq < *expected {
                    continue;
                }
                *expected = seq + 1;
                let BatchRecord { provenance, bytes } = record?;
                let record = Record::decode(bytes)?;
                if visit(Found { head, offset, provenance, record })?.is_break() {
                    return Ok(false);
                }
            }
        }
        Ok(!batches.is_empty())
    }
}
