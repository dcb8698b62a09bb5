//! The audit: whether everything that stands in a data directory follows from what went in.
//!
//! Nothing is decided again; that is what a replay is for. What was recorded is walked through instead:
//! every frame of every topic, then every task of the published line with its input beside its outputs.

mod accounts;
mod blame;
mod flights;
mod frames;
mod outputs;
mod report;
mod segment;
mod stand;
mod turns;
mod walk;

pub use report::{Audit, Check, MinuteRow, Place, Problem, Subject};
pub use segment::{Segment, SegmentError};

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::flow::{COLLECT_WRITES, FLOW, Stage};
use crate::generations::{Cuts, Registry};
use crate::log::{BesideLog, Log};
use std::sync::Arc;
use weir_proto::{Minute, StageId, TaskId, Topic};
use weir_state::Manifest;

/// What all parts of an audit share.
pub struct Auditor {
    dir: DataDir,
    registry: Registry,
    log: Arc<dyn Log>,
    published: u32,
    segment: Segment,
    threads: usize,
}

impl Auditor {
    /// Of a segment of the published line; of all that is kept if no minutes are given.
    pub fn open(
        dir: &DataDir,
        registry: Registry,
        (from, to): (Option<Minute>, Option<Minute>),
        threads: usize,
    ) -> Result<Self, SegmentError> {
        let log: Arc<dyn Log> = Arc::new(BesideLog::open(dir.topics()));
        let segment = Segment::choose(dir, &registry, &*log, from, to)?;
        let published = registry.published();
        Ok(Auditor { dir: dir.clone(), registry, log, published, segment, threads })
    }

    /// Checks everything. `progress` is told how many records were looked at.
    pub fn run(&self, progress: &mut dyn FnMut(u64)) -> Result<Audit, JobError> {
        let mut audit = Audit::new(&self.segment);
        frames::check(self, &mut audit, progress)?;
        for tasks in self.dir.cut_tasks().chunk_by(|a, b| a.stage == b.stage) {
            walk::check(self, tasks, &mut audit, progress)?;
        }
        flights::check(self, &mut audit)?;
        Ok(audit)
    }

    /// The generation whose task of a stage runs behind a minute.
    fn generation(&self, stage: StageId, minute: Minute) -> u32 {
        match stage.is_source() {
            true => 1,
            false => self.registry.generation_of(self.published, stage, minute),
        }
    }

    /// The manifest of a task in the cut of a minute.
    fn manifest(&self, task: TaskId, minute: Minute) -> Result<Option<Manifest>, JobError> {
        if let Some(known) = self.segment.known(task, minute) {
            return Ok(Some(known.clone()));
        }
        let generation = self.generation(task.stage, minute);
        let cuts = Cuts::of(&self.dir, &self.registry, self.published);
        cuts.manifest(task.in_generation(generation), minute)
    }
}

/// The stage of a task, if it folds a topic.
fn stage_of(task: TaskId) -> Option<&'static Stage> {
    FLOW.iter().find(|s| s.id == task.stage)
}

/// What a stage appends to.
fn writes_of(stage: StageId) -> &'static [Topic] {
    FLOW.iter().find(|s| s.id == stage).map_or(COLLECT_WRITES, |s| s.writes)
}
