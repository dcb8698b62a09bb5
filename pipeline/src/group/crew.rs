//! What a worker is to have, and what it has.

use super::{Hands, Peer};
use crate::error::JobError;
use std::collections::BTreeSet;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// How often it is looked whether the job has stopped.
const LOOK: Duration = Duration::from_millis(50);
/// How long the group waits for a worker to close its tasks. What it does then is harmless, and late.
const CLOSING: Duration = Duration::from_secs(20);

/// How long to wait before what could not be opened is tried again: at first, and at most.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MOST: Duration = Duration::from_secs(30);

#[derive(Default)]
struct State {
    wanted: BTreeSet<u32>,
    /// Also while they are being opened or closed.
    held: BTreeSet<u32>,
    /// Nothing is opened before.
    not_before: Option<Instant>,
    stopped: bool,
}

/// The partitions of this worker.
#[derive(Default)]
pub struct Crew {
    state: Mutex<State>,
    changed: Condvar,
    seen: Mutex<Vec<Peer>>,
}

impl Crew {
    /// The workers of the group, so far as this one was told.
    pub fn seen(&self) -> Vec<Peer> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The partitions whose tasks are open, or about to be.
    #[cfg(test)]
    fn held(&self) -> BTreeSet<u32> {
        self.state().held.clone()
    }

    /// Opens and closes until it is stopped, or something fails. What cannot be opened since something is away, or is
    /// not there yet, is tried again: the partitions that there are go on meanwhile.
    pub fn work(
        &self,
        open: impl Fn(&[u32]) -> Result<(), JobError>,
        close: impl Fn(u32) -> Result<(), JobError>,
    ) -> Result<(), JobError> {
        let (mut state, mut backoff) = (self.state(), BACKOFF);
        while !state.stopped {
            if let Some(partition) = state.held.difference(&state.wanted).next().copied() {
                drop(state);
                close(partition)?;
                state = self.state();
                state.held.remove(&partition);
                self.changed.notify_all();
                continue;
            }
            let new: Vec<u32> = state.wanted.difference(&state.held).copied().collect();
            if new.is_empty() || state.not_before.is_some_and(|at| Instant::now() < at) {
                state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            }
            state.held.extend(&new);
            drop(state);
            let opened = open(&new);
            state = self.state();
            match opened {
                Ok(()) => backoff = BACKOFF,
                Err(error) if error.is_away() => {
                    tracing::warn!("partitions {new:?} cannot be taken over yet: {error}");
                    new.iter().for_each(|partition| _ = state.held.remove(partition));
                    state.not_before = Some(Instant::now() + backoff);
                    backoff = BACKOFF_MOST.min(2 * backoff);
                    self.changed.notify_all();
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    /// Nothing is opened or closed any more: the job stops.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}

impl Hands for Crew {
    fn take(&self, partitions: &[u32]) {
        self.state().wanted.extend(partitions);
        self.changed.notify_all();
    }

    fn give_up_all(&self) {
        let all: Vec<u32> = self.state().wanted.iter().copied().collect();
        self.give_up(&all);
    }

    fn sees(&self, workers: Vec<Peer>) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = workers;
    }

    fn give_up(&self, partitions: &[u32]) {
        let (mut state, begun) = (self.state(), Instant::now());
        partitions.iter().for_each(|partition| _ = state.wanted.remove(partition));
        self.changed.notify_all();
        while partitions.iter().any(|partition| state.held.contains(partition)) && !state.stopped {
            if begun.elapsed() > CLOSING {
                tracing::warn!("partitions {partitions:?} are given up before their tasks are closed");
                return;
            }
            state = self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::LogError;
    use std::sync::atomic::{AtomicU32, Ordering};

    #[test]
    fn what_is_given_up_is_closed_before_it_is_somebody_elses() {
        let (crew, open) = (Crew::default(), Mutex::new(BTreeSet::new()));
        let opened = AtomicU32::new(0);
        std::thread::scope(|scope| {
            let working = scope.spawn(|| {
                crew.work(
                    |partitions| {
                        let mut open = open.lock().unwrap();
                        assert!(partitions.iter().all(|partition| open.insert(*partition)));
                        opened.fetch_add(partitions.len() as u32, Ordering::Relaxed);
                        Ok(())
                    },
                    |partition| {
                        std::thread::sleep(Duration::from_millis(5));
                        assert!(open.lock().unwrap().remove(&partition));
                        Ok(())
                    },
                )
            });
            crew.take(&[1, 2, 3]);
            while opened.load(Ordering::Relaxed) < 3 {
                std::thread::yield_now();
            }
            crew.give_up(&[2, 3]);
            assert_eq!(*open.lock().unwrap(), BTreeSet::from([1]));
            // What was not opened yet is given up at once.
            crew.take(&[7]);
            crew.give_up(&[7, 8]);
            assert_eq!(*open.lock().unwrap(), BTreeSet::from([1]));
            assert_eq!(crew.held(), BTreeSet::from([1]));
            crew.give_up_all();
            assert_eq!(crew.held(), BTreeSet::new());
            crew.stop();
            working.join().unwrap().unwrap();
        });
    }

    #[test]
    fn what_is_away_is_tried_again() {
        let (crew, tries) = (Crew::default(), AtomicU32::new(0));
        crew.take(&[4, 5]);
        let worked = crew.work(
            |partitions| {
                assert_eq!(partitions, [4, 5]);
                if tries.fetch_add(1, Ordering::Relaxed) == 0 {
                    return Err(LogError::Away { what: "read", topic: None }.into());
                }
                crew.stop();
                Ok(())
            },
            |_| Ok(()),
        );
        worked.unwrap();
        assert_eq!((tries.into_inner(), crew.held()), (2, BTreeSet::from([4, 5])));
    }

    #[test]
    fn a_worker_that_cannot_open_says_so() {
        let crew = Crew::default();
        crew.take(&[4]);
        let failed = crew.work(|_| Err(JobError::Refused("no".to_owned())), |_| Ok(()));
        assert!(failed.is_err());
    }
}
