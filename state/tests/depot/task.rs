//! A task with a store and checkpoints.

use std::sync::Arc;
use weir_proto::{Minute, Producer, StageId, Topic};
use weir_state::*;

pub const TASK: Producer = Producer { stage: StageId::Deduct, partition: 0, generation: 3 };
const TABLE: u8 = 1;

/// A directory with what one machine has of a task.
pub struct Machine {
    pub dir: tempfile::TempDir,
    pub checkpoints: CheckpointDir,
    shared: Arc<Shared>,
    store: Option<Store>,
    meta: TaskMeta,
    rows: u64,
}

impl Machine {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let checkpoints = CheckpointDir::new(dir.path().join("checkpoints"));
        let meta = TaskMeta::new(TASK, &[Topic::Charges], 2, 9);
        Machine { dir, checkpoints, shared: Arc::new(Shared::new(1 << 20)), store: None, meta, rows: 0 }
    }

    pub fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    fn commit(&mut self, values: impl Iterator<Item = Vec<u8>>) {
        let (dir, shared) = (self.dir.path().join("store"), self.shared.clone());
        let store = self.store.get_or_insert_with(|| Store::open(&dir, &shared).unwrap());
        self.meta.commits += 1;
        let mut commit = Commit::new(self.meta.commits);
        for value in values {
            commit.put(TABLE, &self.rows.to_be_bytes(), &value);
            self.rows += 1;
        }
        self.meta.position = self.rows;
        commit.put_meta(&self.meta);
        store.commit(commit, Durability::FromLog).unwrap();
    }

    /// Adds rows.
    pub fn add(&mut self, rows: u64) {
        let from = self.rows;
        self.commit((from..from + rows).map(|n| noise(n, 100)));
    }

    /// Adds rows and takes the checkpoint of a minute.
    pub fn minute(&mut self, minute: Minute, rows: u64) {
        self.meta.ticked(minute);
        self.add(rows);
        self.checkpoints.take(self.store.as_ref().unwrap(), &self.meta).unwrap();
    }

    /// With a table file of 20 MiB and more.
    pub fn large_minute(&mut self, minute: Minute) {
        self.meta.ticked(minute);
        self.commit((0..20).map(|n| noise(n, 1 << 20)));
        self.checkpoints.take(self.store.as_ref().unwrap(), &self.meta).unwrap();
    }
}

/// Bytes that do not compress.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut out = vec![0; bytes];
    blake3::Hasher::new().update(&seed.to_le_bytes()).finalize_xof().fill(&mut out);
    out
}

/// All that a store holds.
pub fn rows(store: &Store) -> Vec<(Vec<u8>, Vec<u8>)> {
    let mut rows = Vec::new();
    store.scan(TABLE, &[], |key, value| rows.push((key.to_vec(), value.to_vec()))).unwrap();
    rows
}
