//! Replay: a generation over a finite segment, in a directory and a process of its own, beside a job that
//! may be running. It starts from the checkpoints of a cut, is compared with what was recorded, and is
//! dropped.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::flow::{FLOW, Shared, Stage, outputs_from};
use crate::generations::{Cut, Cuts, Difference, Generation, Registry, Sides};
use crate::log::{BesideLog, LiveLog, LogOptions};
use crate::rule_set::RuleSet;
use crate::scheduler::{Scheduler, Work};
use crate::source::collect::now_ms;
use crate::status::TaskStatus;
use crate::task::{AtTick, Task, TaskOptions};
use serde::Serialize;
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use weir_operators::Rules;
use weir_proto::{Minute, Producer, StageId};
use weir_state::{Shared as Stores, Store, TaskMeta};

/// Block cache of all stores together, in bytes.
const BLOCK_CACHE: usize = 32 << 20;

/// What to replay.
pub struct Segment {
    /// The minute of the cut to begin from.
    pub from: Minute,
    /// The minute at whose tick it ends; the newest complete cut if not given.
    pub to: Option<Minute>,
    /// The first stage to run anew.
    pub stage: StageId,
    /// Other rules than those of the published generation.
    pub rules: Option<RuleSet>,
    /// Worker threads.
    pub threads: usize,
}

/// Digests of what was recorded and of what came out now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Digests {
    /// As it was recorded.
    pub recorded: String,
    /// As it came out now.
    pub replayed: String,
}

/// How a replay compares with what was recorded.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// `identical` or `different`.
    pub result: &'static str,
    /// The cut that it began from.
    #[serde(serialize_with = "Minute::rfc3339")]
    pub from: Minute,
    /// The tick at which it ended.
    #[serde(serialize_with = "Minute::rfc3339")]
    pub to: Minute,
    /// Input records folded, by all stages together.
    pub records: u64,
    /// Per output topic the digest of everything appended to it, up to the end of the segment.
    pub digests: BTreeMap<String, Digests>,
    /// The charges that come out differently.
    pub difference: Difference,
}

/// A replay that is prepared.
pub struct Replay {
    dir: DataDir,
    registry: Registry,
    generation: u32,
    cut: Arc<Cut>,
    to: Minute,
    end: Cut,
    log: Arc<BesideLog>,
    scheduler: Scheduler,
    statuses: Vec<Arc<TaskStatus>>,
    threads: usize,
    // Behind what works in it: fields are dropped in this order.
    own: OwnDir,
}

impl Replay {
    /// Links the checkpoints of the cut and opens the tasks.
    pub fn prepare(dir: &DataDir, segment: Segment) -> Result<Self, JobError> {
        let registry = Registry::open(dir)?;
        let published = registry.published();
        let cuts = Cuts::of(dir, &registry, published);
        let to = segment.to.or(cuts.newest()?).unwrap_or_default();
        let (cut, end) = (cuts.at(segment.from)?, cuts.at(to)?);
        if end.minute() <= cut.minute() {
            return Err(JobError::Refused(format!(
                "there is nothing between {} and {}: --to must be later than --from",
                cut.minute(),
                end.minute()
            )));
        }
        let like = Rules::default();
        let rules = match segment.rules {
            Some(set) => set,
            None => RuleSet::load(&dir.rules(), registry.get(published).map_or(0, |(g, _)| g.rules), &like)?,
        };
        let generation = Generation {
            id: registry.next_id(),
            base: published,
            recorded: published,
            cut: cut.minute(),
            from: segment.stage,
            rules: rules.fingerprint(),
            paused: false,
            begun_ms: now_ms(),
            reason: "replay".to_owned(),
        };
        let id = generation.id;
        registry.adopt(generation, cut.clone());
        let own = OwnDir::create(dir.root())?;
        let log = BesideLog::with_own(dir.topics(), id, &own.path, dir.partitions(), LogOptions::default());
        let mut replay = Replay {
            dir: dir.clone(),
            registry,
            generation: id,
            cut: Arc::new(cut),
            to: end.minute(),
            end,
            own,
            log: Arc::new(log),
            scheduler: Scheduler::new(Vec::new()),
            statuses: Vec::new(),
            threads: segment.threads,
        };
        let tasks = replay.open_tasks(segment.stage, rules.shared()?)?;
        replay.statuses = tasks.iter().map(|t| t.status()).collect();
        replay.scheduler.add(tasks, false);
        Ok(replay)
    }

    fn open_tasks(&self, from: StageId, shared: Shared) -> Result<Vec<Box<dyn Work>>, JobError> {
        if let Some(own) = self.log.own() {
            outputs_from(from).into_iter().try_for_each(|topic| own.add(topic.of(self.generation)))?;
        }
        let stores = Stores::new(BLOCK_CACHE);
        let mut tasks: Vec<Box<dyn Work>> = Vec::new();
        for stage in FLOW.iter().filter(|s| s.id >= from) {
            for task in self.dir.tasks_of(stage.id) {
                tasks.push(Box::new(self.open_task(
                    stage,
                    task.in_generation(self.generation),
                    &shared,
                    &stores,
                )?));
            }
        }
        Ok(tasks)
    }

