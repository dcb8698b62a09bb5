//! What waits to be sent, by partition.

use super::leaders::Known;
use crate::log::LogError;
use fluvio_protocol::Encoder;
use fluvio_protocol::record::{Batch, RawRecords};
use std::collections::{BTreeMap, HashSet, VecDeque};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Bytes that may wait before whoever appends has to.
const ROOM: usize = 256 << 20;
/// Bytes of a partition, and of all, that go at once.
const OF_PARTITION: usize = 1 << 20;
const AT_ONCE: usize = 8 << 20;
/// How long to wait before the next try, after the first one and at most.
const BACKOFF: Duration = Duration::from_millis(100);
const MOST_BACKOFF: Duration = Duration::from_secs(5);
/// How often it is looked what may be tried again.
const LOOK: Duration = Duration::from_millis(50);

pub(super) type Key = (String, u32);

/// A batch of Weir.
pub(super) struct Pending {
    pub name: usize,
    pub records: u64,
    pub batches: Vec<Batch<RawRecords>>,
    bytes: usize,
}

impl Pending {
    pub(super) fn new(name: usize, batches: Vec<Batch<RawRecords>>) -> Self {
        let records = batches.iter().map(|batch| batch.records_len() as u64).sum();
        let bytes = batches.iter().map(|batch| batch.write_size(0)).sum();
        Pending { name, records, batches, bytes }
    }
}

/// What goes to a partition at once.
pub(super) struct Part {
    pub key: Key,
    pub batches: Vec<Pending>,
    /// How often it, or some of it, was sent before.
    pub tries: u32,
}

pub(super) enum Job {
    /// To find out who leads a partition.
    Look(Key),
    /// To send.
    Send { leader: String, parts: Vec<Part> },
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Pending>,
    busy: bool,
    tries: u32,
    not_before: Option<Instant>,
}

impl Queue {
    fn is_ready(&self, now: Instant) -> bool {
        !self.busy && !self.waiting.is_empty() && self.not_before.is_none_or(|at| at <= now)
    }

    /// What goes next, at least one batch.
    fn take(&mut self) -> (Vec<Pending>, usize) {
        let (mut taken, mut bytes) = (Vec::new(), 0);
        while let Some(next) = self.waiting.front() {
            if !taken.is_empty() && bytes + next.bytes > OF_PARTITION {
                break;
            }
            bytes += next.bytes;
            taken.extend(self.waiting.pop_front());
        }
        self.busy = true;
        (taken, bytes)
    }
}

#[derive(Default)]
struct State {
    queues: BTreeMap<Key, Queue>,
    /// Of all that waits or is under way.
    bytes: usize,
    /// The leaders that a request is under way to.
    busy: HashSet<String>,
    closes: Option<Instant>,
}

/// The queues of all partitions.
#[derive(Default)]
pub(super) struct Queues {
    state: Mutex<State>,
    changed: Condvar,
}

impl Queues {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits while too much waits already, but not once nothing is sent any more.
    pub(super) fn wait_for_room(&self, failure: impl Fn() -> Option<LogError>) -> Result<(), LogError> {
        let mut state = self.state();
        loop {
            if let Some(error) = failure() {
                return Err(error);
            }
            if state.bytes < ROOM {
                return Ok(());
            }
            state = self.wait(state);
        }
    }

    fn wait<'a>(&self, state: MutexGuard<'a, State>) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, LOOK).unwrap_or_else(PoisonError::into_inner).0
    }

    pub(super) fn push(&self, key: Key, pending: Pending) {
        let mut state = self.state();
        state.bytes += pending.bytes;
        state.queues.entry(key).or_default().waiting.push_back(pending);
        drop(state);
        self.changed.notify_all();
    }

    /// What is to be done next; nothing any more once the log is closed.
    pub(super) fn take(&self, leaders: &Known) -> Option<Job> {
        let mut state = self.state();
        loop {
            if state.closes.is_some_and(|at| state.bytes == 0 || at <= Instant::now()) {
                return None;
            }
            if let Some(job) = state.next(leaders) {
                return Some(job);
            }
            state = self.wait(state);
        }
    }

    /// A leader has answered, or never will.
    pub(super) fn free(&self, leader: &str) {
        self.state().busy.remove(leader);
    }

    /// The leader of a partition is known.
    pub(super) fn found(&self, key: &Key) {
        self.change(key, |_| {});
    }

    /// What was taken of a partition is there.
    pub(super) fn done(&self, key: &Key, batches: &[Pending]) {
        self.state().bytes -= batches.iter().map(|pending| pending.bytes).sum::<usize>();
        self.change(key, |queue| queue.tries = 0);
    }

    /// What was taken of a partition is to be tried again, later.
    pub(super) fn again(&self, key: &Key, batches: Vec<Pending>) {
        self.change(key, |queue| {
            batches.into_iter().rev().for_each(|pending| queue.waiting.push_front(pending));
            let wait = BACKOFF * 2_u32.pow(queue.tries.min(10));
            queue.tries += 1;
            queue.not_before = Some(Instant::now() + wait.min(MOST_BACKOFF));
        });
    }

    fn change(&self, key: &Key, change: impl FnOnce(&mut Queue)) {
        if let Some(queue) = self.state().queues.get_mut(key) {
            queue.not_before = None;
            queue.busy = false;
            change(queue);
        }
        self.changed.notify_all();
    }

    /// Nothing is sent any more, but what there is within so long.
    pub(super) fn close(&self, patience: Duration) {
        self.state().closes = Some(Instant::now() + patience);
        self.changed.notify_all();
    }
}

impl State {
    fn next(&mut self, leaders: &Known) -> Option<Job> {
        let now = Instant::now();
        let ready = self.queues.iter().filter(|(_, queue)| queue.is_ready(now));
        let mut led = ready.map(|(key, _)| (key.clone(), leaders.known(&key.0, key.1)));
        let (key, leader) = led.find(|(_, l)| l.as_ref().is_none_or(|l| !self.busy.contains(l)))?;
        let Some(leader) = leader else {
            self.queues.get_mut(&key)?.busy = true;
            return Some(Job::Look(key));
        };
        let (mut parts, mut bytes) = (Vec::new(), 0);
        for (key, queue) in &mut self.queues {
            if bytes < AT_ONCE
                && queue.is_ready(now)
                && leaders.known(&key.0, key.1).as_ref() == Some(&leader)
            {
                let (batches, size) = queue.take();
                bytes += size;
                parts.push(Part { key: key.clone(), batches, tries: queue.tries });
            }
        }
        self.busy.insert(leader.clone());
        Some(Job::Send { leader, parts })
    }
}
