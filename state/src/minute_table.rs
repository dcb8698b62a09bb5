//! A table whose entries belong to minutes: window counters, identities.
//!
//! The newest minutes are *hot*: they live in memory and are exact; a commit appends only what changed, as one
//! blob per minute. After a start each is read back from its blobs when it is first asked for. A minute that gets older than the hot window is
//! put to *rest*: it leaves the memory, and its blobs stay as they are. Most are never asked for again. The first
//! question to a resting minute *seals* it: its blobs become pages, and a look-up is one read from then on. A
//! sealed minute may be written again: the newer values stand in memory, on top of its pages, until they are so
//! many that the minute is sealed anew. Minutes older than the horizon are deleted. None of this can be
//! seen from outside: a get answers the same wherever an entry stands.
//!
//! Blobs are entries (key, value, …), and the store keeps them by minute. Keys in the table itself (numbers
//! big-endian): `'h' minute u32` for a minute at rest, the number of its pages u32 (little-endian), 0 before it is
//! sealed; `'p' minute u32 page u32` a page; `'l' minute u32 commit u64` a blob on top of the pages.

use crate::error::StateError;
use crate::hot::{Hasher, Hot};
use crate::pages;
use crate::store::{Commit, Durability, Store};
use std::collections::{BTreeMap, BTreeSet};
use std::hash::BuildHasher;
use weir_proto::Minute;

/// How long a table keeps what, in minutes before the newest tick.
#[derive(Clone, Copy, Debug)]
pub struct MinuteTableOptions {
    /// In memory.
    pub hot: u32,
    /// At all.
    pub keep: u32,
    /// Entries in memory above which the oldest minutes are put to rest early.
    pub max_hot_entries: usize,
}

/// How a minute that is not hot is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cold {
    /// As the blobs that commits wrote.
    Resting,
    /// As so many pages.
    Sealed(u32),
}

/// A value in the memory of a table.
#[derive(Clone, Copy)]
pub struct Slot {
    place: usize,
    at: usize,
}

/// A table of fixed-size keys and values by minute.
pub struct MinuteTable<const K: usize, const V: usize> {
    table: u8,
    options: MinuteTableOptions,
    hasher: Hasher,
    /// In order. There are few, and mostly the newest is asked for.
    hot: Vec<(Minute, Hot<K, V>)>,
    /// Those that will be hot once they are asked for.
    unread: BTreeSet<Minute>,
    /// All minutes up to the newest of them are cold; what is newer on top of one is in `hot`.
    cold: BTreeMap<Minute, Cold>,
    now: Minute,
}

impl<const K: usize, const V: usize> MinuteTable<K, V> {
    /// Loads the table from its store.
    pub fn load(store: &Store, table: u8, options: MinuteTableOptions) -> Result<Self, StateError> {
        let mut this = MinuteTable {
            table,
            options,
            hasher: Hasher::default(),
            hot: Vec::new(),
            unread: BTreeSet::new(),
            cold: BTreeMap::new(),
            now: Minute(0),
        };
        store.scan(table, b"h", |key, value| {
            let cold = match value.try_into().map_or(0, u32::from_le_bytes) {
                0 => Cold::Resting,
                pages => Cold::Sealed(pages),
            };
            this.cold.insert(minute_of(key), cold);
        })?;
        store.scan(table, b"l", |key, blob| this.replay(minute_of(key), blob))?;
        this.unread = store.minutes_of_blobs(table, this.frontier())?;
        Ok(this)
    }

    /// The first minute that may be hot.
    fn frontier(&self) -> Minute {
        let cold = self.cold.last_key_value().map_or(0, |(minute, _)| minute.0.saturating_add(1));
        Minute(cold).max(self.now.minus(self.options.hot))
    }

    /// Where a minute stands in memory, or should stand.
    #[inline]
    fn place_of(&self, minute: Minute) -> Result<usize, usize> {
        let at = self.hot.iter().rposition(|(m, _)| *m <= minute);
        match at {
            Some(at) if self.hot[at].0 == minute => Ok(at),
            at => Err(at.map_or(0, |at| at + 1)),
        }
    }

    /// Where a minute stands in memory; if it is new, with room for so many entries.
    fn place_with_room(&mut self, minute: Minute, room: usize) -> usize {
        self.place_of(minute).unwrap_or_else(|at| {
            self.hot.insert(at, (minute, Hot::with_room(room)));
            at
        })
    }

    /// Where a key stands in memory.
    #[inline]
    fn find(&self, minute: Minute, hash: u64, key: &[u8; K]) -> Option<Slot> {
        let place = self.place_of(minute).ok()?;
        self.hot[place].1.find(hash, key).map(|at| Slot { place, at })
    }

