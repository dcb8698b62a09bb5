//! A gate in front of a source: while it is closed the source takes nothing in.

use std::sync::atomic::{AtomicBool, Ordering};

/// Closed by whoever needs the source to rest, watched by the source.
#[derive(Debug, Default)]
pub struct Gate {
    closed: AtomicBool,
    at_rest: AtomicBool,
}

impl Gate {
    /// Asks the source to rest.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Release);
    }

    /// Lets the source go on.
    pub fn open(&self) {
        self.closed.store(false, Ordering::Release);
        self.at_rest.store(false, Ordering::Release);
    }

    /// Whether the source rests: all that it took in is committed.
    pub fn is_at_rest(&self) -> bool {
        self.at_rest.load(Ordering::Acquire)
    }

    /// For the source: whether it may take something in. `resting` says that nothing is under way.
    pub(super) fn lets_through(&self, resting: bool) -> bool {
        let closed = self.closed.load(Ordering::Acquire);
        self.at_rest.store(closed && resting, Ordering::Release);
        !closed
    }
}
