//! The level of the system: what waits in the spool slows intake down, and then stops it until most of it is taken.

use crate::ingest::Backlog;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// How often the backlog is looked at.
const LOOK: Duration = Duration::from_millis(10);
/// How long a request waits at the high mark, and just before it would be refused.
const WAITS: [Duration; 2] = [Duration::from_millis(2), Duration::from_millis(500)];
/// When to try again what was refused.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// How much is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Everything.
    Free = 0,
    /// Everything, slower.
    Slowed = 1,
    /// Nothing.
    Refused = 2,
}

impl Level {
    /// The name in `weir status`.
    pub fn name(self) -> &'static str {
        match self {
            Level::Free => "free",
            Level::Slowed => "slowed",
            Level::Refused => "refused",
        }
    }

    fn from_code(code: u8) -> Self {
        match code {
            0 => Level::Free,
            1 => Level::Slowed,
            _ => Level::Refused,
        }
    }
}

/// The high marks.
#[derive(Clone, Copy, Debug)]
pub struct Marks {
    /// Waiting records.
    pub records: u64,
    /// Waiting bytes.
    pub bytes: u64,
}

impl Marks {
    /// How full it is, in thousandths of the high mark: of records or bytes, whichever is more.
    fn fill(&self, backlog: Backlog) -> u64 {
        let of = |have: u64, mark: u64| have.saturating_mul(1000) / mark.max(1);
        of(backlog.records, self.records).max(of(backlog.bytes, self.bytes))
    }
}

/// From the high mark on it is slow, from a quarter more on nothing is let in; either ends below half of the mark, so
/// that it does not flicker.
fn next(level: Level, fill: u64) -> Level {
    match fill {
        1250.. => Level::Refused,
        500.. if level == Level::Refused => Level::Refused,
        1000.. => Level::Slowed,
        500.. => level,
        _ => Level::Free,
    }
}

/// How long a request waits: the longer, the nearer the refusal is.
fn wait(level: Level, fill: u64) -> Duration {
    let [least, most] = WAITS;
    match level {
        Level::Slowed => least + (most - least) * (fill.clamp(1000, 1250) - 1000) as u32 / 250,
        Level::Free | Level::Refused => Duration::ZERO,
    }
}

/// The level now.
pub struct System {
    marks: Marks,
    looked: Mutex<Option<Instant>>,
    level: AtomicU8,
    fill: AtomicU64,
}

impl System {
    /// With high marks.
    pub fn new(marks: Marks) -> Self {
        System { marks, looked: Mutex::new(None), level: AtomicU8::new(0), fill: AtomicU64::new(0) }
    }

    /// The level now, and how long a request is to wait. The backlog is asked for now and then.
    pub fn level(&self, backlog: impl FnOnce() -> Backlog) -> (Level, Duration) {
        if self.is_due() {
            self.look(backlog());
        }
        let level = Level::from_code(self.level.load(Ordering::Acquire));
        (level, wait(level, self.fill.load(Ordering::Relaxed)))
    }

    /// Whether it is this caller's turn to look.
    fn is_due(&self) -> bool {
        // Another one looks just now.
        let Ok(mut looked) = self.looked.try_lock() else { return false };
        let now = Instant::now();
        let due = looked.is_none_or(|at| now.duration_since(at) >= LOOK);
        if due {
            *looked = Some(now);
        }
        due
    }

    fn look(&self, backlog: Backlog) {
        let fill = self.marks.fill(backlog);
        let before = Level::from_code(self.level.load(Ordering::Acquire));
        let level = next(before, fill);
        self.fill.store(fill, Ordering::Relaxed);
        if self.level.swap(level as u8, Ordering::AcqRel) != level as u8 {
            say(level, backlog);
        }
    }
}

fn say(level: Level, Backlog { records, bytes }: Backlog) {
    let waiting = format!("{records} records ({} MiB) wait in the spool", bytes >> 20);
    match level {
        Level::Free => tracing::info!("{waiting}: intake goes on at full speed"),
        Level::Slowed => tracing::warn!("{waiting}: intake is slowed"),
        Level::Refused => {
            tracing::warn!("{waiting}: nothing is taken in until half of `ingest.high_records` are left")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_left_below_half_of_the_mark() {
        use Level::{Free, Refused, Slowed};
        let steps = [
            (999, Free),
            (1000, Slowed),
            (999, Slowed),
            (500, Slowed),
            (499, Free),
            (999, Free),
            (1249, Slowed),
            (1250, Refused),
            (1249, Refused),
            (1000, Refused),
            (500, Refused),
            (499, Free),
            (5000, Refused),
            (0, Free),
        ];
        let mut level = Free;
        for (fill, expected) in steps {
            level = next(level, fill);
            assert_eq!(level, expected, "{fill}");
        }
    }

    #[test]
    fn waits_grow_up_to_the_refusal() {
        let waits: Vec<Duration> = [600, 1000, 1100, 1200, 1250].map(|fill| wait(Level::Slowed, fill)).into();
        assert!(waits.is_sorted() && waits[0] == WAITS[0] && waits[4] == WAITS[1], "{waits:?}");
        assert_eq!(wait(Level::Free, 999), Duration::ZERO);
    }

    #[test]
    fn records_and_bytes_each_have_a_mark() {
        let marks = Marks { records: 100, bytes: 1 << 20 };
        assert_eq!(marks.fill(Backlog { records: 125, bytes: 0 }), 1250);
        assert_eq!(marks.fill(Backlog { records: 1, bytes: 1 << 20 }), 1000);
        assert_eq!(marks.fill(Backlog { records: u64::MAX, bytes: u64::MAX }), u64::MAX / 100);
    }

    #[test]
    fn the_backlog_is_not_asked_for_at_each_request() {
        let system = System::new(Marks { records: 10, bytes: 10 });
        let mut asked = 0;
        for _ in 0..1000 {
            system.level(|| {
                asked += 1;
                Backlog { records: 13, bytes: 0 }
            });
        }
        assert!((1..500).contains(&asked), "{asked}");
        assert_eq!(system.level(Backlog::default).0, Level::Refused);
    }
}
