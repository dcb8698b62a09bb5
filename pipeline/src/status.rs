//! What a task shows of itself while it runs.

use crate::log::Log;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use weir_proto::{Producer, Topic};
use weir_state::{Tally, TaskMeta};

/// Where a task stands, readable from any thread.
#[derive(Debug)]
pub struct TaskStatus {
    /// Which task.
    pub task: Producer,
    /// What it reads, if it reads a topic.
    pub reads: Option<Topic>,
    position: AtomicU64,
    last_tick: AtomicU64,
    cpu_ns: AtomicU64,
    records: AtomicU64,
    tally: Mutex<Tally>,
}

impl TaskStatus {
    /// Of a task that goes on where it stands.
    pub fn new(reads: Option<Topic>, meta: &TaskMeta) -> Self {
        let status = TaskStatus {
            task: meta.task,
            reads,
            position: AtomicU64::new(0),
            last_tick: AtomicU64::new(0),
            cpu_ns: AtomicU64::new(0),
            records: AtomicU64::new(0),
            tally: Mutex::default(),
        };
        status.committed(meta);
        status
    }

    /// The next input offset: everything below is processed, acknowledged and committed.
    pub fn position(&self) -> u64 {
        self.position.load(Ordering::Acquire)
    }

    /// Durable input records not processed yet.
    pub fn lag(&self, log: &dyn Log, reads: Topic) -> u64 {
        log.high_watermark(reads, u32::from(self.task.partition)).saturating_sub(self.position())
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

/// CPU time of the calling thread, in nanoseconds.
pub(crate) fn thread_cpu_ns() -> u64 {
    // Reading a clock that exists cannot fail; without one the time would show as 0.
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime);
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}
