//! Checkpoints go to object storage beside the job: nothing waits for that. What is not there when a worker dies is folded
//! again by whoever goes on, from the checkpoint before.

use crate::error::JobError;
use crate::flow::FLOW;
use crate::generations::{Registry, Standing};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_proto::{Minute, Producer, StageId};
use weir_state::depot::{Became, Depot, DepotError, Moved};
use weir_state::{CheckpointDir, Manifest, Retention};

/// Checkpoints that wait, at most: the oldest ones are given up when there are more.
const WAITING: usize = 4096;
/// How long to wait before a storage that was away is tried again: at first, and at most.
const BACKOFF: Duration = Duration::from_secs(1);
const BACKOFF_MOST: Duration = Duration::from_secs(30);
/// How often it is looked what can be let go of.
const SWEEP_EVERY: Duration = Duration::from_secs(600);
/// How often it is looked whether the job has stopped.
const LOOK: Duration = Duration::from_millis(100);

/// Brings checkpoints into object storage.
pub struct Uploads {
    depot: Arc<Depot>,
    checkpoints: CheckpointDir,
    waiting: Mutex<VecDeque<(Producer, Minute)>>,
    changed: Condvar,
    stopped: AtomicBool,
    /// When it was looked last what can be let go of.
    swept: Mutex<Option<Instant>>,
}

impl Uploads {
    /// Of the checkpoints in a directory.
    pub fn new(depot: Arc<Depot>, checkpoints: CheckpointDir) -> Self {
        Uploads {
            depot,
            checkpoints,
            waiting: Mutex::default(),
            changed: Condvar::new(),
            stopped: AtomicBool::new(false),
            swept: Mutex::default(),
        }
    }

    fn waiting(&self) -> MutexGuard<'_, VecDeque<(Producer, Minute)>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A checkpoint was taken.
    pub fn offer(&self, task: Producer, minute: Minute) {
        let mut waiting = self.waiting();
        waiting.push_back((task, minute));
        if waiting.len() > WAITING {
            waiting.pop_front();
        }
        self.changed.notify_one();
    }

    /// How many wait.
    pub fn backlog(&self) -> usize {
        self.waiting().len()
    }

    /// Brings them there until it is stopped.
    pub fn work(&self) {
        let mut backoff = BACKOFF;
        while let Some((task, minute)) = self.next() {
            match self.depot.put(&self.checkpoints, task, minute) {
                Ok(moved) => {
                    backoff = BACKOFF;
                    self.done(task, minute, &moved);
                }
                Err(error) if error.is_away() => {
                    tracing::warn!("{error}");
                    self.waiting().push_front((task, minute));
                    self.rest(backoff);
                    backoff = BACKOFF_MOST.min(2 * backoff);
                }
                // It was let go of meanwhile.
                Err(DepotError::NotTaken { .. }) => {}
                Err(error) => {
                    crate::metrics::not_uploaded();
                    tracing::error!("{error}");
                    if self.is_newest(task) {
                        // A task that has ended takes no other one.
                        self.rest(backoff);
                        backoff = BACKOFF_MOST.min(2 * backoff);
                        self.offer(task, minute);
                    }
                }
            }
        }
    }

    /// Whether no other checkpoint of a task waits.
    fn is_newest(&self, task: Producer) -> bool {
        !self.waiting().iter().any(|(other, _)| *other == task)
    }

    fn done(&self, task: Producer, minute: Minute, moved: &Moved) {
        crate::metrics::uploaded(moved.bytes);
        if moved.became == (Became::AnotherStays { same_state: false }) {
            tracing::error!(
                "another worker has brought another state of {task} at {minute} into the depot: the two do not have the \
                 same rules or the same log. Compare their configurations, and `weir audit` both"
            );
        }
    }

    fn next(&self) -> Option<(Producer, Minute)> {
        let mut waiting = self.waiting();
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return None;
            }
            if let Some(next) = waiting.pop_front() {
                return Some(next);
            }
            waiting = self.changed.wait_timeout(waiting, LOOK).unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn rest(&self, time: Duration) {
        let mut left = time;
        while !left.is_zero() && !self.stopped.load(Ordering::Acquire) {
            let nap = left.min(LOOK);
            std::thread::sleep(nap);
            left -= nap;
        }
    }