    /// The same, once the minute was read back if it was not yet.
    #[inline]
    fn find_read(
        &mut self,
        store: &Store,
        minute: Minute,
        hash: u64,
        key: &[u8; K],
    ) -> Result<Option<Slot>, StateError> {
        let found = self.find(minute, hash, key);
        if found.is_some() || self.unread.is_empty() || !self.unread.remove(&minute) {
            return Ok(found);
        }
        store.scan_blobs(self.table, minute, |blob| self.replay(minute, blob))?;
        Ok(self.find(minute, hash, key))
    }

    fn replay(&mut self, minute: Minute, blob: &[u8]) {
        let place = self.place_with_room(minute, blob.len() / (K + V));
        self.hot[place].1.replay(&self.hasher, blob);
    }

    /// The value of a key in a minute.
    pub fn get(
        &mut self,
        store: &Store,
        minute: Minute,
        key: &[u8; K],
    ) -> Result<Option<[u8; V]>, StateError> {
        match self.find_read(store, minute, self.hasher.hash_one(key), key)? {
            Some(slot) => Ok(Some(self.hot[slot.place].1.value(slot.at))),
            None => self.get_cold(store, minute, key),
        }
    }

    fn get_cold(
        &mut self,
        store: &Store,
        minute: Minute,
        key: &[u8; K],
    ) -> Result<Option<[u8; V]>, StateError> {
        let pages = match self.cold.get(&minute) {
            None => return Ok(None),
            Some(Cold::Resting) => self.seal_resting(store, minute)?,
            Some(Cold::Sealed(pages)) => *pages,
        };
        let page = store.get(self.table, &page_key(minute, pages::page_of(key, pages)))?;
        Ok(page.and_then(|page| pages::find(&page, key)))
    }

    /// Gives `change` the value of a key (zeros if it is new) to look at and change.
    #[inline]
    pub fn update<R>(
        &mut self,
        store: &Store,
        minute: Minute,
        key: &[u8; K],
        change: impl FnOnce(&mut [u8; V]) -> R,
    ) -> Result<R, StateError> {
        let slot = self.slot(store, minute, key)?;
        Ok(self.change(slot, change))
    }

    /// Where the value of a key (zeros if it is new) stands in memory, until the table is asked for another
    /// one or stages a commit.
    #[inline]
    pub fn slot(&mut self, store: &Store, minute: Minute, key: &[u8; K]) -> Result<Slot, StateError> {
        let hash = self.hasher.hash_one(key);
        if let Some(slot) = self.find_read(store, minute, hash, key)? {
            return Ok(slot);
        }
        let value = self.get_cold(store, minute, key)?.unwrap_or([0; V]);
        let place = self.place_with_room(minute, self.likely(minute));
        let at = self.hot[place].1.insert(&self.hasher, hash, *key, value);
        Ok(Slot { place, at })
    }

    /// Gives `change` the value there to look at and change.
    #[inline]
    pub fn change<R>(&mut self, slot: Slot, change: impl FnOnce(&mut [u8; V]) -> R) -> R {
        self.hot[slot.place].1.change(slot.at, change)
    }

    /// How many entries a new minute will have: the newest gets about as many as the one before.
    fn likely(&self, minute: Minute) -> usize {
        let before = self.hot.last().filter(|(newest, _)| *newest < minute);
        before.map_or(0, |(_, hot)| hot.len())
    }

    /// Time passes: the next commit puts to rest and deletes what is old by then.
    pub fn tick(&mut self, now: Minute) {
        self.now = self.now.max(now);
    }

