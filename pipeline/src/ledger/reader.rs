//! What is to be written next: the published outcomes of all partitions.

use super::error::LedgerError;
use super::row::Rows;
use crate::deliver::{Message, Published, Reading, message_at};
use crate::error::JobError;
use crate::generations::Registry;
use crate::log::LiveLog;
use std::sync::Arc;
use weir_proto::{MessageId, Record, Topic};

/// Records of a partition that are looked at in a row, at most: ticks, and what another generation made of a
/// time before.
const LOOK: u64 = 4_096;
/// Turns of a batch, at most: between batches it is looked whether the job ends.
const TURNS: usize = 256;

/// Rows, and how far reading is with them.
pub struct Batch {
    /// To be written.
    pub rows: Rows,
    /// Per partition.
    pub readings: Vec<Reading>,
}

/// Reads all partitions in turns.
pub struct Reader {
    log: Arc<dyn LiveLog>,
    partitions: Vec<Published>,
    /// Whose turn it is.
    next: usize,
}

impl Reader {
    /// From where the database stands.
    pub fn open(
        log: &Arc<dyn LiveLog>,
        registry: &Arc<Registry>,
        found: &[Option<Reading>],
    ) -> Result<Self, LedgerError> {
        let mut partitions = Vec::new();
        for (partition, reading) in (0..).zip(found) {
            let open = Published::open(log.clone(), registry.clone(), partition, *reading, "[ledger]");
            partitions.push(open.map_err(|error| ahead(error, partition))?);
        }
        Ok(Reader { log: log.clone(), partitions, next: 0 })
    }

    /// How far reading is.
    pub fn readings(&self) -> Vec<Reading> {
        self.partitions.iter().map(Published::at).collect()
    }

    /// The next rows, `limit` at most; none if everything is read.
    pub fn batch(&mut self, limit: usize) -> Result<Batch, JobError> {
        let mut rows = Rows::default();
        let (mut idle, mut turns) = (0, 0);
        while rows.count() < limit && idle < self.partitions.len() && turns < TURNS {
            turns += 1;
            let at = self.next;
            self.next = (at + 1) % self.partitions.len();
            let mut budget = LOOK;
            while rows.count() < limit
                && let Some(message) = self.partitions[at].next(&mut budget)?
            {
                let concerned = self.concerned(&message)?;
                rows.push(&message, concerned.as_ref())?;
            }
            idle = if self.partitions[at].backlog() == 0 { idle + 1 } else { 0 };
        }
        Ok(Batch { rows, readings: self.readings() })
    }

    /// The outcome that an adjustment is about, the new or the old one, if the log still has it.
    fn concerned(&self, message: &Message) -> Result<Option<Message>, JobError> {
        let Record::Adjustment(adjustment) = Record::decode(&message.bytes)? else { return Ok(None) };
        for place in [adjustment.new, adjustment.original] {
            let (topic, partition) = (Topic::Charges.of(place.generation), adjustment.partition);
            if place.generation > 0 && place.offset < self.log.high_watermark(topic, partition) {
                let id = MessageId { topic, partition, offset: place.offset };
                if let Some(found) = message_at(&self.log, &id)? {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }
}

fn ahead(error: JobError, partition: u32) -> LedgerError {
    match error {
        JobError::AheadOfLog { topic, store, log, .. } => {
            LedgerError::AheadOfLog { partition, generation: topic.generation, position: store, end: log }
        }
        other => other.into(),
    }
}
