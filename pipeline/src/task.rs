//! The task loop: one stage on one input partition, in one generation.
//!
//! A turn reads a stretch of the input, folds it, and appends the outputs. Turns are committed together
//! once all their outputs are durable: state, next input position, provenance marks, end offsets and digest
//! in one write batch. That is done when there is nothing more to read, after many records, and at a tick,
//! which ends its turn and has its checkpoint taken right after the commit. What several turns change is so
//! written once.

use crate::error::JobError;
use crate::flow::{Shared, Stage};
use crate::input::{Line, LineReader, Start};
use crate::log::Log;
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{FollowUp, Need, Work};
use crate::status::TaskStatus;
use crate::uploads::Uploads;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_operators::{Operator, Outbox};
use weir_proto::{Minute, Producer, Record};
#[cfg(feature = "sabotage")]
use weir_state::sabotage::{self, Sabotage};
use weir_state::{CheckpointDir, Commit, Durability, Store, TaskMeta, Unfinished};

/// Records of a turn, at most.
const MAX_RECORDS: u64 = 16_384;
/// Records behind which the turns so far are committed although there is more to read: about as many, at
/// most, are folded again after a crash between two checkpoints.
const COMMIT_EVERY: u64 = 65_536;

/// How long it may take until what stands in a log is received here.
const RECEIVED: Duration = Duration::from_secs(30);

/// What becomes of the state at a tick.
#[derive(Clone)]
pub enum AtTick {
    /// It is kept as a checkpoint, and brought to object storage if there is some.
    Checkpoint(CheckpointDir, Option<Arc<Uploads>>),
    /// Nothing: the task is of a replay, which ends with its segment.
    Nothing,
}

/// How a task runs.
pub struct TaskOptions {
    /// Which task.
    pub task: Producer,
    /// Partitions of every topic.
    pub partitions: u32,
    /// How its input is read.
    pub line: Arc<Line>,
    /// Rules and lists.
    pub shared: Shared,
    /// What becomes of its checkpoints.
    pub at_tick: AtTick,
    /// The minute at whose tick the generation ends; 0 if it does not.
    pub ends_at: Arc<AtomicU32>,
    /// Along a recorded line nothing is read from this place on.
    pub limit: Arc<AtomicU64>,
}

/// While a task's store is being copied, nothing may be committed that changes what it says.
#[derive(Default)]
struct Copying {
    goes_on: AtomicBool,
    /// Since when a commit has waited for its end.
    waited_since: Mutex<Option<Instant>>,
}

impl Copying {
    fn waited_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.waited_since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        *self.waited_since() = None;
        self.goes_on.store(true, Ordering::Release);
    }

    /// Whether a commit has to wait, which is remembered.
    fn holds_up(&self) -> bool {
        let goes_on = self.goes_on.load(Ordering::Acquire);
        if goes_on {
            self.waited_since().get_or_insert_with(Instant::now);
        }
        goes_on
    }

    /// For how long a commit has waited.
    fn end(&self) -> Duration {
        self.goes_on.store(false, Ordering::Release);
        self.waited_since().take().map_or(Duration::ZERO, |since| since.elapsed())
    }
}

/// Turns that are not committed.
#[derive(Default)]
struct Uncommitted {
    /// What must be durable before they are.
    tickets: Tickets,
    records: u64,
}

/// A task that folds a topic's partition.
pub struct Task {
    input: LineReader,
    store: Arc<Store>,
    operator: Box<dyn Operator>,
    outbox: Outbox,
    outputs: Outputs,
    meta: TaskMeta,
    log: Arc<dyn Log>,
    uncommitted: Option<Uncommitted>,
    /// Bytes of the newest commit: the next one will likely be about as large.
    likely: usize,
    /// What there was to read when the last turn found nothing.
    exhausted: Option<u64>,
    at_tick: AtTick,
    checkpoint_due: bool,
    copying: Arc<Copying>,
    ends_at: Arc<AtomicU32>,
    status: Arc<TaskStatus>,
}

