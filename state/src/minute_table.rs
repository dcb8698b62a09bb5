//! A table whose entries belong to minutes: window counters, identities.
//!
//! The newest minutes live in memory and are exact; a commit appends only what changed, as one blob
//! per minute, and the blobs rebuild the memory on start. At a tick, minutes older than the hot
//! window are *sealed* into pages on disk (one read a look-up), and minutes older than the horizon
//! are deleted. A sealed minute may be written again: the newer value stands in memory until the
//! minute is sealed anew. None of this can be seen from outside: a get answers the same whether an
//! entry is in memory or on disk.
//!
//! Keys in the store (minute and numbers big-endian): `'d' minute u32 commit u64` a blob of entries
//! (key, value, …); `'h' minute u32` the number of pages of a sealed minute; `'p' minute u32 page u32`
//! a page.

use crate::error::StateError;
use crate::pages;
use crate::store::{Commit, Store};
use hashbrown::HashTable;
use std::collections::BTreeMap;
use std::hash::BuildHasher;
use weir_proto::Minute;

/// How long a table keeps what, in minutes before the newest tick.
#[derive(Clone, Copy, Debug)]
pub struct MinuteTableOptions {
    /// In memory.
    pub hot: u32,
    /// At all.
    pub keep: u32,
    /// Entries in memory above which the oldest minutes are sealed early.
    pub max_hot_entries: usize,
}

/// Entries of one minute in memory. They are only appended, so an index stays valid and what is
/// new since the last commit is a tail.
struct Hot<const K: usize, const V: usize> {
    index: HashTable<u32>,
    entries: Blocks<([u8; K], [u8; V])>,
    committed: usize,
    changed: Vec<u32>,
}

/// A list that grows in blocks: no entry is ever moved, and no more than a block is wasted.
struct Blocks<T> {
    blocks: Vec<Vec<T>>,
    len: usize,
}

const BLOCK: usize = 1024;

impl<T> Blocks<T> {
    fn new() -> Self {
        Blocks { blocks: Vec::new(), len: 0 }
    }

    fn push(&mut self, entry: T) {
        if self.len.is_multiple_of(BLOCK) {
            // The first block starts small: most minutes of a quiet partition stay so.
            self.blocks.push(Vec::with_capacity(if self.len == 0 { 16 } else { BLOCK }));
        }
        self.blocks[self.len / BLOCK].push(entry);
        self.len += 1;
    }

    fn iter_from(&self, start: usize) -> impl Iterator<Item = &T> {
        let blocks = self.blocks.iter().skip(start / BLOCK);
        blocks.flatten().skip(start % BLOCK)
    }
}

impl<T> std::ops::Index<usize> for Blocks<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.blocks[at / BLOCK][at % BLOCK]
    }
}

impl<T> std::ops::IndexMut<usize> for Blocks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.blocks[at / BLOCK][at % BLOCK]
    }
}

impl<const K: usize, const V: usize> Hot<K, V> {
    /// With room for so many entries in its index, which is dear to grow.
    fn with_room(entries: usize) -> Self {
        let index = HashTable::with_capacity(entries);
        Hot { index, entries: Blocks::new(), committed: 0, changed: Vec::new() }
    }

    fn find(&self, hash: u64, key: &[u8; K]) -> Option<usize> {
        self.index.find(hash, |i| self.entries[*i as usize].0 == *key).map(|i| *i as usize)
    }

    fn insert(
        &mut self,
        hasher: &foldhash::fast::FixedState,
        hash: u64,
        key: [u8; K],
        value: [u8; V],
    ) -> usize {
        let at = self.entries.len;
        self.entries.push((key, value));
        let entries = &self.entries;
        self.index.insert_unique(hash, at as u32, |i| hasher.hash_one(entries[*i as usize].0));
        at
    }

