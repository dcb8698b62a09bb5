//! The takeovers task: what a worker of a group has taken over into `notices`, for whoever watches that topic.
//!
//! Its position is the count of partitions that it has told of. As with commands, a record is counted in the store once it
//! is durable; what a crash has left between the two is counted when the task is opened, so that none of its places is taken
//! twice. What was not appended when the process ended is told by no notice of this worker: whoever takes the partition
//! over next, be it the same worker, tells of that. The warning in its log was written before.
//!
//! A worker tells of all its partitions in one partition of the topic: there is one to look through when it starts.

use super::standing::{Standing, standing};
use crate::error::JobError;
use crate::flow::TAKEOVERS_WRITES;
use crate::generations::Registry;
use crate::group::Takeovers;
use crate::log::Log;
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{FollowUp, Need, Work};
use crate::status::TaskStatus;
use std::sync::Arc;
use weir_operators::Outbox;
use weir_proto::{Producer, StageId, Takeover};
use weir_state::{Commit, Durability, Store, TaskMeta};

/// The task.
pub struct TakeoversTask {
    log: Arc<dyn Log>,
    store: Store,
    outbox: Outbox,
    outputs: Outputs,
    meta: TaskMeta,
    uncommitted: Option<Tickets>,
    takeovers: Arc<Takeovers>,
    registry: Arc<Registry>,
    status: Arc<TaskStatus>,
}

impl TakeoversTask {
    /// Opens the task of a worker where it stopped.
    pub fn open(
        worker: u16,
        partitions: u32,
        store: Store,
        log: Arc<dyn Log>,
        takeovers: Arc<Takeovers>,
        registry: Arc<Registry>,
    ) -> Result<Self, JobError> {
        let generation = published(&registry);
        let task = Producer { stage: StageId::Takeovers, partition: worker, generation };
        let new = || TaskMeta::new(task, TAKEOVERS_WRITES, partitions as usize, 0);
        let mut meta = store.meta()?.unwrap_or_else(new);
        if meta.task.generation != generation {
            meta.enter(generation, 0);
        }
        let own = own_partition(worker, partitions);
        begin_at_ends(&*log, &mut meta, |partition| partition != own)?;
        let mut this = TakeoversTask {
            outbox: Outbox::resume(&meta),
            outputs: Outputs::resume(log.clone(), &meta)?,
            status: Arc::new(TaskStatus::new(None, &meta)),
            uncommitted: None,
            takeovers,
            registry,
            log,
            store,
            meta,
        };
        this.count_what_stands()?;
        Ok(this)
    }

    fn count_what_stands(&mut self) -> Result<(), JobError> {
        let standing = standing(&self.log, &mut self.meta)?;
        if standing.is_empty() {
            return Ok(());
        }
        for Standing { position, partition, record } in &standing {
            self.push(*position, *partition, record);
        }
        // Nothing is appended: all of it stands there.
        self.outputs.append(self.outbox.take(), &mut self.meta)?;
        self.commit()
    }

    fn push(&mut self, position: u64, partition: u32, record: &[u8]) {
        self.outbox.at(position);
        self.outbox.taken();
        self.outbox.emit(partition, &[record]);
        self.meta.position = position + 1;
    }

    /// Notices are those of the published generation.
    fn follow(&mut self) -> Result<(), JobError> {
        let generation = published(&self.registry);
        if self.meta.task.generation != generation {
            self.meta.enter(generation, 0);
            begin_at_ends(&*self.log, &mut self.meta, |_| true)?;
            self.outbox = Outbox::resume(&self.meta);
            self.outputs = Outputs::resume(self.log.clone(), &self.meta)?;
        }
        Ok(())
    }

    fn append_all(&mut self) -> Result<(), JobError> {
        self.follow()?;
        let worker = self.meta.task.partition;
        let to = own_partition(worker, self.outbox.partitions());
        for takeover in self.takeovers.take_untold() {
            for partition in takeover.partitions {
                let told = Takeover {
                    worker,
                    partition,
                    time_ms: takeover.at_ms,
                    took_ms: takeover.took.as_millis() as u64,
                    behind: takeover.behind,
                };
                self.push(self.meta.position, to, &told.encode());
            }
        }
        let batches = self.outbox.take();
        self.uncommitted = Some(self.outputs.append(batches, &mut self.meta)?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        if let Some(tickets) = &self.uncommitted {
            tickets.settle(&*self.log, &mut self.meta);
        }
        self.meta.commits += 1;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::new(self.meta.commits);
        commit.put_meta(&self.meta);
        self.store.commit(commit, Durability::Disk)?;
        self.uncommitted = None;
        self.status.committed(&self.meta);
        Ok(())
    }
}

/// The generation whose notices are the published ones.
fn published(registry: &Registry) -> u32 {
    registry.writes(registry.published(), TAKEOVERS_WRITES[0])
}

/// In some partitions of its topic nothing stands that is its own.
fn begin_at_ends(log: &dyn Log, meta: &mut TaskMeta, which: impl Fn(u32) -> bool) -> Result<(), JobError> {
    let generation = meta.task.generation;
    let (topic, output) = &mut meta.outputs[0];
    for (partition, end) in (0..).zip(&mut output.ends).filter(|(partition, _)| which(*partition)) {
        *end = log.find_end(topic.of(generation), partition)?;
    }
    Ok(())
}

/// Where a worker tells of its takeovers.
fn own_partition(worker: u16, partitions: u32) -> u32 {
    u32::from(worker) % partitions.max(1)
}

impl Work for TakeoversTask {
    fn need(&self) -> Need {
        match &self.uncommitted {
            Some(tickets) if tickets.are_durable(&*self.log) => Need::Commit,
            None if self.takeovers.has_untold() => Need::Turn(u64::MAX),
            _ => Need::Nothing,
        }
    }