impl Task {
    /// Opens a task where it stopped.
    pub fn open(
        stage: &Stage,
        options: TaskOptions,
        store: Arc<Store>,
        log: Arc<dyn Log>,
    ) -> Result<Self, JobError> {
        let TaskOptions { task, partitions, line, shared, at_tick, ends_at, limit } = options;
        let rules = shared.rules.fingerprint();
        let new = || TaskMeta::new(task, stage.writes, partitions as usize, rules);
        let mut meta = store.meta()?.unwrap_or_else(new);
        let begins = meta.task.generation != task.generation;
        if begins {
            meta.enter(task.generation, rules);
        }
        if meta.rules != rules {
            return Err(JobError::OtherRules { task });
        }
        let start = Start { position: meta.position, marks: meta.marks.clone() };
        let input = LineReader::open(log.clone(), line, u32::from(task.partition), start).limited(limit);
        wait_for(meta.position, &input, &*log, u32::from(task.partition))?;
        if meta.position > input.end() {
            // A topic that cannot be read at all says so itself.
            log.heads(input.topic(), u32::from(task.partition), u64::MAX)?;
            let (store, log, topic) = (meta.position, input.end(), input.topic());
            let file = input.newest_file();
            return Err(JobError::AheadOfLog { task, topic, store, log, file });
        }
        input.check_seen(task)?;
        let status = TaskStatus::new(Some(input.end()), &meta);
        Ok(Task {
            input,
            operator: (stage.operator)(&store, &shared, meta.last_tick)?,
            outbox: Outbox::resume(&meta),
            outputs: Outputs::resume(log.clone(), &meta)?,
            checkpoint_due: meta.at_tick && !begins && retakes(),
            store,
            meta,
            log,
            copying: Arc::default(),
            uncommitted: None,
            likely: 0,
            exhausted: None,
            at_tick,
            ends_at,
            status: Arc::new(status),
        })
    }

    fn fold_turn(&mut self) -> Result<(), JobError> {
        let news = self.input.news();
        let before = self.input.position();
        self.meta.at_tick = false;
        #[cfg(feature = "sabotage")]
        sabotage::begin_batch();
        let mut taken = 0;
        while taken < MAX_RECORDS {
            let Some((place, _)) = self.input.advance()? else {
                self.exhausted = Some(news);
                break;
            };
            taken += 1;
            if self.fold_record(place)? && ends_turn() {
                break;
            }
        }
        if taken == 0 && before == self.input.position() {
            return Ok(());
        }
        self.meta.position = self.input.position();
        self.meta.marks = self.input.marks().to_vec();
        #[cfg(feature = "sabotage")]
        if sabotage::is(Sabotage::WrongMinimalOffset) {
            self.meta.position = self.input.end();
        }
        let batches = self.outbox.take();
        let tickets = self.outputs.append(batches, &mut self.meta)?;
        let uncommitted = self.uncommitted.get_or_insert_default();
        uncommitted.tickets.merge(tickets);
        uncommitted.records += taken;
        self.status.read_to(self.meta.position);
        Ok(())
    }

    /// Folds a record; whether it was the first tick of its minute.
    fn fold_record(&mut self, place: u64) -> Result<bool, JobError> {
        self.outbox.at(place);
        match Record::decode(self.input.bytes())? {
            Record::Tick(minute) if minute > self.meta.last_tick => {
                self.operator.tick(&self.store, minute, &mut self.outbox)?;
                self.outbox.tick(minute);
                self.meta.ticked(minute);
                Ok(true)
            }
            Record::Tick(_) => Ok(false),
            record => {
                self.outbox.taken();
                self.operator.fold(&self.store, record, &mut self.outbox)?;
                Ok(false)
            }
        }
    }

    fn commit(&mut self) -> Result<(), JobError> {
        if let Some(turns) = &self.uncommitted {
            turns.tickets.settle(&*self.log, &mut self.meta);
        }
        self.meta.commits += 1;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::with_room(self.meta.commits, self.likely);
        self.operator.stage(&self.store, &mut commit)?;
        #[cfg(feature = "sabotage")]
        if sabotage::is(Sabotage::NonAtomicCommit) {
            let state = std::mem::replace(&mut commit, Commit::new(self.meta.commits));
            self.store.commit(state, Durability::FromLog)?;
        }
        commit.put_meta(&self.meta);
        self.likely = commit.size();
        self.store.commit_as("task.commit", commit, Durability::FromLog)?;
        self.uncommitted = None;
        self.checkpoint_due = self.meta.at_tick;
        self.status.committed(&self.meta);
        Ok(())
    }