    /// What changed since the last commit: the tail of new entries and the older ones touched.
    fn take_delta(&mut self) -> Vec<u8> {
        self.changed.sort_unstable();
        self.changed.dedup();
        let news = self.entries.len - self.committed;
        let mut blob = Vec::with_capacity((self.changed.len() + news) * (K + V));
        let touched = self.changed.iter().map(|i| &self.entries[*i as usize]);
        for (key, value) in touched.chain(self.entries.iter_from(self.committed)) {
            blob.extend_from_slice(key);
            blob.extend_from_slice(value);
        }
        self.changed.clear();
        self.committed = self.entries.len;
        blob
    }
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
    hasher: foldhash::fast::FixedState,
    /// In order. There are few, and mostly the newest is asked for.
    hot: Vec<(Minute, Hot<K, V>)>,
    sealed: BTreeMap<Minute, u32>,
    now: Minute,
}

impl<const K: usize, const V: usize> MinuteTable<K, V> {
    /// Loads the table from its store.
    pub fn load(store: &Store, table: u8, options: MinuteTableOptions) -> Result<Self, StateError> {
        let mut this = MinuteTable {
            table,
            options,
            hasher: foldhash::fast::FixedState::default(),
            hot: Vec::new(),
            sealed: BTreeMap::new(),
            now: Minute(0),
        };
        store.scan(table, b"h", |key, value| {
            let pages = value.try_into().map_or(1, u32::from_le_bytes);
            this.sealed.insert(minute_of(key), pages);
        })?;
        store.scan(table, b"d", |key, blob| this.replay(minute_of(key), blob))?;
        for (_, hot) in &mut this.hot {
            hot.committed = hot.entries.len;
        }
        Ok(this)
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

    fn replay(&mut self, minute: Minute, blob: &[u8]) {
        let place = self.place_with_room(minute, blob.len() / (K + V));
        let hot = &mut self.hot[place].1;
        for (key, value) in pages::entries(blob) {
            let hash = self.hasher.hash_one(key);
            match hot.find(hash, &key) {
                Some(at) => hot.entries[at].1 = value,
                None => {
                    hot.insert(&self.hasher, hash, key, value);
                }
            }
        }
    }

    /// The value of a key in a minute.
    pub fn get(&self, store: &Store, minute: Minute, key: &[u8; K]) -> Result<Option<[u8; V]>, StateError> {
        if let Ok(place) = self.place_of(minute)
            && let hot = &self.hot[place].1
            && let Some(at) = hot.find(self.hasher.hash_one(key), key)
        {
            return Ok(Some(hot.entries[at].1));
        }
        self.get_sealed(store, minute, key)
    }

    fn get_sealed(
        &self,
        store: &Store,
        minute: Minute,
        key: &[u8; K],
    ) -> Result<Option<[u8; V]>, StateError> {
        let Some(pages) = self.sealed.get(&minute) else { return Ok(None) };
        let page = store.get(self.table, &page_key(minute, pages::page_of(key, *pages)))?;
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
        if let Ok(place) = self.place_of(minute)
            && let Some(at) = self.hot[place].1.find(hash, key)
        {
            return Ok(Slot { place, at });
        }
        let value = self.get_sealed(store, minute, key)?.unwrap_or([0; V]);
        let place = self.place_with_room(minute, self.likely(minute));
        let at = self.hot[place].1.insert(&self.hasher, hash, *key, value);
        Ok(Slot { place, at })
    }

    /// Gives `change` the value there to look at and change.
    #[inline]
    pub fn change<R>(&mut self, slot: Slot, change: impl FnOnce(&mut [u8; V]) -> R) -> R {
        let hot = &mut self.hot[slot.place].1;
        let value = &mut hot.entries[slot.at].1;
        let before = *value;
        let result = change(value);
        if slot.at < hot.committed && *value != before {
            hot.changed.push(slot.at as u32);
        }
        result
    }

    /// How many entries a new minute will have: the newest gets about as many as the one before.
    fn likely(&self, minute: Minute) -> usize {
        let before = self.hot.last().filter(|(newest, _)| *newest < minute);
        before.map_or(0, |(_, hot)| hot.entries.len)
    }

    /// Time passes: the next commit seals and deletes what is old by then.
    pub fn tick(&mut self, now: Minute) {
        self.now = self.now.max(now);
    }

    /// Adds what changed since the last commit.
    pub fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        for (minute, hot) in &mut self.hot {
            if hot.committed < hot.entries.len || !hot.changed.is_empty() {
                let blob = hot.take_delta();
                commit.put(self.table, &blob_key(*minute, commit.number), &blob);
            }
        }
        self.expire(commit);
        self.seal_old(store, commit)
    }

