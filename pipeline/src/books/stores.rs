//! The stores of the published generation, read beside a job that may be running. A running job's stores
//! are seen as of their last flush: the one it was asked for, or that of the minute's tick.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::generations::Registry;
use weir_proto::{StageId, TaskId};
use weir_state::{Shared, Store, TaskMeta};

/// Opens the stores of one data directory.
pub struct Stores {
    dir: DataDir,
    registry: Registry,
    shared: Shared,
}

impl Stores {
    /// Looks at which generation is published.
    pub fn open(dir: &DataDir) -> Result<Self, JobError> {
        Ok(Stores { dir: dir.clone(), registry: Registry::open(dir)?, shared: Shared::new(8 << 20) })
    }

    /// The data directory.
    pub fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// The generations.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The store of a task and where it stands; none if it has never committed.
    pub fn of(&self, task: TaskId) -> Result<Option<(Store, TaskMeta)>, JobError> {
        let published = self.registry.published();
        let generation = if task.stage.folds() { self.registry.runs(published, task.stage) } else { 1 };
        let path = self.dir.store(task.in_generation(generation));
        if !path.exists() {
            return Ok(None);
        }
        let store = Store::open_read_only(&path, &self.shared)?;
        let meta = store.meta()?;
        Ok(meta.map(|meta| (store, meta)))
    }

    /// All of a stage.
    pub fn all(&self, stage: StageId) -> impl Iterator<Item = Result<(Store, TaskMeta), JobError>> {
        self.dir.tasks_of(stage).into_iter().filter_map(|task| self.of(task).transpose())
    }
}
