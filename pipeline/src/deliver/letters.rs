//! Letters on their way to `retry` and `dead`, in the partition of their task.

use super::message::Message;
use crate::error::JobError;
use crate::input::Scan;
use crate::log::{LiveLog, NewBatch};
use crate::outputs::Tickets;
use std::sync::Arc;
use weir_proto::{BatchBuilder, Fate, Letter, MessageId, Producer, Provenance, Record, RecordError, Topic};
use weir_state::TaskMeta;

/// What a task that delivers appends to.
pub const DELIVER_WRITES: &[Topic] = &[Topic::Retry, Topic::Dead];
const AT_A_TIME: u64 = 1_024;

/// What is decided about a message, and why.
pub struct Verdict<'a> {
    /// What.
    pub fate: Fate,
    /// How often it was tried.
    pub attempt: u32,
    /// When the request failed or a person decided, in ms since the epoch.
    pub time_ms: u64,
    /// When it is tried again, in ms since the epoch; 0 if it is not.
    pub next_time_ms: u64,
    /// Why.
    pub reason: &'a str,
}

/// Collects letters and appends them.
pub struct Letters {
    log: Arc<dyn LiveLog>,
    task: Producer,
    batches: [BatchBuilder; 2],
}

impl Letters {
    /// Of a task.
    pub fn new(log: Arc<dyn LiveLog>, task: Producer) -> Self {
        Letters { log, task, batches: Default::default() }
    }

    /// Writes a letter; nothing stands in its topic yet.
    pub fn write(
        &mut self,
        message: &Message,
        verdict: &Verdict<'_>,
        meta: &TaskMeta,
    ) -> Result<(), RecordError> {
        let about = message.about()?;
        let letter = Letter {
            id: message.id,
            fate: verdict.fate,
            attempt: verdict.attempt,
            time_ms: verdict.time_ms,
            next_time_ms: verdict.next_time_ms,
            advertiser_id: about.advertiser_id,
            guid: about.guid,
            at_stake: about.at_stake,
            reason: verdict.reason,
        };
        let at = usize::from(verdict.fate != Fate::Retry);
        let batch = &mut self.batches[at];
        let seq = meta.outputs[at].1.next_seq[usize::from(self.task.partition)] + u64::from(batch.count());
        let (fixed, [guid, reason]) = letter.encode();
        // They are made of no record's position: their running number is all the order there is.
        batch.push(Provenance { position: seq, index: 0 }, &[&fixed, guid.as_bytes(), reason.as_bytes()]);
        Ok(())
    }

    /// Appends what was written.
    pub fn append(&mut self, meta: &mut TaskMeta) -> Result<Tickets, JobError> {
        let (mut tickets, partition) = (Tickets::default(), self.task.partition);
        for (at, (builder, (topic, output))) in self.batches.iter_mut().zip(&mut meta.outputs).enumerate() {
            let (count, last) = (builder.count(), builder.last());
            if count == 0 {
                continue;
            }
            let next_seq = &mut output.next_seq[usize::from(partition)];
            let batch =
                NewBatch { producer: self.task, first_seq: *next_seq, count, last, bytes: builder.take() };
            let topic = topic.of(1);
            let appended = self.log.append(topic, u32::from(partition), batch)?;
            *next_seq += u64::from(count);
            output.ends[usize::from(partition)] = appended.end;
            tickets.add(at, topic, u32::from(partition), appended);
        }
        Ok(tickets)
    }

    /// Letters in `dead` that were appended and not committed before a crash, which count all the same;
    /// running numbers go on behind all that stands in both topics.
    pub fn resume(&self, meta: &mut TaskMeta) -> Result<Vec<(MessageId, Fate, u32)>, JobError> {
        let (mut found, at) = (Vec::new(), usize::from(self.task.partition));
        for (topic, output) in &mut meta.outputs {
            let (id, end) = (topic.of(1), output.ends[at]);
            let high = self.log.high_watermark(id, at as u32);
            if high < end {
                let (task, file) = (self.task, self.log.newest_file(id));
                return Err(JobError::AheadOfLog { task, topic: id, store: end, log: high, file });
            }
            let mut scan = Scan::new(self.log.clone(), id, at as u32, end, AT_A_TIME);
            while let Some(head) = scan.advance()? {
                output.next_seq[at] = head.seq + 1;
                output.ends[at] = head.offset + 1;
                if let Record::Dead(letter) = Record::decode(scan.bytes())? {
                    found.push((letter.id, letter.fate, letter.attempt));
                }
            }
        }
        Ok(found)
    }
}
