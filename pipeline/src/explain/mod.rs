//! The life of one event, told from the files of a data directory: its log line, what each stage decided
//! about it and by which rule, the money, and what other generations made of it.
//!
//! Only the first record, in `raw`, is searched for; from there on routing and provenance lead from each
//! record to the one that was made of it.

mod find;
mod follow;
mod hit;
mod model;
mod origin;
mod rules;
mod tell;

pub use find::Wanted;
pub(crate) use find::{Stretch, cut_before, scan};
pub use model::{Copy, Decision, Life, Line, Searched, Step, Story, Waits};
pub(crate) use rules::refuse_rule;

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::generations::Registry;
use crate::log::{BesideLog, Log};
use crate::tap::Personal;
use std::sync::Arc;
use weir_proto::Producer;
use weir_state::{Shared, Store, TaskMeta};

/// Reads a data directory to explain events.
pub struct Explainer {
    dir: DataDir,
    registry: Registry,
    log: Arc<dyn Log>,
    stores: Shared,
    personal: Personal,
}

impl Explainer {
    /// Of a data directory whose job may be running.
    pub fn open(dir: &DataDir, personal: Personal) -> Result<Self, JobError> {
        Ok(Explainer {
            registry: Registry::open(dir)?,
            log: Arc::new(BesideLog::open(dir.topics())),
            stores: Shared::new(8 << 20),
            dir: dir.clone(),
            personal,
        })
    }

    /// Where a task stands by its store, if it has one.
    fn meta(&self, task: Producer) -> Result<Option<TaskMeta>, JobError> {
        let path = self.dir.store(task);
        if !path.exists() {
            return Ok(None);
        }
        Ok(Store::open_read_only(&path, &self.stores)?.meta()?)
    }
}
