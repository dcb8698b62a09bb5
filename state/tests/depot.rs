//! Checkpoints of real stores, through a depot and back: in a directory, in memory, and on a server that speaks
//! the protocol of S3.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

#[path = "depot/s3.rs"]
mod s3;
#[path = "depot/task.rs"]
mod task;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use task::{Machine, TASK, rows};
use weir_proto::{Minute, Producer};
use weir_state::depot::{Became, Depot, DepotError};
use weir_state::*;

const HOUR: Duration = Duration::from_secs(3600);

fn open(url: &str) -> Depot {
    Depot::open(url, &BTreeMap::new()).unwrap()
}

/// A depot in a directory.
fn in_directory() -> (tempfile::TempDir, Depot) {
    let dir = tempfile::tempdir().unwrap();
    let depot = open(&format!("file://{}/some/prefix", dir.path().display()));
    (dir, depot)
}

/// The names of all that stands below a directory.
fn below(dir: &Path) -> BTreeSet<String> {
    let Ok(entries) = fs::read_dir(dir) else { return BTreeSet::new() };
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn sums(machine: &Machine, minute: Minute) -> BTreeSet<(String, u64)> {
    let manifest = machine.checkpoints.manifest(TASK, minute).unwrap().unwrap();
    manifest.files.into_iter().map(|f| (f.name, f.bytes)).collect()
}

/// What a store made of a fetched checkpoint holds.
fn rows_of(machine: &Machine, minute: Minute) -> Vec<(Vec<u8>, Vec<u8>)> {
    let manifest = machine.checkpoints.manifest(TASK, minute).unwrap().unwrap();
    machine.checkpoints.verify(&manifest).unwrap();
    let to = machine.dir.path().join(format!("restored-{}", minute.0));
    machine.checkpoints.restore(&manifest, &to).unwrap();
    let store = Store::open(&to, &Shared::new(1 << 20)).unwrap();
    assert_eq!(store.meta().unwrap().unwrap().last_tick, minute);
    rows(&store)
}

/// Minutes go in and come out on another machine as they were.
fn round_trip(depot: &Depot) {
    let (mut here, there) = (Machine::new(), Machine::new());
    let mut expected = Vec::new();
    for minute in [Minute(100), Minute(101), Minute(102)] {
        here.minute(minute, 200);
        let moved = depot.put(&here.checkpoints, TASK, minute).unwrap();
        assert_eq!(moved.became, Became::Moved);
        let all: u64 = sums(&here, minute).iter().map(|(_, bytes)| bytes).sum();
        assert_eq!(moved.bytes + moved.reused_bytes, all);
        assert_eq!(depot.put(&here.checkpoints, TASK, minute).unwrap().became, Became::WasThere);
        expected.push((minute, rows(here.store())));
    }
    assert_eq!(depot.minutes(TASK).unwrap(), [Minute(100), Minute(101), Minute(102)]);
    assert_eq!(depot.minutes(Producer { partition: 1, ..TASK }).unwrap(), []);
    assert_eq!(depot.minutes(Producer { generation: 9, ..TASK }).unwrap(), []);
    for (minute, rows) in expected {
        let moved = depot.fetch(TASK, minute, &there.checkpoints).unwrap();
        assert_eq!((moved.became, moved.reused_files > 0), (Became::Moved, minute != Minute(100)));
        let manifest = |m: &Machine| m.checkpoints.manifest(TASK, minute).unwrap().unwrap();
        assert_eq!(manifest(&there), manifest(&here));
        assert_eq!(rows_of(&there, minute), rows);
        let again = depot.fetch(TASK, minute, &there.checkpoints).unwrap();
        assert_eq!((again.became, again.files, again.reused_files), (Became::WasThere, 0, 0));
    }
}

#[test]
fn a_checkpoint_comes_back_from_a_directory_as_it_was() {
    let (_dir, depot) = in_directory();
    round_trip(&depot);
}

#[test]
fn a_checkpoint_comes_back_from_memory_as_it_was() {
    round_trip(&open("memory:///"));
}

#[test]
fn a_file_larger_than_a_part_comes_back_as_it_was() {
    let (_dir, depot) = in_directory();
    let (mut here, there) = (Machine::new(), Machine::new());
    here.large_minute(Minute(1));
    assert!(sums(&here, Minute(1)).iter().any(|(_, bytes)| *bytes > 16 << 20));
    depot.put(&here.checkpoints, TASK, Minute(1)).unwrap();
    depot.fetch(TASK, Minute(1), &there.checkpoints).unwrap();
    assert!(rows_of(&there, Minute(1)) == rows(here.store()));
}

#[test]
fn what_is_there_is_not_sent_again() {
    let (dir, depot) = in_directory();
    let files = dir.path().join("some/prefix/files");
    let mut here = Machine::new();
    here.minute(Minute(1), 500);
    depot.put(&here.checkpoints, TASK, Minute(1)).unwrap();
    here.minute(Minute(2), 20);
    let before = below(&files);
    let moved = depot.put(&here.checkpoints, TASK, Minute(2)).unwrap();

    let (old, new) = (sums(&here, Minute(1)), sums(&here, Minute(2)));
    let shared: BTreeSet<_> = old.intersection(&new).filter(|(name, _)| name.ends_with(".sst")).collect();
    let at = here.checkpoints.path(TASK, Minute(2));
    let content = |name: &String| blake3::hash(&fs::read(at.join(name)).unwrap()).to_string();
    let sent: BTreeMap<String, u64> = new
        .iter()
        .map(|(name, bytes)| (content(name), *bytes))
        .filter(|(h, _)| !before.contains(h))
        .collect();
    assert!(!shared.is_empty() && shared.iter().all(|(name, _)| before.contains(&content(name))));
    assert_eq!(
        below(&files).difference(&before).cloned().collect::<Vec<_>>(),
        sent.keys().cloned().collect::<Vec<_>>()
    );
    assert_eq!((moved.files, moved.bytes), (sent.len() as u64, sent.values().sum()));
    assert!(moved.reused_files >= shared.len() as u64);
}

#[test]
fn files_that_are_here_are_linked() {
    let (_dir, depot) = in_directory();
    let (mut here, there) = (Machine::new(), Machine::new());
    for minute in [Minute(1), Minute(2)] {
        here.minute(minute, 300);
        depot.put(&here.checkpoints, TASK, minute).unwrap();
    }
    depot.fetch(TASK, Minute(1), &there.checkpoints).unwrap();
    let moved = depot.fetch(TASK, Minute(2), &there.checkpoints).unwrap();
    let shared: Vec<_> = sums(&here, Minute(1)).intersection(&sums(&here, Minute(2))).cloned().collect();
    let tables: Vec<_> = shared.iter().filter(|(name, _)| name.ends_with(".sst")).collect();
    assert!(!tables.is_empty() && moved.reused_files >= tables.len() as u64);
    for (name, _) in tables {
        let inode = |m| fs::metadata(there.checkpoints.path(TASK, m).join(name)).unwrap().ino();
        assert_eq!(inode(Minute(1)), inode(Minute(2)), "{name}");
    }
}

#[test]
fn a_damaged_local_file_is_neither_linked_nor_sent() {
    let (_dir, depot) = in_directory();
    let (mut here, there) = (Machine::new(), Machine::new());
    for minute in [Minute(1), Minute(2)] {
        here.minute(minute, 300);
        depot.put(&here.checkpoints, TASK, minute).unwrap();
    }
    // By another depot, which has not read the files: this one knows tables by their inodes.
    let other = Machine::new();
    depot.fetch(TASK, Minute(1), &other.checkpoints).unwrap();
    let table = sums(&here, Minute(1)).into_iter().find(|(name, _)| name.ends_with(".sst")).unwrap().0;
    let flip_in = |machine: &Machine| flip(&machine.checkpoints.path(TASK, Minute(1)).join(&table), 100);
    flip_in(&other);
    depot.fetch(TASK, Minute(2), &other.checkpoints).unwrap();
    assert_eq!(rows_of(&other, Minute(2)), rows(here.store()));

    depot.fetch(TASK, Minute(1), &there.checkpoints).unwrap();
    flip_in(&there);
    let error = open("memory:///").put(&there.checkpoints, TASK, Minute(1)).unwrap_err();
    assert!(error.is_damage() && error.to_string().contains(&table), "{error}");
}

fn flip(path: &Path, at: usize) {
    let mut bytes = fs::read(path).unwrap();
    let at = at % bytes.len();
    bytes[at] ^= 4;
    fs::write(path, bytes).unwrap();
}

/// That a fetch fails, names an object, and leaves nothing.
fn is_refused(depot: &Depot, named: &str) -> DepotError {
    let there = Machine::new();
    let error = depot.fetch(TASK, Minute(1), &there.checkpoints).unwrap_err();
    assert!(error.to_string().contains(named), "{error}");
    let path = there.checkpoints.path(TASK, Minute(1));
    assert_eq!(below(path.parent().unwrap()), BTreeSet::new());
    error
}

#[test]
fn a_damaged_file_is_named_and_nothing_half_made_gets_the_name() {
    let (dir, depot) = in_directory();
    let mut here = Machine::new();
    here.minute(Minute(1), 300);
    depot.put(&here.checkpoints, TASK, Minute(1)).unwrap();
    let files = dir.path().join("some/prefix/files");
    for name in below(&files) {
        let path = files.join(&name);
        let whole = fs::read(&path).unwrap();
        // A log of RocksDB is empty.
        if !whole.is_empty() {
            flip(&path, whole.len() / 2);
            assert!(is_refused(&depot, &name).is_damage());
            fs::write(&path, &whole[1..]).unwrap();
            assert!(is_refused(&depot, &name).is_damage());
        }
        fs::write(&path, [&whole[..], &[0]].concat()).unwrap();
        assert!(is_refused(&depot, &name).is_damage());
        fs::remove_file(&path).unwrap();
        assert!(is_refused(&depot, &name).is_damage());
        fs::write(&path, whole).unwrap();
    }
    depot.fetch(TASK, Minute(1), &Machine::new().checkpoints).unwrap();
}

#[test]
fn a_damaged_manifest_is_named() {
    let (dir, depot) = in_directory();
    let mut here = Machine::new();
    here.minute(Minute(1), 300);
    depot.put(&here.checkpoints, TASK, Minute(1)).unwrap();
    let name = "manifests/3/deduct-0/0000000001.json";
    let path = dir.path().join("some/prefix").join(name);
    let whole = fs::read(&path).unwrap();
    for at in (0..whole.len()).step_by(7) {
        flip(&path, at);
        let error = is_refused(&depot, name);
        assert!(error.is_damage() || matches!(error, DepotError::Format { .. }), "{at}: {error}");
        assert!(depot.keep(|_, _| true, Duration::ZERO).is_err());
        fs::write(&path, &whole).unwrap();
    }
    fs::rename(&path, path.with_file_name("0000000002.json")).unwrap();
    assert!(matches!(is_refused(&depot, name), DepotError::Missing { .. }));
    let error = depot.fetch(TASK, Minute(2), &Machine::new().checkpoints).unwrap_err();
    assert!(error.to_string().contains("another task or minute"), "{error}");
}

#[test]
fn of_two_writers_the_first_wins() {
    let (_dir, depot) = in_directory();
    let (mut first, mut second) = (Machine::new(), Machine::new());
    // The same commits; one of them was flushed in between.
    first.add(50);
    first.store().flush().unwrap();
    second.add(50);
    for machine in [&mut first, &mut second] {
        machine.minute(Minute(1), 100);
    }
    assert_ne!(sums(&first, Minute(1)), sums(&second, Minute(1)));
    assert_eq!(depot.put(&first.checkpoints, TASK, Minute(1)).unwrap().became, Became::Moved);
    let moved = depot.put(&second.checkpoints, TASK, Minute(1)).unwrap();
    assert_eq!((moved.became, moved.files), (Became::AnotherStays { same_state: true }, 0));
    let there = Machine::new();
    depot.fetch(TASK, Minute(1), &there.checkpoints).unwrap();
    assert_eq!(sums(&there, Minute(1)), sums(&first, Minute(1)));
    assert_eq!(rows_of(&there, Minute(1)), rows(second.store()));

    let mut strange = Machine::new();
    strange.minute(Minute(1), 7);
    let became = depot.put(&strange.checkpoints, TASK, Minute(1)).unwrap().became;
    assert_eq!(became, Became::AnotherStays { same_state: false });
}

#[test]
fn exactly_what_is_not_referred_to_is_removed() {
    let (dir, depot) = in_directory();
    let root = dir.path().join("some/prefix");
    let mut here = Machine::new();
    let mut after_first = BTreeSet::new();
    for minute in 1..=4 {
        here.minute(Minute(minute), 100);
        depot.put(&here.checkpoints, TASK, Minute(minute)).unwrap();
        after_first = if minute == 1 { below(&root.join("files")) } else { after_first };
    }
    let all = below(&root.join("files"));
    assert_eq!(depot.keep(|_, _| true, Duration::ZERO).unwrap(), depot::Removed::default());
    let removed = depot.keep(|task, minute| task == TASK && minute != Minute(1), HOUR).unwrap();
    assert_eq!((removed.manifests, removed.files), (1, 0));
    assert_eq!((below(&root.join("files")), depot.minutes(TASK).unwrap().len()), (all.clone(), 3));

    let at = |minute| here.checkpoints.path(TASK, minute);
    let content = |path: PathBuf| blake3::hash(&fs::read(path).unwrap()).to_string();
    let names = |minute| sums(&here, minute).into_iter().map(move |(name, _)| content(at(minute).join(name)));
    let wanted: BTreeSet<String> = [Minute(2), Minute(3), Minute(4)].into_iter().flat_map(names).collect();
    let removed = depot.keep(|_, _| true, Duration::ZERO).unwrap();
    assert!(removed.files > 0 && removed.bytes > 0 && removed.manifests == 0);
    assert_eq!(below(&root.join("files")), wanted);
    assert_eq!(below(&root.join("files")).len() as u64 + removed.files, all.len() as u64);
    assert!(after_first.difference(&wanted).count() as u64 == removed.files);
    for minute in [Minute(2), Minute(3), Minute(4)] {
        depot.fetch(TASK, minute, &Machine::new().checkpoints).unwrap();
    }
    depot.keep(|_, _| false, Duration::ZERO).unwrap();
    assert_eq!((below(&root.join("files")).len(), depot.minutes(TASK).unwrap().len()), (0, 0));
}

#[test]
fn what_is_of_no_use_is_refused_in_words() {
    let message = |url: &str, options: &[(&str, &str)]| {
        let options = options.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        Depot::open(url, &options).err().unwrap().to_string()
    };
    assert!(message("nonsense", &[]).contains("nonsense"));
    assert!(message("ftp://host/x", &[]).contains("ftp://host/x"));
    assert!(message("s3://bucket/x", &[("aws_endpiont", "http://x")]).contains("`aws_endpiont`"));
    let (_dir, depot) = in_directory();
    let checkpoints = Machine::new().checkpoints;
    let nothing = depot.put(&checkpoints, TASK, Minute(1)).unwrap_err();
    assert!(matches!(nothing, DepotError::NotTaken { .. }) && !nothing.is_away());
    let nothing = depot.fetch(TASK, Minute(1), &checkpoints).unwrap_err();
    assert!(matches!(nothing, DepotError::Missing { .. }) && !nothing.is_away());
}

#[test]
fn a_checkpoint_comes_back_over_http_as_it_was() {
    let server = s3::Server::start();
    let depot = Depot::open("s3://checkpoints/some/prefix", &server.options("right")).unwrap();
    round_trip(&depot);
    let (mut here, there) = (Machine::new(), Machine::new());
    here.large_minute(Minute(7));
    let moved = depot.put(&here.checkpoints, TASK, Minute(7)).unwrap();
    assert!(moved.bytes > 16 << 20);
    depot.fetch(TASK, Minute(7), &there.checkpoints).unwrap();
    assert!(rows_of(&there, Minute(7)) == rows(here.store()));

    let mut other = Machine::new();
    other.minute(Minute(100), 3);
    let became = depot.put(&other.checkpoints, TASK, Minute(100)).unwrap().became;
    assert_eq!(became, Became::AnotherStays { same_state: false });
    assert_eq!(depot.keep(|_, minute| minute == Minute(102), HOUR).unwrap().manifests, 3);
    assert!(depot.keep(|_, _| true, Duration::ZERO).unwrap().files > 0);
    depot.fetch(TASK, Minute(102), &Machine::new().checkpoints).unwrap();

    let stranger = Depot::open("s3://checkpoints/some/prefix", &server.options("wrong")).unwrap();
    let error = stranger.minutes(TASK).unwrap_err();
    assert!(!error.is_away() && error.to_string().contains("credentials"), "{error}");
    let nowhere = Depot::open("s3://nowhere/x", &server.options("right")).unwrap();
    let error = nowhere.put(&other.checkpoints, TASK, Minute(100)).unwrap_err();
    assert!(!error.is_away() && error.to_string().contains("bucket"), "{error}");
}

#[test]
fn a_checkpoint_comes_back_over_tls_as_it_was() {
    let server = s3::Server::start_with_tls();
    let mut options = server.options("right");
    options.remove("aws_allow_http");
    options.insert("allow_invalid_certificates".to_owned(), "true".to_owned());
    round_trip(&Depot::open("s3://checkpoints", &options).unwrap());
}
