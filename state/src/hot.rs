//! The entries of one minute in memory.

use crate::pages;
use hashbrown::HashTable;
use std::hash::BuildHasher;

/// The hasher of all minutes of a table.
pub(crate) type Hasher = foldhash::fast::FixedState;

/// Entries of one minute. They are only appended, so an index stays valid and what is new since the last
/// commit is a tail.
pub(crate) struct Hot<const K: usize, const V: usize> {
    index: HashTable<u32>,
    entries: Blocks<([u8; K], [u8; V])>,
    committed: usize,
    /// Older ones that changed since.
    changed: Vec<u32>,
}

/// A list that grows in blocks: no entry is ever moved, and no more than a block is wasted.
struct Blocks<T> {
    blocks: Vec<Vec<T>>,
    len: usize,
}

impl<T> Blocks<T> {
    /// Entries of a block: 64 KiB, a size of which the allocator wastes nothing.
    const BLOCK: usize = (64 << 10) / size_of::<T>();
    /// Of the first block in the beginning: most minutes of a quiet partition stay so. It doubles eight times.
    const FEW: usize = Self::BLOCK.div_ceil(1 << 8);

    fn new() -> Self {
        Blocks { blocks: Vec::new(), len: 0 }
    }

    fn push(&mut self, entry: T) {
        if self.len.is_multiple_of(Self::BLOCK) {
            self.blocks.push(Vec::with_capacity(if self.len == 0 { Self::FEW } else { Self::BLOCK }));
        }
        self.blocks[self.len / Self::BLOCK].push(entry);
        self.len += 1;
    }

    fn iter_from(&self, start: usize) -> impl Iterator<Item = &T> {
        let blocks = self.blocks.iter().skip(start / Self::BLOCK);
        blocks.flatten().skip(start % Self::BLOCK)
    }
}

impl<T> std::ops::Index<usize> for Blocks<T> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.blocks[at / Self::BLOCK][at % Self::BLOCK]
    }
}

impl<T> std::ops::IndexMut<usize> for Blocks<T> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.blocks[at / Self::BLOCK][at % Self::BLOCK]
    }
}

impl<const K: usize, const V: usize> Hot<K, V> {
    /// With room for so many entries in its index, which is dear to grow.
    pub(crate) fn with_room(entries: usize) -> Self {
        let index = HashTable::with_capacity(entries);
        Hot { index, entries: Blocks::new(), committed: 0, changed: Vec::new() }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len
    }

    /// Where a key stands.
    #[inline]
    pub(crate) fn find(&self, hash: u64, key: &[u8; K]) -> Option<usize> {
        self.index.find(hash, |i| self.entries[*i as usize].0 == *key).map(|i| *i as usize)
    }

    /// The value that stands there.
    #[inline]
    pub(crate) fn value(&self, at: usize) -> [u8; V] {
        self.entries[at].1
    }

    /// Adds a key that it does not have; where it stands from now on.
    pub(crate) fn insert(&mut self, hasher: &Hasher, hash: u64, key: [u8; K], value: [u8; V]) -> usize {
        let at = self.entries.len;
        self.entries.push((key, value));
        let entries = &self.entries;
        self.index.insert_unique(hash, at as u32, |i| hasher.hash_one(entries[*i as usize].0));
        at
    }

    /// Gives `change` the value that stands there to look at and change.
    #[inline]
    pub(crate) fn change<R>(&mut self, at: usize, change: impl FnOnce(&mut [u8; V]) -> R) -> R {
        let value = &mut self.entries[at].1;
        let before = *value;
        let result = change(value);
        if at < self.committed && *value != before {
            self.changed.push(at as u32);
        }
        result
    }

    /// Takes in what a commit wrote.
    pub(crate) fn replay(&mut self, hasher: &Hasher, blob: &[u8]) {
        for (key, value) in pages::entries(blob) {
            let hash = hasher.hash_one(key);
            match self.find(hash, &key) {
                Some(at) => self.entries[at].1 = value,
                None => {
                    self.insert(hasher, hash, key, value);
                }
            }
        }
        self.committed = self.entries.len;
    }

    /// What changed since the last commit, if anything: older entries that did, then the tail of new ones.
    pub(crate) fn take_delta(&mut self) -> Option<Vec<u8>> {
        let news = self.entries.len - self.committed;
        if news == 0 && self.changed.is_empty() {
            return None;
        }
        self.changed.sort_unstable();
        self.changed.dedup();
        let mut blob = Vec::with_capacity((self.changed.len() + news) * (K + V));
        let touched = self.changed.iter().map(|i| &self.entries[*i as usize]);
        for (key, value) in touched.chain(self.entries.iter_from(self.committed)) {
            blob.extend_from_slice(key);
            blob.extend_from_slice(value);
        }
        self.changed.clear();
        self.committed = self.entries.len;
        Some(blob)
    }

    /// All of them.
    pub(crate) fn into_entries(self) -> impl Iterator<Item = ([u8; K], [u8; V])> {
        self.entries.blocks.into_iter().flatten()
    }
}
