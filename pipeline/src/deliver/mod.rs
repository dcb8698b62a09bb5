//! Delivery: the published outcomes, posted to the account system on the other side.
//!
//! One task for each partition reads what is published, hands a batch at a time to threads of its own
//! kind, and commits what became of it: acknowledged, to be tried again (`retry`), or not to be tried any
//! more (`dead`). Its position moves on past records that wait for another try; the lowest of those is its
//! minimal successful offset. Delivery is at least once, under ids that never change.
//!
//! It is no stage of the flow: no generation has tasks of it, and what it does depends on another system.
//! What piles up in front of that holds the source back, and nothing else. While the switch `deliver` lets nothing
//! through, records stay where they are, without costing them tries; somebody who sets it to off does not want the
//! source to be held back either.

mod couriers;
mod dead;
mod http;
mod letters;
mod message;
mod pressure;
mod published;
pub(crate) mod replies;
mod split;
mod state;
mod task;
mod unfinished;

pub use dead::{DeadLetter, dead_letters, message_of};
pub(crate) use http::{agent, classify};
pub use letters::DELIVER_WRITES;
pub use message::Message;
pub use pressure::{Level, Pressure};
pub use published::{Published, Reading, message_at, published_charges};
pub(crate) use split::Answer;

use crate::config::Deliver;
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::generations::Registry;
use crate::log::{LiveLog, Log};
use crate::scheduler::{Scheduler, Work};
use crate::status::TaskStatus;
use crate::switches::Switch;
use couriers::Couriers;
use dead::Mailbox;
use state::TaskState;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::channel;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use task::DeliverTask;
use unfinished::Unfinished;
use weir_proto::{MessageId, StageId, Topic, TopicId};
use weir_state::{Shared, Store};

/// How often it is looked whether the job still runs while a decision is waited for.
const POLL: Duration = Duration::from_millis(100);

/// What the tasks that deliver share with the job.
#[derive(Default)]
pub struct Deliveries {
    /// What the source looks at.
    pub pressure: Arc<Pressure>,
    retries: AtomicU64,
    dead: AtomicU64,
    couriers: Option<Couriers>,
    /// One for each partition.
    mailboxes: Vec<Mailbox>,
    /// Per partition, what is still needed of the log.
    needs: Mutex<Vec<Needs>>,
    statuses: Vec<Arc<TaskStatus>>,
}

/// What a task still needs of the log.
#[derive(Clone, Copy, Debug)]
struct Needs {
    reading: Reading,
    /// The offset of `retry` below which nothing is unfinished.
    retry: u64,
}

/// Opened tasks, and what they share.
pub type Opened = (Arc<Deliveries>, Vec<Box<dyn Work>>);

/// Opens the tasks: with a sink, or to decide about the dead letters that there are from a time when
/// there was one.
pub fn open(
    options: Option<&Deliver>,
    dir: &DataDir,
    stores: &Shared,
    log: &Arc<dyn LiveLog>,
    registry: &Arc<Registry>,
    switch: Arc<Switch>,
) -> Result<Opened, JobError> {
    let tasks = dir.tasks_of(StageId::Deliver).into_iter().map(|t| t.in_generation(1));
    let tasks: Vec<_> = tasks.filter(|t| options.is_some() || dir.store(*t).exists()).collect();
    if tasks.is_empty() {
        return Ok(Opened::default());
    }
    let mut shared = Deliveries {
        pressure: Arc::new(Pressure::new(options)),
        couriers: options.map(|options| Couriers::start(options, &switch)).transpose()?,
        mailboxes: tasks.iter().map(|_| Mailbox::default()).collect(),
        ..Deliveries::default()
    };
    let mut opened = Vec::new();
    for task in tasks {
        let store = Store::open(&dir.store(task), stores)?;
        opened.push(TaskState::new(options, task, store, log.clone(), registry.clone())?);
    }
    shared.statuses = opened.iter().map(TaskState::status).collect();
    shared.needs = Mutex::new(opened.iter().map(|state| state.needs(state.published.at())).collect());
    let shared = Arc::new(shared);
    let task = |own| -> Box<dyn Work> { Box::new(DeliverTask::new(own, shared.clone(), switch.clone())) };
    let tasks = opened.into_iter().map(task).collect();
    Ok((shared.clone(), tasks))
}

