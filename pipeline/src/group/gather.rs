//! The state of a whole group as of a minute, gathered from object storage, where every worker brings its checkpoints:
//! what it is asked for is then read as in the data directory of a job of one process.
//!
//! ```text
//! group/checkpoints/               of all workers, as in any data directory
//! group/<minute>-<generation>/     a data directory whose checkpoints are those, of the published generation; there once it
//!                                  is whole
//! ```
//!
//! What was gathered is kept for an hour, so that whoever reads it comes to an end, and what is the same then is not
//! fetched again.

use super::Afar;
use super::afar::Taken;
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::fleet::in_parallel;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};
use weir_proto::{Minute, Producer};
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
    afar: Arc<Afar>,
    one_at_a_time: Mutex<()>,
}

impl Gatherer {
    /// Of the group that a worker is in.
    pub fn new(afar: Arc<Afar>) -> Self {
        Gatherer { afar, one_at_a_time: Mutex::default() }
    }

    fn dir(&self) -> &DataDir {
        self.afar.dir()
    }

    /// Gathers what there is of the newest minute, and the checkpoints of other minutes, each its own or those of the next
    /// tick if it was missed.
    pub fn gather(&self, others: &[Minute]) -> Result<Whole, JobError> {
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let published = self.afar.registry().published();
            let whole = self.gather_line(published, others)?;
            if self.afar.registry().published() == published {
                return Ok(whole);
            }
            // What was copied may speak of another one, whose stores are not there.
            remove_all(&whole.path)?;
        }
    }

    fn gather_line(&self, published: u32, others: &[Minute]) -> Result<Whole, JobError> {
        let afar = &self.afar;
        let sources = afar.sources()?;
        let complete = self.complete(published, &sources)?;
        let newest = *complete.last().ok_or_else(|| JobError::Refused(NOTHING_YET.to_owned()))?;
        let tasks_at = |minute: Minute| afar.tasks_at(published, minute, &sources);
        let checkpoints = CheckpointDir::new(self.dir().group().join("checkpoints"));
        let path = self.dir().group().join(format!("{}-{published}", newest.0));
        let whole = Whole { path, minute: newest, complete };
        let others = others.iter().filter_map(|other| whole.complete.range(*other..).next().copied());
        let minutes: BTreeSet<Minute> = others.chain([newest]).collect();
        let wanted: Vec<_> = minutes.into_iter().flat_map(tasks_at).collect();
        in_parallel(&wanted, |(task, minute)| Ok(afar.depot().fetch(*task, *minute, &checkpoints)?))?;
        match whole.path.exists() {
            // More may have been decided since.
            true => self.dir().tell_whole(&DataDir::open(&whole.path)?)?,
            false => self.make(&whole, &tasks_at(newest), &checkpoints)?,
        }
        let wanted: BTreeSet<_> = wanted.iter().map(|(task, minute)| (task.generation, *minute)).collect();
        let wanted = wanted.into_iter().map(|(generation, minute)| self.checkpoints_of(generation, minute));
        let wanted = wanted.chain([whole.path.clone()]);
        wanted.into_iter().try_for_each(|path| is_wanted(&path))?;
        Ok(whole)
    }

    /// The minutes that can be gathered.
    pub fn minutes(&self) -> Result<BTreeSet<Minute>, JobError> {
        self.complete(self.afar.registry().published(), &self.afar.sources()?)
    }

    fn complete(&self, line: u32, sources: &[Taken]) -> Result<BTreeSet<Minute>, JobError> {
        let mut complete = self.afar.complete(line)?;
        complete.retain(|minute| sources.iter().all(|(_, taken)| has_come_to(taken, *minute)));
        Ok(complete)
    }

    fn make(
        &self,
        whole: &Whole,
        tasks: &[(Producer, Minute)],
        checkpoints: &CheckpointDir,
    ) -> Result<(), JobError> {
        let sources = tasks.iter().filter(|(task, _)| task.stage.is_source());
        let workers = sources.map(|(task, _)| task.partition).collect();
        let unfinished = self.dir().begin_whole("unfinished", workers)?;
        in_parallel(tasks, |(task, minute)| {
            let manifest = checkpoints.manifest(*task, *minute)?;
            let gone = || {
                JobError::Refused(format!("the checkpoint of {task} at {minute} has just gone: ask again"))
            };
            Ok(checkpoints.restore(&manifest.ok_or_else(gone)?, &unfinished.store(*task))?)
        })?;
        fs::rename(unfinished.root(), &whole.path).map_err(JobError::io("rename", unfinished.root()))
    }

    fn checkpoints_of(&self, generation: u32, minute: Minute) -> PathBuf {
        self.dir().group().join(format!("checkpoints/{generation}/{}", minute.0))
    }

    /// Lets go of what nobody has wanted for long, unless something is being gathered.
    pub fn forget(&self) -> Result<(), JobError> {
        let Ok(_alone) = self.one_at_a_time.try_lock() else { return Ok(()) };
        let group = self.dir().group();
        let generations = self.afar.registry().all().into_iter();
        let folders = generations.map(|(g, _)| group.join(format!("checkpoints/{}", g.id)));
        for folder in folders.chain([group.clone()]) {
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

fn is_minute(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('-').next());
    name.is_some_and(|minute| minute.parse::<u32>().is_ok())
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
    use crate::flow::FLOW;
    use crate::generations::Registry;
    use weir_proto::StageId;
    use weir_state::depot::Depot;
    use weir_state::{Commit, Durability, Shared, Store, TaskMeta};

    const PARTITIONS: u32 = 2;

    /// A worker's directory, and the checkpoints of two workers in object storage.
    struct Group {
        folder: tempfile::TempDir,
        depot: Arc<Depot>,
        gatherer: Gatherer,
        folding: Vec<Producer>,
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
            let folding = FLOW.iter().flat_map(|stage| dir.tasks_of(stage.id)).map(|t| t.in_generation(1));
            let folding = folding.collect();
            let registry = Arc::new(Registry::open(&dir).unwrap());
            let gatherer = Gatherer::new(Arc::new(Afar::new(dir, registry, depot.clone())));
            Group { folder, depot, gatherer, folding, _lock: lock }
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
            self.folding.iter().for_each(|task| self.put(*task, minute));
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
        group.put(group.folding[0], 103);
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
        for task in group.folding.iter().copied().chain([collect(0), collect(1)]) {
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
