//! Which part of the log is audited: from one consistent state to another.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::generations::{Cut, Cuts, Registry, Standing};
use crate::log::{Log, TopicReader};
use std::collections::BTreeSet;
use weir_proto::{Minute, Producer, TaskId, Topic, TopicId};
use weir_state::{Manifest, Shared, Store, TaskMeta};

use super::writes_of;

/// There is nothing to audit.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Neither a cut nor a stopped job.
    #[error(
        "there is no complete cut yet to audit up to: try again when a minute has passed, or when the job has \
         stopped"
    )]
    NothingYet,
    /// An empty segment.
    #[error("there is nothing between {0} and {1}: --to must be later than --from")]
    Empty(Minute, Minute),
    /// Something cannot be read.
    #[error(transparent)]
    Job(#[from] JobError),
}

/// A part of the log between two states of all tasks.
pub struct Segment {
    /// Where it begins; the start of the log if there is none.
    from: Option<Cut>,
    to: Cut,
    /// Whether it ends where the stores of a stopped job stand, and not at a cut.
    to_stores: bool,
    /// The minutes of complete cuts behind its beginning.
    minutes: BTreeSet<Minute>,
}

impl Segment {
    pub(super) fn choose(
        dir: &DataDir,
        registry: &Registry,
        log: &dyn Log,
        from: Option<Minute>,
        to: Option<Minute>,
    ) -> Result<Self, SegmentError> {
        let cuts = Cuts::of(dir, registry, registry.published());
        let complete: Vec<Minute> = cuts.minutes()?.into_iter().filter(|m| cuts.is_complete(*m)).collect();
        let from = match from {
            Some(minute) => Some(cuts.at(minute)?),
            None if is_whole(dir, registry, log) => None,
            None => Some(cuts.at(*complete.first().ok_or(SegmentError::NothingYet)?)?),
        };
        // The stores of a group are those of a cut, and it goes on.
        let stops = !dir.is_in_use() && !dir.is_whole();
        let stores = if to.is_none() && stops { stores(dir, registry, log)? } else { None };
        let (to, to_stores) = match (to, stores) {
            (Some(minute), _) => (cuts.at(minute)?, false),
            (None, Some(stores)) => (stores, true),
            (None, None) => (cuts.at(*complete.last().ok_or(SegmentError::NothingYet)?)?, false),
        };
        let first = from.as_ref().map(Cut::minute);
        if let Some(first) = first.filter(|first| !to_stores && *first >= to.minute()) {
            return Err(SegmentError::Empty(first, to.minute()));
        }
        let within = |m: &Minute| first.is_none_or(|f| *m > f) && (to_stores || *m <= to.minute());
        let minutes = complete.into_iter().filter(within).collect();
        Ok(Segment { from, to, to_stores, minutes })
    }

    /// Where a task stands at the beginning.
    pub(super) fn start(&self, task: TaskId) -> Option<&Manifest> {
        self.from.as_ref().and_then(|cut| cut.of(task))
    }

    /// Where a task stands at the end.
    pub(super) fn end(&self, task: TaskId) -> Option<&Manifest> {
        self.to.of(task)
    }

    pub(super) fn from(&self) -> Option<&Cut> {
        self.from.as_ref()
    }

    pub(super) fn to(&self) -> &Cut {
        &self.to
    }

    pub(super) fn ends_at_stores(&self) -> bool {
        self.to_stores
    }

    /// The cut at which it begins.
    pub fn from_minute(&self) -> Option<Minute> {
        self.from.as_ref().map(Cut::minute)
    }

    /// The cut at which it ends; none if it ends where the log ends.
    pub fn to_minute(&self) -> Option<Minute> {
        (!self.to_stores).then(|| self.to.minute())
    }

    /// The tick at which a task ends; none if it ends where the log ends. A worker that is away ends before the others.
    pub(super) fn end_minute(&self, task: TaskId) -> Option<Minute> {
        self.end(task).filter(|_| !self.to_stores).map(|m| m.minute)
    }

    /// Minutes of complete cuts behind its beginning, up to its end.
    pub(super) fn minutes(&self) -> &BTreeSet<Minute> {
        &self.minutes
    }

    pub(super) fn known(&self, task: TaskId, minute: Minute) -> Option<&Manifest> {
        let cuts = [self.from.as_ref(), (!self.to_stores).then_some(&self.to)];
        cuts.into_iter().flatten().find(|c| c.minute() == minute).and_then(|c| c.of(task))
    }
}

/// Every topic that there is. Those of dropped generations are on their way out.
pub(super) fn topics(dir: &DataDir, registry: &Registry) -> Vec<TopicId> {
    let all = registry.all().into_iter().filter(|(_, standing)| *standing != Standing::Dropped);
    let generations = all.map(|(g, _)| g.id).chain([1]);
    let all: BTreeSet<TopicId> = generations.flat_map(|g| Topic::ALL.map(|topic| topic.of(g))).collect();
    // What cannot be asked for is looked at, and says so itself.
    all.into_iter().filter(|id| dir.topics().has(*id).unwrap_or(true)).collect()
}

/// Whether nothing of the published line was trimmed away.
fn is_whole(dir: &DataDir, registry: &Registry, log: &dyn Log) -> bool {
    let line = registry.ancestors(registry.published());
    let of_line =
        topics(dir, registry).into_iter().filter(|t| t.generation == 1 || line.contains(&t.generation));
    of_line.into_iter().all(|topic| (0..dir.partitions()).all(|p| log.start(topic, p) == 0))
}

/// Where the stores of a stopped job stand; none if one of them is behind its outputs, as after a kill.
fn stores(dir: &DataDir, registry: &Registry, log: &dyn Log) -> Result<Option<Cut>, JobError> {
    let (shared, mut manifests) = (Shared::new(8 << 20), Vec::new());
    for task in dir.cut_tasks() {
        let generation =
            if task.stage.is_source() { 1 } else { registry.runs(registry.published(), task.stage) };
        let task = task.in_generation(generation);
        let meta = meta(dir, task, &shared)?;
        if is_behind(log, &meta)? {
            return Ok(None);
        }
        manifests.push(Manifest::of(&meta));
    }
    let begun = manifests.iter().any(|m| m.position > 0);
    Ok(begun.then(|| Cut::new(manifests)))
}

fn meta(dir: &DataDir, task: Producer, shared: &Shared) -> Result<TaskMeta, JobError> {
    let path = dir.store(task);
    let new = || TaskMeta::new(task, writes_of(task.stage), dir.partitions() as usize, 0);
    if !path.exists() {
        return Ok(new());
    }
    let mut meta = Store::open_read_only(&path, shared)?.meta()?.unwrap_or_else(new);
    if meta.task.generation != task.generation {
        meta.enter(task.generation, meta.rules);
    }
    Ok(meta)
}

fn is_behind(log: &dyn Log, meta: &TaskMeta) -> Result<bool, JobError> {
    for (topic, output) in &meta.outputs {
        let topic = topic.of(meta.task.generation);
        for (partition, end) in output.ends.iter().enumerate() {
            let partition = partition as u32;
            if *end >= log.high_watermark(topic, partition) {
                continue;
            }
            if log.heads(topic, partition, *end)?.iter().any(|head| head.producer == meta.task) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Opens a topic; the error if it cannot be.
pub(super) fn open(dir: &DataDir, topic: TopicId) -> Result<TopicReader, crate::log::LogError> {
    TopicReader::open(&dir.topics(), topic)
}
