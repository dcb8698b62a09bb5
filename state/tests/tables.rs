//! Tables against plain maps, through commits, restarts, sealing and expiry.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

use proptest::prelude::*;
use std::collections::HashMap;
use weir_proto::{Guid, Minute, Producer, StageId, Topic};
use weir_state::*;

const OPTIONS: MinuteTableOptions = MinuteTableOptions { hot: 2, keep: 6, max_hot_entries: 50 };

#[derive(Clone, Debug)]
enum Step {
    Add { minute: u32, key: u8, by: u8 },
    Commit,
    Tick,
    Restart { hot: u32 },
    AskForAll,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        12 => (0..8u32, 0..40u8, 1..4u8).prop_map(|(minute, key, by)| Step::Add { minute, key, by }),
        3 => Just(Step::Commit),
        2 => Just(Step::Tick),
        1 => (1..6u32).prop_map(|hot| Step::Restart { hot }),
        // A question seals a resting minute: not after each step.
        1 => Just(Step::AskForAll),
    ];
    proptest::collection::vec(step, 1..300)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn a_minute_table_is_a_map(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let shared = Shared::new(1 << 20);
        let mut store = Store::open(dir.path(), &shared).unwrap();
        let mut table = MinuteTable::<3, 1>::load(&store, 1, OPTIONS).unwrap();
        let mut model: HashMap<(u32, u8), u8> = HashMap::new();
        let mut committed = model.clone();
        let (mut now, mut number) = (100, 0);
        table.tick(Minute(now));
        for step in steps {
            match step {
                Step::Add { minute, key, by } => {
                    let minute = (now - 6) + minute.min(6);
                    let value = model.entry((minute, key)).or_default();
                    *value = value.wrapping_add(by);
                    let told = table.update(&store, Minute(minute), &[key, 1, 2], |v| {
                        v[0] = v[0].wrapping_add(by);
                        v[0]
                    });
                    prop_assert_eq!(told.unwrap(), *value);
                }
                Step::Commit | Step::Tick => {
                    if matches!(step, Step::Tick) {
                        now += 1;
                        table.tick(Minute(now));
                    }
                    number += 1;
                    let mut commit = Commit::new(number);
                    table.stage(&store, &mut commit).unwrap();
                    store.commit(commit, Durability::Process).unwrap();
                    model.retain(|(minute, _), _| *minute >= now - 6);
                    committed = model.clone();
                }
                Step::Restart { hot } => {
                    let options = MinuteTableOptions { hot, ..OPTIONS };
                    drop(store);
                    store = Store::open(dir.path(), &shared).unwrap();
                    table = MinuteTable::load(&store, 1, options).unwrap();
                    table.tick(Minute(now));
                    model = committed.clone();
                }
                Step::AskForAll => {}
            }
            let asks = if matches!(step, Step::AskForAll) { model.clone() } else { HashMap::new() };
            for ((minute, key), value) in asks {
                prop_assert_eq!(table.get(&store, Minute(minute), &[key, 1, 2]).unwrap(), Some([value]));
                prop_assert_eq!(table.get(&store, Minute(minute), &[key, 2, 1]).unwrap(), None);
            }
        }
        for ((minute, key), value) in &model {
            prop_assert_eq!(table.get(&store, Minute(*minute), &[*key, 1, 2]).unwrap(), Some([*value]));
        }
    }
}

#[test]
fn a_minute_is_written_again_only_if_somebody_asks_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(1 << 20);
    let store = Store::open(dir.path(), &shared).unwrap();
    let options = MinuteTableOptions { keep: 60, ..OPTIONS };
    let mut table = MinuteTable::<3, 1>::load(&store, 1, options).unwrap();
    for now in 100..110u32 {
        table.tick(Minute(now));
        table.update(&store, Minute(now), &[7, 7, 7], |value| value[0] = now as u8).unwrap();
        let mut commit = Commit::new(now.into());
        table.stage(&store, &mut commit).unwrap();
        store.commit(commit, Durability::FromLog).unwrap();
    }
    let pages = || {
        let mut pages = 0;
        store.scan(1, b"p", |_, _| pages += 1).unwrap();
        pages
    };
    let blobs = |minute| {
        let mut blobs = 0;
        store.scan_blobs(1, Minute(minute), |_| blobs += 1).unwrap();
        blobs
    };
    assert_eq!((pages(), blobs(101)), (0, 1), "at rest");
    assert_eq!(table.get(&store, Minute(101), &[7, 7, 7]).unwrap(), Some([101]));
    assert_eq!((pages(), blobs(101), blobs(102)), (1, 0, 1), "sealed, its neighbour is not");
    let mut reloaded = MinuteTable::<3, 1>::load(&store, 1, options).unwrap();
    for minute in 100..110 {
        assert_eq!(reloaded.get(&store, Minute(minute), &[7, 7, 7]).unwrap(), Some([minute as u8]));
    }
}

