//! The tasks of a job: those of the published line, and beside them those of candidates.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::flow::{FLOW, Shared, Stage, outputs_from};
use crate::generations::{Ends, Registry, Standing};
use crate::input::Line;
use crate::log::LiveLog;
use crate::rule_set::RuleSet;
use crate::scheduler::{Scheduler, Work};
use crate::status::{Live, TaskStatus};
use crate::task::{AtTick, Task, TaskOptions};
use crate::uploads::Uploads;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use weir_operators::Rules;
use weir_proto::{Minute, Producer, StageId, TopicId};
use weir_state::{CheckpointDir, Store};

/// Stores that are opened side by side: each waits for the disk.
const OPENERS: usize = 16;

/// Opened tasks.
pub type Tasks = Vec<Box<dyn Work>>;

/// A task that is to be opened.
type Opening = (&'static Stage, Producer);

/// Opens tasks and keeps track of them.
pub struct Fleet {
    dir: DataDir,
    log: Arc<dyn LiveLog>,
    stores: weir_state::Shared,
    checkpoints: CheckpointDir,
    registry: Arc<Registry>,
    /// How state is kept; the rules themselves are those of the generations.
    like: Rules,
    rules: Mutex<BTreeMap<u64, Shared>>,
    ends: Mutex<BTreeMap<(u32, StageId), Arc<AtomicU32>>>,
    statuses: Mutex<Vec<Arc<TaskStatus>>>,
    /// The stores of the tasks that are there.
    opened: Mutex<Vec<(Producer, Weak<Store>)>>,
    live: Arc<Live>,
    /// The partitions that this worker has; all of them where there are no others.
    held: Mutex<Option<BTreeSet<u32>>>,
    /// Checkpoints in object storage.
    uploads: Option<Arc<Uploads>>,
    /// In a group, how far tasks read along lines that may be about to end.
    limits: Mutex<Vec<Limit>>,
}

/// A task, what it reads, and the place from which on it must not read that yet.
type Limit = (Producer, Arc<Line>, Arc<AtomicU64>);

impl Fleet {
    /// Without tasks yet.
    pub fn new(
        dir: DataDir,
        log: Arc<dyn LiveLog>,
        stores: weir_state::Shared,
        registry: Arc<Registry>,
        like: Rules,
    ) -> Self {
        Fleet {
            checkpoints: dir.checkpoints(),
            dir,
            log,
            stores,
            registry,
            like,
            rules: Mutex::default(),
            ends: Mutex::default(),
            statuses: Mutex::default(),
            opened: Mutex::default(),
            live: Arc::default(),
            held: Mutex::default(),
            uploads: None,
            limits: Mutex::default(),
        }
    }

    /// With checkpoints in object storage, if there is some.
    pub fn uploading(self, uploads: Option<Arc<Uploads>>) -> Self {
        Fleet { uploads, ..self }
    }

    fn is_shared(&self) -> bool {
        self.held().is_some()
    }

    /// Of one of several workers: it has no partition at first.
    pub fn of_worker(self, is_worker: bool) -> Self {
        let held = is_worker.then(BTreeSet::new);
        Fleet { held: Mutex::new(held), ..self }
    }

    fn held(&self) -> MutexGuard<'_, Option<BTreeSet<u32>>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many partitions this worker has.
    pub fn count_held(&self) -> usize {
        self.held().as_ref().map_or(0, BTreeSet::len)
    }

    /// Whether a partition is this worker's.
    pub fn holds(&self, partition: u32) -> bool {
        self.held().as_ref().is_none_or(|held| held.contains(&partition))
    }

    /// The tasks that every generation which is to run needs, the published ones first; and how many of
    /// them work in the background.
    pub fn open_all(&self) -> Result<(Tasks, Tasks), JobError> {
        let holds = |partition| self.holds(partition);
        let live = self.open(&self.published(), holds)?;
        self.set_live();
        Ok((live, self.open(&self.candidates(), holds)?))
    }

    /// The stages of the published line, also of that which ends.
    fn published(&self) -> Vec<(&'static Stage, u32)> {
        let published = self.registry.published();
        let mut stages: Vec<_> = FLOW.iter().map(|s| (s, self.registry.runs(published, s.id))).collect();
        for unsettled in self.registry.unsettled().into_iter().filter(|id| !self.registry.has_ends(*id)) {
            stages.extend(self.predecessors(unsettled));
        }
        stages
    }

    /// The stages that run beside it.
    fn candidates(&self) -> Vec<(&'static Stage, u32)> {
        let all = self.registry.all().into_iter().filter(|(_, s)| *s == Standing::Candidate);
        all.flat_map(|(g, _)| FLOW.iter().filter(move |s| s.id >= g.from).map(move |s| (s, g.id))).collect()
    }

    /// Opens the tasks of partitions that come to this worker.
    pub fn take(&self, partitions: &[u32]) -> Result<Tasks, JobError> {
        let tasks = self.open(&self.published(), |partition| partitions.contains(&partition))?;
        self.held().iter_mut().for_each(|held| held.extend(partitions));
        Ok(tasks)
    }

    /// Closes the tasks of a partition that goes to another worker.
    pub fn give_up(&self, scheduler: &Scheduler, partition: u32) -> Result<(), JobError> {
        self.held().iter_mut().for_each(|held| _ = held.remove(&partition));
        let folds = |task: Producer| FLOW.iter().any(|stage| stage.id == task.stage);
        let goes = |task: Producer| folds(task) && u32::from(task.partition) == partition;
        self.remove(scheduler, goes)?;
        self.set_live();
        Ok(())
    }

    /// Opens the tasks of the published line that are not open yet. All or none.
    pub fn open_published(&self) -> Result<Tasks, JobError> {
        self.open_tasks(&self.lacking(&self.published()))
    }

    /// Opens the tasks of candidates that are not open yet. All or none.
    pub fn open_candidates(&self) -> Result<Tasks, JobError> {
        let stages = self.candidates();
        // A worker without partitions may be asked for what is there, too.
        stages.iter().try_for_each(|(stage, generation)| self.add_topics(stage, *generation))?;
        self.open_tasks(&self.lacking(&stages))
    }

    /// Whether tasks are not open yet.
    pub fn lacks_some(&self) -> bool {
        [self.published(), self.candidates()].iter().any(|stages| !self.lacking(stages).is_empty())
    }

    fn lacking(&self, stages: &[(&'static Stage, u32)]) -> Vec<Opening> {
        let open: BTreeSet<Producer> = self.statuses().iter().map(|status| status.task).collect();
        let tasks = stages.iter().flat_map(|(stage, generation)| {
            let tasks = self.dir.tasks_of(stage.id).into_iter();
            tasks.map(|task| (*stage, task.in_generation(*generation)))
        });
        tasks.filter(|(_, task)| self.holds(task.partition.into()) && !open.contains(task)).collect()
    }

    /// Opens the topics that a generation's line reads and writes.
    pub fn add_topics_of(&self, id: u32) -> Result<(), JobError> {
        FLOW.iter().try_for_each(|stage| self.add_topics(stage, self.registry.runs(id, stage.id)))
    }

    /// The stages that a promoted generation takes over, with the generations that end.
    pub fn predecessors(&self, id: u32) -> Vec<(&'static Stage, u32)> {
        let Some((generation, _)) = self.registry.get(id) else { return Vec::new() };
        let stages = FLOW.iter().filter(|s| s.id >= generation.from);
        stages.map(|s| (s, self.registry.runs(generation.recorded, s.id))).collect()
    }

    fn open(&self, stages: &[(&'static Stage, u32)], which: impl Fn(u32) -> bool) -> Result<Tasks, JobError> {
        let mut tasks = Vec::new();
        for (stage, generation) in stages {
            self.add_topics(stage, *generation)?;
            let all = self.dir.tasks_of(stage.id).into_iter().filter(|t| which(t.partition.into()));
            tasks.extend(all.map(|t| (*stage, t.in_generation(*generation))));
        }
        self.open_tasks(&tasks)
    }

    fn add_topics(&self, stage: &Stage, generation: u32) -> Result<(), JobError> {
        let read = self.registry.line(generation, stage.reads).topics().into_iter();
        let written = stage.writes.iter().map(|topic| topic.of(generation));
        Ok(read.chain(written).try_for_each(|topic| self.log.add(topic))?)
    }

    fn open_tasks(&self, all: &[Opening]) -> Result<Tasks, JobError> {
        self.log.opens_many(true);
        let opened = in_parallel(all, |(stage, task)| self.open_task(stage, *task));
        self.log.opens_many(false);
        match &opened {
            Ok(opened) => self.statuses().extend(opened.iter().map(|t| t.status())),
            Err(_) => self.limits().retain(|(task, ..)| !all.iter().any(|(_, opening)| opening == task)),
        }
        opened
    }

    fn open_task(&self, stage: &Stage, task: Producer) -> Result<Box<dyn Work>, JobError> {
        if let Some(uploads) = &self.uploads
            && (self.is_shared() || !self.dir.store(task).exists())
        {
            crate::recover::catch_up(&self.dir, task, &self.stores, uploads)?;
        }
        let store = Arc::new(crate::recover::open_store(&self.dir, task, &self.stores)?);
        let mut opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        opened.retain(|(_, store)| store.strong_count() > 0);
        opened.push((task, Arc::downgrade(&store)));
        drop(opened);
        let line = self.registry.line(task.generation, stage.reads);
        let options = TaskOptions {
            task,
            partitions: self.dir.partitions(),
            limit: self.limit_of(task, &line),
            line,
            shared: self.rules_of(task.generation)?,
            at_tick: AtTick::Checkpoint(self.checkpoints.clone(), self.uploads.clone()),
            ends_at: self.ends_at(task.generation, stage.id),
        };
        Ok(Box::new(Task::open(stage, options, store, self.log.clone())?))
    }

    fn limits(&self) -> MutexGuard<'_, Vec<Limit>> {
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// In a group whoever reads along a line that may be about to end reads nothing that came after the last look at the
    /// decisions: the tick at which the line ends comes after the decision that it does.
    fn limit_of(&self, task: Producer, line: &Arc<Line>) -> Arc<AtomicU64> {
        let may_end = matches!(&**line, Line::Anew(anew) if anew.ends.get().is_none());
        if !self.registry.is_shared() || !may_end {
            return Arc::new(AtomicU64::new(u64::MAX));
        }
        let limit = Arc::new(AtomicU64::new(0));
        self.limits().push((task, line.clone(), limit.clone()));
        limit
    }

    /// The limits of tasks, and where what they read ends now: so far they may read once all that is decided is known.
    pub fn limits_now(&self) -> Vec<(Arc<AtomicU64>, u64)> {
        let limits = self.limits();
        let now = limits.iter().filter_map(|(task, line, limit)| match &**line {
            Line::Anew(anew) => Some((limit.clone(), anew.recorded.end(&*self.log, task.partition.into()))),
            Line::First(_) => None,
        });
        now.collect()
    }

    /// Rules and lists of a generation.
    pub fn rules_of(&self, generation: u32) -> Result<Shared, JobError> {
        self.rules_by(self.registry.get(generation).map_or(0, |(g, _)| g.rules))
    }

    /// Rules and lists of a fingerprint.
    pub fn rules_by(&self, fingerprint: u64) -> Result<Shared, JobError> {
        let mut known = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(shared) = known.get(&fingerprint) {
            return Ok(shared.clone());
        }
        let shared = RuleSet::load(&self.dir.rules(), fingerprint, &self.like)?.shared()?;
        known.insert(fingerprint, shared.clone());
        Ok(shared)
    }

    fn ends_at(&self, generation: u32, stage: StageId) -> Arc<AtomicU32> {
        let mut ends = self.ends.lock().unwrap_or_else(PoisonError::into_inner);
        let cell = ends.entry((generation, stage)).or_default().clone();
        for unsettled in self.registry.unsettled() {
            if self.predecessors(unsettled).iter().any(|(s, g)| (*g, s.id) == (generation, stage)) {
                let at = self.registry.promoted_at(unsettled).unwrap_or_default();
                cell.store(at.0, Ordering::Release);
            }
        }
        cell
    }

    /// The predecessors of a promoted generation end at its tick.
    pub fn end_predecessors(&self, id: u32) {
        for (stage, generation) in self.predecessors(id) {
            self.ends_at(generation, stage.id);
        }
    }

    /// What the tasks of a stage range show of themselves.
    pub fn statuses_of(&self, stages: &[(&'static Stage, u32)]) -> Vec<Arc<TaskStatus>> {
        let wanted = |s: &Producer| stages.iter().any(|(stage, g)| (stage.id, *g) == (s.stage, s.generation));
        self.statuses().iter().filter(|s| wanted(&s.task)).cloned().collect()
    }

    /// The newest tick that all tasks of a generation have folded.
    pub fn minute_of(&self, id: u32) -> Minute {
        let statuses = self.statuses();
        let own = statuses.iter().filter(|s| s.task.generation == id && !s.task.stage.is_source());
        Minute(own.map(|s| s.last_tick()).min().unwrap_or(0))
    }

    /// The newest tick that all tasks of the published line have folded.
    pub fn published_minute(&self) -> Minute {
        Minute(self.live.tasks().iter().map(|s| s.last_tick()).min().unwrap_or(0))
    }

    /// What the tasks show of themselves.
    pub fn statuses(&self) -> MutexGuard<'_, Vec<Arc<TaskStatus>>> {
        self.statuses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic and the partition that a task reads, and the minimal successful offset in it; none while it reads what
    /// other generations have written.
    pub fn reads_from(&self, status: &TaskStatus) -> Option<(TopicId, u32, u64)> {
        let (task, offset) = (status.task, status.minimal_successful_offset());
        let stage = FLOW.iter().find(|stage| stage.id == task.stage)?;
        let (line, partition) = (self.registry.line(task.generation, stage.reads), u32::from(task.partition));
        Some((line.topic(), partition, line.offset_of(partition, offset)?))
    }

    /// The tasks whose backlog holds collect back.
    pub fn live(&self) -> Arc<Live> {
        self.live.clone()
    }

    /// The published line may have changed.
    pub fn set_live(&self) {
        let published = self.registry.published();
        let stages: Vec<_> = FLOW.iter().map(|s| (s, self.registry.runs(published, s.id))).collect();
        self.live.set(self.statuses_of(&stages));
    }

    /// Lets go of tasks.
    pub fn remove(&self, scheduler: &Scheduler, which: impl Fn(Producer) -> bool) -> Result<(), JobError> {
        for task in scheduler.remove(&which) {
            task.store().flush()?;
        }
        self.limits().retain(|(task, ..)| !which(*task));
        let mut statuses = self.statuses();
        statuses.iter().filter(|s| which(s.task)).for_each(|s| crate::metrics::gave_up(s.task));
        statuses.retain(|s| !which(s.task));
        Ok(())
    }

    /// Writes to disk what the stores of a stage of the published line hold in memory.
    pub fn flush(&self, stage: StageId) -> Result<(), JobError> {
        let generation = self.registry.runs(self.registry.published(), stage);
        let opened = self.opened.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let own = opened.iter().filter(|(task, _)| (task.stage, task.generation) == (stage, generation));
        for store in own.filter_map(|(_, store)| store.upgrade()) {
            store.flush()?;
        }
        Ok(())
    }

    /// Deletes what a generation has.
    pub fn delete(&self, id: u32, from: StageId) -> Result<(), JobError> {
        self.delete_topics(id, from)?;
        self.dir.remove_generation(id)
    }

    /// Deletes the topics of a generation.
    pub fn delete_topics(&self, id: u32, from: StageId) -> Result<(), JobError> {
        Ok(outputs_from(from).into_iter().try_for_each(|topic| self.log.remove(topic.of(id)))?)
    }

    /// Deletes the stores that this worker has of stages that have ended.
    pub fn remove_stores(&self, ended: &[(&'static Stage, u32)]) -> Result<(), JobError> {
        ended.iter().try_for_each(|(stage, generation)| {
            self.dir.remove_stores(*generation, |other| other != stage.id)
        })
    }

    /// Deletes the stores that this worker has of all that runs no more.
    pub fn remove_ended_stores(&self) -> Result<(), JobError> {
        let runs: Vec<_> =
            self.published().into_iter().chain(self.candidates()).map(|(s, g)| (s.id, g)).collect();
        let all = self.registry.all();
        all.into_iter()
            .map(|(g, _)| g.id)
            .try_for_each(|id| self.dir.remove_stores(id, |s| runs.contains(&(s, id))))
    }

    /// Deletes what this worker has of a generation; others may still write to its topics.
    pub fn leave(&self, id: u32, from: StageId) -> Result<(), JobError> {
        outputs_from(from).into_iter().try_for_each(|topic| self.log.leave(topic.of(id)))?;
        self.dir.remove_generation(id)
    }

    /// The places at which the topics that a promoted generation makes anew end in the recorded line.
    pub fn ends(&self, id: u32) -> Result<Ends, JobError> {
        let Some((generation, _)) = self.registry.get(id) else { return Ok(Vec::new()) };
        let end = |topic, p| self.registry.line(generation.recorded, topic).find_end(&*self.log, p);
        let ends = |topic| (0..self.dir.partitions()).map(|p| end(topic, p)).collect::<Result<_, _>>();
        crate::flow::topics_from(generation.from).map(|t| Ok((t, ends(t)?))).collect()
    }
}

/// Applies `apply` to all items on a few threads; the results in order, or the first error.
pub(crate) fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    apply: impl Fn(&T) -> Result<R, JobError> + Sync,
) -> Result<Vec<R>, JobError> {
    std::thread::scope(|scope| {
        let chunks = items.chunks(items.len().div_ceil(OPENERS).max(1));
        let threads: Vec<_> = chunks
            .map(|chunk| scope.spawn(|| chunk.iter().map(&apply).collect::<Result<Vec<R>, _>>()))
            .collect();
        let mut all = Vec::with_capacity(items.len());
        for thread in threads {
            all.extend(thread.join().map_err(|_| JobError::Panicked)??);
        }
        Ok(all)
    })
}
