//! The state of a whole group as of a minute, gathered from object storage, where every worker brings its checkpoints:
//! what it is asked for is then read as in the data directory of a job of one process.
//!
//! ```text
//! group/checkpoints/     of all workers, as in any data directory
//! group/<minute>/        a data directory whose checkpoints are those; there once it is whole
//! ```
//!
//! What was gathered is kept for an hour, so that whoever reads it comes to an end, and what is the same then is not
//! fetched again.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::fleet::in_parallel;
use crate::flow::FLOW;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use weir_proto::{Minute, Producer, StageId};
use weir_state::depot::Depot;
use weir_state::{CheckpointDir, remove_all};

/// A worker whose newest checkpoint of what it takes in is so many minutes older than those of the others is away.
const AWAY: u32 = 2;
/// How long something gathered is kept.
const KEPT: Duration = Duration::from_secs(60 * 60);

const NOTHING_YET: &str = "there is no minute yet of which the checkpoints of all partitions are in object storage: ask again \
                           when one has passed";

/// Where the state of a whole group is, and as of when.
#[derive(Clone, Debug)]
pub struct Whole {
    /// A data directory.
    pub path: PathBuf,
    /// The newest minute of which all partitions are in object storage.
    pub minute: Minute,
    /// All such minutes.
    pub complete: BTreeSet<Minute>,
}

/// Gathers the state of a group into the data directory of one of its workers.
pub struct Gatherer {
    dir: DataDir,
    depot: Arc<Depot>,
    one_at_a_time: Mutex<()>,
}

impl Gatherer {
    /// Of the group that a worker is in.
    pub fn new(dir: DataDir, depot: Arc<Depot>) -> Self {
        Gatherer { dir, depot, one_at_a_time: Mutex::default() }
    }

    /// Groups have one generation, the first.
    fn folding(&self) -> Vec<Producer> {
        let tasks = FLOW.iter().flat_map(|stage| self.dir.tasks_of(stage.id));
        tasks.map(|task| task.in_generation(1)).collect()
    }

    /// Gathers what there is of the newest minute, and the checkpoints of other minutes, each its own or those of the next
    /// tick if it was missed.
    pub fn gather(&self, others: &[Minute]) -> Result<Whole, JobError> {
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let folding = self.folding();
        let (mut complete, sources) = (self.complete(&folding)?, self.sources()?);
        complete.retain(|minute| sources.iter().all(|(_, taken)| has_come_to(taken, *minute)));
        let newest = *complete.last().ok_or_else(|| JobError::Refused(NOTHING_YET.to_owned()))?;
        let tasks_at = |minute: Minute| tasks_at(minute, &folding, &sources);
        let checkpoints = CheckpointDir::new(self.dir.group().join("checkpoints"));
        let path = self.dir.group().join(newest.0.to_string());
        let whole = Whole { path, minute: newest, complete };
        let others = others.iter().filter_map(|other| whole.complete.range(*other..).next().copied());
        let minutes: BTreeSet<Minute> = others.chain([newest]).collect();
        let wanted: Vec<_> = minutes.into_iter().flat_map(tasks_at).collect();
        in_parallel(&wanted, |(task, minute)| Ok(self.depot.fetch(*task, *minute, &checkpoints)?))?;
        if !whole.path.exists() {
            self.make(&whole, &tasks_at(newest), &checkpoints)?;
        }
        let minutes: BTreeSet<Minute> = wanted.iter().map(|(_, minute)| *minute).collect();
        let wanted = minutes.iter().map(|minute| self.checkpoints_of(*minute)).chain([whole.path.clone()]);
        wanted.into_iter().try_for_each(|path| is_wanted(&path))?;
        Ok(whole)
    }

    /// The minutes of which all these tasks have a checkpoint.
    fn complete(&self, tasks: &[Producer]) -> Result<BTreeSet<Minute>, JobError> {
        let minutes = in_parallel(tasks, |task| Ok(BTreeSet::from_iter(self.depot.minutes(*task)?)))?;
        let common = minutes.into_iter().reduce(|all, own| all.intersection(&own).copied().collect());
        Ok(common.unwrap_or_default())
    }

