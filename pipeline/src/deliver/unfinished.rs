//! What a task has read and not finished: records that wait for another try, and dead letters.
//!
//! Tables of its store, beside the [`weir_state::TaskMeta`]. The key of a record is `topic u8,
//! generation u32, offset u64`, big-endian, so that keys are in the order of ids; its partition is that of
//! the task. Values are versioned as in [`weir_state::versioned`].
//!
//! ```text
//! 1  unfinished records: Waiting
//! 2  dead letters that nobody has decided about: Waiting
//! 3  "reading": see published.rs
//! ```

use super::message::Message;
use crate::config::Deliver;
use crate::config::duration::millis;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use weir_proto::{MessageId, Topic};
use weir_state::{Commit, StateError, Store, versioned};

const UNFINISHED: u8 = 1;
const DEAD: u8 = 2;
const VERSION: u8 = 1;

/// A record that was tried.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Waiting {
    /// How often.
    pub attempt: u32,
    /// When it is tried again, in ms since the epoch.
    pub next_ms: u64,
    /// The record.
    pub message: Message,
}

/// How long to wait after a failed request.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    first_ms: u64,
    max_ms: u64,
}

impl Backoff {
    /// That of a configuration.
    pub fn new(options: &Deliver) -> Self {
        Backoff { first_ms: millis(options.backoff), max_ms: millis(options.backoff_max) }
    }

    /// How long to wait after the n-th failure of a record, in ms: doubled each time, up to the most, of
    /// which a part between a half and the whole is taken. Which part, the record says: no two records
    /// come back together, and each comes back when it would have.
    pub fn delay_ms(&self, id: &MessageId, attempt: u32) -> u64 {
        let doubled = self.first_ms.saturating_mul(1u64.checked_shl(attempt.max(1) - 1).unwrap_or(u64::MAX));
        let whole = doubled.min(self.max_ms);
        let hash = blake3::hash(format!("{id} {attempt}").as_bytes());
        let jitter = hash.as_bytes().first_chunk().map_or(0, |b| u64::from_le_bytes(*b));
        whole / 2 + jitter % (whole - whole / 2 + 1)
    }
}

/// The records of a task that wait for another try.
#[derive(Debug, Default)]
pub struct Unfinished {
    all: BTreeMap<MessageId, Waiting>,
    due: BTreeSet<(u64, MessageId)>,
}

impl Unfinished {
    /// Reads them from the task's store.
    pub fn load(store: &Store) -> Result<Self, StateError> {
        let mut this = Unfinished::default();
        load(store, UNFINISHED)?.into_iter().for_each(|waiting| this.insert(waiting));
        Ok(this)
    }

    fn insert(&mut self, waiting: Waiting) {
        self.due.insert((waiting.next_ms, waiting.message.id));
        if let Some(before) = self.all.insert(waiting.message.id, waiting) {
            let id = before.message.id;
            if self.all.get(&id).is_some_and(|now| now.next_ms != before.next_ms) {
                self.due.remove(&(before.next_ms, id));
            }
        }
    }

    /// A record is to be tried again.
    pub fn put(&mut self, waiting: Waiting, commit: &mut Commit) {
        commit.put(UNFINISHED, &key(&waiting.message.id), &versioned::encode(VERSION, &waiting));
        self.insert(waiting);
    }

    /// A record is finished.
    pub fn finish(&mut self, id: &MessageId, commit: &mut Commit) {
        if let Some(waiting) = self.all.remove(id) {
            self.due.remove(&(waiting.next_ms, *id));
            commit.delete(UNFINISHED, &key(id));
        }
    }

    /// How many there are.
    pub fn len(&self) -> u64 {
        self.all.len() as u64
    }

    /// Whether one is to be tried now.
    pub fn is_due(&self, now_ms: u64) -> bool {
        self.due.first().is_some_and(|(at, _)| *at <= now_ms)
    }

    /// Those that are to be tried now, in the order in which they became due.
    pub fn due(&self, now_ms: u64, limit: usize) -> Vec<Waiting> {
        let due = self.due.iter().take_while(|(at, _)| *at <= now_ms).take(limit);
        due.filter_map(|(_, id)| self.all.get(id)).cloned().collect()
    }