#[test]
fn an_identity_is_found_whatever_time_it_claims_and_forgotten_after_its_time() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(1 << 20);
    let store = Store::open(dir.path(), &shared).unwrap();
    let mut table = IdentityTable::load(&store, 1, 2, OPTIONS).unwrap();
    let at = |text: &'static str, minute| Identity {
        advertiser_id: 7,
        guid: Guid::parse(text).unwrap(),
        minute: Minute(minute),
    };
    let ulid = "01KDWFZY7JAJ06BJH5MKP4EFSR";
    let own = at(ulid, 0).guid.minute().unwrap().0;
    let cases = [at(ulid, own), at("01KDWFZY7JAJ06BJH5MKP4EFSS", own + 5000), at("plain", own)];
    let unlike =
        [at("01KDWFZY7JAJ06BJH5MKP4EFSQ", own), at("01KDWFZY7KAJ06BJH5MKP4EFSR", own), at("plaim", own)];
    let mut number = 0;
    let mut commit = |table: &mut IdentityTable| {
        number += 1;
        let mut commit = Commit::new(number);
        table.stage(&store, &mut commit).unwrap();
        store.commit(commit, Durability::Process).unwrap();
    };
    table.tick(Minute(own));
    for id in &cases {
        assert_eq!(table.get(&store, id).unwrap(), None);
        table.insert(&store, id, 3).unwrap();
        for _ in 0..2 {
            let elsewhere = Identity { minute: Minute(id.minute.0 + 100), ..*id };
            assert_eq!(table.get(&store, id).unwrap(), Some(3));
            assert_eq!(table.get(&store, &elsewhere).unwrap(), Some(3));
            assert_eq!(table.get(&store, &Identity { advertiser_id: 8, ..*id }).unwrap(), None);
            commit(&mut table);
        }
    }
    for id in &unlike {
        assert_eq!(table.get(&store, id).unwrap(), None, "{id:?} is another one");
    }
    for minute in own..own + 70 {
        table.tick(Minute(minute));
        commit(&mut table);
    }
    let mut reloaded = IdentityTable::load(&store, 1, 2, OPTIONS).unwrap();
    reloaded.tick(Minute(own + 69));
    for table in [&mut table, &mut reloaded] {
        assert_eq!(table.get(&store, &cases[0]).unwrap(), None);
        assert_eq!(table.get(&store, &cases[1]).unwrap(), Some(3), "its event was later");
        assert_eq!(table.get(&store, &cases[2]).unwrap(), None);
    }
}

#[test]
fn a_checkpoint_is_the_store_at_its_tick() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(1 << 20);
    let store = Store::open(&dir.path().join("store"), &shared).unwrap();
    let task = Producer { stage: StageId::Deduct, partition: 0, generation: 1 };
    let checkpoints = CheckpointDir::new(dir.path().join("checkpoints"));
    let mut meta = TaskMeta::new(task, &[Topic::Charges], 1, 5);
    for minute in [600, 601, 659, 660, 665] {
        (meta.last_tick, meta.position, meta.commits) = (Minute(minute), u64::from(minute), meta.commits + 1);
        let mut commit = Commit::new(meta.commits);
        commit.put(1, b"k", &minute.to_le_bytes());
        commit.put_meta(&meta);
        store.commit(commit, Durability::Process).unwrap();
        checkpoints.take(&store, &meta).unwrap();
    }
    let old = Store::open_read_only(&checkpoints.path(task, Minute(601)), &shared).unwrap();
    assert_eq!(old.get(1, b"k").unwrap().unwrap().as_ref(), 601u32.to_le_bytes());
    assert_eq!(checkpoints.manifest(task, Minute(601)).unwrap().unwrap().position, 601);
    let retention = Retention { every_minute_for: 6, every_hour_for: 65 };
    let now = Minute(665);
    for minute in checkpoints.minutes(1).unwrap().into_iter().filter(|m| !retention.keeps(*m, now)) {
        checkpoints.remove(1, minute).unwrap();
    }
    let left: Vec<u32> = checkpoints.minutes(1).unwrap().iter().map(|m| m.0).collect();
    assert_eq!(left, [600, 659, 660, 665]);
}

