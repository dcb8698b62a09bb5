//! What goes out of a partition: the published outcomes in `charges`, then the `adjustments`.
//!
//! The published outcomes are those of the generation that was published when they were made. When
//! another one takes over at the tick of a minute, reading goes on from the old generation's `charges`,
//! behind that tick, to the new one's, behind the same tick; what both made of the time before is compared
//! when the promotion is settled, and comes in `adjustments`. A promotion is decided before its tick is
//! sent, so the switch is always known when the tick is read.
//!
//! Where reading stands is the value `reading` in table 3 of the task's store, [`Reading`] versioned as in
//! [`weir_state::versioned`]. A task that is opened for the first time begins with the oldest records left.

use super::message::Message;
use crate::error::JobError;
use crate::generations::Registry;
use crate::input::{Head, Scan};
use crate::log::{LiveLog, Log};
use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::sync::Arc;
use weir_proto::{MessageId, Minute, Record, StageId, TaskId, Topic, TopicId};
use weir_state::{Commit, StateError, Store, versioned};

const TABLE: u8 = 3;
const KEY: &[u8] = b"reading";
const VERSION: u8 = 1;
/// Records fetched at a time.
const AT_A_TIME: u64 = 1_024;

/// Where reading stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reading {
    /// The generation whose `charges` are read.
    pub generation: u32,
    /// The next offset there.
    pub offset: u64,
    /// The running number expected there, once one was seen.
    pub next_seq: Option<u64>,
    /// Until the tick of this minute, which is when the generation took over, nothing is delivered;
    /// 0 if it was passed.
    pub behind: Minute,
    /// The next offset of `adjustments`.
    pub adjustments: u64,
}

impl Reading {
    /// That of a task's store, or none if the task never committed.
    pub fn load(store: &Store) -> Result<Option<Self>, StateError> {
        let found = store.get(TABLE, KEY)?;
        found.map(|bytes| versioned::decode(store, VERSION, "a reading position", &bytes)).transpose()
    }

    /// Sets it.
    pub fn save(&self, commit: &mut Commit) {
        commit.put(TABLE, KEY, &versioned::encode(VERSION, self));
    }

    /// The topic that is read.
    pub fn charges(&self) -> TopicId {
        Topic::Charges.of(self.generation)
    }

    /// Whether a record is still to be read.
    pub fn is_before(&self, id: &MessageId) -> bool {
        let place = (id.topic.generation, id.offset);
        match id.topic.topic {
            Topic::Charges => place >= (self.generation, self.offset),
            _ => id.offset >= self.adjustments,
        }
    }

    /// The offset of a generation's `charges` from which on it is still to be read.
    pub fn needs_from(&self, topic: TopicId) -> u64 {
        match topic.generation.cmp(&self.generation) {
            Ordering::Less => u64::MAX,
            Ordering::Equal => self.offset,
            Ordering::Greater => 0,
        }
    }

    /// Published records behind it.
    pub fn unread(&self, log: &dyn Log, partition: u32) -> u64 {
        let behind = |topic, offset| log.high_watermark(topic, partition).saturating_sub(offset);
        let charges = if self.behind.0 > 0 { 0 } else { behind(self.charges(), self.offset) };
        charges + behind(Topic::Adjustments.of(1), self.adjustments)
    }
}

/// The generations whose `charges` are or were the published ones, each with the minute at whose tick it
/// took over.
pub fn published_charges(registry: &Registry) -> Vec<(u32, Minute)> {
    let mut all: Vec<(u32, Minute)> = Vec::new();
    for id in registry.was_published() {
        let charges = registry.runs(id, StageId::Deduct);
        if all.last().is_none_or(|(generation, _)| *generation != charges) {
            all.push((charges, registry.promoted_at(id).unwrap_or_default()));
        }
    }
    all
}

/// The record that stands at a place, unless the log has let go of it.
pub fn message_at(log: &Arc<dyn LiveLog>, id: &MessageId) -> Result<Option<Message>, JobError> {
    if id.offset < log.start(id.topic, id.partition) {
        return Ok(None);
    }
    let mut scan = Scan::new(log.clone(), id.topic, id.partition, id.offset, 1);
    let head = scan.advance()?.filter(|head| head.offset == id.offset);
    Ok(head.map(|head| message(*id, head, scan.bytes())))
}

fn message(id: MessageId, head: Head, bytes: &[u8]) -> Message {
    Message { id, producer: head.producer, provenance: head.provenance, bytes: bytes.to_vec() }
}

/// Reads what is published.
pub struct Published {
    log: Arc<dyn LiveLog>,
    registry: Arc<Registry>,
    task: TaskId,
    at: Reading,
    charges: Scan,
    adjustments: Scan,
}

