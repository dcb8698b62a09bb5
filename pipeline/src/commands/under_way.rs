//! Keys of commands that somebody waits for: each once at a time.

use std::collections::HashSet;
use std::sync::{Mutex, MutexGuard, PoisonError};

/// Advertiser and key of a command.
pub type Key = (u64, String);

/// The keys.
#[derive(Default)]
pub struct UnderWay(Mutex<HashSet<Key>>);

/// A key is under way while this lives.
pub(super) struct One<'a>(&'a UnderWay, Key);

impl UnderWay {
    fn keys(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Enters a key once nobody else waits for it; nothing if `waiting` ends before.
    pub(super) fn enter(&self, key: Key, waiting: impl Fn() -> bool) -> Option<One<'_>> {
        while !self.keys().insert(key.clone()) {
            if !waiting() {
                return None;
            }
        }
        Some(One(self, key))
    }
}

impl Drop for One<'_> {
    fn drop(&mut self) {
        self.0.keys().remove(&self.1);
    }
}