impl Deliveries {
    /// What each task shows of itself.
    pub fn statuses(&self) -> &[Arc<TaskStatus>] {
        &self.statuses
    }

    /// Failed tries that were put off, since the start of the process.
    pub fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Records that were given up, since the start of the process.
    pub fn dead(&self) -> u64 {
        self.dead.load(Ordering::Relaxed)
    }

    /// Wakes the scheduler whenever an answer comes.
    pub fn wake(&self, scheduler: &Arc<Scheduler>) {
        let scheduler = Arc::downgrade(scheduler);
        if let Some(couriers) = &self.couriers {
            couriers.on_answer(move || {
                if let Some(scheduler) = scheduler.upgrade() {
                    scheduler.wake();
                }
            });
        }
    }

    /// Takes in what the account system says of single records.
    pub fn on_reply(
        &self,
        take_in: impl Fn(weir_proto::rpc::Command) -> Result<(), String> + Send + Sync + 'static,
    ) {
        if let Some(couriers) = &self.couriers {
            couriers.on_reply(Box::new(take_in));
        }
    }

    /// Has dead letters tried again, or discarded; returns those about which nothing was decided before,
    /// durably.
    pub fn decide(
        &self,
        scheduler: &Scheduler,
        ids: &[MessageId],
        discard: bool,
        reason: &str,
    ) -> Result<Vec<MessageId>, JobError> {
        let (done, answers) = channel();
        for (partition, mailbox) in (0..).zip(&self.mailboxes) {
            let own: Vec<_> = ids.iter().filter(|id| id.partition == partition).copied().collect();
            if !own.is_empty() {
                mailbox.put(dead::Ask { ids: own, discard, reason: reason.to_owned(), done: done.clone() });
            }
        }
        drop(done);
        let mut decided = Vec::new();
        loop {
            scheduler.wake();
            match answers.recv_timeout(POLL) {
                Ok(ids) => decided.extend(ids),
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Ok(decided),
                Err(_) if scheduler.is_stopped() => {
                    let text = "the job is stopping: look at `weir dead list` when it runs again";
                    return Err(JobError::Refused(text.to_owned()));
                }
                Err(_) => {}
            }
        }
    }

    fn needs(&self) -> MutexGuard<'_, Vec<Needs>> {
        self.needs.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The offset of a topic's partition from which on it is still to be delivered: the log is not to let
    /// go of it. Without a sink nothing is kept for one.
    pub fn needs_from(&self, topic: TopicId, partition: u32) -> u64 {
        match self.needs().get(partition as usize) {
            Some(needs) if self.couriers.is_some() && topic.topic == Topic::Charges => {
                needs.reading.needs_from(topic)
            }
            _ => u64::MAX,
        }
    }

    /// Lets go of letters in `retry` about records that are all finished.
    pub fn trim(&self, log: &dyn Log) -> Result<(), JobError> {
        let below: Vec<u64> = self.needs().iter().map(|needs| needs.retry).collect();
        if below.is_empty() { Ok(()) } else { Ok(log.trim(Topic::Retry.of(1), &below)?) }
    }
}

/// Where a task of a job that does not run stands: position, end, and minimal successful offset.
pub fn standing(store: &Store, log: &dyn Log, partition: u32) -> Result<Option<(u64, u64, u64)>, JobError> {
    let Some(reading) = Reading::load(store)? else { return Ok(None) };
    let lowest = Unfinished::load(store)?.lowest_charge(reading.generation);
    let end = log.high_watermark(reading.charges(), partition);
    Ok(Some((reading.offset, end, lowest.unwrap_or(reading.offset).min(reading.offset))))
}
