//! What time it is, for sources. Operators have no clock: their time is the newest tick.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant, SystemTime};

/// A clock that a source asks.
#[derive(Clone, Debug, Default)]
pub enum SourceClock {
    /// The machine's.
    #[default]
    System,
    /// One that is set by hand, in ms since the epoch.
    Set(Arc<AtomicU64>),
}

impl SourceClock {
    /// The wall clock, in ms since the epoch.
    pub fn now_ms(&self) -> u64 {
        match self {
            // Before 1970 no tick is due and every event is absurd; nothing is lost.
            SourceClock::System => {
                SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |d| d.as_millis() as u64)
            }
            SourceClock::Set(ms) => ms.load(Ordering::Acquire),
        }
    }

    /// A time to measure from.
    pub fn instant(&self) -> Instant {
        static ZERO: OnceLock<Instant> = OnceLock::new();
        match self {
            SourceClock::System => Instant::now(),
            SourceClock::Set(ms) => {
                *ZERO.get_or_init(Instant::now) + Duration::from_millis(ms.load(Ordering::Acquire))
            }
        }
    }
}
