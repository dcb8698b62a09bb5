//! What a job lets go of: checkpoints beyond their retention, and log segments below the oldest cut
//! that is kept. A finite run keeps its whole log.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::flow::FLOW;
use crate::log::Log;
use weir_proto::{Minute, Topic};
use weir_state::{Manifest, Retention};

/// Keeps a data directory within its retention.
pub struct Keeper {
    dir: DataDir,
    retention: Retention,
    whole_log: bool,
}

impl Keeper {
    /// Of a data directory.
    pub fn new(dir: DataDir, retention: Retention, whole_log: bool) -> Self {
        Keeper { dir, retention, whole_log }
    }

    /// Lets go of what need not be kept any more.
    pub fn keep(&self, log: &dyn Log) -> Result<(), JobError> {
        let (tasks, checkpoints) = (self.dir.cut_tasks(), self.dir.checkpoints());
        checkpoints.prune(&tasks, self.retention)?;
        if self.whole_log {
            return Ok(());
        }
        let minutes = checkpoints.minutes(tasks[0].generation)?;
        let oldest = minutes.into_iter().find(|m| checkpoints.is_complete(&tasks, *m));
        oldest.map_or(Ok(()), |minute| self.trim(minute, log))
    }

    fn trim(&self, oldest: Minute, log: &dyn Log) -> Result<(), JobError> {
        let mut cut = Vec::new();
        for task in self.dir.cut_tasks() {
            cut.extend(self.dir.checkpoints().manifest(task, oldest)?);
        }
        for topic in Topic::ALL {
            let below: Vec<u64> =
                (0..self.dir.partitions()).map(|p| lowest_needed(&cut, topic, p as usize)).collect();
            log.trim(topic, &below)?;
        }
        Ok(())
    }
}

/// The offset from which on a partition is needed by a cut: its reader's position, or, for a topic
/// that no stage reads, the lowest end that a producer knew.
fn lowest_needed(cut: &[Manifest], topic: Topic, partition: usize) -> u64 {
    let reader = FLOW.iter().find(|s| s.reads == topic).map(|s| s.id);
    let positions = cut.iter().filter_map(|m| match reader {
        Some(stage) => {
            (m.task.stage == stage && usize::from(m.task.partition) == partition).then_some(m.position)
        }
        None => m.ends.iter().find(|(t, _)| *t == topic).map(|(_, ends)| ends[partition]),
    });
    positions.min().unwrap_or(0)
}
