//! The event-time clock of a finite run: which minute it is when minutes are those of the events.
//!
//! The clock is the newest plausible event time. A time ahead of it moves it only if it is close or
//! most of the events that follow agree; one that is days ahead of all others is an absurd one. Neither
//! may expire what others still need.

use crate::rules::Rules;
use weir_proto::Minute;

/// Events looked at behind a surprising one.
pub const LOOKAHEAD: usize = 16;
/// How far ahead of the others the time of an event may be in a finite run, in minutes.
pub const FINITE_AHEAD: u32 = 24 * 60;
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
    /// Judges a time against the clock, which it may be ahead of by so many minutes.
    pub fn judge(self, time_ms: u64, ahead: u32, rules: &Rules) -> Verdict {
        if !PLAUSIBLE_MS.contains(&time_ms) || time_ms > self.0.saturating_add(millis(ahead)) {
            Verdict::Absurd
        } else if time_ms < self.0.saturating_sub(millis(rules.allowed_lateness)) {
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
        if self.0 != 0 && time_ms <= self.0 + millis(rules.max_ahead) {
            self.0 = self.0.max(time_ms);
            return;
        }
        // What cannot be agrees with nothing.
        let following: Vec<u64> = following().into_iter().filter(|t| PLAUSIBLE_MS.contains(t)).collect();
        if self.0 == 0 {
            // The first event may be the absurd one.
            self.0 = median(time_ms, &following).min(time_ms);
        }
        if self.confirmed(time_ms, &following, rules) {
            self.0 = self.0.max(time_ms);
        }
    }

    fn confirmed(self, time_ms: u64, following: &[u64], rules: &Rules) -> bool {
        let slack = millis(rules.max_ahead);
        let agreeing = following.iter().filter(|t| **t + slack >= time_ms).count();
        match following.len() {
            0 => time_ms <= self.0 + millis(FINITE_AHEAD),
            n => time_ms <= self.0 + slack || agreeing * 2 > n,
        }
    }
}

fn millis(minutes: u32) -> u64 {
    u64::from(minutes) * Minute::MILLIS
}

fn median(first: u64, following: &[u64]) -> u64 {
    let mut times: Vec<u64> = following.iter().copied().chain([first]).collect();
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
                clock.judge(*t, FINITE_AHEAD, &rules)
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
        assert_eq!(run(&[T, T + 60 * MIN, T + 1, T + 2]), [InTime; 4], "ahead, but not absurdly");
        assert_eq!(run(&[T, T + two_days]), [InTime, Absurd]);
        assert_eq!(run(&[T, T + 1, T - two_days]), [InTime, InTime, TooLate]);
        assert_eq!(run(&[0, T, u64::MAX, T]), [Absurd, InTime, Absurd, InTime]);
        // Times that cannot be do not confirm one that can, however high they are.
        for absurd in [u64::MAX, u64::MAX / 2] {
            let seen = run(&[T, T + far, absurd, absurd, T + 1, T + 2]);
            assert_eq!(seen, [InTime, Absurd, Absurd, Absurd, InTime, InTime]);
        }
    }
}
