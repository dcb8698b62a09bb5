//! What a job lets go of: checkpoints beyond their retention, log segments below the oldest cut that is
//! kept, and generations that nothing kept refers to. A finite run keeps its whole log.

use crate::data_dir::DataDir;
use crate::deliver::Deliveries;
use crate::error::JobError;
use crate::flow::{self, FLOW};
use crate::generations::{Cut, Cuts, Registry, Standing};
use crate::input::Line;
use crate::ledger::Ledger;
use crate::log::Log;
use std::sync::Arc;
use weir_proto::{Minute, Producer, StageId, TaskId, Topic, TopicId};
use weir_state::Retention;

/// Checkpoints of a task that a worker of a group keeps.
const OF_WORKER: usize = 5;

/// Keeps a data directory within its retention.
pub struct Keeper {
    dir: DataDir,
    registry: Arc<Registry>,
    retention: Retention,
    whole_log: bool,
    deliveries: Arc<Deliveries>,
    ledger: Option<Arc<Ledger>>,
}

impl Keeper {
    /// Of a data directory.
    pub fn new(dir: DataDir, registry: Arc<Registry>, retention: Retention, whole_log: bool) -> Self {
        Keeper { dir, registry, retention, whole_log, deliveries: Arc::default(), ledger: None }
    }

    /// Keeping what is still to be delivered.
    pub fn delivering(self, deliveries: Arc<Deliveries>) -> Self {
        Keeper { deliveries, ..self }
    }

    /// Keeping what is still to be written to the ledger database.
    pub fn ledger(self, ledger: Option<Arc<Ledger>>) -> Self {
        Keeper { ledger, ..self }
    }

    /// The offset from which on what goes out of a partition needs it.
    fn goes_out_from(&self, topic: TopicId, partition: u32) -> u64 {
        let ledger = self.ledger.as_ref().map_or(u64::MAX, |ledger| ledger.needs_from(topic, partition));
        self.deliveries.needs_from(topic, partition).min(ledger)
    }

    /// Which checkpoints are kept.
    pub fn retention(&self) -> &Retention {
        &self.retention
    }

    /// What a worker of a group has taken is in object storage, where whole cuts are; of each task it keeps the newest
    /// for itself. Nobody trims the topics that it shares.
    fn keep_of_worker(&self) -> Result<(), JobError> {
        let checkpoints = self.dir.checkpoints();
        let begins = |standing| matches!(standing, Standing::Candidate | Standing::Promoting);
        let begun = self.registry.all().into_iter().filter(|(_, standing)| begins(*standing));
        // It may have been fetched for a task that is about to be opened.
        let begun: Vec<_> = begun.map(|(g, _)| self.registry.cut(g.id)).collect();
        let is_needed = |task: Producer, minute: Minute| {
            begun.iter().any(|cut| cut.of(task.task()).is_some_and(|m| (m.task, m.minute) == (task, minute)))
        };
        for (generation, _) in self.registry.all() {
            let minutes = checkpoints.minutes(generation.id)?;
            for task in self.dir.cut_tasks() {
                let task = task.in_generation(generation.id);
                // One that is being written, or fetched, has no manifest yet.
                let taken = minutes.iter().rev().filter(|m| checkpoints.is_complete(&[task], **m));
                let old = taken.skip(OF_WORKER).filter(|minute| !is_needed(task, **minute));
                old.into_iter().try_for_each(|minute| checkpoints.remove_task(task, *minute))?;
            }
        }
        Ok(())
    }

    /// Lets go of what need not be kept any more.
    pub fn keep(&self, log: &dyn Log) -> Result<(), JobError> {
        if self.dir.worker().is_some() {
            return self.keep_of_worker();
        }
        let cuts = Cuts::of(&self.dir, &self.registry, self.registry.published());
        let Some(newest) = cuts.newest()? else { return Ok(()) };
        let checkpoints = self.dir.checkpoints();
        for (generation, standing) in self.registry.all() {
            if standing != Standing::Dropped {
                for minute in checkpoints.minutes(generation.id)? {
                    if minute < newest && !self.retention.keeps(minute, newest) {
                        checkpoints.remove(generation.id, minute)?;
                    }
                }
            }
        }
        // While generations follow recorded topics, those are needed as a whole.
        let following = self.registry.all().into_iter().any(|(_, s)| s == Standing::Candidate);
        if self.whole_log || following || !self.registry.unsettled().is_empty() {
            return Ok(());
        }
        let oldest = cuts.minutes()?.into_iter().find(|m| cuts.is_complete(*m));
        oldest.map_or(Ok(()), |minute| self.trim(&cuts.at(minute)?, log))
    }

    fn trim(&self, oldest: &Cut, log: &dyn Log) -> Result<(), JobError> {
        let published = self.registry.published();
        for stage in &FLOW {
            let line = self.registry.line(published, stage.reads);
            let topic = line.topic();
            let below = |p| self.read_to(&line, oldest, stage.id, p).min(self.goes_out_from(topic, p));
            log.trim(topic, &self.partitions().map(below).collect::<Vec<_>>())?;
        }
        // What no stage reads is kept as long as what it was made from.
        for topic in [Topic::Dropped, Topic::Notices, Topic::Answers] {
            for generation in self.registry.ancestors(published) {
                let below = self.partitions().map(|p| made_to(oldest, topic, generation, p));
                let below: Vec<u64> = below.collect();
                // A generation that begins further down has no such topic.
                if below.iter().any(|offset| *offset > 0) {
                    log.trim(topic.of(generation), &below)?;
                }
            }
        }
        self.deliveries.trim(log)?;
        self.retire(oldest.minute(), log)
    }

    fn partitions(&self) -> std::ops::Range<u32> {
        0..self.dir.partitions()
    }

    /// The offset below which the reader of a partition needs nothing any more.
    fn read_to(&self, line: &Line, oldest: &Cut, reader: StageId, partition: u32) -> u64 {
        let task = TaskId { stage: reader, partition: partition as u16 };
        let position = oldest.of(task).map_or(0, |m| m.position);
        match line {
            Line::First(_) => position,
            Line::Anew(anew) => anew.end(partition).map_or(0, |end| position.saturating_sub(end)),
        }
    }

    /// A superseded generation whose end lies before the oldest cut is needed no more.
    fn retire(&self, oldest: Minute, log: &dyn Log) -> Result<(), JobError> {
        let published = self.registry.published();
        for (generation, standing) in self.registry.all() {
            let ended = self.registry.ended_at(generation.id).filter(|at| *at < oldest);
            if standing != Standing::Superseded || ended.is_none() {
                continue;
            }
            for topic in flow::topics_from(generation.from) {
                let topic = topic.of(generation.id);
                if self.registry.line(published, topic.topic).topic() != topic {
                    let end = |p| log.high_watermark(topic, p).min(self.goes_out_from(topic, p));
                    let ends: Vec<u64> = self.partitions().map(end).collect();
                    log.trim(topic, &ends)?;
                }
            }
            self.dir.remove_stores(generation.id, |stage| {
                self.registry.runs(published, stage) == generation.id
            })?;
        }
        Ok(())
    }
}

/// The lowest end of a partition that a producer of the oldest cut knew.
fn made_to(oldest: &Cut, topic: Topic, generation: u32, partition: u32) -> u64 {
    let made = oldest.manifests().iter().filter(|m| m.task.generation == generation);
    let ends = made.filter_map(|m| m.ends.iter().find(|(t, _)| *t == topic));
    ends.map(|(_, ends)| ends[partition as usize]).min().unwrap_or(0)
}
