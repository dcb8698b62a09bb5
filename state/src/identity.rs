//! Which events were decided before: the index of (advertiser, guid).
//!
//! Guids that are ULIDs name their own time, so they are kept by that minute, in memory while it is
//! recent. A guid without a time of its own, or one whose time is far from the event's, is kept in
//! RocksDB by its text. Where an identity is kept depends on the first event that had it; a look-up
//! asks both places, so a repeat is found whatever time it claims.

use crate::error::StateError;
use crate::minute_table::{MinuteTable, MinuteTableOptions};
use crate::store::{Commit, Store};
use hashbrown::HashMap;
use weir_proto::{Guid, Minute};

/// How far a guid's own time may be from its event's to be kept by minute.
const TIMED_WITHIN: u32 = 60;

/// The identity of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity<'a> {
    /// Whose ad.
    pub advertiser_id: u64,
    /// The front end's id.
    pub guid: Guid<'a>,
    /// The minute of the event.
    pub minute: Minute,
}

impl Identity<'_> {
    /// The minute that a ULID names, and within it: its millisecond, its random bits, the advertiser.
    fn timed(&self) -> Option<(Minute, [u8; 20])> {
        let Guid::Ulid(id) = self.guid else { return None };
        let ms = (id >> 80) as u64;
        // Minutes of 32 bits end in the year 10136; a ULID may name a later one.
        let minute = u32::try_from(ms / Minute::MILLIS).ok()?;
        let mut key = [0; 20];
        key[..2].copy_from_slice(&((ms % Minute::MILLIS) as u16).to_le_bytes());
        key[2..12].copy_from_slice(&id.to_le_bytes()[..10]);
        key[12..].copy_from_slice(&self.advertiser_id.to_le_bytes());
        Some((Minute(minute), key))
    }

    fn by_text(&self) -> Vec<u8> {
        let mut key = self.advertiser_id.to_be_bytes().to_vec();
        match self.guid {
            Guid::Ulid(id) => {
                key.push(b'u');
                key.extend_from_slice(&id.to_be_bytes());
            }
            Guid::Text(text) => {
                key.push(b't');
                key.extend_from_slice(text.as_bytes());
            }
        }
        key
    }
}

/// Remembers one byte, the verdict, for each identity.
pub struct IdentityTable {
    timed: MinuteTable<20, 1>,
    untimed: u8,
    /// Untimed identities since the last commit, with their minute.
    fresh: HashMap<Vec<u8>, (u8, Minute)>,
    /// Whether the store holds any untimed identity: most never do.
    any_untimed: bool,
    keep: u32,
    now: Minute,
    expired_to: Minute,
}

impl IdentityTable {
    /// Loads the index from two tables of a store.
    pub fn load(
        store: &Store,
        timed: u8,
        untimed: u8,
        options: MinuteTableOptions,
    ) -> Result<Self, StateError> {
        let mut any_untimed = false;
        store.scan(untimed, b"n", |_, _| any_untimed = true)?;
        // An identity is kept for `keep` after its event; its guid may name an earlier minute.
        let wider = MinuteTableOptions { keep: options.keep + TIMED_WITHIN, ..options };
        Ok(IdentityTable {
            timed: MinuteTable::load(store, timed, wider)?,
            untimed,
            fresh: HashMap::new(),
            any_untimed,
            keep: options.keep,
            now: Minute(0),
            expired_to: Minute(0),
        })
    }

    /// The verdict on an identity, if there is one.
    #[inline]
    pub fn get(&mut self, store: &Store, id: &Identity<'_>) -> Result<Option<u8>, StateError> {
        if let Some((minute, key)) = id.timed()
            && let Some([verdict]) = self.timed.get(store, minute, &key)?
        {
            return Ok(Some(verdict));
        }
        if self.any_untimed { self.get_untimed(store, &id.by_text()) } else { Ok(None) }
    }

    fn get_untimed(&self, store: &Store, key: &[u8]) -> Result<Option<u8>, StateError> {
        if let Some((verdict, _)) = self.fresh.get(key) {
            return Ok(Some(*verdict));
        }
        let found = store.get(self.untimed, &[b"i", key].concat())?;
        Ok(found
            .as_deref()
            .and_then(untimed_value)
            .and_then(|(verdict, minute)| (minute >= self.now.minus(self.keep)).then_some(verdict)))
    }

    /// Remembers the verdict on an identity that has none yet.
    #[inline]
    pub fn insert(&mut self, store: &Store, id: &Identity<'_>, verdict: u8) -> Result<(), StateError> {
        match id.timed() {
            Some((minute, key)) if minute.0.abs_diff(id.minute.0) <= TIMED_WITHIN => {
                self.timed.update(store, minute, &key, |value| *value = [verdict])
            }
            _ => {
                self.any_untimed = true;
                self.fresh.insert(id.by_text(), (verdict, id.minute));
                Ok(())
            }
        }
    }

    /// Time passes.
    pub fn tick(&mut self, now: Minute) {
        self.now = self.now.max(now);
        self.timed.tick(now);
    }

    /// Adds what changed since the last commit.
    pub fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        if !self.fresh.is_empty() {
            commit.put(self.untimed, b"n", &[]);
        }
        for (key, (verdict, minute)) in self.fresh.drain() {
            let value = [&[verdict][..], &minute.0.to_be_bytes()].concat();
            commit.put(self.untimed, &[b"i", &key[..]].concat(), &value);
            // By minute, so that what is old can be found and deleted.
            commit.put(self.untimed, &[b"m", &minute.0.to_be_bytes()[..], &key].concat(), &[]);
        }
        self.expire_untimed(store, commit)?;
        self.timed.stage(store, commit)
    }

    fn expire_untimed(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        let horizon = self.now.minus(self.keep);
        if !self.any_untimed || self.expired_to >= horizon {
            return Ok(());
        }
        self.expired_to = horizon;
        store.scan_while(self.untimed, b"m", |key, _| {
            let stale = key.get(1..5).is_some_and(|minute| minute < &horizon.0.to_be_bytes()[..]);
            if stale {
                commit.delete(self.untimed, &[b"i", &key[5..]].concat());
                commit.delete(self.untimed, key);
            }
            stale
        })
    }
}

fn untimed_value(value: &[u8]) -> Option<(u8, Minute)> {
    let (verdict, minute) = value.split_first()?;
    Some((*verdict, Minute(u32::from_be_bytes(minute.try_into().ok()?))))
}
