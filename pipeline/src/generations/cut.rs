//! Cuts: the checkpoints of one minute of all tasks, a consistent state of the whole pipeline.

use super::Registry;
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::input::Start;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use weir_proto::{Minute, Producer, TaskId, Topic};
use weir_state::{CheckpointDir, Manifest};

/// The manifests of a minute, one for each task of a line.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cut {
    manifests: Vec<Manifest>,
}

impl Cut {
    /// Of these manifests, in flow order.
    pub fn new(manifests: Vec<Manifest>) -> Self {
        Cut { manifests }
    }

    /// The manifest of a task.
    pub fn of(&self, task: TaskId) -> Option<&Manifest> {
        self.manifests.iter().find(|m| m.task.task() == task)
    }

    /// All manifests, in flow order.
    pub fn manifests(&self) -> &[Manifest] {
        &self.manifests
    }

    /// The minute.
    pub fn minute(&self) -> Minute {
        self.manifests.iter().map(|m| m.minute).max().unwrap_or_default()
    }

    /// The running number of the next record of a task to a partition of a topic.
    pub fn next_seq(&self, task: TaskId, topic: Topic, partition: u32) -> u64 {
        self.of(task).map_or(0, |m| m.next_seq(topic, partition))
    }

    /// Where a task stood.
    pub fn start(&self, task: TaskId) -> Start {
        self.of(task).map_or_else(Start::default, |m| Start { position: m.position, marks: m.marks.clone() })
    }
}

/// What there is of a minute.
#[derive(Clone, Debug, Serialize)]
pub struct CutInfo {
    /// The minute.
    #[serde(serialize_with = "Minute::rfc3339")]
    pub minute: Minute,
    /// The first minute that it stands for, if ticks were missed.
    #[serde(serialize_with = "Minute::rfc3339")]
    pub stands_for_from: Minute,
    /// Whether every task's checkpoint is there.
    pub complete: bool,
    /// The tasks whose checkpoint is missing (so far).
    pub missing: Vec<String>,
    /// Bytes of all its files; most are shared with the cuts beside it.
    pub bytes: u64,
    /// The generations that its checkpoints belong to.
    pub generations: Vec<u32>,
}

/// Finds the cuts of a line.
pub struct Cuts<'a> {
    dir: &'a DataDir,
    registry: &'a Registry,
    checkpoints: CheckpointDir,
    generation: u32,
}

impl<'a> Cuts<'a> {
    /// Of the line of a generation.
    pub fn of(dir: &'a DataDir, registry: &'a Registry, generation: u32) -> Self {
        Cuts { dir, registry, checkpoints: dir.checkpoints(), generation }
    }

    /// The minutes of which there is any checkpoint, in order.
    pub fn minutes(&self) -> Result<Vec<Minute>, JobError> {
        let mut all = BTreeSet::new();
        for generation in self.registry.ancestors(self.generation) {
            all.extend(self.checkpoints.minutes(generation)?);
        }
        Ok(all.into_iter().collect())
    }

    /// The tasks whose checkpoints make the cut of a minute.
    pub fn tasks(&self, minute: Minute) -> Vec<Producer> {
        let tasks = self.dir.cut_tasks().into_iter();
        let tasks =
            tasks.map(|t| t.in_generation(self.registry.generation_of(self.generation, t.stage, minute)));
        // A worker that had taken in nothing by then has no part in it.
        let had_come = |task: &Producer| !self.may_be_away(*task) || self.taken_by(*task, minute).is_some();
        tasks.filter(had_come).collect()
    }

    /// The manifest of a task in the cut of a minute.
    pub fn manifest(&self, task: Producer, minute: Minute) -> Result<Option<Manifest>, JobError> {
        Ok(self.checkpoints.manifest(task, self.stands_at(task, minute))?)
    }

    /// Whether the cut of a minute may have an older checkpoint of a task: that of a worker which is away.
    fn may_be_away(&self, task: Producer) -> bool {
        self.dir.is_whole() && task.stage.is_source()
    }

    /// The minute of the newest checkpoint of a task up to a minute.
    fn taken_by(&self, task: Producer, minute: Minute) -> Option<Minute> {
        let minutes = self.checkpoints.minutes(task.generation).unwrap_or_default().into_iter().rev();
        minutes.filter(|m| *m <= minute).find(|m| self.checkpoints.is_complete(&[task], *m))
    }

    /// Whether every task's checkpoint of a minute is there.
    pub fn is_complete(&self, minute: Minute) -> bool {
        let is_there = |task: Producer| self.checkpoints.is_complete(&[task], self.stands_at(task, minute));
        self.tasks(minute).into_iter().all(is_there)
    }

    /// The minute of a task's checkpoint in a cut. A worker that is away is in the cuts of its group with what it had
    /// taken in by then.
    fn stands_at(&self, task: Producer, minute: Minute) -> Minute {
        let own = if self.may_be_away(task) { self.taken_by(task, minute) } else { None };
        own.unwrap_or(minute)
    }

    /// What there is of a minute.
    pub fn info(&self, minute: Minute) -> Result<CutInfo, JobError> {
        let mut info = CutInfo {
            minute,
            stands_for_from: minute,
            complete: true,
            missing: Vec::new(),
            bytes: 0,
            generations: Vec::new(),
        };
        let mut generations = BTreeSet::new();
        for task in self.tasks(minute) {
            match self.manifest(task, minute) {
                Ok(Some(manifest)) => {
                    info.bytes += manifest.bytes();
                    generations.insert(task.generation);
                    if manifest.previous.0 > 0 {
                        info.stands_for_from = Minute(manifest.previous.0 + 1);
                    }
                }
                Ok(None) => info.missing.push(task.task().to_string()),
                Err(error) => {
                    tracing::warn!("{error}");
                    info.missing.push(format!("{} (damaged)", task.task()));
                }
            }
        }
        info.complete = info.missing.is_empty();
        info.generations = generations.into_iter().collect();
        Ok(info)
    }

    /// The newest complete cut.
    pub fn newest(&self) -> Result<Option<Minute>, JobError> {
        Ok(self.minutes()?.into_iter().rev().find(|m| self.is_complete(*m)))
    }

    /// The complete cut that stands for a minute: its own, or that of the next tick if its was missed.
    pub fn at(&self, minute: Minute) -> Result<Cut, JobError> {
        let Some(found) = self.minutes()?.into_iter().find(|m| *m >= minute) else {
            return Err(self.no_cut(minute)?);
        };
        let mut manifests = Vec::new();
        for task in self.tasks(found) {
            match self.manifest(task, found)? {
                Some(manifest)
                    if manifest.minute == minute
                        || manifest.minute < found
                        || (1..minute.0).contains(&manifest.previous.0) =>
                {
                    manifests.push(manifest);
                }
                _ => return Err(self.no_cut(minute)?),
            }
        }
        Ok(Cut::new(manifests))
    }

    fn no_cut(&self, minute: Minute) -> Result<JobError, JobError> {
        let complete: Vec<Minute> = self.minutes()?.into_iter().filter(|m| self.is_complete(*m)).collect();
        let near = [complete.iter().rev().find(|m| **m < minute), complete.iter().find(|m| **m > minute)];
        let near: Vec<String> = near.into_iter().flatten().map(|m| m.to_string()).collect();
        Ok(JobError::NoCut {
            minute,
            advice: match near.len() {
                0 => "there is no complete cut yet".to_owned(),
                _ => format!("the nearest are {}; `weir checkpoints` lists all", near.join(" and ")),
            },
        })
    }
}
