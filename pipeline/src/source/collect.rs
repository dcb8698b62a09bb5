//! The collect task: log files into `raw`.
//!
//! It is a task like the others, with a store, provenance and one commit a turn; only its input has
//! no partition. A turn is planned, the plan made durable, then carried out; several turns may wait
//! for their outputs to become durable and are committed in order. After a crash the planned turns
//! are repeated exactly, and what stands in the log already is not appended again.

use super::files::{FileSpec, FileState};
use super::follow::Files;
use super::gate::Gate;
use super::plan::{CollectState, Plan, Slice};
use super::reader::{self, PIECE, SLICE};
use super::spooled::{self, SPOOL};
use crate::clock::SourceClock;
use crate::deliver::{Level, Pressure};
use crate::error::JobError;
use crate::flow::COLLECT_WRITES;
use crate::ingest::Spool;
use crate::log::Log;
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{FollowUp, Need, Work};
use crate::status::{Live, TaskStatus};
use crate::uploads::Uploads;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};
use weir_operators::clock::Clock;
use weir_operators::collect::{Collect, TimeSource};
use weir_operators::{Outbox, Rules};
use weir_proto::{Batch, Minute, Producer};
use weir_state::{CheckpointDir, Commit, Durability, Store, TaskMeta, Unfinished};

/// Bytes to be read that mean that the job has fallen behind.
const BEHIND: u64 = SLICE / 2;
/// Turns that may wait for durability.
const IN_FLIGHT: usize = 4;
/// Records that may wait anywhere in the flow before collect pauses: enough for long turns of all tasks, which
/// cost less for each record.
const ENOUGH: u64 = 160_000;
/// How often growing files are looked at.
const POLL: Duration = Duration::from_millis(20);
/// How long a source that is slowed waits after each turn.
const SLOWED: Duration = Duration::from_secs(1);
/// How often in a row the flow must be seen to rest before the end of a finite run is closed.
const RESTS: u32 = 4;
/// How often new files are looked for.
const DISCOVER: Duration = Duration::from_secs(1);
/// A jump of the wall clock that is taken for an error, in hours.
const LONGEST_OUTAGE_H: u64 = 24;

/// How a collector runs.
pub struct CollectOptions {
    /// Which collect it is.
    pub task: Producer,
    /// What to read.
    pub files: Vec<FileSpec>,
    /// Whether to end with the files (else to follow them).
    pub finite: bool,
    /// Whether minutes are those of the events (else of the wall clock).
    pub event_time: bool,
    /// Accept a wall clock far ahead of the newest tick.
    pub after_outage: bool,
    /// Whether to take in nothing but what was planned before, and send only ticks that are wanted.
    pub maintenance: bool,
    /// How much undelivered records hold it back.
    pub pressure: Arc<Pressure>,
    /// What time it is.
    pub clock: SourceClock,
    /// What ingest has accepted.
    pub spool: Option<Arc<Spool>>,
    /// Where its checkpoints go to beside the job, if anywhere.
    pub uploads: Option<Arc<Uploads>>,
}

/// Shared with the job.
#[derive(Default)]
pub struct CollectProgress {
    /// Bytes taken in.
    pub bytes: AtomicU64,
    /// A finite input has ended and all of it is committed to `raw`.
    pub ended: AtomicBool,
    /// Nothing is collected before this is set.
    pub open: AtomicBool,
    /// The newest tick sent, durable or not, in minutes since the epoch.
    pub last_tick: AtomicU32,
    /// A tick that is wanted at once, if any, in minutes since the epoch.
    pub tick_wanted: AtomicU32,
    /// In front of the files.
    pub gate: Gate,
    /// The gate is closed until a candidate is promoted or dropped.
    pub paused: AtomicBool,
}

struct Turn {
    state: CollectState,
    meta: TaskMeta,
    tickets: Tickets,
    slices: Vec<(u64, Slice)>,
}

