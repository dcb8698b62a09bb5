//! Commands: checked, taken in, and followed until they are decided.
//!
//! What a command does is decided by deduct, in the order of `judged`; here it is only brought there, and
//! its answer back. A command that was taken in and not answered in time, or whose job was killed, is sent
//! again with the same key: it is decided once.

mod answers;
pub(crate) mod check;
mod original;
mod parts;
mod under_way;

use crate::error::JobError;
use crate::generations::Registry;
use crate::log::LiveLog;
use crate::scheduler::Scheduler;
use crate::source::collect::now_ms;
use crate::source::mailbox::{Mailbox, Submission};
use answers::Answers;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_operators::partition;
use weir_proto::rpc;

pub use original::Originals;
pub use parts::{Part, can_be_refunded, published_parts};
pub use under_way::UnderWay;

/// How long an answer is waited for.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether the job still runs.
const POLL: Duration = Duration::from_millis(20);

/// Takes commands in and brings their answers back.
pub struct Commands {
    /// The generations.
    pub registry: Arc<Registry>,
    /// The log.
    pub log: Arc<dyn LiveLog>,
    /// What runs the source and deduct.
    pub scheduler: Arc<Scheduler>,
    /// Where the source finds commands.
    pub mailbox: Arc<Mailbox>,
    /// Finds what refunds and replies are about.
    pub originals: Originals,
    /// Rung when something became durable.
    pub bell: Arc<Bell>,
    /// Keys that are waited for.
    pub under_way: UnderWay,
    /// Partitions of every topic.
    pub partitions: u32,
}

impl Commands {
    /// Has a command decided.
    pub fn submit(&self, mut command: rpc::Command) -> Result<rpc::SubmitResponse, JobError> {
        let until = Instant::now() + PATIENCE;
        self.originals.fill(&mut command)?;
        check::check(&command)?;
        command.time_ms = now_ms();
        let (key, advertiser_id) = (command.key.clone(), command.advertiser_id);
        let missed = |state: &'static str| JobError::Unanswered { key: key.clone(), state };
        let waiting = || {
            self.bell.wait(POLL);
            Instant::now() < until && !self.scheduler.is_stopped()
        };
        // Two at a time could not tell which answer is whose.
        let _one = self
            .under_way
            .enter((advertiser_id, key.clone()), waiting)
            .ok_or_else(|| missed("is sent twice at a time"))?;
        let to = partition::by_advertiser(advertiser_id, self.partitions);
        let mut answers = Answers::from_now(&self.registry, &self.log, to);
        self.take_in(command, until).ok_or_else(|| missed("may or may not be taken in yet"))?;
        loop {
            if let Some(answer) = answers.find(advertiser_id, &key)? {
                return Ok(answer);
            }
            if !waiting() {
                return Err(missed("is taken in, durably, and not decided yet"));
            }
        }
    }

    /// Has a command taken in, durably, without waiting until it is decided. It may be taken in twice; it is
    /// decided once.
    pub fn take(&self, mut command: rpc::Command) -> Result<(), JobError> {
        let until = Instant::now() + PATIENCE;
        self.originals.fill(&mut command)?;
        check::check(&command)?;
        command.time_ms = now_ms();
        let key = command.key.clone();
        let state = "may or may not be taken in yet";
        self.take_in(command, until).ok_or(JobError::Unanswered { key, state })
    }

    /// Returns once it is durable.
    fn take_in(&self, command: rpc::Command, until: Instant) -> Option<()> {
        let (taken, done) = channel();
        self.mailbox.put(Submission { command, taken });
        self.scheduler.wake();
        loop {
            match done.recv_timeout(POLL) {
                Ok(()) => return Some(()),
                Err(RecvTimeoutError::Timeout) if Instant::now() < until && !self.scheduler.is_stopped() => {}
                Err(_) => return None,
            }
        }
    }
}

/// Wakes those who wait for the log.
#[derive(Default)]
pub struct Bell(Mutex<()>, Condvar);

impl Bell {
    /// Something may have come.
    pub fn ring(&self) {
        self.1.notify_all();
    }

    /// Waits for the bell, but not for long: it may have rung before.
    fn wait(&self, at_most: Duration) {
        let guard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.1.wait_timeout(guard, at_most).unwrap_or_else(PoisonError::into_inner));
    }
}
