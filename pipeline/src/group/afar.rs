//! What the workers of a group have brought to object storage: of which minutes all is there, and how far generations are.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::fleet::in_parallel;
use crate::flow::{self, FLOW, Stage};
use crate::generations::{Cut, Ends, Registry};
use crate::input::{LineReader, Start, have_come_to};
use crate::log::BesideLog;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_proto::{Minute, Producer, StageId, TaskId};
use weir_state::depot::Depot;

/// How long it is known how far a task is.
const KNOWN: Duration = Duration::from_secs(2);

/// A task that takes in events from outside, and the minutes of its checkpoints.
pub(super) type Taken = (Producer, Vec<Minute>);

/// The checkpoints of all workers.
pub struct Afar {
    dir: DataDir,
    registry: Arc<Registry>,
    depot: Arc<Depot>,
    /// The newest checkpoint of tasks, and when it was looked for.
    newest: Mutex<BTreeMap<Producer, (Instant, Minute)>>,
}

impl Afar {
    /// Of the group that a worker is in.
    pub fn new(dir: DataDir, registry: Arc<Registry>, depot: Arc<Depot>) -> Self {
        Afar { dir, registry, depot, newest: Mutex::default() }
    }

    pub(super) fn dir(&self) -> &DataDir {
        &self.dir
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.registry
    }

    pub(super) fn depot(&self) -> &Depot {
        &self.depot
    }

    fn folding(&self) -> Vec<TaskId> {
        FLOW.iter().flat_map(|stage| self.dir.tasks_of(stage.id)).collect()
    }

    /// The task that has folded up to a minute in the line of a generation.
    fn of_line(&self, line: u32, task: TaskId, minute: Minute) -> Producer {
        task.in_generation(self.registry.generation_of(line, task.stage, minute))
    }

    /// The minutes of which all tasks of a line have a checkpoint.
    pub(super) fn complete(&self, line: u32) -> Result<BTreeSet<Minute>, JobError> {
        let generations = self.registry.ancestors(line);
        let minutes = in_parallel(&self.folding(), |task| {
            let mut own = BTreeSet::new();
            for task in generations.iter().map(|generation| task.in_generation(*generation)) {
                let minutes = self.depot.minutes(task)?.into_iter();
                own.extend(minutes.filter(|minute| self.of_line(line, task.task(), *minute) == task));
            }
            Ok(own)
        })?;
        let common = minutes.into_iter().reduce(|all, own| all.intersection(&own).copied().collect());
        Ok(common.unwrap_or_default())
    }

    /// The tasks that take in events from outside, of all workers that ever did.
    pub(super) fn sources(&self) -> Result<Vec<Taken>, JobError> {
        let tasks = self.depot.tasks(1)?.into_iter().filter(|task| task.stage == StageId::Collect);
        tasks.map(|task| Ok((task, self.depot.minutes(task)?))).collect()
    }

    /// The checkpoints that stand for a minute in a line. Of what workers take in from outside it is the newest up to then:
    /// one that is away has none of that minute.
    pub(super) fn tasks_at(&self, line: u32, minute: Minute, sources: &[Taken]) -> Vec<(Producer, Minute)> {
        let taken = |minutes: &[Minute]| minutes.iter().rev().find(|taken| **taken <= minute).copied();
        let sources = sources.iter().filter_map(|(task, minutes)| Some((*task, taken(minutes)?)));
        let folding = self.folding().into_iter().map(|task| (self.of_line(line, task, minute), minute));
        folding.chain(sources).collect()
    }