/// The task.
pub struct CollectTask {
    options: CollectOptions,
    rules: Arc<Rules>,
    log: Arc<dyn Log>,
    store: Store,
    files: Files,
    outbox: Outbox,
    outputs: Outputs,
    state: CollectState,
    meta: TaskMeta,
    planned: VecDeque<Plan>,
    in_flight: VecDeque<Turn>,
    /// How far the spool was taken in, by turns that are committed.
    spooled: u64,
    buffer: Vec<u8>,
    next_poll: Instant,
    /// How often in a row the flow was seen to rest.
    rests: u32,
    next_discovery: Option<Instant>,
    flow: Arc<Live>,
    checkpoints: CheckpointDir,
    checkpoint_due: bool,
    status: Arc<TaskStatus>,
    progress: Arc<CollectProgress>,
}

impl CollectTask {
    /// Opens the collector where it stopped. The backlog of `flow` holds it back.
    pub fn open(
        options: CollectOptions,
        partitions: u32,
        store: Store,
        log: Arc<dyn Log>,
        checkpoints: CheckpointDir,
        rules: Arc<Rules>,
        flow: Arc<Live>,
    ) -> Result<Self, JobError> {
        let (task, fingerprint) = (options.task, rules.fingerprint());
        let new = || TaskMeta::new(task, COLLECT_WRITES, partitions as usize, fingerprint);
        let mut meta = store.meta()?.unwrap_or_else(new);
        let planned: VecDeque<Plan> = Plan::load_all(&store)?.into();
        if meta.rules != fingerprint && !planned.is_empty() {
            return Err(JobError::OtherRules { task });
        }
        // What it decided stands in its topics: other rules may decide about what comes now.
        meta.rules = fingerprint;
        let state = CollectState::load(&store)?;
        if let Some(spool) = &options.spool {
            spooled::expect_same(spool, &state.files)?;
        }
        let progress = CollectProgress::default();
        progress.bytes.store(state.tape, Ordering::Relaxed);
        progress.last_tick.store(state.last_tick, Ordering::Release);
        let mut this = CollectTask {
            outbox: Outbox::resume(&meta),
            outputs: Outputs::resume(log.clone(), &meta)?,
            planned,
            files: Files::new(options.files.clone()),
            in_flight: VecDeque::new(),
            spooled: spooled::offset(&state.files),
            buffer: Vec::new(),
            next_poll: options.clock.instant(),
            rests: 0,
            next_discovery: None,
            flow,
            checkpoint_due: meta.at_tick,
            status: Arc::new(TaskStatus::new(None, &meta)),
            progress: Arc::new(progress),
            options,
            rules,
            log,
            store,
            state,
            meta,
            checkpoints,
        };
        this.options.spool.iter().for_each(|spool| spool.take(this.spooled));
        this.refuse_clock_jump()?;
        this.plan_finite_end()?;
        Ok(this)
    }

    /// What the job may watch.
    pub fn progress(&self) -> Arc<CollectProgress> {
        self.progress.clone()
    }

    fn now_ms(&self) -> u64 {
        self.options.clock.now_ms()
    }

    fn refuse_clock_jump(&self) -> Result<(), JobError> {
        let last = Minute(self.state.last_tick).start_ms();
        let hours = self.now_ms().saturating_sub(last) / (60 * Minute::MILLIS);
        let wall = !self.options.event_time && self.state.last_tick > 0;
        if wall && !self.options.after_outage && hours >= LONGEST_OUTAGE_H {
            return Err(JobError::ClockJump { hours });
        }
        Ok(())
    }

    /// A finite run that was finished before has nothing to do, unless there is new input.
    fn plan_finite_end(&mut self) -> Result<(), JobError> {
        if self.options.finite && self.planned.is_empty() && self.state.ended {
            let plan = self.plan_finite()?;
            // This was but a look: new files are found again when it is planned.
            self.next_discovery = None;
            self.progress.ended.store(plan.is_none() && self.state.closed, Ordering::Release);
        }
        Ok(())
    }

    fn plan_finite(&mut self) -> Result<Option<Plan>, JobError> {
        let found = self.discover()?;
        let known: Vec<_> = self.state.files.iter().chain(&found).cloned().collect();
        let slice = self.files.next_finite(&known)?;
        let end = slice.is_none();
        if end && self.state.ended {
            return Ok(self.plan_close());
        }
        Ok(Some(self.plan(slice.into_iter().collect(), found, end)))
    }

