//! How a job shares the partitions with other workers.

use super::Job;
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::generations::Registry;
use crate::group::{Crew, Membership, Takeover};
use crate::log::LiveLog;
use crate::source::begin_at_end;
use crate::source::collect::now_ms;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_proto::{StageId, Topic};
use weir_state::depot::Depot;
use weir_state::{Store, TaskMeta};

/// How often the group is told how far the worker is.
const TELL: Duration = Duration::from_secs(5);

impl Job {
    /// Does what the group decides, until the job stops.
    pub(super) fn attend(&self, membership: &Membership, crew: &Arc<Crew>) -> Result<(), JobError> {
        let result = self.attend_until_stopped(membership, crew);
        crew.stop();
        self.scheduler.stop();
        result
    }

    fn attend_until_stopped(&self, membership: &Membership, crew: &Arc<Crew>) -> Result<(), JobError> {
        let mut place = membership.join(self.dir.partitions(), self.log.clone(), crew.clone())?;
        crate::metrics::holds(0);
        tracing::info!("worker {} waits for its share of the partitions", membership.worker);
        let mut told = Instant::now();
        while !self.scheduler.is_stopped() {
            place.attend()?;
            if told.elapsed() > TELL {
                self.tell(|positions| place.tell(positions));
                told = Instant::now();
            }
        }
        self.tell(|positions| place.tell(positions));
        // While it leaves the group nothing is opened or closed for that any more.
        crew.stop();
        Ok(())
    }

    /// Opens and closes the tasks of partitions, until the job stops.
    pub(super) fn crew(&self, crew: &Crew) -> Result<(), JobError> {
        let result = crew.work(|partitions| self.take(partitions), |partition| self.give_up(partition));
        self.scheduler.stop();
        result
    }

    fn take(&self, partitions: &[u32]) -> Result<(), JobError> {
        // What is decided meanwhile would not reach tasks that are being opened.
        let _turn = self.promotion.turn();
        let begun = Instant::now();
        let follow =
            |follows| partitions.iter().try_for_each(|partition| self.log.follow(*partition, follows));
        let opened = follow(true).map_err(JobError::from).and_then(|()| self.fleet.take(partitions));
        if opened.is_err() {
            // It may be tried again.
            follow(false)?;
        }
        let tasks = opened?;
        let behind: u64 = tasks.iter().map(|task| task.status().lag()).sum();
        self.scheduler.add(tasks, false);
        self.fleet.set_live();
        self.promotion.open_lacking()?;
        let took = begun.elapsed();
        crate::metrics::took_over(partitions.len(), self.fleet.count_held(), took);
        tracing::warn!(
            "partitions {partitions:?} are taken over after {:.1} s, {behind} records behind",
            took.as_secs_f64()
        );
        let (at_ms, partitions) = (now_ms(), partitions.to_vec());
        self.takeovers.add(Takeover { at_ms, partitions, behind, took });
        self.scheduler.wake();
        Ok(())
    }

    fn give_up(&self, partition: u32) -> Result<(), JobError> {
        let _turn = self.promotion.turn();
        self.fleet.give_up(&self.scheduler, partition)?;
        self.log.follow(partition, false)?;
        crate::metrics::holds(self.fleet.count_held());
        tracing::info!("partition {partition} is given up");
        Ok(())
    }
}

/// A worker that joins a group which has billed for long need not look through all of that for what it has made itself. One
/// whose directory was lost must.
pub(super) fn begin_new_worker(
    depot: &Depot,
    dir: &DataDir,
    registry: &Registry,
    log: &dyn LiveLog,
    sources: &[(&Store, StageId, &'static [Topic])],
) -> Result<(), JobError> {
    for (store, ..) in sources {
        if store.meta()?.is_some() {
            return Ok(());
        }
    }
    let readers = registry.runs(registry.published(), StageId::AntiBrush);
    match depot.is_new_worker(dir.worker().unwrap_or_default(), readers) {
        Ok(true) => sources.iter().try_for_each(|(store, stage, writes)| {
            let task = dir.source(*stage).in_generation(1);
            begin_at_end(store, log, TaskMeta::new(task, writes, dir.partitions() as usize, 0))
        }),
        Ok(false) => Ok(()),
        Err(error) if error.is_away() => {
            tracing::warn!("{error}. What this worker may have made before is looked for in all topics");
            Ok(())
        }
        Err(error) => Err(error.into()),
    }
}