#[test]
fn a_checkpoint_with_a_changed_byte_is_named_and_never_used() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open(&dir.path().join("store"), &Shared::new(1 << 20)).unwrap();
    let task = Producer { stage: StageId::Deduct, partition: 0, generation: 1 };
    let checkpoints = CheckpointDir::new(dir.path().join("checkpoints"));
    let mut meta = TaskMeta::new(task, &[Topic::Charges], 1, 5);
    meta.last_tick = Minute(600);
    let mut commit = Commit::new(1);
    commit.put(1, b"k", b"v");
    commit.put_meta(&meta);
    store.commit(commit, Durability::Process).unwrap();
    checkpoints.take(&store, &meta).unwrap();
    let manifest = checkpoints.manifest(task, Minute(600)).unwrap().unwrap();
    checkpoints.verify(&manifest).unwrap();
    assert!(manifest.files.iter().any(|f| f.name.ends_with(".sst")));
    for (at, file) in manifest.files.iter().enumerate() {
        let path = checkpoints.path(task, Minute(600)).join(&file.name);
        let bytes = std::fs::read(&path).unwrap();
        if bytes.is_empty() {
            continue;
        }
        let mut damaged = bytes.clone();
        damaged[bytes.len() / 2] ^= 1;
        std::fs::write(&path, &damaged).unwrap();
        let copy = dir.path().join(format!("copy-{at}"));
        let error = checkpoints.restore(&manifest, &copy).unwrap_err().to_string();
        assert!(error.contains(&file.name) && error.contains("checksum"), "{error}");
        assert!(!copy.exists());
        std::fs::write(&path, &bytes).unwrap();
    }
    checkpoints.restore(&manifest, &dir.path().join("copy")).unwrap();
    let copy = Store::open(&dir.path().join("copy"), &Shared::new(1 << 20)).unwrap();
    assert_eq!(copy.get(1, b"k").unwrap().unwrap().as_ref(), b"v");
    let path = checkpoints.path(task, Minute(600)).join("weir.json");
    let text = std::fs::read_to_string(&path).unwrap().replace("\"position\": 0", "\"position\": 7");
    std::fs::write(&path, text).unwrap();
    let error = checkpoints.manifest(task, Minute(600)).unwrap_err().to_string();
    assert!(error.contains("weir.json"), "{error}");
}

#[test]
fn a_checkpoint_that_was_copied_and_not_finished_is_finished_by_the_next_process() {
    let dir = tempfile::tempdir().unwrap();
    let shared = Shared::new(1 << 20);
    let store = Store::open(&dir.path().join("store"), &shared).unwrap();
    let task = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
    let mut meta = TaskMeta::new(task, &[Topic::Raw], 1, 0);
    let commit = |meta: &TaskMeta, value: &[u8]| {
        let mut commit = Commit::new(0);
        commit.put(1, b"key", value);
        commit.put_meta(meta);
        store.commit(commit, Durability::Process).unwrap();
    };
    meta.ticked(Minute(7));
    commit(&meta, b"at the tick");
    let checkpoints = CheckpointDir::new(dir.path().join("checkpoints"));
    let unfinished = checkpoints.begin(&store, &meta).unwrap();
    // The task goes on, and the process ends.
    meta.at_tick = false;
    commit(&meta, b"behind it");
    drop((unfinished, store));
    assert_eq!(checkpoints.manifest(task, Minute(7)).unwrap(), None);
    std::fs::create_dir_all(dir.path().join("checkpoints/1/8/collect-0.unfinished")).unwrap();
    checkpoints.finish_left(&shared).unwrap();
    let manifest = checkpoints.manifest(task, Minute(7)).unwrap().unwrap();
    checkpoints.restore(&manifest, &dir.path().join("restored")).unwrap();
    let restored = Store::open(&dir.path().join("restored"), &shared).unwrap();
    assert_eq!(&restored.get(1, b"key").unwrap().unwrap()[..], b"at the tick");
    assert!(!dir.path().join("checkpoints/1/8/collect-0.unfinished").exists(), "it holds nothing");
}