    /// Several tasks write to a partition, and one may have come to its last tick before another: behind
    /// another tick, sent when all is processed, nothing is left.
    fn plan_close(&mut self) -> Option<Plan> {
        self.rests = if self.flow.lag() == 0 { self.rests + 1 } else { 0 };
        if self.state.closed || self.rests < RESTS {
            return None;
        }
        let plan = self.plan(Vec::new(), Vec::new(), true);
        Some(Plan { tick: Some(self.state.last_tick + 1), ..plan })
    }

    fn plan_live(&mut self) -> Result<Option<Plan>, JobError> {
        // Ticks go on while nothing is taken in.
        let paused = self.options.pressure.level() == Level::Paused;
        let found = if paused { Vec::new() } else { self.discover()? };
        let known: Vec<_> = self.state.files.iter().chain(&found).cloned().collect();
        let mut slices = if paused { Vec::new() } else { self.files.grown(&known)? };
        slices
            .extend(self.options.spool.as_ref().filter(|_| !paused).and_then(|s| spooled::slice(s, &known)));
        let minute_passed = !self.options.event_time && Minute::of_ms(self.now_ms()).0 > self.state.last_tick;
        if slices.is_empty() && found.is_empty() && !minute_passed {
            return Ok(None);
        }
        Ok(Some(self.plan(slices, found, false)))
    }

    fn discover(&mut self) -> Result<Vec<FileState>, JobError> {
        if self.next_discovery.is_some_and(|at| self.options.finite || self.options.clock.instant() < at) {
            return Ok(Vec::new());
        }
        self.next_discovery = Some(self.options.clock.instant() + DISCOVER);
        if !self.options.finite {
            self.files.forget_gone(&mut self.state.files)?;
        }
        let mut found = self.files.discover(&self.state.files, self.state.next_file)?;
        found.extend(self.options.spool.as_ref().and_then(|spool| spooled::found(spool, &self.state.files)));
        Ok(found)
    }

    fn plan(&self, slices: Vec<Slice>, found: Vec<FileState>, end: bool) -> Plan {
        let (turn, wall) = (self.state.turns, !self.options.event_time);
        Plan { turn, now_ms: self.now_ms(), wall, slices, found, end, tick: None }
    }

    fn next_plan(&mut self) -> Result<Option<Plan>, JobError> {
        if let Some(plan) = self.planned.pop_front() {
            return Ok(Some(plan));
        }
        if let Some(topic) = self.outputs.ahead(&self.meta) {
            let (task, store) = (self.meta.task, self.store.dir().to_owned());
            return Err(JobError::BehindItsLog { task, topic, store });
        }
        let plan = match self.progress.tick_wanted.swap(0, Ordering::AcqRel) {
            0 if self.options.maintenance => None,
            0 if self.options.finite => self.plan_finite()?,
            0 => self.plan_live()?,
            minute => {
                let plan = self.plan(Vec::new(), Vec::new(), self.state.ended);
                Some(Plan { tick: Some(minute), ..plan })
            }
        };
        if let Some(plan) = &plan {
            #[cfg(feature = "sabotage")]
            if weir_state::sabotage::is(weir_state::sabotage::Sabotage::PlanNotKept) {
                return Ok(Some(plan.clone()));
            }
            plan.save(&self.store)?;
            // What was committed before is on disk with it.
            self.options.spool.iter().for_each(|spool| spool.release());
        }
        Ok(plan)
    }

