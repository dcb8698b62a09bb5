//! What a worker has taken over lately, for whoever asks.

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

/// The newest ones, oldest first.
#[derive(Default)]
pub struct Takeovers(Mutex<VecDeque<Takeover>>);

impl Takeovers {
    fn all(&self) -> MutexGuard<'_, VecDeque<Takeover>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers one.
    pub fn add(&self, takeover: Takeover) {
        let mut all = self.all();
        all.push_back(takeover);
        if all.len() > REMEMBERED {
            all.pop_front();
        }
    }

    /// Those that are remembered.
    pub fn list(&self) -> Vec<Takeover> {
        self.all().iter().cloned().collect()
    }
}
