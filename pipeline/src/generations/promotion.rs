//! Publishing a generation. Each step is decided in the control log before the next one begins, and each
//! can be done again after a crash:
//!
//! 1. *promoted*: from the tick of a minute on it is the published one; the tasks that it takes over from
//!    stop behind that tick;
//! 2. *ended*: they have stopped, and where their topics end is known; commands from outside go to the new
//!    generation's topics from here on;
//! 3. *settled*: the difference between the ledger and the new outcomes, of all charges decided before
//!    that tick, stands in `adjustments`. A charge that came out the same has none.

use super::{Difference, Entry, Registry, Sides};
use crate::error::JobError;
use crate::fleet::Fleet;
use crate::log::{LiveLog, NewBatch};
use crate::scheduler::Scheduler;
use crate::source::collect::CollectProgress;
use crate::source::inlet::Inlet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_proto::{BatchBuilder, Minute, Producer, Provenance, StageId, Topic};
use weir_state::failpoints;

/// How often a rest or a durable write is looked for.
const POLL: Duration = Duration::from_millis(2);
/// A candidate that has caught up may be a tick behind for a moment; so long it is waited for.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Adjustments appended as one batch.
const BATCH: usize = 1_000;

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
}

impl Promotion {
    /// Decides that a candidate takes over at the next tick.
    pub fn decide(&self, id: u32) -> Result<Minute, JobError> {
        self.registry.check_promotable(id)?;
        let standings = || (self.fleet.minute_of(id), self.fleet.published_minute());
        let deadline = Instant::now() + CATCH_UP;
        self.wait(|| standings().0 >= standings().1 || Instant::now() > deadline)?;
        let (own, published) = standings();
        if own < published {
            return Err(JobError::Refused(format!(
                "generation {id} has come to {own}, the published one to {published}: wait until it has caught \
                 up, `weir generation list` shows it"
            )));
        }
        let at = self.between_ticks(|next| {
            self.registry.decide(&Entry::Promoted { generation: id, at: next })?;
            Ok(next)
        })?;
        self.fleet.end_predecessors(id);
        for (other, standing) in self.registry.all() {
            if standing == super::Standing::Candidate {
                tracing::warn!("generation {} is dropped: it followed what is published no more", other.id);
                self.give_up(other.id)?;
            }
        }
        self.go_on();
        Ok(at)
    }

    /// Removes what a process that was killed has left of dropped generations.
    pub fn clean_up(&self) -> Result<(), JobError> {
        let dropped = self.registry.all().into_iter().filter(|(_, s)| *s == super::Standing::Dropped);
        dropped.map(|(g, _)| g).try_for_each(|g| self.fleet.delete(g.id, g.from))
    }

    /// Drops a candidate.
    pub fn give_up(&self, id: u32) -> Result<(), JobError> {
        let generation = self.registry.check_droppable(id)?;
        self.registry.decide(&Entry::Dropped { generation: id })?;
        self.fleet.remove(&self.scheduler, |t| t.generation == id && t.stage >= generation.from)?;
        self.fleet.delete(id, generation.from)?;
        self.go_on();
        Ok(())
    }

    /// Decides with the next tick's minute while no tick can be sent.
    fn between_ticks<T>(&self, decide: impl FnOnce(Minute) -> Result<T, JobError>) -> Result<T, JobError> {
        self.collect.gate.close();
        self.wait(|| self.collect.gate.is_at_rest())?;
        let last = self.collect.last_tick.load(std::sync::atomic::Ordering::Acquire);
        let result = decide(Minute(last + 1));
        if result.is_err() {
            self.go_on();
        }
        result
    }

    /// Opens the gates, unless a candidate keeps them closed, and asks for the tick that is waited for.
    pub fn go_on(&self) {
        use std::sync::atomic::Ordering::{AcqRel, Acquire, Release};
        let waited_for = self.registry.unsettled().into_iter().filter_map(|id| self.registry.promoted_at(id));
        let last = self.collect.last_tick.load(Acquire);
        if let Some(at) = waited_for.max().filter(|at| at.0 > last)
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
            if self.scheduler.is_stopped() {
                return Err(JobError::Refused("the job is stopping: ask again when it runs".to_owned()));
            }
            self.scheduler.wake();
            std::thread::sleep(POLL);
        }
        Ok(())
    }

    /// Does the next step of a promotion that is under way, if it can be done now.
    pub fn advance(&self) -> Result<(), JobError> {
        for id in self.registry.unsettled() {
            let Some(at) = self.registry.promoted_at(id) else { continue };
            if !self.registry.has_ends(id) {
                self.end(id, at)?;
            } else if self.fleet.minute_of(id) >= at {
                self.settle(id, at)?;
            }
        }
        Ok(())
    }

    fn end(&self, id: u32, at: Minute) -> Result<(), JobError> {
        let predecessors = self.fleet.predecessors(id);
        let statuses = self.fleet.statuses_of(&predecessors);
        let ours =
            |task: Producer| predecessors.iter().any(|(s, g)| (s.id, *g) == (task.stage, task.generation));
        if statuses.iter().any(|s| s.last_tick() < at.0) || !self.scheduler.are_idle(ours) {
            return Ok(());
        }
        self.inlets.iter().for_each(|inlet| inlet.close());
        self.wait(|| self.inlets.iter().all(|inlet| inlet.is_at_rest()))?;
        let ends = self.fleet.ends(id);
        self.registry.decide(&Entry::Ended { generation: id, ends })?;
        let judged = self.registry.runs(id, StageId::AntiFraud);
        self.inlets.iter().for_each(|inlet| inlet.go_on_in(judged));
        self.fleet.remove(&self.scheduler, ours)?;
        self.scheduler.publish(|task| task.generation == id);
        self.fleet.set_live();
        tracing::info!("generation {id} has taken over at {at}");
        Ok(())
    }

    fn settle(&self, id: u32, at: Minute) -> Result<(), JobError> {
        let difference = self.difference(id, at)?;
        let adjustments = self.post(id, &difference)?;
        self.registry.decide(&Entry::Settled { generation: id, adjustments })?;
        let net = difference.total.net_nanos;
        tracing::info!("generation {id} is published: {adjustments} adjustments, {net} in all");
        Ok(())
    }

    fn difference(&self, id: u32, until: Minute) -> Result<Difference, JobError> {
        let sides = Sides::of(&self.registry, self.log.clone(), id, until);
        sides.map_or(Ok(Difference::default()), |s| s.compare(self.partitions, &mut |_| {}))
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
