//! A circuit breaker, as a pure state machine: what became of the work, and when, goes in; whether more of it may be
//! begun comes out.
//!
//! Closed, it lets everything through, and counts failures in a row. Too many open it: nothing is let through until a
//! trial is due. Half open, it lets one trial through: if that works it closes, else it waits longer for the next.

use std::time::Duration;

/// Failures in a row that open it: one or two happen whenever the other side is started anew.
pub const FAILURES: u32 = 5;
/// How long it waits for the first trial, and at most; doubled with each that fails. A short outage is over soon after
/// it is, and a long one costs a try every few seconds.
pub const WAIT: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(10));
/// A trial that nothing was heard of for so long is given up, and another one let through.
const PATIENCE: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { trial_at: Duration },
    HalfOpen { given_up_at: Duration },
}

/// What an outcome has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flip {
    /// From now on nothing but trials is let through.
    Opened,
    /// From now on everything is let through.
    Closed,
}

/// The machine. Times are those of any clock that does not go back.
#[derive(Clone, Copy, Debug)]
pub struct Breaker {
    state: State,
    wait: Duration,
}

impl Default for Breaker {
    fn default() -> Self {
        Breaker { state: State::Closed { failures: 0 }, wait: WAIT.0 }
    }
}

impl Breaker {
    /// One that was open before; a trial is due at once.
    pub fn reopened() -> Self {
        Breaker { state: State::Open { trial_at: Duration::ZERO }, ..Breaker::default() }
    }

    /// Whether it is not closed.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::Closed { .. })
    }

    /// Whether what is under way should end, too: it is open, and nobody is on trial.
    pub fn rests(&self) -> bool {
        matches!(self.state, State::Open { .. })
    }

    /// Whether work would be let through.
    pub fn lets(&self, now: Duration) -> bool {
        match self.state {
            State::Closed { .. } => true,
            State::Open { trial_at } => now >= trial_at,
            State::HalfOpen { given_up_at } => now >= given_up_at,
        }
    }

    /// Lets work through, or not; what became of it is to be told. If it is open, this is the trial.
    pub fn admit(&mut self, now: Duration) -> bool {
        let lets = self.lets(now);
        if lets && self.is_open() {
            self.state = State::HalfOpen { given_up_at: now.saturating_add(PATIENCE) };
        }
        lets
    }

    /// There was nothing to do: nothing is known, and another may have the trial.
    pub fn withdraw(&mut self, now: Duration) {
        if let State::HalfOpen { .. } = self.state {
            self.state = State::Open { trial_at: now };
        }
    }

    /// Work that was let through has worked. What was begun before it opened says nothing.
    pub fn worked(&mut self) -> Option<Flip> {
        match self.state {
            State::Open { .. } => None,
            State::HalfOpen { .. } => {
                *self = Breaker::default();
                Some(Flip::Closed)
            }
            State::Closed { .. } => {
                self.state = State::Closed { failures: 0 };
                None
            }
        }
    }

    /// Work that was let through has failed, or taken too long.
    pub fn failed(&mut self, now: Duration) -> Option<Flip> {
        match self.state {
            State::Open { .. } => None,
            State::HalfOpen { .. } => {
                self.wait = (self.wait * 2).min(WAIT.1);
                self.state = State::Open { trial_at: now.saturating_add(self.wait) };
                None
            }
            State::Closed { failures } if failures + 1 < FAILURES => {
                self.state = State::Closed { failures: failures + 1 };
                None
            }
            State::Closed { .. } => {
                self.wait = WAIT.0;
                self.state = State::Open { trial_at: now.saturating_add(self.wait) };
                Some(Flip::Opened)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    fn opened(now: Duration) -> Breaker {
        let mut breaker = Breaker::default();
        let flips: Vec<_> = (0..FAILURES).map(|_| breaker.failed(now)).collect();
        assert_eq!(flips.last(), Some(&Some(Flip::Opened)));
        assert!(flips[..flips.len() - 1].iter().all(Option::is_none), "{flips:?}");
        breaker
    }

    #[test]
    fn only_failures_in_a_row_open_it() {
        let mut breaker = Breaker::default();
        for _ in 0..10 {
            for _ in 1..FAILURES {
                assert_eq!((breaker.admit(at(0)), breaker.failed(at(0))), (true, None));
            }
            assert_eq!(breaker.worked(), None);
        }
        assert!(!breaker.is_open());
        let breaker = opened(at(5));
        assert!(breaker.is_open() && breaker.rests() && !breaker.lets(at(5)));
    }

    #[test]
    fn one_trial_at_a_time_is_let_through_and_closes_it() {
        let mut breaker = opened(at(0));
        assert!(!breaker.admit(at(999)) && breaker.lets(at(1000)));
        assert!(breaker.admit(at(1000)) && !breaker.admit(at(1001)), "only one");
        assert!(breaker.is_open() && !breaker.rests(), "the trial goes on");
        assert_eq!((breaker.worked(), breaker.worked()), (Some(Flip::Closed), None));
        assert!(breaker.admit(at(1002)) && !breaker.is_open());
        // It has forgotten the failures of before.
        assert_eq!(breaker.failed(at(1003)), None);
    }

    #[test]
    fn each_trial_that_fails_is_waited_for_longer_and_flips_nothing() {
        let (mut breaker, mut now) = (opened(at(0)), at(0));
        for wait in [1, 2, 4, 8, 10, 10, 10] {
            now += at(wait * 1000 - 1);
            assert!(!breaker.admit(now), "{wait}");
            now += at(1);
            assert!(breaker.admit(now), "{wait}");
            assert_eq!(breaker.failed(now), None);
        }
        now += at(10_000);
        assert!(breaker.admit(now));
        assert_eq!(breaker.worked(), Some(Flip::Closed));
        // The next time it begins with the short wait.
        (0..FAILURES).for_each(|_| assert_eq!(breaker.failed(now).is_some(), breaker.is_open()));
        assert!(!breaker.lets(now + at(999)) && breaker.lets(now + at(1000)));
    }

    #[test]
    fn a_trial_without_an_outcome_makes_way_for_another() {
        let mut breaker = opened(at(0));
        assert!(breaker.admit(at(1000)));
        breaker.withdraw(at(1001));
        assert!(breaker.admit(at(1001)), "there was nothing to try");
        assert!(!breaker.admit(at(1001) + PATIENCE - at(1)));
        assert!(breaker.admit(at(1001) + PATIENCE), "nothing was heard of it");
        let mut closed = Breaker::default();
        closed.withdraw(at(7));
        assert!(!closed.is_open());
    }

    #[test]
    fn what_was_begun_before_it_opened_says_nothing() {
        let mut breaker = opened(at(0));
        assert_eq!((breaker.worked(), breaker.failed(at(900))), (None, None));
        assert!(breaker.lets(at(1000)), "the wait is not begun anew");
        assert!(Breaker::reopened().lets(at(0)) && Breaker::reopened().is_open());
    }
}
