//! RocksDB and the store in memory that simulations use, side by side: the same random operations, the same
//! answers; and after a crash both stand at some commit that they may stand at.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

use proptest::prelude::*;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use weir_proto::{Producer, StageId, Topic};
use weir_state::*;

struct NoFaults;

impl Faults for NoFaults {
    fn at_store(&self, _: &Path, _: StorePoint) -> Fate {
        Fate::Done
    }
}

#[derive(Clone, Debug)]
enum Change {
    Put(u8, Vec<u8>, Vec<u8>),
    Delete(u8, Vec<u8>),
    DeleteRange(u8, Vec<u8>, Vec<u8>),
    Meta(u64),
}

#[derive(Clone, Debug)]
enum Step {
    Commit(Vec<Change>),
    Flush,
    Reopen,
    Checkpoint,
    Crash,
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(255)], 0..4)
}

fn change() -> impl Strategy<Value = Change> {
    let table = 1..4u8;
    // Longer than 127 bytes, too: lengths are varints.
    let value = prop_oneof![
        5 => proptest::collection::vec(any::<u8>(), 0..4),
        1 => proptest::collection::vec(any::<u8>(), 120..400),
    ];
    prop_oneof![
        6 => (table.clone(), key(), value).prop_map(|(t, k, v)| Change::Put(t, k, v)),
        2 => (table.clone(), key()).prop_map(|(t, k)| Change::Delete(t, k)),
        1 => (table, key(), key()).prop_map(|(t, a, b)| Change::DeleteRange(t, a.clone().min(b.clone()), a.max(b))),
        2 => (0..9u64).prop_map(Change::Meta),
    ]
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => proptest::collection::vec(change(), 0..6).prop_map(Step::Commit),
        1 => Just(Step::Flush),
        1 => Just(Step::Reopen),
        1 => Just(Step::Checkpoint),
        2 => Just(Step::Crash),
    ];
    proptest::collection::vec(step, 1..40)
}

/// In a table that the changes do not touch: how many commits the store holds.
const NUMBERS: u8 = 9;

fn commit_of(number: u64, changes: &[Change]) -> Commit {
    let mut commit = Commit::new(number);
    for change in changes {
        match change {
            Change::Put(table, key, value) => commit.put(*table, key, value),
            Change::Delete(table, key) => commit.delete(*table, key),
            Change::DeleteRange(table, from, to) => commit.delete_range(*table, from, to),
            Change::Meta(position) => {
                let task = Producer { stage: StageId::Deduct, partition: 0, generation: 1 };
                let new = TaskMeta::new(task, &[Topic::Charges], 1, 0);
                commit.put_meta(&TaskMeta { position: *position, ..new });
            }
        }
    }
    commit.put(NUMBERS, b"commits", &number.to_be_bytes());
    commit
}

type Rows = Vec<(Vec<u8>, Vec<u8>)>;

fn scanned(store: &Store, table: u8, prefix: &[u8], most: usize) -> Rows {
    let mut rows = Vec::new();
    let visit = |key: &[u8], value: &[u8]| {
        rows.push((key.to_vec(), value.to_vec()));
        rows.len() < most
    };
    store.scan_while(table, prefix, visit).unwrap();
    rows
}

fn assert_same(rocks: &Store, memory: &Store) {
    assert_eq!(rocks.meta().unwrap(), memory.meta().unwrap());
    for table in [1, 2, 3, NUMBERS] {
        for (prefix, most) in [(&[][..], usize::MAX), (&[0][..], 2), (&[255][..], usize::MAX)] {
            assert_eq!(scanned(rocks, table, prefix, most), scanned(memory, table, prefix, most));
        }
        for key in [&[][..], &[0], &[255, 255], &[1, 0, 255]] {
            let of = |store: &Store| store.get(table, key).unwrap().map(|v| v.to_vec());
            assert_eq!(of(rocks), of(memory));
        }
    }
}

fn commits_in(store: &Store) -> u64 {
    let found = store.get(NUMBERS, b"commits").unwrap();
    found.map_or(0, |b| u64::from_be_bytes(b[..].try_into().unwrap()))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        if entry.file_name() != "LOCK" {
            fs::copy(entry.path(), to.join(entry.file_name())).unwrap();
        }
    }
}

/// Both stores, with what they share.
struct Pair {
    root: tempfile::TempDir,
    real: Shared,
    disk: MemoryDisk,
    simulated: Shared,
    lives: u32,
    rocks: Option<Store>,
    memory: Store,
}

impl Pair {
    fn new() -> Self {
        let shm = Path::new("/dev/shm");
        let root = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        let (real, disk) = (Shared::new(1 << 20), MemoryDisk::new(Arc::new(NoFaults)));
        let simulated = Shared::in_memory(disk.clone());
        let rocks = Some(Store::open(&root.path().join("rocks-0"), &real).unwrap());
        let memory = Store::open(&root.path().join("memory"), &simulated).unwrap();
        Pair { root, real, disk, simulated, lives: 0, rocks, memory }
    }