    /// Carries a plan out, up to the first tick. Given the plan and the state before it, everything
    /// here is determined.
    fn carry_out(&mut self, plan: Plan) -> Result<(), JobError> {
        self.state.files.extend(plan.found.iter().cloned());
        self.state.next_file += plan.found.len() as u32;
        let mut collect =
            Collect { clock: Clock(self.state.clock_ms), last_tick: Minute(self.state.last_tick) };
        if plan.wall {
            collect.clock = Clock(plan.now_ms.max(collect.clock.0));
        }
        self.log.set_behind(plan.slices.iter().map(spooled::weight).sum::<u64>() >= BEHIND);
        let mut slices = Vec::new();
        let mut tick = (plan.wall && collect.tick_is_due()).then_some(Minute::of_ms(collect.clock.0));
        for slice in &plan.slices {
            if tick.is_none() {
                slices.push((self.state.tape, *slice));
                match slice.file {
                    SPOOL => self.read_spool(slice, &mut collect)?,
                    _ => self.read_slice(slice, &plan, &mut collect)?,
                }
                tick = collect.tick_is_due().then_some(Minute::of_ms(collect.clock.0));
            }
        }
        if let Some(minute) = plan.tick.filter(|_| collect.last_tick.0 > 0) {
            tick = tick.or(Some(Minute(minute.max(collect.last_tick.0 + 1))));
        } else if plan.end && collect.last_tick.0 > 0 {
            tick = Some(Minute(collect.last_tick.0 + 1));
        }
        self.meta.at_tick = false;
        if let Some(minute) = tick {
            collect.tick(minute, self.state.tape, &mut self.outbox);
            self.state.tape += 1;
            self.meta.ticked(minute);
            self.progress.last_tick.store(minute.0, Ordering::Release);
        }
        self.state.clock_ms = collect.clock.0;
        self.state.last_tick = collect.last_tick.0;
        self.state.ended = plan.end;
        self.state.closed = plan.end && (plan.tick.is_some() || collect.last_tick.0 == 0);
        self.state.turns = plan.turn + 1;
        self.finish_turn(slices)
    }

    fn read_slice(&mut self, slice: &Slice, plan: &Plan, collect: &mut Collect) -> Result<(), JobError> {
        let unknown = || {
            JobError::Setup(format!("the plan of collect names file {}, which it does not know", slice.file))
        };
        let at = self.state.files.iter().position(|f| f.id == slice.file).ok_or_else(unknown)?;
        let state = &mut self.state.files[at];
        let file = self.files.file(state)?;
        let time = if plan.wall { TimeSource::Wall(plan.now_ms) } else { TimeSource::Events };
        let (tape, mut from, mut size) = (self.state.tape, slice.from, PIECE);
        while from < slice.to && !collect.tick_is_due() {
            let base = tape + (from - slice.from);
            let found = reader::piece(file, &state.path, from..slice.to, size, base, &mut self.buffer)?;
            let taken = collect.slice(found.piece(), time, plan.now_ms, &self.rules, &mut self.outbox);
            from = found.lines.get(taken.lines).map_or(slice.to, |(position, _)| from + (position - base));
            // Whether the first line is followed cannot be told from so few.
            size = if taken.lines == 0 { size.saturating_mul(2) } else { PIECE };
            state.newest_ms = state.newest_ms.max(taken.newest_ms);
        }
        state.offset = from;
        state.extend_print(file);
        self.state.tape += from - slice.from;
        Ok(())
    }

    fn read_spool(&mut self, slice: &Slice, collect: &mut Collect) -> Result<(), JobError> {
        let missing = || JobError::Setup("the plan of collect names a spool, and there is none".to_owned());
        let spool = self.options.spool.as_ref().ok_or_else(missing)?;
        let state = self.state.files.iter_mut().find(|f| f.id == SPOOL).ok_or_else(missing)?;
        for batch in spooled::read(spool, slice)? {
            for (offset, record) in (batch.head.base_offset..).zip(Batch::open(&batch.bytes)?) {
                let record = record?;
                if (slice.from..slice.to).contains(&offset) {
                    let position = self.state.tape + (offset - slice.from);
                    collect.record(position, record.bytes, &self.rules, &mut self.outbox)?;
                }
            }
        }
        state.offset = slice.to;
        spool.dir().clone_into(&mut state.path);
        self.state.tape += slice.to - slice.from;
        Ok(())
    }

