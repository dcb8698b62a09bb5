//! When each line is due.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A fixed rate from a moment on.
#[derive(Clone, Copy)]
pub struct Schedule {
    begins: Instant,
    rate: u64,
    warm_up: u64,
    seconds: u64,
}

impl Schedule {
    /// A schedule that counts half of its seconds before a minute of the wall clock and half behind it: the job
    /// takes its checkpoints at minutes, and each measurement is to have one.
    pub fn begin(rate: u64, warm_up: u64, seconds: u64) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap();
        let lead = Duration::from_secs(warm_up + seconds / 2);
        let into_minute = Duration::from_millis(((now + lead).as_millis() % 60_000) as u64);
        let begins = Instant::now() + (Duration::from_secs(60) - into_minute);
        Schedule { begins, rate, warm_up, seconds }
    }

    /// When a line is due, counted from 0.
    pub fn due(&self, line: u64) -> Instant {
        self.begins + Duration::from_nanos(line * 1_000_000_000 / self.rate)
    }

    /// How many lines are due by now.
    pub fn due_by(&self, now: Instant) -> u64 {
        let passed = now.saturating_duration_since(self.begins).as_nanos() as u64;
        self.lines().min(passed / 1000 * self.rate / 1_000_000)
    }

    /// How many lines there are.
    pub fn lines(&self) -> u64 {
        (self.warm_up + self.seconds) * self.rate
    }

    /// What is due earlier does not count.
    pub fn counts_from(&self) -> Instant {
        self.begins + Duration::from_secs(self.warm_up)
    }
}