    fn rocks(&self) -> &Store {
        self.rocks.as_ref().unwrap()
    }

    /// What is on disk now is all that is left. RocksDB chooses which commits that are, at least those it
    /// has promised to keep; the other one has to be able to keep the same.
    fn crash(&mut self, promised: u64, all: u64) {
        let before = self.rocks().dir().to_owned();
        self.lives += 1;
        let after = self.root.path().join(format!("rocks-{}", self.lives));
        copy(&before, &after);
        self.rocks = Some(Store::open(&after, &self.real).unwrap());
        let kept = commits_in(self.rocks());
        assert!((promised..=all).contains(&kept), "{kept} of {all} commits, {promised} were promised");
        self.disk.part(&self.root.path().join("memory"), CrashOf::Process, |least, most| {
            assert_eq!((least as u64, most as u64), (0, all - promised), "the others are promised");
            (kept - promised) as usize
        });
        self.open_memory();
    }

    fn open_memory(&mut self) {
        self.memory = Store::open(&self.root.path().join("memory"), &self.simulated).unwrap();
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn both_backends_answer_alike(steps in steps()) {
        let mut pair = Pair::new();
        // How many commits there were, and how many of them survive every crash.
        let (mut all, mut promised) = (0, 0);
        for (at, step) in steps.iter().enumerate() {
            match step {
                Step::Commit(changes) => {
                    all += 1;
                    for store in [pair.rocks(), &pair.memory] {
                        store.commit(commit_of(all, changes), Durability::FromLog).unwrap();
                    }
                }
                Step::Flush => {
                    pair.rocks().flush().unwrap();
                    pair.memory.flush().unwrap();
                    promised = all;
                }
                Step::Reopen => {
                    pair.rocks().flush().unwrap();
                    pair.memory.flush().unwrap();
                    let dir = pair.rocks().dir().to_owned();
                    pair.rocks = None;
                    pair.rocks = Some(Store::open(&dir, &pair.real).unwrap());
                    pair.open_memory();
                    promised = all;
                }
                Step::Checkpoint => {
                    let to = [0, 1].map(|n| pair.root.path().join(format!("copy-{at}-{n}")));
                    pair.rocks().checkpoint(&to[0]).unwrap();
                    pair.memory.checkpoint(&to[1]).unwrap();
                    prop_assert!(pair.rocks().checkpoint(&to[0]).is_err(), "it must not be there");
                    prop_assert!(pair.memory.checkpoint(&to[1]).is_err(), "it must not be there");
                    let copies = [(&to[0], &pair.real), (&to[1], &pair.simulated)];
                    let copies = copies.map(|(dir, shared)| Store::open(dir, shared).unwrap());
                    assert_same(&copies[0], &copies[1]);
                    promised = all;
                }
                Step::Crash => {
                    pair.crash(promised, all);
                    all = commits_in(pair.rocks());
                    promised = all;
                }
            }
            assert_same(pair.rocks(), &pair.memory);
        }
    }

    #[test]
    fn what_is_committed_to_disk_or_to_the_system_is_kept(kinds in proptest::collection::vec(any::<bool>(), 1..12)) {
        let mut pair = Pair::new();
        let of = |is_disk: bool| if is_disk { Durability::Disk } else { Durability::Process };
        for (number, is_disk) in (1..).zip(&kinds) {
            for store in [pair.rocks(), &pair.memory] {
                store.commit(commit_of(number, &[]), of(*is_disk)).unwrap();
            }
        }
        let before = pair.rocks().dir().to_owned();
        let after = pair.root.path().join("after");
        copy(&before, &after);
        let rocks = Store::open(&after, &pair.real).unwrap();
        prop_assert_eq!(commits_in(&rocks), kinds.len() as u64);
        let behind_disk = kinds.iter().rev().take_while(|is_disk| !**is_disk).count();
        pair.disk.crash(CrashOf::Machine, |least, most| {
            assert_eq!((least, most), (0, behind_disk));
            most
        });
        pair.open_memory();
        assert_same(&rocks, &pair.memory);
    }
}

#[test]
fn what_fails_is_done_or_not_as_is_decided() {
    struct All(Fate);
    impl Faults for All {
        fn at_store(&self, _: &Path, _: StorePoint) -> Fate {
            self.0
        }
    }
    for (fate, commits) in [(Fate::Fails, 0), (Fate::DoneButFails, 1)] {
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared::in_memory(MemoryDisk::new(Arc::new(All(fate))));
        let store = Store::open(dir.path(), &shared).unwrap();
        assert!(store.commit(commit_of(1, &[]), Durability::Disk).is_err());
        assert_eq!(commits_in(&store), commits);
    }
}
