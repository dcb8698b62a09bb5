//! Dead letters, as people see them: what stands in the topic `dead`, and what they ask to become of it.

use super::unfinished::DeadLetters;
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::input::Scan;
use crate::log::Log;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_proto::{Fate, MessageId, Nanos, Record, StageId, TaskId, Topic};
use weir_state::{Shared, Store};

const AT_A_TIME: u64 = 4_096;

/// A record that is not tried any more, and what was decided about it since.
#[derive(Clone, Debug, Serialize)]
pub struct DeadLetter {
    /// Its id, under which it was sent.
    pub id: String,
    /// `dead`; `retried` or `discarded` once it is decided about.
    pub state: &'static str,
    /// Whose account it is about.
    pub advertiser_id: u64,
    /// The event.
    pub guid: String,
    /// What was charged by it, or the size of the adjustment; 0 for a refusal.
    pub at_stake_nanos: Nanos,
    /// How often it was tried.
    pub attempts: u32,
    /// When it was given up, in ms since the epoch.
    pub died_ms: u64,
    /// What the account system said at last.
    pub reason: String,
    /// When it was decided about, in ms since the epoch.
    pub decided_ms: Option<u64>,
    /// What the person said.
    pub decision: Option<String>,
}

/// Reads the topic `dead`: every letter in its latest state, by id.
pub fn dead_letters(
    log: &Arc<dyn Log>,
    partitions: u32,
) -> Result<BTreeMap<MessageId, DeadLetter>, JobError> {
    let (topic, mut all) = (Topic::Dead.of(1), BTreeMap::new());
    for partition in 0..partitions {
        let start = log.start(topic, partition);
        if log.high_watermark(topic, partition) == start {
            // Or there is no such topic yet.
            continue;
        }
        let mut scan = Scan::new(log.clone(), topic, partition, start, AT_A_TIME);
        while scan.advance()?.is_some() {
            let Record::Dead(letter) = Record::decode(scan.bytes())? else { continue };
            if letter.fate == Fate::Dead {
                let dead = DeadLetter {
                    id: letter.id.to_string(),
                    state: letter.fate.name(),
                    advertiser_id: letter.advertiser_id,
                    guid: letter.guid.to_string(),
                    at_stake_nanos: letter.at_stake,
                    attempts: letter.attempt,
                    died_ms: letter.time_ms,
                    reason: letter.reason.to_owned(),
                    decided_ms: None,
                    decision: None,
                };
                all.insert(letter.id, dead);
            } else if let Some(dead) = all.get_mut(&letter.id) {
                dead.state = letter.fate.name();
                dead.decided_ms = Some(letter.time_ms);
                dead.decision = Some(letter.reason.to_owned()).filter(|reason| !reason.is_empty());
            }
        }
    }
    Ok(all)
}

/// The message of a dead letter that is not decided about, as it was sent; its job may be running.
pub fn message_of(dir: &DataDir, id: &MessageId) -> Result<Option<serde_json::Value>, JobError> {
    let task = TaskId { stage: StageId::Deliver, partition: id.partition as u16 }.in_generation(1);
    let path = dir.store(task);
    if !path.exists() {
        return Ok(None);
    }
    let store = Store::open_read_only(&path, &Shared::new(1 << 20))?;
    let Some(dead) = DeadLetters::get(&store, id)? else { return Ok(None) };
    Ok(serde_json::from_slice(&dead.message.line()?.json).ok())
}

/// What a person asks to become of dead letters of one partition.
pub struct Ask {
    /// Which.
    pub ids: Vec<MessageId>,
    /// Give them up; else try them again.
    pub discard: bool,
    /// Why.
    pub reason: String,
    /// Gets those that it was decided about, once that is durable.
    pub done: Sender<Vec<MessageId>>,
}

/// What a task was asked and has not done yet.
#[derive(Default)]
pub struct Mailbox(Mutex<Vec<Ask>>);

impl Mailbox {
    fn asks(&self) -> MutexGuard<'_, Vec<Ask>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks something.
    pub fn put(&self, ask: Ask) {
        self.asks().push(ask);
    }

    /// Whether nothing is asked.
    pub fn is_empty(&self) -> bool {
        self.asks().is_empty()
    }

    /// Takes everything.
    pub fn take(&self) -> Vec<Ask> {
        std::mem::take(&mut *self.asks())
    }
}
