//! The scheduler: many tasks, few threads. A free thread first commits what became durable, then
//! takes the task with the longest backlog, so a hot partition never leaves threads idle.
//! Checkpoints wait for the disk, not for the CPU; they have threads of their own.

use crate::error::JobError;
use crate::status::{TaskStatus, thread_cpu_ns};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_state::Store;

/// Threads that take checkpoints.
const CHECKPOINT_THREADS: usize = 3;
/// How long a thread without work waits before it looks again by itself.
const IDLE: Duration = Duration::from_millis(20);

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

/// A task, as the scheduler sees it. Only one thread at a time holds it.
pub trait Work: Send {
    /// What it could do now.
    fn need(&self) -> Need;
    /// Whether nothing is left to do with the input there is.
    fn is_idle(&self) -> bool;
    /// Does it.
    fn work(&mut self, need: Need) -> Result<(), JobError>;
    /// What it shows of itself.
    fn status(&self) -> Arc<TaskStatus>;
    /// Records taken so far, committed or not; only differences count.
    fn position(&self) -> u64;
    /// Its store.
    fn store(&self) -> &Store;
}

struct State {
    /// `None` while a thread holds the task.
    tasks: Vec<Option<Box<dyn Work>>>,
    error: Option<JobError>,
}

/// Runs tasks on threads.
pub struct Scheduler {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
}

impl Scheduler {
    /// A scheduler of these tasks.
    pub fn new(tasks: Vec<Box<dyn Work>>) -> Self {
        Scheduler {
            state: Mutex::new(State { tasks: tasks.into_iter().map(Some).collect(), error: None }),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
        }
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
                if done() && self.all_idle() {
                    self.stop();
                }
                std::thread::sleep(IDLE / 4);
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

    fn all_idle(&self) -> bool {
        self.state().tasks.iter().all(|t| t.as_ref().is_some_and(|t| t.is_idle()))
    }

    fn worker(&self, checkpoints: bool) {
        // A panic must not leave the other threads waiting for the task it took along.
        let _end = StopOnPanic(self);
        let mut state = self.state();
        while !self.stop.load(Ordering::Acquire) {
            let Some((at, need)) = pick(&state.tasks, checkpoints) else {
                state = self.changed.wait_timeout(state, IDLE).unwrap_or_else(PoisonError::into_inner).0;
                continue;
            };
            let Some(mut task) = state.tasks[at].take() else { continue };
            drop(state);
            let result = timed(&mut *task, need);
            state = self.state();
            state.tasks[at] = Some(task);
            if let Err(error) = result {
                state.error.get_or_insert(error);
                self.stop();
            }
            self.changed.notify_one();
        }
    }

    /// Calls `visit` with each task once the threads have ended.
    pub fn for_each(&self, mut visit: impl FnMut(&dyn Work)) {
        self.state().tasks.iter().flatten().for_each(|t| visit(&**t));
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

fn timed(task: &mut dyn Work, need: Need) -> Result<(), JobError> {
    let (cpu, wall, before) = (thread_cpu_ns(), Instant::now(), task.position());
    let result = task.work(need);
    let (status, records) = (task.status(), task.position() - before);
    status.spent(thread_cpu_ns() - cpu, records);
    if matches!(need, Need::Turn(_)) {
        crate::metrics::turn(&status, wall.elapsed());
    }
    result
}

fn pick(tasks: &[Option<Box<dyn Work>>], checkpoints: bool) -> Option<(usize, Need)> {
    let mut best = None;
    let mut longest = 0;
    for (at, task) in tasks.iter().enumerate() {
        let Some(task) = task else { continue };
        match (task.need(), checkpoints) {
            (Need::Commit, false) => return Some((at, Need::Commit)),
            (Need::Checkpoint, true) => return Some((at, Need::Checkpoint)),
            (Need::Turn(backlog), false) if backlog > longest => {
                longest = backlog;
                best = Some((at, Need::Turn(backlog)));
            }
            _ => {}
        }
    }
    best
}
