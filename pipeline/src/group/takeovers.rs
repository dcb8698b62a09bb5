//! What a worker has taken over lately, for whoever asks; and what of it is still to be told in `notices`.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// So many are remembered.
const REMEMBERED: usize = 50;

/// Partitions that came to a worker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// When their tasks were open, in ms since the epoch.
    pub at_ms: u64,
    /// Which.
    pub partitions: Vec<u32>,
    /// Records that their tasks had still to read then, of all stages.
    pub behind: u64,
    /// How long it took to open them.
    pub took: Duration,
}

#[derive(Default)]
struct Inner {
    newest: VecDeque<Takeover>,
    untold: Vec<Takeover>,
}

/// The newest ones, oldest first.
#[derive(Default)]
pub struct Takeovers(Mutex<Inner>);

impl Takeovers {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one, which is to be told.
    pub fn add(&self, takeover: Takeover) {
        let mut inner = self.inner();
        inner.untold.push(takeover.clone());
        inner.newest.push_back(takeover);
        if inner.newest.len() > REMEMBERED {
            inner.newest.pop_front();
        }
    }

    /// Those that are remembered.
    pub fn list(&self) -> Vec<Takeover> {
        self.inner().newest.iter().cloned().collect()
    }

    /// Whether there is something to tell.
    pub(crate) fn has_untold(&self) -> bool {
        !self.inner().untold.is_empty()
    }

    /// What is to be told, once.
    pub(crate) fn take_untold(&self) -> Vec<Takeover> {
        std::mem::take(&mut self.inner().untold)
    }
}
