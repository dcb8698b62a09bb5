//! The scheduler: many tasks, few threads. A free thread first commits what became durable, then
//! takes the task with the longest backlog, so a hot partition never leaves threads idle.
//! Checkpoints wait for the disk, not for the CPU; they have threads of their own.

use crate::error::JobError;
use crate::status::{TaskStatus, thread_cpu_ns};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_proto::Producer;
use weir_state::Store;

/// Threads that take checkpoints.
const CHECKPOINT_THREADS: usize = 3;
/// How long a thread without work waits before it looks again by itself.
const IDLE: Duration = Duration::from_millis(10);

/// What a task could do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// Nothing.
    Nothing,
    /// Fold or take in; with the length of its backlog.
    Turn(u64),
    /// Commit a turn whose outputs are durable.
    Commit,
    /// Take a checkpoint.
    Checkpoint,
}

/// Something left to do that does not need the task.
pub type FollowUp = Option<Box<dyn FnOnce() -> Result<(), JobError> + Send>>;

/// A task, as the scheduler sees it. Only one thread at a time holds it.
pub trait Work: Send {
    /// What it could do now.
    fn need(&self) -> Need;
    /// Whether nothing is left to do with the input there is.
    fn is_idle(&self) -> bool;
    /// Does it. What is left to do without the task, the task does not wait for.
    fn work(&mut self, need: Need) -> Result<FollowUp, JobError>;
    /// Ends what it has begun, after the last turn: those behind it may have gone on with that already. Whether
    /// nothing is left of it.
    fn settle(&mut self) -> Result<bool, JobError> {
        Ok(true)
    }
    /// What it shows of itself.
    fn status(&self) -> Arc<TaskStatus>;
    /// Records taken so far, committed or not; only differences count.
    fn position(&self) -> u64;
    /// Its store.
    fn store(&self) -> &Store;
}

/// Turns of tasks that are published, before one of a task that is not gets its turn although those
/// have work.
const BACKGROUND_EVERY: u32 = 8;

struct Slot {
    id: Producer,
    /// `None` while a thread holds the task.
    task: Option<Box<dyn Work>>,
    /// It works beside the published tasks and leaves them most of the time.
    background: bool,
}

#[derive(Default)]
struct State {
    tasks: Vec<Slot>,
    /// Whose follow-ups are under way.
    following: Vec<Producer>,
    /// Turns since the last one of a task in the background.
    foreground: u32,
    error: Option<JobError>,
}

impl State {
    fn holds(&self, which: impl Fn(Producer) -> bool) -> bool {
        self.tasks.iter().map(|s| s.id).chain(self.following.iter().copied()).any(which)
    }
}

/// Runs tasks on threads.
pub struct Scheduler {
    state: Mutex<State>,
    /// Something may have become possible.
    changed: Condvar,
    /// A checkpoint is due.
    due: Condvar,
    stop: AtomicBool,
}

impl Scheduler {
    /// A scheduler of these tasks.
    pub fn new(tasks: Vec<Box<dyn Work>>) -> Self {
        let scheduler = Scheduler {
            state: Mutex::default(),
            changed: Condvar::new(),
            due: Condvar::new(),
            stop: AtomicBool::new(false),
        };
        scheduler.add(tasks, false);
        scheduler
    }

    /// Takes in more tasks.
    pub fn add(&self, tasks: Vec<Box<dyn Work>>, background: bool) {
        let slot = |task: Box<dyn Work>| Slot { id: task.status().task, task: Some(task), background };
        self.state().tasks.extend(tasks.into_iter().map(slot));
        self.wake();
    }

    /// Tasks that worked in the background are published ones now.
    pub fn publish(&self, which: impl Fn(Producer) -> bool) {
        self.state().tasks.iter_mut().filter(|s| which(s.id)).for_each(|s| s.background = false);
    }

