//! Publishing a generation. Each step is decided in the control log before the next one begins, and each
//! can be done again after a crash:
//!
//! 1. *promoted*: from the tick of a minute on it is the published one; the tasks that it takes over from
//!    stop behind that tick;
//! 2. *ended*: they have stopped, and where their topics end is known; commands from outside go to the new
//!    generation's topics from here on;
//! 3. *settled*: the difference between the ledger and the new outcomes, of all charges decided before
//!    that tick, stands in `adjustments`. A charge that came out the same has none.
//!
//! In a group any worker decides the first step, the one that has partition 0 the others, and each carries out what was
//! decided with what it has: [`Promotion::follow`]. Which tick it is to be is decided some minutes ahead, so that all know
//! it in time. One that comes to know it late, since object storage was away, stops at a later tick: what it made behind the
//! one decided is in topics that nobody reads so far any more. A topic ends behind the first ticks from that
//! minute on of all tasks that write there; the new generation reads so far and waits until that is decided. So that it waits
//! there in any case it reads nothing that came after the last look at the decisions. How far tasks are is told by their
//! checkpoints in object storage, whoever has them.

use super::{Difference, Entry, Generation, Registry, Sides, Standing};
use crate::error::JobError;
use crate::fleet::Fleet;
use crate::flow::{FLOW, Stage};
use crate::group::Afar;
use crate::log::{BesideLog, LiveLog, Log, LogPlace, NewBatch};
use crate::scheduler::Scheduler;
use crate::source::collect::{CollectProgress, now_ms};
use crate::source::inlet::Inlet;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use weir_proto::{BatchBuilder, Minute, Producer, Provenance, StageId, Topic};
use weir_state::failpoints;

/// How often a rest or a durable write is looked for.
const POLL: Duration = Duration::from_millis(2);
/// A candidate that has caught up may be a tick behind for a moment; so long it is waited for.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Adjustments appended as one batch.
const BATCH: usize = 1_000;
/// How many ticks ahead a group decides.
const AHEAD: u32 = 2;
/// How long after a generation was dropped workers of a group may still write to its topics.
const LET_GO: Duration = Duration::from_secs(15 * 60);

/// Carries promotions out.
pub struct Promotion {
    /// The generations.
    pub registry: Arc<Registry>,
    /// Their tasks.
    pub fleet: Arc<Fleet>,
    /// What runs them.
    pub scheduler: Arc<Scheduler>,
    /// The log.
    pub log: Arc<dyn LiveLog>,
    /// The source of events.
    pub collect: Arc<CollectProgress>,
    /// The sources of commands.
    pub inlets: Vec<Arc<Inlet>>,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Whether ticks come by themselves, with the wall clock.
    pub ticks_come: bool,
    /// Where the topics are.
    pub topics: LogPlace,
    /// What the other workers have done, in a group.
    pub group: Option<Arc<Afar>>,
    /// One decision after the other is made and carried out; nor do partitions come or go meanwhile.
    pub turn: Mutex<()>,
    /// Since when generations are known to be dropped, until their topics are deleted.
    pub dropped: Mutex<BTreeMap<u32, Option<Instant>>>,
}

impl Promotion {
    /// Decides that a candidate takes over at the next tick.
    pub fn decide(&self, id: u32) -> Result<Minute, JobError> {
        if self.group.is_some() && !self.ticks_come {
            let text = "the workers of a group whose minutes are those of the events (`time.clock` \"events\") cannot agree on a \
                        minute that none of them has come to: a generation can be compared with the published one, and dropped";
            return Err(JobError::Refused(text.to_owned()));
        }
        self.registry.check_promotable(id)?;
        self.expect_caught_up(id)?;
        let _turn = self.turn();
        self.take_in()?;
        self.registry.check_promotable(id)?;
        let decide = |at| {
            self.registry.decide(&Entry::Promoted { generation: id, at })?;
            Ok(at)
        };
        let at = if self.group.is_some() { decide(self.ahead()) } else { self.between_ticks(decide) }?;
        self.carry_out(&Entry::Promoted { generation: id, at })?;
        if let Err(error) = self.drop_others() {
            // It is decided all the same, and they are dropped soon.
            tracing::warn!("{error}");
        }
        Ok(at)
    }