    /// The cut that stands for a minute in a line: its own, or that of the next tick if its was missed.
    pub fn cut(&self, line: u32, minute: Minute) -> Result<Cut, JobError> {
        let complete = self.complete(line)?;
        let no_cut = || JobError::NoCut {
            minute,
            advice: {
                let near = [complete.range(..minute).next_back(), complete.range(minute..).next()];
                let near: Vec<String> = near.into_iter().flatten().map(Minute::to_string).collect();
                let all = "all workers have their checkpoints in object storage";
                match near.len() {
                    0 => format!("there is no minute yet of which {all}"),
                    _ => format!(
                        "the nearest of which {all} are {}; `weir checkpoints` lists all",
                        near.join(" and ")
                    ),
                }
            },
        };
        let found = *complete.range(minute..).next().ok_or_else(no_cut)?;
        let tasks = self.tasks_at(line, found, &self.sources()?);
        let manifests = in_parallel(&tasks, |(task, minute)| Ok(self.depot.manifest(*task, *minute)?))?;
        let manifests: Option<Vec<_>> = manifests.into_iter().collect();
        let stands = |m: &weir_state::Manifest| {
            m.minute == minute || m.minute < found || (1..minute.0).contains(&m.previous.0)
        };
        manifests.filter(|all| all.iter().all(stands)).map(Cut::new).ok_or_else(no_cut)
    }

    /// The newest tick that all tasks of some stages have folded, in all partitions.
    pub fn come_to(&self, stages: &[(&'static Stage, u32)]) -> Result<Minute, JobError> {
        let of_stage = |(stage, generation): &(&'static Stage, u32)| {
            let generation = *generation;
            self.dir.tasks_of(stage.id).into_iter().map(move |task| task.in_generation(generation))
        };
        let tasks: Vec<Producer> = stages.iter().flat_map(of_stage).collect();
        let newest = in_parallel(&tasks, |task| self.newest_of(*task))?;
        Ok(newest.into_iter().min().unwrap_or_default())
    }

    /// The places at which the topics that a promoted generation makes anew end in the recorded line: behind the first ticks
    /// from a minute on of all tasks that write there. None while they do not all stand there.
    pub fn ends(&self, id: u32, at: Minute) -> Result<Option<Ends>, JobError> {
        let Some((generation, _)) = self.registry.get(id) else { return Ok(None) };
        let log = Arc::new(BesideLog::open(self.dir.topics()));
        let mut all = Vec::new();
        for topic in flow::topics_from(generation.from) {
            let line = self.registry.line(generation.recorded, topic);
            line.topics().into_iter().try_for_each(|topic| log.expect(topic, self.dir.partitions()))?;
            let partitions: Vec<u32> = (0..self.dir.partitions()).collect();
            let reader = flow::reader(topic);
            let reader = |p: u32| TaskId { stage: reader, partition: p as u16 };
            let ends = in_parallel(&partitions, |p| {
                let task = reader(*p);
                let task = task.in_generation(self.registry.runs(generation.recorded, task.stage));
                let read = |start| LineReader::open(log.clone(), line.clone(), *p, start);
                self.end(task, at, read)
            })?;
            let Some(ends) = ends.into_iter().collect() else { return Ok(None) };
            all.push((topic, ends));
        }
        Ok(Some(all))
    }

    /// From where the reader of a partition stood behind the first such tick.
    fn end(
        &self,
        task: Producer,
        at: Minute,
        read: impl FnOnce(Start) -> LineReader,
    ) -> Result<Option<u64>, JobError> {
        let Some(minute) = self.depot.minutes(task)?.into_iter().find(|minute| *minute >= at) else {
            return Ok(None);
        };
        let Some(manifest) = self.depot.manifest(task, minute)? else { return Ok(None) };
        let mut reader = read(Start { position: manifest.position, marks: manifest.marks });
        while !have_come_to(reader.marks(), self.dir.partitions(), at) {
            if reader.advance()?.is_none() {
                return Ok(None);
            }
        }
        Ok(Some(reader.position()))
    }

    fn newest_of(&self, task: Producer) -> Result<Minute, JobError> {
        let newest = || self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, minute)) = newest().get(&task).filter(|(at, _)| at.elapsed() < KNOWN) {
            return Ok(*minute);
        }
        // One that has no checkpoint of its own yet stands where it has begun.
        let begun = || self.registry.cut(task.generation).of(task.task()).map(|begun| begun.minute);
        let minute = self.depot.minutes(task)?.last().copied().or_else(begun).unwrap_or_default();
        newest().insert(task, (Instant::now(), minute));
        Ok(minute)
    }
}
