//! Identities accepted lately, so that a repeat is answered as one and not written again.
//!
//! Two sets, the older of which is forgotten when the newer is half a window old: an identity is remembered for at
//! least half of the window and at most all of it. Deduct has the last word about what comes later.

use foldhash::fast::RandomState;
use std::collections::HashSet;

/// The sets.
pub(super) struct Recent {
    newer: HashSet<u128, RandomState>,
    older: HashSet<u128, RandomState>,
    window_ms: u64,
    /// Identities in both sets, at most.
    limit: usize,
    begun_ms: u64,
}

impl Recent {
    pub(super) fn new(window_ms: u64, limit: usize, now_ms: u64) -> Self {
        Recent {
            newer: HashSet::default(),
            older: HashSet::default(),
            window_ms: window_ms.max(2),
            limit: limit.max(2),
            begun_ms: now_ms,
        }
    }

    /// Remembers an identity; whether it is new.
    pub(super) fn insert(&mut self, identity: u128, now_ms: u64) -> bool {
        if now_ms >= self.begun_ms + self.window_ms / 2 || self.newer.len() >= self.limit / 2 {
            self.turn_over(now_ms);
        }
        !self.older.contains(&identity) && self.newer.insert(identity)
    }

    fn turn_over(&mut self, now_ms: u64) {
        std::mem::swap(&mut self.newer, &mut self.older);
        if now_ms >= self.begun_ms + self.window_ms {
            self.older.clear();
        }
        self.newer.clear();
        self.begun_ms = now_ms;
    }

    /// Since when everything has to be known, in ms since the epoch.
    pub(super) fn since(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.window_ms / 2)
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.newer.clear();
        self.older.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_accepted_is_known_for_half_a_window_at_least_and_a_window_at_most() {
        let mut recent = Recent::new(1_000, 1_000, 0);
        assert!(recent.insert(1, 0) && !recent.insert(1, 499));
        assert!(
            recent.insert(2, 499) && !recent.insert(1, 500),
            "the sets were turned over, and it is known"
        );
        assert!(!recent.insert(2, 998) && recent.insert(1, 1_000), "it is forgotten");
        assert!(recent.insert(3, 1_100) && recent.insert(3, 9_000), "a long pause forgets all");
    }

    #[test]
    fn the_number_of_identities_is_limited() {
        let mut recent = Recent::new(1_000_000, 10, 0);
        (0..100).for_each(|i| assert!(recent.insert(i, 0)));
        assert!(recent.newer.len() + recent.older.len() <= 10);
        assert!(!recent.insert(99, 0) && recent.insert(0, 0));
    }
}
