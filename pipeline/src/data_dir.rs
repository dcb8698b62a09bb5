//! The data directory of a job.
//!
//! ```text
//! weir.json                 {"format": 1, "partitions": n}
//! lock                      held by the process that runs the job
//! mask.key                  see `mask`
//! log/<topic>/              see `log`
//! state/<generation>/<stage>-<partition>/     a RocksDB each
//! checkpoints/<generation>/<minute>/<stage>-<partition>/
//! ```

use crate::error::JobError;
use crate::flow::FLOW;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use weir_proto::{Producer, StageId};
use weir_state::CheckpointDir;

const FORMAT: u32 = 1;
const GENERATION: u32 = 1;

#[derive(Serialize, Deserialize, PartialEq, Eq)]
struct Settings {
    format: u32,
    partitions: u32,
}

/// A data directory that this process may read; see [`DataDir::lock`] for writing.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    partitions: u32,
}

/// Held while a job runs in a data directory.
#[derive(Debug)]
pub struct DataDirLock(#[allow(dead_code)] File);

impl DataDir {
    /// Opens the directory of an existing job.
    pub fn open(root: &Path) -> Result<Self, JobError> {
        let path = root.join("weir.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let problem =
                    "is not a data directory of weir: it has no weir.json. Name one with --data-dir";
                return Err(other(root, problem.to_owned()));
            }
            Err(e) => return Err(JobError::io("read", &path)(e)),
        };
        let settings: Settings = serde_json::from_slice(&text)
            .map_err(|e| other(root, format!("has a damaged weir.json: {e}. Restore it from a backup")))?;
        if settings.format != FORMAT {
            let problem = format!("has format {}, this version of weir reads {FORMAT}", settings.format);
            return Err(other(root, problem));
        }
        Ok(DataDir { root: root.to_owned(), partitions: settings.partitions })
    }

    /// Opens or creates the directory for running a job in it.
    pub fn lock(root: &Path, partitions: u32) -> Result<(Self, DataDirLock), JobError> {
        fs::create_dir_all(root).map_err(JobError::io("create", root))?;
        let path = root.join("lock");
        let file = File::create(&path).map_err(JobError::io("create", &path))?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| JobError::InUse(root.to_owned()))?;
        let settings = root.join("weir.json");
        if !settings.exists() {
            create_settings(root, &settings, partitions)?;
        }
        let dir = Self::open(root)?;
        if dir.partitions != partitions {
            let problem = format!(
                "was made with {} partitions and cannot go on with {partitions}: which partition an event \
                 goes to would change. Run it with --partitions {}, or start a new data directory",
                dir.partitions, dir.partitions
            );
            return Err(other(root, problem));
        }
        crate::mask::ensure(root)?;
        Ok((dir, DataDirLock(file)))
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The topics.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// The store of a task.
    pub fn store(&self, task: Producer) -> PathBuf {
        let name = format!("{}-{}", task.stage, task.partition);
        self.root.join("state").join(task.generation.to_string()).join(name)
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> CheckpointDir {
        CheckpointDir::new(self.root.join("checkpoints"))
    }

    /// The tasks of a stage.
    pub fn tasks_of(&self, stage: StageId) -> Vec<Producer> {
        let from_outside = matches!(stage, StageId::Collect | StageId::Accounts);
        let count = if from_outside { 1 } else { self.partitions };
        (0..count).map(|p| Producer { stage, partition: p as u16, generation: GENERATION }).collect()
    }

    /// The tasks whose checkpoints make a cut.
    pub fn cut_tasks(&self) -> Vec<Producer> {
        let stages = [StageId::Collect].into_iter().chain(FLOW.iter().map(|s| s.id));
        stages.flat_map(|s| self.tasks_of(s)).collect()
    }
}

fn create_settings(root: &Path, path: &Path, partitions: u32) -> Result<(), JobError> {
    let temporary = path.with_extension("new");
    let text = serde_json::to_vec(&Settings { format: FORMAT, partitions }).unwrap_or_default();
    fs::write(&temporary, text).map_err(JobError::io("write", &temporary))?;
    File::open(&temporary).and_then(|f| f.sync_all()).map_err(JobError::io("sync", &temporary))?;
    fs::rename(&temporary, path).map_err(JobError::io("rename", &temporary))?;
    File::open(root).and_then(|f| f.sync_all()).map_err(JobError::io("sync", root))
}

fn other(dir: &Path, problem: String) -> JobError {
    JobError::OtherSettings { dir: dir.to_owned(), problem }
}