    /// The store is copied beside the task, which goes on folding; only its next commit waits.
    fn checkpoint(&mut self) -> FollowUp {
        self.checkpoint_due = false;
        self.status.checkpointed(self.meta.last_tick);
        let AtTick::Checkpoint(dir, uploads) = self.at_tick.clone() else { return None };
        let (store, meta) = (self.store.clone(), self.meta.clone());
        let (copying, status) = (self.copying.clone(), self.status.clone());
        copying.begin();
        Some(Box::new(move || {
            let begun = dir.begin(&store, &meta);
            status.paused(copying.end());
            begun?.map_or(Ok(()), Unfinished::finish)?;
            uploads.iter().for_each(|uploads| uploads.offer(meta.task, meta.last_tick));
            Ok(())
        }))
    }

    /// How much there is to read, if anything.
    fn unread(&self) -> Option<u64> {
        let end = self.input.end();
        self.status.sees(end);
        let is_exhausted = self.exhausted.is_some_and(|news| news == self.input.news());
        (!is_exhausted && !self.has_ended()).then(|| end.saturating_sub(self.meta.position).max(1))
    }

    /// Whether the generation has ended here: another one goes on from this tick.
    fn has_ended(&self) -> bool {
        let at = Minute(self.ends_at.load(Ordering::Acquire));
        at.0 > 0 && self.meta.last_tick >= at
    }
}

impl Work for Task {
    fn need(&self) -> Need {
        let more = self.unread();
        match &self.uncommitted {
            Some(turns) if self.meta.at_tick || turns.records >= COMMIT_EVERY || more.is_none() => {
                let may_commit = are_appended(&turns.tickets, &*self.log) && !self.copying.holds_up();
                if may_commit { Need::Commit } else { Need::Nothing }
            }
            None if self.checkpoint_due => Need::Checkpoint,
            _ => more.map_or(Need::Nothing, Need::Turn),
        }
    }

    fn is_idle(&self) -> bool {
        self.need() == Need::Nothing && self.uncommitted.is_none()
    }

    fn work(&mut self, need: Need) -> Result<FollowUp, JobError> {
        match need {
            Need::Commit => self.commit()?,
            Need::Checkpoint => return Ok(self.checkpoint()),
            Need::Turn(_) => self.fold_turn()?,
            Need::Nothing => {}
        }
        Ok(None)
    }

    fn settle(&mut self) -> Result<bool, JobError> {
        if self.uncommitted.as_ref().is_some_and(|turns| are_appended(&turns.tickets, &*self.log)) {
            self.commit()?;
        }
        Ok(self.uncommitted.is_none())
    }

    fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    fn position(&self) -> u64 {
        self.outbox.tally().taken
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

/// Waits until what another worker has read is received here, too: it may come a little later.
fn wait_for(position: u64, input: &LineReader, log: &dyn Log, partition: u32) -> Result<(), JobError> {
    let (topic, begun) = (input.topic(), Instant::now());
    while input.end() < position
        && log.high_watermark(topic, partition) < log.newest(topic, partition)?
        && begun.elapsed() < RECEIVED
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

/// Whether a checkpoint that a crash has cut off is taken again.
fn retakes() -> bool {
    #[cfg(feature = "sabotage")]
    return !sabotage::is(Sabotage::CheckpointNotRetaken);
    #[cfg(not(feature = "sabotage"))]
    true
}

/// Whether a tick ends its turn.
fn ends_turn() -> bool {
    #[cfg(feature = "sabotage")]
    return !sabotage::is(Sabotage::TickWithinTurn);
    #[cfg(not(feature = "sabotage"))]
    true
}

/// Whether the outputs of a turn are where a commit may rely on them.
fn are_appended(tickets: &Tickets, log: &dyn Log) -> bool {
    #[cfg(feature = "sabotage")]
    if sabotage::is(Sabotage::CommitBeforeAppend) {
        return true;
    }
    tickets.are_durable(log)
}