    /// One of them.
    pub fn get(&self, id: &MessageId) -> Option<&Waiting> {
        self.all.get(id)
    }

    /// The lowest offset of an unfinished record of `charges`; those of a generation before this one are
    /// below everything.
    pub fn lowest_charge(&self, generation: u32) -> Option<u64> {
        let first = self.all.keys().next().filter(|id| id.topic.topic == Topic::Charges)?;
        Some(if first.topic.generation == generation { first.offset } else { 0 })
    }
}

/// The dead letters in a store.
pub struct DeadLetters;

impl DeadLetters {
    /// The dead letter of an id, unless it was decided about.
    pub fn get(store: &Store, id: &MessageId) -> Result<Option<Waiting>, StateError> {
        let found = store.get(DEAD, &key(id))?;
        found.map(|bytes| versioned::decode(store, VERSION, "a dead letter", &bytes)).transpose()
    }

    /// All of them.
    pub fn ids(store: &Store) -> Result<Vec<MessageId>, StateError> {
        Ok(load(store, DEAD)?.into_iter().map(|waiting| waiting.message.id).collect())
    }

    /// A record is not tried any more.
    pub fn put(waiting: &Waiting, commit: &mut Commit) {
        commit.put(DEAD, &key(&waiting.message.id), &versioned::encode(VERSION, waiting));
    }

    /// It was decided about.
    pub fn remove(id: &MessageId, commit: &mut Commit) {
        commit.delete(DEAD, &key(id));
    }
}

fn load(store: &Store, table: u8) -> Result<Vec<Waiting>, StateError> {
    let mut all = Vec::new();
    store.scan(table, &[], |_, bytes| {
        all.push(versioned::decode(store, VERSION, "an unfinished record", bytes));
    })?;
    all.into_iter().collect()
}

fn key(id: &MessageId) -> Vec<u8> {
    let head = [id.topic.topic as u8];
    [&head[..], &id.topic.generation.to_be_bytes(), &id.offset.to_be_bytes()].concat()
}

#[cfg(test)]
mod tests {
    use super::super::message::tests::charge;
    use super::*;

    fn waiting(offset: u64, next_ms: u64) -> Waiting {
        Waiting { attempt: 1, next_ms, message: charge(offset) }
    }

    #[test]
    fn a_delay_is_the_same_each_time_grows_and_is_bounded() {
        let backoff = Backoff { first_ms: 1_000, max_ms: 300_000 };
        for offset in 0..100 {
            let id = charge(offset).id;
            for attempt in 1..=80 {
                let delay = backoff.delay_ms(&id, attempt);
                let whole = 1_000u64.saturating_mul(1 << (attempt - 1).min(40)).min(300_000);
                assert!((whole / 2..=whole).contains(&delay), "{attempt}: {delay}");
                assert_eq!(delay, backoff.delay_ms(&id, attempt));
            }
        }
        let delays: BTreeSet<u64> = (0..100).map(|n| backoff.delay_ms(&charge(n).id, 5)).collect();
        assert!(delays.len() > 90, "they do not come back together");
        assert_eq!(Backoff { first_ms: 0, max_ms: 0 }.delay_ms(&charge(1).id, 3), 0);
    }

    #[test]
    fn what_is_due_comes_in_the_order_of_its_time() {
        let (mut unfinished, mut commit) = (Unfinished::default(), Commit::new(1));
        for (offset, next_ms) in [(1, 30), (2, 10), (3, 20), (2, 40)] {
            unfinished.put(waiting(offset, next_ms), &mut commit);
        }
        let due = |unfinished: &Unfinished, now| -> Vec<u64> {
            unfinished.due(now, 9).iter().map(|w| w.message.id.offset).collect()
        };
        assert_eq!((due(&unfinished, 30), unfinished.len()), (vec![3, 1], 3));
        assert!(!unfinished.is_due(19) && unfinished.is_due(20));
        assert_eq!((unfinished.lowest_charge(1), unfinished.lowest_charge(2)), (Some(1), Some(0)));
        unfinished.finish(&charge(1).id, &mut commit);
        assert_eq!((due(&unfinished, 99), unfinished.lowest_charge(1)), (vec![3, 2], Some(2)));
    }
}
