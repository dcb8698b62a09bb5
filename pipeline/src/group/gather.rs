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

    /// Gathers what there is of the newest minute, and the checkpoints of other minutes, each its own or those of the next
    /// tick if it was missed. Groups have one generation, the first.
    pub fn gather(&self, others: &[Minute]) -> Result<Whole, JobError> {
        let _alone = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
        let folding =
            FLOW.iter().flat_map(|stage| self.dir.tasks_of(stage.id)).map(|task| task.in_generation(1));
        let folding: Vec<Producer> = folding.collect();
        let (mut complete, sources) = (self.complete(&folding)?, self.sources()?);
        complete.retain(|minute| sources.iter().all(|(_, taken)| has_come_to(taken, *minute)));
        let newest = *complete.last().ok_or_else(|| JobError::Refused(NOTHING_YET.to_owned()))?;
        let tasks_at = |minute: Minute| tasks_at(minute, &folding, &sources);
        let checkpoints = CheckpointDir::new(self.dir.group().join("checkpoints"));
        let path = self.dir.group().join(newest.0.to_string());
        let whole = Whole { path, minute: newest, complete };
        if !whole.path.exists() {
            self.forget(&checkpoints)?;
        }
        let others = others.iter().filter_map(|other| whole.complete.range(*other..).next().copied());
        let wanted: Vec<_> = others.chain([newest]).flat_map(tasks_at).collect();
        in_parallel(&wanted, |(task, minute)| Ok(self.depot.fetch(*task, *minute, &checkpoints)?))?;
        if !whole.path.exists() {
            self.make(&whole, &tasks_at(newest), &checkpoints)?;
        }
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
            Ok(manifest.map_or(Ok(()), |m| checkpoints.restore(&m, &unfinished.store(*task)))?)
        })?;
        fs::rename(unfinished.root(), &whole.path).map_err(JobError::io("rename", unfinished.root()))
    }

    /// Lets go of what nobody reads any more.
    fn forget(&self, checkpoints: &CheckpointDir) -> Result<(), JobError> {
        let group = self.dir.group();
        fs::create_dir_all(&group).map_err(JobError::io("create", &group))?;
        let mut kept = Vec::new();
        for entry in fs::read_dir(&group).map_err(JobError::io("list", &group))? {
            let path = entry.map_err(JobError::io("list", &group))?.path();
            let Some(minute) = minute_of(&path) else { continue };
            match age(&path) > KEPT {
                true => remove_all(&path)?,
                false => kept.push(minute),
            }
        }
        let minutes = checkpoints.minutes(1)?;
        // The newest one is what the next fetch can link to.
        let oldest = kept.into_iter().chain(minutes.last().copied()).min();
        for minute in minutes.into_iter().filter(|minute| Some(*minute) < oldest) {
            checkpoints.remove(1, minute)?;
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

fn minute_of(path: &Path) -> Option<Minute> {
    path.file_name()?.to_str()?.parse().ok().map(Minute)
}

fn age(path: &Path) -> Duration {
    let modified = fs::metadata(path).and_then(|meta| meta.modified());
    modified.ok().and_then(|at| SystemTime::now().duration_since(at).ok()).unwrap_or_default()
}
