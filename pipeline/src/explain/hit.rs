//! A record that was found, with all that says where it stands.

use super::Explainer;
use crate::error::JobError;
use crate::log::LoggedBatch;
use crate::tap::{Found, Row};
use serde_json::Value;
use std::ops::Range;
use std::sync::Arc;
use weir_proto::{Batch, Event, Guid, Producer, Provenance, Record, TopicId};

/// A record in its batch.
#[derive(Clone)]
pub(crate) struct Hit {
    pub(super) topic: TopicId,
    pub(super) partition: u32,
    pub(crate) offset: u64,
    pub(super) seq: u64,
    pub(super) provenance: Provenance,
    batch: Arc<LoggedBatch>,
    bytes: Range<usize>,
}

impl Hit {
    /// Who made it, and its running number: what is the same in a repeat.
    pub(super) fn identity(&self) -> (Producer, u64) {
        (self.batch.head.producer, self.seq)
    }

    /// The records of a batch that are wanted.
    pub(super) fn all(
        topic: TopicId,
        batch: &Arc<LoggedBatch>,
        wanted: impl Fn(Provenance, &Record<'_>) -> bool,
    ) -> Result<Vec<Hit>, JobError> {
        let mut hits = Vec::new();
        for (nth, record) in (0u64..).zip(Batch::open(&batch.bytes)?) {
            let record = record?;
            if !wanted(record.provenance, &Record::decode(record.bytes)?) {
                continue;
            }
            let start = record.bytes.as_ptr() as usize - batch.bytes.as_ptr() as usize;
            hits.push(Hit {
                topic,
                partition: batch.head.partition,
                offset: batch.head.base_offset + nth,
                seq: batch.head.first_seq + nth,
                provenance: record.provenance,
                batch: batch.clone(),
                bytes: start..start + record.bytes.len(),
            });
        }
        Ok(hits)
    }

    pub(super) fn producer(&self) -> Producer {
        self.batch.head.producer
    }

    pub(crate) fn record(&self) -> Result<Record<'_>, JobError> {
        Ok(Record::decode(&self.batch.bytes[self.bytes.clone()])?)
    }

    /// The event, of a record that is one or was made of one and holds it.
    pub(super) fn event(&self) -> Result<Option<Event<'_>>, JobError> {
        Ok(match self.record()? {
            Record::Event(event) => Some(event),
            Record::Dropped(dropped) => dropped.event,
            _ => None,
        })
    }

    /// The record as a tap shows it.
    pub(super) fn row(&self, explainer: &Explainer) -> Result<Value, JobError> {
        let found = Found {
            head: &self.batch.head,
            offset: self.offset,
            provenance: self.provenance,
            record: self.record()?,
        };
        Ok(Row::new(self.topic.topic, &found, &explainer.personal).value())
    }
}

/// The guid of a record, if it is about one event.
pub(super) fn guid_of<'a>(record: &Record<'a>) -> Option<Guid<'a>> {
    match record {
        Record::Event(event) => Some(event.guid()),
        Record::Charge(charge) => Some(charge.guid),
        Record::Dropped(dropped) => dropped.event.map(|e| e.guid()),
        Record::Adjustment(adjustment) => Some(adjustment.guid),
        _ => None,
    }
}

/// Whose event a record is about.
pub(super) fn advertiser_of(record: &Record<'_>) -> Option<u64> {
    match record {
        Record::Event(event) => Some(event.advertiser_id()),
        Record::Charge(charge) => Some(charge.advertiser_id),
        Record::Dropped(dropped) => dropped.event.map(|e| e.advertiser_id()),
        Record::Adjustment(adjustment) => Some(adjustment.advertiser_id),
        _ => None,
    }
}
