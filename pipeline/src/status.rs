//! What a task shows of itself while it runs.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use weir_proto::{Minute, Producer};
use weir_state::{Tally, TaskMeta};

/// Where a task stands, readable from any thread.
#[derive(Debug)]
pub struct TaskStatus {
    /// Which task.
    pub task: Producer,
    /// Whether it reads a topic.
    reads: bool,
    position: AtomicU64,
    /// Behind the newest record read, which need not be committed.
    read_to: AtomicU64,
    /// The lowest input offset below the position that is unfinished; `u64::MAX` if there is none.
    unfinished: AtomicU64,
    end: AtomicU64,
    last_tick: AtomicU64,
    checkpointed: AtomicU64,
    longest_pause_ns: AtomicU64,
    cpu_ns: AtomicU64,
    records: AtomicU64,
    tally: Mutex<Tally>,
}

impl TaskStatus {
    /// Of a task that goes on where it stands; `end` is that of its input, if it reads a topic.
    pub fn new(end: Option<u64>, meta: &TaskMeta) -> Self {
        let status = TaskStatus {
            task: meta.task,
            reads: end.is_some(),
            position: AtomicU64::new(0),
            read_to: AtomicU64::new(0),
            unfinished: AtomicU64::new(u64::MAX),
            end: AtomicU64::new(end.unwrap_or(0)),
            last_tick: AtomicU64::new(0),
            checkpointed: AtomicU64::new(if meta.at_tick { 0 } else { u64::from(meta.last_tick.0) }),
            longest_pause_ns: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            records: AtomicU64::new(0),
            tally: Mutex::default(),
        };
        status.committed(meta);
        status
    }

    /// The next input offset: everything below is processed and committed.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Everything below it is acknowledged downstream, too.
    pub fn minimal_successful_offset(&self) -> u64 {
        // Read in the order opposite to that of writing: it may lag behind, never run ahead.
        let position = self.position();
        position.min(self.unfinished.load(Ordering::Acquire))
    }

    /// The end of its input, if it reads a topic: the place behind the newest durable record.
    pub fn end(&self) -> Option<u64> {
        self.reads.then(|| self.end.load(Ordering::Acquire).max(self.position()))
    }

    /// Durable input records that are not committed yet.
    pub fn lag(&self) -> u64 {
        self.end().map_or(0, |end| end - self.position())
    }

    /// Durable input records not read yet.
    pub fn backlog(&self) -> u64 {
        let read_to = self.read_to.load(Ordering::Acquire);
        self.end().map_or(0, |end| end.saturating_sub(read_to.max(self.position())))
    }

    /// The minute of the newest checkpoint, 0 if it has none yet.
    pub fn checkpoint(&self) -> Minute {
        Minute(self.checkpointed.load(Ordering::Acquire) as u32)
    }

    /// The longest time that taking a checkpoint has held the task up.
    pub fn longest_pause(&self) -> Duration {
        Duration::from_nanos(self.longest_pause_ns.load(Ordering::Relaxed))
    }

    /// The newest tick, in minutes since the epoch.
    pub fn last_tick(&self) -> u32 {
        self.last_tick.load(Ordering::Acquire) as u32
    }

    /// CPU time spent in turns and commits since the start, in nanoseconds.
    pub fn cpu_ns(&self) -> u64 {
        self.cpu_ns.load(Ordering::Relaxed)
    }

    /// Records taken since the start.
    pub fn records(&self) -> u64 {
        self.records.load(Ordering::Relaxed)
    }

    /// What became of its records, as of the newest commit of this process.
    pub fn tally(&self) -> Tally {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(crate) fn read_to(&self, position: u64) {
        self.read_to.store(position, Ordering::Release);
    }

    pub(crate) fn sees(&self, end: u64) {
        self.end.store(end, Ordering::Release);
    }

    /// For a task that goes on past unfinished records, before each [`TaskStatus::committed`].
    pub(crate) fn unfinished_from(&self, offset: Option<u64>) {
        self.unfinished.store(offset.unwrap_or(u64::MAX), Ordering::Release);
    }

    pub(crate) fn checkpointed(&self, minute: Minute) {
        self.checkpointed.store(u64::from(minute.0), Ordering::Release);
    }

    pub(crate) fn paused(&self, time: Duration) {
        self.longest_pause_ns.fetch_max(time.as_nanos() as u64, Ordering::Relaxed);
    }

    pub(crate) fn committed(&self, meta: &TaskMeta) {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner).clone_from(&meta.tally);
        self.last_tick.store(u64::from(meta.last_tick.0), Ordering::Release);
        self.position.store(meta.position, Ordering::Release);
    }

    pub(crate) fn spent(&self, cpu_ns: u64, records: u64) {
        self.cpu_ns.fetch_add(cpu_ns, Ordering::Relaxed);
        self.records.fetch_add(records, Ordering::Relaxed);
    }
}

/// The tasks of the published generation: their backlog holds collect back.
#[derive(Debug, Default)]
pub struct Live(Mutex<Vec<Arc<TaskStatus>>>);

impl Live {
    /// Sets which they are.
    pub fn set(&self, tasks: Vec<Arc<TaskStatus>>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = tasks;
    }

    /// Which they are.
    pub fn tasks(&self) -> Vec<Arc<TaskStatus>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Records that are not committed.
    pub fn lag(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|s| s.lag()).sum()
    }

    /// Records that nobody has read.
    pub fn backlog(&self) -> u64 {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().map(|s| s.backlog()).sum()
    }
}

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    // Reading a clock that exists cannot fail; without one the time would show as 0.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
