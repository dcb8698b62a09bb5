//! The event-time clock of a finite run: which minute it is when minutes are those of the events.
//!
//! The clock is the newest plausible event time. A time far ahead of it is believed only if most of
//! the events that follow agree; otherwise it is an absurd one, and must not expire everything.

use crate::rules::Rules;
use weir_proto::Minute;

/// Events looked at behind a surprising one.
pub const LOOKAHEAD: usize = 16;
/// A gap that the last event of a source may make on its own.
const LONE_GAP_MS: u64 = 24 * 60 * Minute::MILLIS;
/// 2000-01-01 and 2100-01-01: no ad was billed before or will be for a while.
const PLAUSIBLE_MS: std::ops::Range<u64> = 946_684_800_000..4_102_444_800_000;

/// What a clock makes of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Fine.
    InTime,
    /// Older than the allowed lateness.
    TooLate,
    /// Not a time at which this can have happened.
    Absurd,
}

/// Milliseconds since the epoch; 0 before the first event.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Clock(pub u64);

impl Clock {
    /// Judges a time against the clock without moving it.
    pub fn judge(self, time_ms: u64, rules: &Rules) -> Verdict {
        let minutes = |m: u32| u64::from(m) * Minute::MILLIS;
        if !PLAUSIBLE_MS.contains(&time_ms) || time_ms > self.0.saturating_add(minutes(rules.max_ahead)) {
            Verdict::Absurd
        } else if time_ms < self.0.saturating_sub(minutes(rules.allowed_lateness)) {
            Verdict::TooLate
        } else {
            Verdict::InTime
        }
    }

    /// Moves with an event's time. `following` gives the times of the events behind it; it is asked
    /// only when the time is surprising.
    pub fn advance(&mut self, time_ms: u64, following: impl FnOnce() -> Vec<u64>, rules: &Rules) {
        if !PLAUSIBLE_MS.contains(&time_ms) {
            return;
        }
        if self.0 != 0 && self.judge(time_ms, rules) != Verdict::Absurd {
            self.0 = self.0.max(time_ms);
            return;
        }
        let following = following();
        if self.0 == 0 {
            // The first event may be the absurd one.
            self.0 = median(time_ms, &following).min(time_ms);
        }
        if self.confirmed(time_ms, &following, rules) {
            self.0 = self.0.max(time_ms);
        }
    }

    fn confirmed(self, time_ms: u64, following: &[u64], rules: &Rules) -> bool {
        if self.judge(time_ms, rules) != Verdict::Absurd {
            return true;
        }
        let slack = u64::from(rules.max_ahead) * Minute::MILLIS;
        let agreeing = following.iter().filter(|t| **t + slack >= time_ms).count();
        match following.len() {
            0 => time_ms <= self.0 + LONE_GAP_MS,
            n => agreeing * 2 > n,
        }
    }
}

fn median(first: u64, following: &[u64]) -> u64 {
    let mut times: Vec<u64> =
        following.iter().copied().chain([first]).filter(|t| PLAUSIBLE_MS.contains(t)).collect();
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: u64 = 1_767_261_600_000;
    const MIN: u64 = Minute::MILLIS;

    fn run(times: &[u64]) -> Vec<Verdict> {
        let (mut clock, rules) = (Clock::default(), Rules::default());
        times
            .iter()
            .enumerate()
            .map(|(i, t)| {
                let end = times.len().min(i + 1 + LOOKAHEAD);
                clock.advance(*t, || times[i + 1..end].to_vec(), &rules);
                clock.judge(*t, &rules)
            })
            .collect()
    }

    #[test]
    fn gaps_are_followed_and_absurd_times_are_not() {
        use Verdict::*;
        let far = 40 * 24 * 60 * MIN;
        let two_days = 2 * 24 * 60 * MIN;
        assert_eq!(run(&[T, T + far, T + 1, T + 2]), [InTime, Absurd, InTime, InTime]);
        assert_eq!(run(&[T + far, T, T + 1, T + 2]), [Absurd, InTime, InTime, InTime]);
        assert_eq!(run(&[T, T + far, T + far + 1, T + far + 2]), [InTime; 4]);
        assert_eq!(run(&[T, T + 60 * MIN]), [InTime, InTime]);
        assert_eq!(run(&[T, T + two_days]), [InTime, Absurd]);
        assert_eq!(run(&[T, T + 1, T - two_days]), [InTime, InTime, TooLate]);
        assert_eq!(run(&[0, T, u64::MAX, T]), [Absurd, InTime, Absurd, InTime]);
    }
}
