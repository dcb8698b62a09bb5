//! One stage on one partition, outside of a job: a turn folds a batch and commits.

use crate::traffic::{PARTITIONS, records};
use tempfile::TempDir;
use weir_operators::outbox::OutBatch;
use weir_operators::{MAIN, Operator, Outbox, Rules};
use weir_pipeline::flow::{Shared, Stage};
use weir_pipeline::rule_set::RuleSet;
use weir_proto::{Batch, Buffer, Minute, Producer, Record};
use weir_state::{Commit, Durability, Store, TaskMeta};

/// A task without a log: what it hands on is given back.
pub struct Fold {
    operator: Box<dyn Operator>,
    outbox: Outbox,
    meta: TaskMeta,
    // In this order, so that the store is closed before its directory goes.
    store: Store,
    _dir: TempDir,
}

/// The rules and lists of a job without a configuration.
pub fn shared() -> Shared {
    RuleSet { rules: Rules::default(), networks: Vec::new() }.shared().unwrap()
}

impl Fold {
    /// A stage at its beginning, whose outputs have so many partitions.
    pub fn begin(stage: &Stage, shared: &Shared, partitions: usize) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), &weir_state::Shared::new(64 << 20)).unwrap();
        let task = Producer { stage: stage.id, partition: 0, generation: 1 };
        let meta = TaskMeta::new(task, stage.writes, partitions, shared.rules.fingerprint());
        let operator = (stage.operator)(&store, shared, Minute(0)).unwrap();
        Fold { operator, outbox: Outbox::resume(&meta), meta, store, _dir: dir }
    }

    /// Folds a batch and commits; what goes out.
    pub fn turn(&mut self, batch: &[u8]) -> Vec<OutBatch> {
        for record in Batch::open(batch).unwrap() {
            self.record(record.unwrap().bytes);
        }
        let out = self.outbox.take();
        self.commit();
        out
    }

    fn record(&mut self, bytes: &[u8]) {
        self.outbox.at(self.meta.position);
        self.meta.position += 1;
        match Record::decode(bytes).unwrap() {
            Record::Tick(minute) => {
                self.operator.tick(&self.store, minute, &mut self.outbox).unwrap();
                self.outbox.tick(minute);
                self.meta.ticked(minute);
            }
            record => {
                self.outbox.taken();
                self.operator.fold(&self.store, record, &mut self.outbox).unwrap();
            }
        }
    }

    fn commit(&mut self) {
        self.meta.commits += 1;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::new(self.meta.commits);
        self.operator.stage(&self.store, &mut commit).unwrap();
        commit.put_meta(&self.meta);
        self.store.commit(commit, Durability::FromLog).unwrap();
    }
}

/// What a stage hands on of batches, all in one partition.
pub fn handed_on(stage: &Stage, shared: &Shared, batches: &[Buffer]) -> Vec<Vec<u8>> {
    let mut fold = Fold::begin(stage, shared, 1);
    let outputs = batches.iter().flat_map(|batch| fold.turn(batch));
    outputs.filter(|batch| batch.output == MAIN).flat_map(|batch| records(&batch.bytes)).collect()
}

/// A stage at its beginning, as in a job.
pub fn in_a_job(stage: &Stage, shared: &Shared) -> Fold {
    Fold::begin(stage, shared, PARTITIONS)
}