    fn finish_turn(&mut self, slices: Vec<(u64, Slice)>) -> Result<(), JobError> {
        let batches = self.outbox.take();
        let tickets = self.outputs.append(batches, &mut self.meta)?;
        self.meta.position = self.state.tape;
        self.meta.commits = self.state.turns;
        self.outbox.save(&mut self.meta);
        let (state, meta) = (self.state.clone(), self.meta.clone());
        self.in_flight.push_back(Turn { state, meta, tickets, slices });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        let Some(mut turn) = self.in_flight.pop_front() else { return Ok(()) };
        turn.tickets.settle(&*self.log, &mut turn.meta);
        let mut commit = Commit::new(turn.meta.commits);
        turn.state.stage(&turn.slices, &mut commit);
        commit.put_meta(&turn.meta);
        self.store.commit_as("collect.commit", commit, Durability::Process)?;
        self.status.committed(&turn.meta);
        self.spooled = spooled::offset(&turn.state.files);
        self.options.spool.iter().for_each(|spool| spool.take(self.spooled));
        self.progress.bytes.store(turn.state.tape, Ordering::Relaxed);
        self.checkpoint_due = turn.meta.at_tick;
        self.progress.ended.store(turn.state.closed && self.in_flight.is_empty(), Ordering::Release);
        Ok(())
    }

    /// What is left to do of a checkpoint, which the store is not needed for.
    fn checkpoint(&self, unfinished: Option<Unfinished>) -> FollowUp {
        let (uploads, task, minute) = (self.options.uploads.clone(), self.meta.task, self.meta.last_tick);
        Some(Box::new(move || {
            unfinished.map_or(Ok(()), Unfinished::finish)?;
            uploads.iter().for_each(|uploads| uploads.offer(task, minute));
            Ok(())
        }))
    }

    /// Records that wait in the flow.
    fn backlog(&self) -> u64 {
        self.flow.backlog()
    }
}

/// The fingerprint of the rules that a collector goes on with: turns that were planned and not committed are
/// carried out with those that they were planned with, even if others were published since.
pub fn rules_to_go_on_with(store: &Store, published: u64) -> Result<u64, JobError> {
    let planned = !Plan::load_all(store)?.is_empty();
    Ok(store.meta()?.filter(|_| planned).map_or(published, |meta| meta.rules))
}

/// The wall clock, in ms since the epoch.
pub(crate) fn now_ms() -> u64 {
    SourceClock::System.now_ms()
}

impl Work for CollectTask {
    fn need(&self) -> Need {
        match self.in_flight.front() {
            Some(turn) if turn.tickets.are_durable(&*self.log) => return Need::Commit,
            Some(_) if self.in_flight.len() >= IN_FLIGHT => return Need::Nothing,
            Some(_) if self.in_flight.back().is_some_and(|t| t.meta.at_tick) => return Need::Nothing,
            None if self.checkpoint_due => return Need::Checkpoint,
            _ => {}
        }
        let has_spooled = || {
            self.options.spool.as_ref().is_some_and(|s| s.watermark() > spooled::offset(&self.state.files))
        };
        let is_slowed = self.options.pressure.level() > Level::Free;
        let due = self.options.clock.instant() >= self.next_poll || (!is_slowed && has_spooled());
        let resting = self.in_flight.is_empty() && self.planned.is_empty();
        // What was planned is carried out in any case: it may stand in the log in part, and until it is
        // committed nothing rests.
        let lets_through = self.progress.gate.lets_through(resting) || !self.planned.is_empty();
        if !lets_through || !due || !self.progress.open.load(Ordering::Acquire) {
            return Need::Nothing;
        }
        match ENOUGH.saturating_sub(self.backlog()) {
            0 => Need::Nothing,
            room => Need::Turn(room),
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.is_empty() && !self.checkpoint_due && self.progress.ended.load(Ordering::Acquire)
    }

    fn work(&mut self, need: Need) -> Result<FollowUp, JobError> {
        match need {
            Need::Commit => self.commit()?,
            Need::Checkpoint => {
                self.checkpoint_due = false;
                self.status.checkpointed(self.meta.last_tick);
                return Ok(self.checkpoint(self.checkpoints.begin(&self.store, &self.meta)?));
            }
            Need::Turn(_) => match self.next_plan()? {
                Some(plan) => {
                    self.carry_out(plan)?;
                    if self.options.pressure.level() > Level::Free {
                        self.next_poll = self.options.clock.instant() + SLOWED;
                    }
                }
                None => {
                    self.log.set_behind(false);
                    let wait = if self.state.ended { POLL / 2 } else { POLL };
                    self.next_poll = self.options.clock.instant() + wait;
                }
            },
            Need::Nothing => {}
        }
        Ok(None)
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