    /// Drops the candidates that follow what is published no more.
    fn drop_others(&self) -> Result<(), JobError> {
        for (other, standing) in self.registry.all() {
            if self.is_overtaken(&other, standing) {
                tracing::warn!("generation {} is dropped: it followed what is published no more", other.id);
                self.drop_candidate(other.id)?;
            }
        }
        Ok(())
    }

    fn is_overtaken(&self, candidate: &Generation, standing: Standing) -> bool {
        standing == Standing::Candidate && candidate.recorded != self.registry.published()
    }

    fn expect_caught_up(&self, id: u32) -> Result<(), JobError> {
        let deadline = Instant::now() + CATCH_UP;
        loop {
            let (own, published) = (self.minute_of(id)?, self.minute_of(self.registry.published())?);
            if self.is_near(own, published) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(JobError::Refused(format!(
                    "generation {id} has come to {own}, the published one to {published}: wait until it has caught \
                     up, `weir generation list` shows it"
                )));
            }
            self.rest()?;
        }
    }

    /// Whether a candidate that has come so far has caught up. In a group it takes over some minutes later, and
    /// checkpoints get to object storage one after the other.
    fn is_near(&self, own: Minute, published: Minute) -> bool {
        own >= if self.group.is_some() { published.minus(1) } else { published }
    }

    /// Whether a candidate has caught up with the published generation.
    pub fn has_caught_up(&self, id: u32) -> Result<bool, JobError> {
        Ok(self.is_near(self.minute_of(id)?, self.minute_of(self.registry.published())?))
    }

    /// The newest tick that all tasks of a generation have folded; of the published one, those of its line.
    pub fn minute_of(&self, id: u32) -> Result<Minute, JobError> {
        let published = self.registry.published();
        let Some(afar) = &self.group else {
            let own = if published == id { self.fleet.published_minute() } else { self.fleet.minute_of(id) };
            return Ok(own);
        };
        let runs = |s: &'static Stage| (s, if published == id { self.registry.runs(id, s.id) } else { id });
        let from = self.registry.get(id).map_or(StageId::AntiBrush, |(g, _)| g.from);
        let stages = FLOW.iter().filter(|s| published == id || s.id >= from).map(runs);
        afar.come_to(&stages.collect::<Vec<_>>())
    }

    /// A tick that no worker has come to yet.
    fn ahead(&self) -> Minute {
        let seen = self.fleet.statuses().iter().map(|status| status.last_tick()).max().unwrap_or_default();
        let sent = self.collect.last_tick.load(Ordering::Acquire);
        Minute(seen.max(sent).max(Minute::of_ms(now_ms()).0) + AHEAD)
    }

    /// Until it is dropped nothing else is decided or carried out, and no partition comes or goes.
    pub fn turn(&self) -> MutexGuard<'_, ()> {
        self.turn.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins a generation, durably, and runs its tasks beside the published ones.
    pub fn begin(&self, generation: &Generation, cut: &super::Cut) -> Result<(), JobError> {
        self.registry.begin(generation, cut)?;
        self.carry_out(&Entry::Begun(generation.clone()))?;
        self.open_lacking()?;
        tracing::info!("generation {} has begun from {}", generation.id, generation.cut);
        Ok(())
    }

    /// Carries out what other workers have decided; for whoever has the turn.
    pub fn take_in(&self) -> Result<(), JobError> {
        self.registry.take_in(|entry| self.carry_out(entry))
    }

    /// Does what a decision means for the tasks that are here.
    fn carry_out(&self, decided: &Entry) -> Result<(), JobError> {
        match decided {
            // Its tasks are opened once all that is decided is known: it may be dropped already.
            Entry::Begun(_) => self.go_on(),
            Entry::Promoted { generation, .. } => {
                self.fleet.end_predecessors(*generation);
                self.go_on();
            }
            Entry::Ended { generation, .. } => self.hand_over(*generation)?,
            Entry::Dropped { generation } => {
                let from = self.registry.get(*generation).map_or(StageId::AntiBrush, |(g, _)| g.from);
                self.fleet.remove(&self.scheduler, |t| t.generation == *generation && t.stage >= from)?;
                self.delete(*generation, from)?;
                self.go_on();
            }
            Entry::Settled { .. } | Entry::TooLate { .. } | Entry::Switch(_) => {}
        }
        Ok(())
    }

    /// In a group others may still write to its topics.
    fn delete(&self, id: u32, from: StageId) -> Result<(), JobError> {
        match self.group {
            Some(_) => self.fleet.leave(id, from),
            None => self.fleet.delete(id, from),
        }
    }

    /// Runs the tasks that are not open here yet. In a group those of a candidate are tried again: it must not stop what is
    /// published.
    pub fn open_lacking(&self) -> Result<(), JobError> {
        match self.fleet.open_published() {
            Err(error) if self.group.is_some() && error.is_away() => {
                tracing::warn!("the tasks of the published generation cannot be opened yet: {error}");
            }
            opened => {
                self.scheduler.add(opened?, false);
                self.fleet.set_live();
            }
        }
        match self.fleet.open_candidates() {
            Err(error) if self.group.is_some() => tracing::warn!(
                "the tasks of a candidate cannot be opened yet: {error}. If that stays so, drop it with `weir generation drop`; \
                 `weir generation list` shows its number"
            ),
            opened => self.scheduler.add(opened?, true),
        }
        Ok(())
    }

    /// Does what is due in a group: what others have decided, and, if `leads`, the next step of a promotion. What is away is
    /// waited for.
    pub fn follow(&self, leads: bool) -> Result<(), JobError> {
        let follow = || {
            let limits = self.fleet.limits_now();
            // Partitions come and go while object storage is away.
            if self.registry.has_news()? || self.fleet.lacks_some() {
                let _turn = self.turn();
                self.take_in()?;
                self.open_lacking()?;
            }
            limits.into_iter().for_each(|(limit, end)| limit.store(end, Ordering::Release));
            self.scheduler.wake();
            if !leads {
                return Ok(());
            }
            if self.registry.all().iter().any(|(g, standing)| self.is_overtaken(g, *standing)) {
                let _turn = self.turn();
                self.drop_others()?;
            }
            self.advance()
        };
        match follow() {
            Err(error) if error.is_away() || matches!(error, JobError::Overtaken) => {
                tracing::warn!("what is decided about generations is looked at again soon: {error}");
                Ok(())
            }
            done => done,
        }
    }

    /// Removes what a process that was killed has left of dropped generations.
    pub fn clean_up(&self) -> Result<(), JobError> {
        let dropped = self.registry.all().into_iter().filter(|(_, s)| *s == Standing::Dropped);
        dropped.map(|(g, _)| g).try_for_each(|g| self.delete(g.id, g.from))
    }

    /// Deletes the topics of generations that were dropped so long ago that all workers of a group have let go of them.
    pub fn delete_what_was_dropped(&self) -> Result<(), JobError> {
        let mut seen = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        for (generation, standing) in self.registry.all() {
            let since = seen.entry(generation.id).or_insert_with(|| Some(Instant::now()));
            if standing == Standing::Dropped && since.is_some_and(|since| since.elapsed() > LET_GO) {
                self.fleet.delete_topics(generation.id, generation.from)?;
                *since = None;
            } else if standing != Standing::Dropped {
                *since = Some(Instant::now());
            }
        }
        Ok(())
    }

    /// Drops a candidate.
    pub fn give_up(&self, id: u32) -> Result<(), JobError> {
        let _turn = self.turn();
        self.take_in()?;
        self.drop_candidate(id)
    }

    fn drop_candidate(&self, id: u32) -> Result<(), JobError> {
        self.registry.check_droppable(id)?;
        let dropped = Entry::Dropped { generation: id };
        self.registry.decide(&dropped)?;
        self.carry_out(&dropped)
    }

    /// Decides with the next tick's minute while no tick can be sent.
    fn between_ticks<T>(&self, decide: impl FnOnce(Minute) -> Result<T, JobError>) -> Result<T, JobError> {
        self.collect.gate.close();
        self.wait(|| self.collect.gate.is_at_rest())?;
        let last = self.collect.last_tick.load(Ordering::Acquire);
        let result = decide(Minute(last + 1));
        if result.is_err() {
            self.go_on();
        }
        result
    }

    /// Opens the gates, unless a candidate keeps them closed, and asks for the tick that is waited for.
    pub fn go_on(&self) {
        use Ordering::{AcqRel, Acquire, Release};
        let waited_for = self.registry.unsettled().into_iter().filter_map(|id| self.registry.promoted_at(id));
        let last = self.collect.last_tick.load(Acquire);
        if let Some(at) = waited_for.max().filter(|at| at.0 > last && self.group.is_none())
            && (!self.ticks_come || self.collect.paused.swap(false, AcqRel))
        {
            self.collect.tick_wanted.store(at.0, Release);
        }
        if self.registry.is_paused() {
            self.collect.paused.store(true, Release);
            self.collect.gate.close();
        } else {
            self.collect.gate.open();
        }
        self.scheduler.wake();
    }

    fn wait(&self, mut done: impl FnMut() -> bool) -> Result<(), JobError> {
        while !done() {
            self.rest()?;
        }
        Ok(())
    }

    fn rest(&self) -> Result<(), JobError> {
        if self.scheduler.is_stopped() {
            return Err(JobError::Refused("the job is stopping: ask again when it runs".to_owned()));
        }
        self.scheduler.wake();
        std::thread::sleep(POLL);
        Ok(())
    }

    /// Does the next step of a promotion that is under way, if it can be done now.
    pub fn advance(&self) -> Result<(), JobError> {
        for id in self.registry.unsettled() {
            let Some(at) = self.registry.promoted_at(id) else { continue };
            if !self.registry.has_ends(id) {
                self.end(id, at)?;
            } else if self.minute_of(id)? >= at {
                self.settle(id, at)?;
            }
        }
        Ok(())
    }

    fn end(&self, id: u32, at: Minute) -> Result<(), JobError> {
        let predecessors = self.fleet.predecessors(id);
        if let Some(afar) = &self.group {
            if afar.come_to(&predecessors)? < at {
                return Ok(());
            }
        } else {
            let statuses = self.fleet.statuses_of(&predecessors);
            let ours = |task: Producer| is_of(&predecessors, task);
            if statuses.iter().any(|s| s.last_tick() < at.0) || !self.scheduler.are_idle(ours) {
                return Ok(());
            }
            self.close_inlets()?;
        }
        let _turn = self.turn();
        if self.registry.has_ends(id) {
            return Ok(());
        }
        let ends = match &self.group {
            Some(afar) => afar.ends(id, at)?,
            None => Some(self.fleet.ends(id)?),
        };
        let Some(ends) = ends else { return Ok(()) };
        let ended = Entry::Ended { generation: id, ends };
        self.registry.decide(&ended)?;
        self.carry_out(&ended)
    }

    fn close_inlets(&self) -> Result<(), JobError> {
        self.inlets.iter().for_each(|inlet| inlet.close());
        self.wait(|| self.inlets.iter().all(|inlet| inlet.is_at_rest()))
    }

    /// The generation before has ended. In a group commands may have come behind its end: the source that has brought them
    /// brings them again.
    fn hand_over(&self, id: u32) -> Result<(), JobError> {
        let predecessors = self.fleet.predecessors(id);
        self.close_inlets()?;
        // Who comes to know all of it at once has not even its topics.
        self.fleet.add_topics_of(id)?;
        let judged = self.registry.runs(id, StageId::AntiFraud);
        self.inlets.iter().for_each(|inlet| inlet.go_on_in(judged));
        self.fleet.remove(&self.scheduler, |task| is_of(&predecessors, task))?;
        if self.group.is_some() {
            // Their checkpoints are in object storage.
            self.fleet.remove_stores(&predecessors)?;
        }
        self.scheduler.publish(|task| task.generation == id);
        self.fleet.set_live();
        let at = self.registry.promoted_at(id).unwrap_or_default();
        tracing::info!("generation {id} has taken over at {at}");
        Ok(())
    }

    fn settle(&self, id: u32, at: Minute) -> Result<(), JobError> {
        let difference = self.difference(id, at)?;
        if self.group.is_some() && !self.fleet.holds(0) {
            // Whoever leads now posts them.
            return Ok(());
        }
        let adjustments = self.post(id, &difference)?;
        let _turn = self.turn();
        if !self.registry.unsettled().contains(&id) {
            return Ok(());
        }
        self.registry.decide(&Entry::Settled { generation: id, adjustments })?;
        let net = difference.total.net_nanos;
        tracing::info!("generation {id} is published: {adjustments} adjustments, {net} in all");
        Ok(())
    }

    fn difference(&self, id: u32, until: Minute) -> Result<Difference, JobError> {
        let log: Arc<dyn Log> = match self.group {
            Some(_) => self.whole_log(id)?,
            None => self.log.clone(),
        };
        let sides = Sides::of(&self.registry, log, id, until);
        let sides = sides.map(|sides| Sides { to_the_tick: self.group.is_some(), ..sides });
        sides.map_or(Ok(Difference::default()), |s| s.compare(self.partitions, &mut |_| {}))
    }

    /// `charges` of all partitions, as they stand now.
    fn whole_log(&self, id: u32) -> Result<Arc<dyn Log>, JobError> {
        let log = BesideLog::open(self.topics.clone());
        let recorded = self.registry.get(id).map_or(1, |(g, _)| g.recorded);
        for line in [id, recorded].map(|id| self.registry.line(id, Topic::Charges)) {
            // That Kafka is away must not look like a topic without charges.
            line.topics().into_iter().try_for_each(|topic| log.expect(topic, self.partitions))?;
        }
        Ok(Arc::new(log))
    }

    /// Posts what is not posted yet; how many adjustments there are in all.
    fn post(&self, id: u32, difference: &Difference) -> Result<u64, JobError> {
        let (topic, mut all) = (Topic::Adjustments.of(1), 0);
        let failed = |e| JobError::io("post to", &self.log.newest_file(topic))(e);
        failpoints::before("adjustments.post").map_err(failed)?;
        let mut last_ticket = None;
        for partition in 0..self.partitions {
            let task = Producer { stage: StageId::PostProcess, partition: partition as u16, generation: id };
            let start = self.log.start(topic, partition);
            let heads = self.log.heads(topic, partition, start)?;
            let own = heads.iter().filter(|h| h.producer == task);
            let standing = own.map(|h| h.first_seq + u64::from(h.count)).max().unwrap_or(0);
            let changes = difference.changes.iter().filter(|c| c.partition == partition);
            let adjustments: Vec<_> = changes.filter_map(|c| c.adjustment()).collect();
            all += adjustments.len() as u64;
            let mut seq = standing;
            for chunk in adjustments.get(standing as usize..).unwrap_or_default().chunks(BATCH) {
                let mut batch = BatchBuilder::default();
                for (i, adjustment) in chunk.iter().enumerate() {
                    let (fixed, text) = adjustment.encode();
                    batch.push(Provenance { position: seq + i as u64, index: 0 }, &[&fixed, text.as_bytes()]);
                }
                let (count, last) = (batch.count(), batch.last());
                let batch = NewBatch { producer: task, first_seq: seq, count, last, bytes: batch.take() };
                last_ticket = Some(self.log.append(topic, partition, batch)?.ticket);
                seq += u64::from(count);
            }
        }
        self.wait(|| last_ticket.is_none_or(|ticket| self.log.is_durable(topic, ticket)))?;
        failpoints::after("adjustments.post").map_err(failed)?;
        Ok(all)
    }
}

fn is_of(stages: &[(&'static Stage, u32)], task: Producer) -> bool {
    stages.iter().any(|(stage, generation)| (stage.id, *generation) == (task.stage, task.generation))
}
