//! What piles up in front of the account system holds the source back.

use crate::config::Deliver;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};

/// How much the source is held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum Level {
    /// Not at all.
    Free = 0,
    /// It takes in slower.
    Slow = 1,
    /// It takes nothing in.
    Paused = 2,
}

/// Watched by the source, set by the tasks that deliver.
#[derive(Debug, Default)]
pub struct Pressure {
    /// Unfinished records at which the source is slowed and paused; none without a sink.
    limits: Option<(u64, u64)>,
    level: AtomicU8,
    is_lifted: AtomicBool,
    unfinished: AtomicU64,
    held: AtomicU64,
}

/// What one task has told so far.
#[derive(Debug, Default)]
pub struct Share {
    unfinished: AtomicU64,
    held: AtomicU64,
}

impl Pressure {
    /// With the limits of a configuration.
    pub fn new(options: Option<&Deliver>) -> Self {
        Pressure { limits: options.map(|o| (o.slow_at, o.pause_at)), ..Self::default() }
    }

    /// How much the source is held back now.
    pub fn level(&self) -> Level {
        match self.level.load(Ordering::Acquire) {
            0 => Level::Free,
            1 => Level::Slow,
            _ => Level::Paused,
        }
    }

    /// Published records that are not finished: not read yet, on their way, or waiting for another try.
    pub fn unfinished(&self) -> u64 {
        self.unfinished.load(Ordering::Relaxed)
    }

    /// Whether so many wait for another try that no new ones should be added to them.
    pub fn is_full(&self) -> bool {
        self.limits.is_some_and(|(_, pause_at)| self.held.load(Ordering::Relaxed) >= pause_at)
    }

    /// Whether the source is not to be held back, whatever is unfinished.
    pub fn lift(&self, is_lifted: bool) {
        self.is_lifted.store(is_lifted, Ordering::Relaxed);
    }

    /// A task tells how many of its records are unfinished; `held` of them wait for another try.
    pub fn tell(&self, share: &Share, unfinished: u64, held: u64) {
        change(&self.held, &share.held, held);
        change(&self.unfinished, &share.unfinished, unfinished);
        let Some(limits) = self.limits else { return };
        let (level, total) = (self.level(), self.unfinished());
        let next =
            if self.is_lifted.load(Ordering::Relaxed) { Level::Free } else { next(limits, level, total) };
        // Only one thread makes, and says, each change.
        let change =
            self.level.compare_exchange(level as u8, next as u8, Ordering::AcqRel, Ordering::Relaxed);
        if next != level && change.is_ok() {
            say(next, total);
        }
    }
}

fn change(total: &AtomicU64, share: &AtomicU64, new: u64) {
    let before = share.swap(new, Ordering::Relaxed);
    // A difference below zero wraps around, and so does the sum: the result is right.
    total.fetch_add(new.wrapping_sub(before), Ordering::Relaxed);
}

/// A level is left only when half of what led to it is done, so that it does not flicker.
fn next((slow_at, pause_at): (u64, u64), level: Level, unfinished: u64) -> Level {
    let reached =
        |limit: u64, from: Level| unfinished >= limit || (level >= from && unfinished >= limit.div_ceil(2));
    if reached(pause_at, Level::Paused) {
        Level::Paused
    } else if reached(slow_at, Level::Slow) {
        Level::Slow
    } else {
        Level::Free
    }
}

fn say(level: Level, unfinished: u64) {
    match level {
        Level::Free => {
            tracing::info!("{unfinished} records are undelivered: the source goes on at full speed")
        }
        Level::Slow => tracing::warn!("{unfinished} records are undelivered: the source is slowed"),
        Level::Paused => tracing::warn!(
            "{unfinished} records are undelivered: the source is paused until the account system takes them"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_level_is_left_below_half() {
        use Level::{Free, Paused, Slow};
        let steps = [
            (99, Free),
            (100, Slow),
            (50, Slow),
            (49, Free),
            (1000, Paused),
            (500, Paused),
            (499, Slow),
            (999, Slow),
            (49, Free),
        ];
        let mut level = Free;
        for (unfinished, expected) in steps {
            level = next((100, 1000), level, unfinished);
            assert_eq!(level, expected, "{unfinished}");
        }
    }

    #[test]
    fn while_it_is_lifted_nothing_is_held_back() {
        let pressure = Pressure { limits: Some((10, 20)), ..Pressure::default() };
        let share = Share::default();
        for (is_lifted, level) in [(false, Level::Paused), (true, Level::Free), (false, Level::Paused)] {
            pressure.lift(is_lifted);
            pressure.tell(&share, 30, 0);
            assert_eq!((pressure.level(), pressure.unfinished()), (level, 30));
        }
    }

    #[test]
    fn tasks_tell_what_changed() {
        let (pressure, a, b) = (Pressure::default(), Share::default(), Share::default());
        pressure.tell(&a, 5, 1);
        pressure.tell(&b, 7, 0);
        pressure.tell(&a, 2, 0);
        assert_eq!((pressure.unfinished(), pressure.level()), (9, Level::Free));
    }
}