    /// Adds what changed since the last commit.
    pub fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        for (minute, hot) in &mut self.hot {
            match (hot.take_delta(), self.cold.get(minute)) {
                (None, _) => {}
                (Some(blob), None) => store.put_blob(commit, self.table, *minute, &blob)?,
                (Some(blob), Some(_)) => commit.put(self.table, &layer_key(*minute, commit.number), &blob),
            }
        }
        self.expire(store, commit)?;
        self.cool_down(store, commit)
    }

    fn expire(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        let horizon = self.now.minus(self.options.keep);
        let stale = |m: Option<&Minute>| m.copied().filter(|m| *m < horizon);
        while let Some(minute) = stale(self.hot.first().map(|(minute, _)| minute)) {
            self.hot.remove(0);
            if !self.cold.contains_key(&minute) {
                store.delete_blobs(commit, self.table, minute)?;
            }
        }
        while let Some(minute) = stale(self.unread.first()) {
            self.unread.remove(&minute);
            store.delete_blobs(commit, self.table, minute)?;
        }
        while let Some(minute) = stale(self.cold.keys().next()) {
            match self.cold.remove(&minute) {
                Some(Cold::Sealed(_)) => self.delete_pages(minute, commit),
                _ => store.delete_blobs(commit, self.table, minute)?,
            }
            commit.delete(self.table, &prefix(b'h', minute));
        }
        Ok(())
    }

    /// Takes minutes out of the memory.
    fn cool_down(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        let mut entries: usize = self.hot.iter().map(|(_, hot)| hot.len()).sum();
        let mut place = 0;
        while let Some((minute, hot)) = self.hot.get(place) {
            let (minute, len) = (*minute, hot.len());
            let crowded = entries > self.options.max_hot_entries && self.hot.len() > 1;
            let cools = match self.cold.get(&minute) {
                // A few late entries of a sealed minute stay in memory: sealing it anew rewrites all its pages.
                Some(Cold::Sealed(pages)) => len >= 8 * *pages as usize,
                _ => minute < self.frontier(),
            };
            if !crowded && !cools {
                place += 1;
                continue;
            }
            entries -= len;
            let (minute, hot) = self.hot.remove(place);
            match self.cold.get(&minute) {
                Some(Cold::Sealed(_)) => self.seal_anew(store, minute, hot, commit)?,
                _ => self.put_to_rest(minute, commit),
            }
        }
        while let Some(minute) = self.unread.first().copied().filter(|m| *m < self.frontier()) {
            self.unread.remove(&minute);
            self.put_to_rest(minute, commit);
        }
        Ok(())
    }

    fn put_to_rest(&mut self, minute: Minute, commit: &mut Commit) {
        commit.put(self.table, &prefix(b'h', minute), &0u32.to_le_bytes());
        self.cold.insert(minute, Cold::Resting);
    }

    /// Makes pages of the blobs of a minute, in a commit of its own: it says nothing new. How many there are.
    fn seal_resting(&mut self, store: &Store, minute: Minute) -> Result<u32, StateError> {
        let mut found = Hot::with_room(0);
        store.scan_blobs(self.table, minute, |blob| found.replay(&self.hasher, blob))?;
        let mut commit = Commit::new(0);
        let pages = self.put_pages(minute, found.into_entries().collect(), &mut commit);
        store.delete_blobs(&mut commit, self.table, minute)?;
        store.commit(commit, Durability::FromLog)?;
        Ok(pages)
    }

    /// Makes pages of the pages of a minute and what is newer.
    fn seal_anew(
        &mut self,
        store: &Store,
        minute: Minute,
        hot: Hot<K, V>,
        commit: &mut Commit,
    ) -> Result<(), StateError> {
        let mut entries = Vec::with_capacity(hot.len());
        store.scan(self.table, &prefix(b'p', minute), |_, page| {
            let old = pages::entries(page);
            entries.extend(old.filter(|(key, _)| hot.find(self.hasher.hash_one(key), key).is_none()));
        })?;
        entries.extend(hot.into_entries());
        self.delete_pages(minute, commit);
        self.put_pages(minute, entries, commit);
        Ok(())
    }

    fn put_pages(&mut self, minute: Minute, entries: Vec<([u8; K], [u8; V])>, commit: &mut Commit) -> u32 {
        let pages = pages::build(entries);
        for (page, bytes) in pages.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            commit.put(self.table, &page_key(minute, page as u32), bytes);
        }
        let pages = pages.len() as u32;
        commit.put(self.table, &prefix(b'h', minute), &pages.to_le_bytes());
        self.cold.insert(minute, Cold::Sealed(pages));
        pages
    }

    /// With what stands on top of them.
    fn delete_pages(&self, minute: Minute, commit: &mut Commit) {
        for kind in [b'p', b'l'] {
            commit.delete_range(self.table, &prefix(kind, minute), &prefix(kind, Minute(minute.0 + 1)));
        }
    }
}

fn prefix(kind: u8, minute: Minute) -> [u8; 5] {
    let m = minute.0.to_be_bytes();
    [kind, m[0], m[1], m[2], m[3]]
}

fn minute_of(key: &[u8]) -> Minute {
    Minute(key.get(1..5).and_then(|m| m.try_into().ok()).map_or(0, u32::from_be_bytes))
}

fn layer_key(minute: Minute, commit: u64) -> Vec<u8> {
    [&prefix(b'l', minute)[..], &commit.to_be_bytes()].concat()
}

fn page_key(minute: Minute, page: u32) -> Vec<u8> {
    [&prefix(b'p', minute)[..], &page.to_be_bytes()].concat()
}