    fn open_task(
        &self,
        stage: &Stage,
        task: Producer,
        shared: &Shared,
        stores: &Stores,
    ) -> Result<Task, JobError> {
        let path = self.own.path.join(task.task().to_string());
        if let Some(manifest) = self.cut.of(task.task()) {
            self.dir.checkpoints().restore(manifest, &path)?;
        }
        let options = TaskOptions {
            task,
            partitions: self.dir.partitions(),
            line: self.registry.line(self.generation, stage.reads),
            shared: shared.clone(),
            at_tick: AtTick::Nothing,
            ends_at: Arc::new(AtomicU32::new(self.to.0)),
            limit: Arc::new(AtomicU64::new(u64::MAX)),
        };
        Task::open(stage, options, Arc::new(Store::open(&path, stores)?), self.log.clone())
    }

    /// Minutes of the segment: from, come to, to.
    pub fn minutes(&self) -> (Minute, Minute, Minute) {
        let come_to = self.statuses.iter().map(|s| s.last_tick()).min().unwrap_or(0);
        (self.cut.minute(), Minute(come_to), self.to)
    }

    /// Runs to the end of the segment. `progress` is called now and then.
    pub fn run(&self, mut progress: impl FnMut(&Self)) -> Result<(), JobError> {
        self.scheduler.run(self.threads, || {
            progress(self);
            true
        })?;
        if let Some(late) = self.statuses.iter().find(|s| s.last_tick() < self.to.0) {
            return Err(JobError::Refused(format!(
                "{} came to an end at {}, before {}: the log does not hold the whole segment",
                late.task.task(),
                Minute(late.last_tick()),
                self.to
            )));
        }
        Ok(())
    }

    /// Compares what came out with what was recorded.
    pub fn compare(&self, progress: &mut dyn FnMut(u64)) -> Result<Comparison, JobError> {
        let metas = self.metas()?;
        let mut same = true;
        let mut sums: BTreeMap<String, (u128, u128)> = BTreeMap::new();
        for meta in &metas {
            let recorded = self.end.of(meta.task.task());
            for (topic, output) in &meta.outputs {
                let known = recorded.and_then(|m| m.digests.iter().find(|(t, _)| t == topic));
                let known = known.and_then(|(_, hex)| u128::from_str_radix(hex, 16).ok()).unwrap_or(0);
                let seqs = recorded.and_then(|m| m.next_seqs.iter().find(|(t, _)| t == topic));
                same &= known == output.digest && seqs.is_some_and(|(_, seqs)| *seqs == output.next_seq);
                let sum = sums.entry(format!("{}/{topic}", meta.task.stage)).or_default();
                *sum = (sum.0.wrapping_add(known), sum.1.wrapping_add(output.digest));
            }
        }
        let hex = |(recorded, replayed)| Digests {
            recorded: format!("{recorded:032x}"),
            replayed: format!("{replayed:032x}"),
        };
        Ok(Comparison {
            result: if same { "identical" } else { "different" },
            from: self.cut.minute(),
            to: self.to,
            records: self.statuses.iter().map(|s| s.records()).sum(),
            digests: sums.into_iter().map(|(name, sums)| (name, hex(sums))).collect(),
            difference: if same { Difference::default() } else { self.difference(progress)? },
        })
    }

    fn metas(&self) -> Result<Vec<TaskMeta>, JobError> {
        let mut metas = Vec::new();
        let mut failed = None;
        self.scheduler.for_each(|task| match task.store().meta() {
            Ok(meta) => metas.extend(meta),
            Err(error) => failed = Some(error),
        });
        failed.map_or(Ok(metas), |error| Err(error.into()))
    }

    fn difference(&self, progress: &mut dyn FnMut(u64)) -> Result<Difference, JobError> {
        let sides = Sides::of(&self.registry, self.log.clone(), self.generation, self.to);
        sides.map_or(Ok(Difference::default()), |s| s.compare(self.dir.partitions(), progress))
    }
}

/// A directory for a replay: on the file system of the checkpoints, which it links to. It is gone with the
/// replay; what a killed one left is removed by the next.
struct OwnDir {
    path: PathBuf,
    _lock: File,
}

impl OwnDir {
    fn create(root: &Path) -> Result<Self, JobError> {
        let parent = root.join("replays");
        fs::create_dir_all(&parent).map_err(JobError::io("create", &parent))?;
        for entry in fs::read_dir(&parent).map_err(JobError::io("list", &parent))?.flatten() {
            if lock(&entry.path()).is_some() {
                // Another replay may be faster in removing it.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
        let path = parent.join(format!("{}-{}", std::process::id(), now_ms()));
        fs::create_dir_all(&path).map_err(JobError::io("create", &path))?;
        let held = lock(&path).ok_or_else(|| {
            JobError::Refused(format!("{} is in use: start the replay again", path.display()))
        })?;
        Ok(OwnDir { path, _lock: held })
    }
}

fn lock(dir: &Path) -> Option<File> {
    use rustix::fs::{FlockOperation, flock};
    let file = File::create(dir.join("lock")).ok()?;
    flock(&file, FlockOperation::NonBlockingLockExclusive).ok()?;
    Some(file)
}

impl Drop for OwnDir {
    fn drop(&mut self) {
        // If it stays, the next replay removes it.
        let _ = fs::remove_dir_all(&self.path);
    }
}