    /// Ends the work. What waits stays here; the checkpoints of the next minutes stand for it.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.changed.notify_all();
    }

    /// Lets go of what is in the depot beyond its retention, now and then; of what a generation was begun from while it may
    /// go back to that, nothing.
    pub fn sweep(&self, retention: &Retention, registry: &Registry) -> Result<(), JobError> {
        let mut swept = self.swept.lock().unwrap_or_else(PoisonError::into_inner);
        if swept.is_some_and(|at| at.elapsed() < SWEEP_EVERY) {
            return Ok(());
        }
        *swept = Some(Instant::now());
        let all = registry.all().into_iter();
        let standings: BTreeMap<u32, Standing> = all.map(|(g, standing)| (g.id, standing)).collect();
        let is_over = |g: u32| {
            matches!(standings.get(&g), Some(Standing::Superseded | Standing::Dropped))
                && !registry.ancestors(registry.published()).contains(&g)
        };
        let (mut newest, mut of_line, mut begun) = (BTreeMap::new(), BTreeMap::new(), BTreeSet::new());
        let published = registry.published();
        let mut runs: BTreeSet<_> = FLOW.iter().map(|s| (s.id, registry.runs(published, s.id))).collect();
        // Whether it has come to its end is told by the last one of what ends.
        for unsettled in registry.unsettled().into_iter().filter(|id| !registry.has_ends(*id)) {
            let before = registry.get(unsettled).map_or(published, |(g, _)| g.recorded);
            runs.extend(FLOW.iter().map(|s| (s.id, registry.runs(before, s.id))));
        }
        // What comes from outside is taken in by the first one.
        runs.insert((StageId::Collect, 1));
        let runs_beside =
            |g: &u32| matches!(standings.get(g), Some(Standing::Candidate | Standing::Promoting));
        for generation in standings.keys().filter(|g| !is_over(**g)) {
            for task in self.depot.tasks(*generation)? {
                let minute = self.depot.minutes(task)?.last().copied().unwrap_or_default();
                // A task that lags behind is measured by itself: its newest one stays in any case. What has ended is
                // measured by what goes on.
                if runs.contains(&(task.stage, task.generation)) || runs_beside(generation) {
                    newest.insert(task, minute);
                }
                let known: &mut Minute = of_line.entry(task.task()).or_default();
                *known = minute.max(*known);
            }
            let is_needed = |m: &&Manifest| {
                runs_beside(generation) || !newest.contains_key(&m.task.task().in_generation(*generation))
            };
            let cut = registry.cut(*generation);
            begun.extend(cut.manifests().iter().filter(is_needed).map(|m| (m.task, m.minute)));
        }
        let keeps = |task: Producer, minute: Minute| {
            let now = newest.get(&task).or_else(|| of_line.get(&task.task()));
            standings.get(&task.generation) != Some(&Standing::Dropped)
                && (begun.contains(&(task, minute)) || now.is_none_or(|now| retention.keeps(minute, *now)))
        };
        let removed = self.depot.keep(keeps, 2 * Depot::LEAST_GRACE)?;
        tracing::debug!("{} checkpoints and {} files have left the depot", removed.manifests, removed.files);
        Ok(())
    }

    /// Fetches what the task of a generation is begun from, so that it stands as if it had been taken here.
    pub fn fetch(&self, task: Producer, minute: Minute) -> Result<(), DepotError> {
        crate::metrics::fetched(self.depot.fetch(task, minute, &self.checkpoints)?.bytes);
        Ok(())
    }

    /// Makes the store of a task of the newest checkpoint in the depot, if that is newer than `here`; its minute.
    pub fn bring_back(
        &self,
        task: Producer,
        here: Option<Minute>,
        store: &Path,
    ) -> Result<Option<Minute>, DepotError> {
        let newer = |minute: &Minute| here.is_none_or(|here| *minute > here);
        for minute in self.depot.minutes(task)?.into_iter().filter(newer).rev() {
            let fetched = self.depot.fetch(task, minute, &self.checkpoints).and_then(|moved| {
                let manifest = self.checkpoints.manifest(task, minute)?;
                weir_state::remove_all(store)?;
                manifest.map(|manifest| self.checkpoints.restore(&manifest, store)).transpose()?;
                Ok(moved)
            });
            match fetched {
                Ok(moved) => {
                    crate::metrics::fetched(moved.bytes);
                    return Ok(Some(minute));
                }
                Err(error) if error.is_damage() => tracing::error!("{error}"),
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}