    fn is_idle(&self) -> bool {
        self.uncommitted.is_none() && !self.takeovers.has_untold()
    }

    fn work(&mut self, need: Need) -> Result<FollowUp, JobError> {
        match need {
            Need::Turn(_) => self.append_all()?,
            Need::Commit => self.commit()?,
            Need::Checkpoint | Need::Nothing => {}
        }
        Ok(None)
    }

    fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    fn position(&self) -> u64 {
        self.outbox.tally().taken
    }

    fn store(&self) -> &Store {
        &self.store
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::{DataDir, DataDirLock};
    use crate::group;
    use crate::input::Scan;
    use crate::log::{EmbeddedLog, LiveLog, LogOptions};
    use std::path::Path;
    use std::time::Duration;
    use weir_proto::{Record, Topic};
    use weir_state::Shared;

    const PARTITIONS: u32 = 4;
    const WORKER: u16 = 5;

    struct Worker {
        log: Arc<EmbeddedLog>,
        takeovers: Arc<Takeovers>,
        task: TakeoversTask,
        _lock: DataDirLock,
    }

    impl Worker {
        fn start(dir: &Path, store: &str) -> Self {
            let log = EmbeddedLog::open(&dir.join("log"), PARTITIONS, LogOptions::default()).unwrap();
            let (log, takeovers) = (Arc::new(log), Arc::<Takeovers>::default());
            log.add(Topic::Notices.of(1)).unwrap();
            let store = Store::open(&dir.join(store), &Shared::new(1 << 20)).unwrap();
            let (data_dir, lock) = DataDir::lock(&dir.join("data"), PARTITIONS, None, Some(WORKER)).unwrap();
            let registry = Arc::new(Registry::open(&data_dir).unwrap());
            let task =
                TakeoversTask::open(WORKER, PARTITIONS, store, log.clone(), takeovers.clone(), registry);
            Worker { log, takeovers, task: task.unwrap(), _lock: lock }
        }

        /// Appends, durably, and does not commit.
        fn take(&mut self, partitions: &[u32]) {
            assert!(self.task.is_idle());
            let (partitions, took) = (partitions.to_vec(), Duration::from_millis(4));
            self.takeovers.add(group::Takeover { at_ms: 3, partitions, behind: 5, took });
            assert_eq!(self.task.need(), Need::Turn(u64::MAX));
            self.task.work(Need::Turn(u64::MAX)).unwrap();
            while self.task.need() != Need::Commit {
                std::thread::sleep(Duration::from_millis(1));
            }
        }

        /// Positions and partitions of all that is told.
        fn told(&self) -> Vec<(u64, u32)> {
            let mut told = Vec::new();
            for partition in 0..PARTITIONS {
                let mut scan = Scan::new(self.log.clone(), Topic::Notices.of(1), partition, 0, 100);
                while let Some(head) = scan.advance().unwrap() {
                    assert_eq!((partition, head.seq), (1, head.provenance.position));
                    let Record::Takeover(t) = Record::decode(scan.bytes()).unwrap() else { panic!() };
                    assert_eq!((t.worker, t.time_ms, t.took_ms, t.behind), (WORKER, 3, 4, 5));
                    told.push((head.provenance.position, t.partition));
                }
            }
            told
        }
    }

    #[test]
    fn each_partition_is_told_once_across_crashes_and_a_lost_store() {
        let dir = tempfile::tempdir().unwrap();
        let mut worker = Worker::start(dir.path(), "store");
        worker.take(&[0, 3]);
        worker.task.work(Need::Commit).unwrap();
        worker.take(&[2]);
        drop(worker);
        let mut worker = Worker::start(dir.path(), "store");
        worker.take(&[1]);
        worker.task.work(Need::Commit).unwrap();
        let told = vec![(0, 0), (1, 3), (2, 2), (3, 1)];
        assert_eq!(worker.told(), told);
        drop(worker);
        assert_eq!(Worker::start(dir.path(), "store").told(), told, "opening it again changes nothing");
        let mut worker = Worker::start(dir.path(), "another");
        worker.take(&[0]);
        assert_eq!(worker.told(), [told, vec![(4, 0)]].concat());
        assert_eq!(worker.takeovers.list().len(), 1);
    }
}