impl Published {
    /// From where it was found to be, or from the oldest record left. `section` is that of the configuration
    /// that reads.
    pub fn open(
        log: Arc<dyn LiveLog>,
        registry: Arc<Registry>,
        partition: u32,
        found: Option<Reading>,
        section: &str,
    ) -> Result<Self, JobError> {
        let first = published_charges(&registry).first().map_or(1, |(generation, _)| *generation);
        let mut at = found.unwrap_or(Reading {
            generation: first,
            offset: 0,
            next_seq: None,
            behind: Minute(0),
            adjustments: 0,
        });
        for (generation, _) in published_charges(&registry).into_iter().filter(|(g, _)| *g >= at.generation) {
            log.add(Topic::Charges.of(generation))?;
        }
        let task = TaskId { stage: StageId::Deduct, partition: partition as u16 };
        skip_trimmed(&*log, &mut at, partition, found.map(|_| section))?;
        let charges = Self::scan(&log, at.charges(), partition, at.offset);
        let adjustments = Self::scan(&log, Topic::Adjustments.of(1), partition, at.adjustments);
        let mut this = Published { log, registry, task, at, charges, adjustments };
        while this.charges.backlog() == 0 && this.successor().is_some_and(|(_, _, ended)| ended) {
            this.switch();
        }
        Ok(this)
    }

    fn scan(log: &Arc<dyn LiveLog>, topic: TopicId, partition: u32, offset: u64) -> Scan {
        Scan::new(log.clone(), topic, partition, offset, AT_A_TIME)
    }

    fn partition(&self) -> u32 {
        u32::from(self.task.partition)
    }

    /// Where it stands.
    pub fn at(&self) -> Reading {
        self.at
    }

    /// Durable records not looked at yet.
    pub fn backlog(&self) -> u64 {
        self.charges.backlog() + self.adjustments.backlog()
    }

    /// The next message; looks at `budget` records at most, and takes them off it.
    pub fn next(&mut self, budget: &mut u64) -> Result<Option<Message>, JobError> {
        while *budget > 0 {
            *budget -= 1;
            let Some(head) = self.charges.advance()? else { return self.next_adjustment() };
            let known = self.at.next_seq.unwrap_or(head.seq);
            self.at.offset = head.offset + 1;
            if head.producer.task() != self.task || head.seq < known {
                continue;
            }
            if head.seq > known {
                let (topic, upstream) = (self.charges.topic(), head.producer);
                return Err(JobError::Gap {
                    task: self.task,
                    topic,
                    upstream,
                    expected: known,
                    found: head.seq,
                });
            }
            self.at.next_seq = Some(head.seq + 1);
            match Record::decode(self.charges.bytes())? {
                Record::Tick(minute) => self.tick(minute),
                Record::Charge(_) if self.at.behind.0 == 0 => {
                    return Ok(Some(self.message(self.charges.topic(), head, self.charges.bytes())));
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn next_adjustment(&mut self) -> Result<Option<Message>, JobError> {
        let Some(head) = self.adjustments.advance()? else { return Ok(None) };
        self.at.adjustments = head.offset + 1;
        Ok(Some(self.message(self.adjustments.topic(), head, self.adjustments.bytes())))
    }

    fn message(&self, topic: TopicId, head: Head, bytes: &[u8]) -> Message {
        message(MessageId { topic, partition: self.partition(), offset: head.offset }, head, bytes)
    }

    fn tick(&mut self, minute: Minute) {
        if minute < self.at.behind {
            return;
        }
        self.at.behind = Minute(0);
        if self.successor().is_some_and(|(_, from, _)| from <= minute) {
            self.switch();
        }
    }

    /// The generation that follows the one read, from the tick of which minute on, and whether the one
    /// read has ended for good.
    fn successor(&self) -> Option<(u32, Minute, bool)> {
        let mut all = published_charges(&self.registry).into_iter();
        all.find(|(generation, _)| *generation == self.at.generation)?;
        all.next().map(|(generation, from)| (generation, from, self.registry.has_ends(generation)))
    }

    fn switch(&mut self) {
        let Some((generation, behind, _)) = self.successor() else { return };
        let offset = self.log.start(Topic::Charges.of(generation), self.partition());
        self.at = Reading { generation, offset, next_seq: None, behind, ..self.at };
        self.charges = Self::scan(&self.log, self.at.charges(), self.partition(), offset);
    }
}

/// Records that were let go of do not go out; while there is somebody to read them none are.
fn skip_trimmed(
    log: &dyn Log,
    at: &mut Reading,
    partition: u32,
    read_by: Option<&str>,
) -> Result<(), JobError> {
    let (topic, start) = (at.charges(), log.start(at.charges(), partition));
    let end = log.high_watermark(topic, partition);
    if at.offset > end {
        let task = TaskId { stage: StageId::Deliver, partition: partition as u16 }.in_generation(1);
        let file = log.newest_file(topic);
        return Err(JobError::AheadOfLog { task, topic, store: at.offset, log: end, file });
    }
    if at.offset < start {
        if let Some(section) = read_by {
            let lost = start - at.offset;
            tracing::error!(
                "{lost} records of {topic}-{partition} were let go of while there was no {section}: they do not go \
                 out"
            );
        }
        (at.offset, at.next_seq) = (start, None);
    }
    Ok(())
}