    /// The tasks that take in events from outside, of all workers that ever did, with their minutes.
    fn sources(&self) -> Result<Vec<(Producer, Vec<Minute>)>, JobError> {
        let tasks = self.depot.tasks(1)?.into_iter().filter(|task| task.stage == StageId::Collect);
        tasks.map(|task| Ok((task, self.depot.minutes(task)?))).collect()
    }

    fn make(
        &self,
        whole: &Whole,
        tasks: &[(Producer, Minute)],
        checkpoints: &CheckpointDir,
    ) -> Result<(), JobError> {
        let sources = tasks.iter().filter(|(task, _)| task.stage.is_source());
        let workers = sources.map(|(task, _)| task.partition).collect();
        let unfinished = self.dir.begin_whole("unfinished", workers)?;
        in_parallel(tasks, |(task, minute)| {
            let manifest = checkpoints.manifest(*task, *minute)?;
            let gone = || {
                JobError::Refused(format!("the checkpoint of {task} at {minute} has just gone: ask again"))
            };
            Ok(checkpoints.restore(&manifest.ok_or_else(gone)?, &unfinished.store(*task))?)
        })?;
        fs::rename(unfinished.root(), &whole.path).map_err(JobError::io("rename", unfinished.root()))
    }

    fn checkpoints_of(&self, minute: Minute) -> PathBuf {
        self.dir.group().join("checkpoints/1").join(minute.0.to_string())
    }

    /// Lets go of what nobody has wanted for long, unless something is being gathered.
    pub fn forget(&self) -> Result<(), JobError> {
        let Ok(_alone) = self.one_at_a_time.try_lock() else { return Ok(()) };
        for folder in [self.dir.group(), self.dir.group().join("checkpoints/1")] {
            let entries = match fs::read_dir(&folder) {
                Err(e) if e.kind() == std::io::ErrorKind::NotFound => continue,
                entries => entries.map_err(JobError::io("list", &folder))?,
            };
            for entry in entries {
                let path = entry.map_err(JobError::io("list", &folder))?.path();
                if is_minute(&path) && age(&path) > KEPT {
                    remove_all(&path)?;
                }
            }
        }
        Ok(())
    }
}

/// Whether the checkpoints of what a worker takes in are there up to a minute, or none are to be waited for.
fn has_come_to(taken: &[Minute], minute: Minute) -> bool {
    taken.last().is_none_or(|newest| *newest >= minute || *newest < minute.minus(AWAY))
}

/// The checkpoints that stand for a minute. Of what workers take in from outside it is the newest up to then: one that is
/// away has none of that minute.
fn tasks_at(
    minute: Minute,
    folding: &[Producer],
    sources: &[(Producer, Vec<Minute>)],
) -> Vec<(Producer, Minute)> {
    let taken = |minutes: &[Minute]| minutes.iter().rev().find(|taken| **taken <= minute).copied();
    let sources = sources.iter().filter_map(|(task, minutes)| Some((*task, taken(minutes)?)));
    folding.iter().map(|task| (*task, minute)).chain(sources).collect()
}

fn is_minute(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.parse::<u32>().is_ok())
}

/// From now on it is kept for its time.
fn is_wanted(path: &Path) -> Result<(), JobError> {
    let touch = || fs::File::open(path)?.set_modified(SystemTime::now());
    touch().map_err(JobError::io("touch", path))
}

fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_state::{Commit, Durability, Shared, Store, TaskMeta};

    const PARTITIONS: u32 = 2;

    /// A worker's directory, and the checkpoints of two workers in object storage.
    struct Group {
        folder: tempfile::TempDir,
        depot: Arc<Depot>,
        gatherer: Gatherer,
        _lock: crate::data_dir::DataDirLock,
    }

    impl Group {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let (dir, lock) =
                DataDir::lock(&folder.path().join("worker-1"), PARTITIONS, None, Some(1)).unwrap();
            fs::write(dir.control_log(), "").unwrap();
            fs::create_dir(dir.rules()).unwrap();
            let depot = Arc::new(Depot::open("memory:///", &Default::default()).unwrap());
            let gatherer = Gatherer::new(dir, depot.clone());
            Group { folder, depot, gatherer, _lock: lock }
        }

        /// Brings the checkpoint of a task at a minute there.
        fn put(&self, task: Producer, minute: u32) {
            let path = self.folder.path().join(format!("stores/{task}-{minute}"));
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let store = Store::open(&path, &Shared::new(1 << 20)).unwrap();
            let mut meta = TaskMeta::new(task, &[], PARTITIONS as usize, 7);
            meta.ticked(Minute(minute));
            meta.position = u64::from(minute);
            let mut commit = Commit::new(1);
            commit.put_meta(&meta);
            store.commit(commit, Durability::Process).unwrap();
            let taken = CheckpointDir::new(self.folder.path().join("taken"));
            taken.take(&store, &meta).unwrap();
            self.depot.put(&taken, task, Minute(minute)).unwrap();
        }

        fn put_all_folding(&self, minute: u32) {
            self.gatherer.folding().into_iter().for_each(|task| self.put(task, minute));
        }
    }

    fn collect(worker: u16) -> Producer {
        Producer { stage: StageId::Collect, partition: worker, generation: 1 }
    }

    #[test]
    fn the_newest_minute_that_all_have_is_gathered() {
        let group = Group::new();
        let nothing = group.gatherer.gather(&[]).unwrap_err().to_string();
        assert_eq!(nothing, NOTHING_YET);
        [100, 101, 102].into_iter().for_each(|minute| group.put_all_folding(minute));
        group.put(group.gatherer.folding()[0], 103);
        [(0, 100), (0, 101), (0, 102), (1, 101)].into_iter().for_each(|(w, m)| group.put(collect(w), m));
        // The checkpoint of what worker 1 takes in is on its way still.
        let whole = group.gatherer.gather(&[Minute(99)]).unwrap();
        let complete = BTreeSet::from([Minute(100), Minute(101)]);
        assert_eq!((whole.minute, &whole.complete), (Minute(101), &complete));
        let dir = DataDir::open(&whole.path).unwrap();
        assert_eq!((dir.worker(), dir.is_whole()), (None, true));
        assert_eq!(dir.tasks_of(StageId::Collect), [collect(0).task(), collect(1).task()]);
        let meta = |task: Producer| {
            Store::open_read_only(&dir.store(task), &Shared::new(1 << 20)).unwrap().meta().unwrap().unwrap()
        };
        for task in group.gatherer.folding().into_iter().chain([collect(0), collect(1)]) {
            assert_eq!(meta(task).position, 101, "{task}");
        }
        // The minute that was asked for beside it, the one behind 99.
        let checkpoints = dir.checkpoints();
        assert_eq!(checkpoints.minutes(1).unwrap(), [Minute(100), Minute(101)]);
        assert_eq!(group.gatherer.gather(&[]).unwrap().path, whole.path);
    }

    #[test]
    fn a_worker_that_is_away_is_not_waited_for() {
        let group = Group::new();
        [100, 104].into_iter().for_each(|minute| group.put_all_folding(minute));
        [(0, 100), (0, 104), (1, 100)].into_iter().for_each(|(w, m)| group.put(collect(w), m));
        let whole = group.gatherer.gather(&[]).unwrap();
        assert_eq!(whole.minute, Minute(104));
        let dir = DataDir::open(&whole.path).unwrap();
        let registry = crate::generations::Registry::open(&dir).unwrap();
        let cut = crate::generations::Cuts::of(&dir, &registry, 1).at(Minute(104)).unwrap();
        let stands_at = |worker| cut.of(collect(worker).task()).unwrap().minute;
        assert_eq!((cut.minute(), stands_at(0), stands_at(1)), (Minute(104), Minute(104), Minute(100)));
    }
}
