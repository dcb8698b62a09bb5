//! Rows of a store by any key, for what is rare: commands, refunds, clicks that actions may name.
//!
//! A row is a value versioned as in [`weir_state::versioned`], with the minute until which it is kept in
//! front; `Minute(u32::MAX)` for ever. A second entry by that minute finds what is old. What has run out is
//! not found any more, whether it was deleted yet or not.

use hashbrown::HashMap;
use serde::Serialize;
use serde::de::DeserializeOwned;
use weir_proto::Minute;
use weir_state::{Commit, StateError, Store, versioned};

/// Kept for ever.
pub const FOR_EVER: Minute = Minute(u32::MAX);

/// Which table, version of its values, and what they are, for errors.
#[derive(Clone, Copy)]
pub struct RowsOf {
    /// The table's number.
    pub table: u8,
    /// The version of its values.
    pub version: u8,
    /// "a refund".
    pub what: &'static str,
}

/// Rows, with those that changed since the last commit.
pub struct Rows<V> {
    of: RowsOf,
    fresh: HashMap<Vec<u8>, (Minute, V)>,
    now: Minute,
}

/// The key of something of an advertiser.
pub fn key(advertiser_id: u64, of: &[u8]) -> Vec<u8> {
    [&advertiser_id.to_be_bytes()[..], of].concat()
}

fn by_minute(until: Minute, key: &[u8]) -> Vec<u8> {
    [b"m", &until.0.to_be_bytes()[..], key].concat()
}

impl<V: Serialize + DeserializeOwned + Clone> Rows<V> {
    /// As of a tick.
    pub fn new(of: RowsOf, now: Minute) -> Self {
        Rows { of, fresh: HashMap::new(), now }
    }

    /// The row of a key.
    pub fn get(&self, store: &Store, key: &[u8]) -> Result<Option<V>, StateError> {
        let row = match self.fresh.get(key) {
            Some(row) => Some(row.clone()),
            None => {
                let found = store.get(self.of.table, &[b"r", key].concat())?;
                found.map(|b| versioned::decode(store, self.of.version, self.of.what, &b)).transpose()?
            }
        };
        Ok(row.filter(|(until, _): &(Minute, V)| *until >= self.now).map(|(_, value)| value))
    }

    /// Sets the row of a key. Until when it is kept must not change.
    pub fn put(&mut self, key: Vec<u8>, until: Minute, value: V) {
        self.fresh.insert(key, (until, value));
    }

    /// Time passes.
    pub fn tick(&mut self, now: Minute) {
        self.now = now;
    }

    /// Adds what changed since the last commit, and deletes what has run out.
    pub fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        for (key, row) in self.fresh.drain() {
            commit.put(self.of.table, &[b"r", &key[..]].concat(), &versioned::encode(self.of.version, &row));
            if row.0 != FOR_EVER {
                commit.put(self.of.table, &by_minute(row.0, &key), &[]);
            }
        }
        store.scan_while(self.of.table, b"m", |entry, _| {
            let Some((until, key)) = entry.get(1..).and_then(|rest| rest.split_first_chunk::<4>()) else {
                return false;
            };
            let is_old = u32::from_be_bytes(*until) < self.now.0;
            if is_old {
                commit.delete(self.of.table, &[b"r", key].concat());
                commit.delete(self.of.table, entry);
            }
            is_old
        })
    }
}