    fn expire(&mut self, commit: &mut Commit) {
        let horizon = self.now.minus(self.options.keep);
        let stale = |m: Option<&Minute>| m.copied().filter(|m| *m < horizon);
        while let Some(minute) = stale(self.hot.first().map(|(minute, _)| minute)) {
            self.hot.remove(0);
            self.delete_blobs(minute, commit);
        }
        while let Some(minute) = stale(self.sealed.keys().next()) {
            self.sealed.remove(&minute);
            self.delete_pages(minute, commit);
        }
    }

    fn seal_old(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        let oldest_hot = self.now.minus(self.options.hot);
        let mut entries: usize = self.hot.iter().map(|(_, hot)| hot.entries.len).sum();
        let mut place = 0;
        while let Some((minute, hot)) = self.hot.get(place) {
            let (minute, len) = (*minute, hot.entries.len);
            let crowded = entries > self.options.max_hot_entries && self.hot.len() > 1;
            let old = minute < oldest_hot && self.is_worth_sealing(minute, len);
            if crowded || old {
                let (minute, hot) = self.hot.remove(place);
                self.seal(store, minute, hot, commit)?;
                entries -= len;
            } else {
                place += 1;
            }
        }
        Ok(())
    }

    /// A few late entries of a sealed minute stay in memory: sealing it anew rewrites all its pages.
    fn is_worth_sealing(&self, minute: Minute, entries: usize) -> bool {
        self.sealed.get(&minute).is_none_or(|pages| entries >= 8 * *pages as usize)
    }

    fn seal(
        &mut self,
        store: &Store,
        minute: Minute,
        hot: Hot<K, V>,
        commit: &mut Commit,
    ) -> Result<(), StateError> {
        let mut entries = Vec::with_capacity(hot.entries.len);
        if self.sealed.contains_key(&minute) {
            store.scan(self.table, &prefix(b'p', minute), |_, page| {
                let old = pages::entries(page);
                entries.extend(old.filter(|(key, _)| hot.find(self.hasher.hash_one(key), key).is_none()));
            })?;
        }
        entries.extend(hot.entries.blocks.into_iter().flatten());
        self.delete_blobs(minute, commit);
        self.delete_pages(minute, commit);
        let pages = pages::build(entries);
        for (page, bytes) in pages.iter().enumerate().filter(|(_, bytes)| !bytes.is_empty()) {
            commit.put(self.table, &page_key(minute, page as u32), bytes);
        }
        commit.put(self.table, &prefix(b'h', minute), &(pages.len() as u32).to_le_bytes());
        self.sealed.insert(minute, pages.len() as u32);
        Ok(())
    }

    fn delete_blobs(&self, minute: Minute, commit: &mut Commit) {
        commit.delete_range(self.table, &prefix(b'd', minute), &prefix(b'd', Minute(minute.0 + 1)));
    }

    fn delete_pages(&self, minute: Minute, commit: &mut Commit) {
        commit.delete(self.table, &prefix(b'h', minute));
        commit.delete_range(self.table, &prefix(b'p', minute), &prefix(b'p', Minute(minute.0 + 1)));
    }
}

fn prefix(kind: u8, minute: Minute) -> [u8; 5] {
    let m = minute.0.to_be_bytes();
    [kind, m[0], m[1], m[2], m[3]]
}

fn minute_of(key: &[u8]) -> Minute {
    Minute(key.get(1..5).and_then(|m| m.try_into().ok()).map_or(0, u32::from_be_bytes))
}

fn blob_key(minute: Minute, commit: u64) -> Vec<u8> {
    [&prefix(b'd', minute)[..], &commit.to_be_bytes()].concat()
}

fn page_key(minute: Minute, page: u32) -> Vec<u8> {
    [&prefix(b'p', minute)[..], &page.to_be_bytes()].concat()
}