    /// Lets go of tasks, once what they are doing is done, and what is left to do without them.
    pub fn remove(&self, which: impl Fn(Producer) -> bool) -> Vec<Box<dyn Work>> {
        let mut removed = Vec::new();
        let mut state = self.state();
        while state.holds(&which) {
            let (gone, rest) = std::mem::take(&mut state.tasks)
                .into_iter()
                .partition::<Vec<_>, _>(|s| which(s.id) && s.task.is_some());
            state.tasks = rest;
            removed.extend(gone.into_iter().filter_map(|s| s.task));
            if state.holds(&which) {
                state = self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        removed
    }

    /// Whether some tasks have nothing to do.
    pub fn are_idle(&self, which: impl Fn(Producer) -> bool) -> bool {
        let state = self.state();
        let idle = |s: &Slot| s.task.as_ref().is_some_and(|t| t.is_idle());
        state.following.is_empty() && state.tasks.iter().filter(|s| which(s.id)).all(idle)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may have become possible.
    pub fn wake(&self) {
        self.changed.notify_all();
    }

    /// Lets every task finish what it is doing, and ends.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Release);
        self.wake();
        self.due.notify_all();
    }

    /// Whether it was told to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    /// Runs until stopped, or an error, or `done` says so while all tasks are idle.
    pub fn run(&self, threads: usize, mut done: impl FnMut() -> bool) -> Result<(), JobError> {
        std::thread::scope(|scope| {
            let run = |name: &str, checkpoints: bool| {
                std::thread::Builder::new()
                    .name(name.to_owned())
                    .spawn_scoped(scope, move || self.worker(checkpoints))
                    .map_err(|e| JobError::Setup(format!("cannot start a thread: {e}")))
            };
            let mut handles = Vec::new();
            for _ in 0..threads {
                handles.push(run("worker", false)?);
            }
            for _ in 0..CHECKPOINT_THREADS {
                handles.push(run("checkpoint", true)?);
            }
            while !self.stop.load(Ordering::Acquire) {
                if done() && self.are_idle(|_| true) {
                    self.stop();
                }
                std::thread::sleep(IDLE / 2);
            }
            self.wake();
            let panicked = handles.into_iter().filter_map(|h| h.join().err()).count() > 0;
            match self.state().error.take() {
                Some(error) => Err(error),
                None if panicked => Err(JobError::Panicked),
                None => Ok(()),
            }
        })
    }

    fn worker(&self, checkpoints: bool) {
        // A panic must not leave the other threads waiting for the task it took along.
        let _end = StopOnPanic(self);
        let mut state = self.state();
        while !self.stop.load(Ordering::Acquire) {
            let Some((at, need)) = pick(&mut state, checkpoints) else {
                let awaited = if checkpoints { &self.due } else { &self.changed };
                state = awaited.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            let id = state.tasks[at].id;
            let Some(mut task) = state.tasks[at].task.take() else { continue };
            drop(state);
            let result = timed(&mut *task, need);
            let is_due = task.need() == Need::Checkpoint;
            state = self.state();
            // Others may have come and gone since; those that a thread holds stay.
            if let Some(slot) = state.tasks.iter_mut().find(|s| s.id == id) {
                slot.task = Some(task);
            }
            if is_due {
                self.due.notify_one();
            }
            self.changed.notify_one();
            state = self.follow_up(state, id, result);
        }
    }

    fn follow_up<'a>(
        &'a self,
        mut state: MutexGuard<'a, State>,
        id: Producer,
        result: Result<FollowUp, JobError>,
    ) -> MutexGuard<'a, State> {
        let result = match result {
            Ok(Some(rest)) => {
                state.following.push(id);
                drop(state);
                let result = rest();
                state = self.state();
                let done = state.following.iter().position(|f| *f == id);
                done.map(|at| state.following.swap_remove(at));
                self.changed.notify_all();
                result
            }
            other => other.map(|_| ()),
        };
        if let Err(error) = result {
            state.error.get_or_insert(error);
            self.stop();
        }
        state
    }

    /// Calls `visit` with each task once the threads have ended.
    pub fn for_each(&self, mut visit: impl FnMut(&dyn Work)) {
        self.state().tasks.iter().filter_map(|s| s.task.as_ref()).for_each(|t| visit(&**t));
    }

    /// Has all tasks end what they have begun once the threads have ended; whether nothing is left of it.
    pub fn settle(&self) -> Result<bool, JobError> {
        let mut state = self.state();
        let tasks = state.tasks.iter_mut().filter_map(|s| s.task.as_mut());
        tasks.map(|task| task.settle()).try_fold(true, |all, settled| Ok(all & settled?))
    }

    /// Gives `visit` the stores of all tasks once the threads have ended.
    pub fn with_stores<R>(&self, visit: impl FnOnce(&[&Store]) -> R) -> R {
        let state = self.state();
        let tasks = state.tasks.iter().filter_map(|s| s.task.as_ref());
        visit(&tasks.map(|task| task.store()).collect::<Vec<_>>())
    }
}

struct StopOnPanic<'a>(&'a Scheduler);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.0.stop();
        }
    }
}

fn timed(task: &mut dyn Work, need: Need) -> Result<FollowUp, JobError> {
    let (cpu, wall, before) = (thread_cpu_ns(), Instant::now(), task.position());
    let result = task.work(need);
    let (status, records) = (task.status(), task.position() - before);
    status.spent(thread_cpu_ns() - cpu, records);
    match need {
        Need::Turn(_) => crate::metrics::turn(&status, wall.elapsed()),
        Need::Checkpoint => status.paused(wall.elapsed()),
        Need::Commit | Need::Nothing => {}
    }
    result
}

/// What to do next: what became durable is committed, then the longest backlog of the published tasks;
/// those in the background have what is left, and now and then a turn of their own.
fn pick(state: &mut State, checkpoints: bool) -> Option<(usize, Need)> {
    let mut best = [None, None];
    let mut longest = [0, 0];
    for (at, slot) in state.tasks.iter().enumerate() {
        let Some(task) = &slot.task else { continue };
        match (task.need(), checkpoints) {
            (Need::Commit, false) => return Some((at, Need::Commit)),
            (Need::Checkpoint, true) => return Some((at, Need::Checkpoint)),
            (Need::Turn(backlog), false) if backlog > longest[usize::from(slot.background)] => {
                longest[usize::from(slot.background)] = backlog;
                best[usize::from(slot.background)] = Some((at, Need::Turn(backlog)));
            }
            _ => {}
        }
    }
    let [published, background] = best;
    if background.is_some() && (published.is_none() || state.foreground >= BACKGROUND_EVERY) {
        state.foreground = 0;
        return background;
    }
    state.foreground += u32::from(published.is_some());
    published
}
