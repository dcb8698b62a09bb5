//! The files of a store: its MANIFEST is checked before RocksDB reads it, and where RocksDB does not say which file
//! is damaged, it is found out here.
//!
//! RocksDB takes a record whose length points beyond the end of the file for one that a crash cut off, and leaves
//! it out with all that follows: one flipped bit there, and the store silently goes back to an earlier flush. Here
//! every record must be whole. A write-ahead log may really end where a crash cut it off; there a record is
//! taken for damaged if it would be whole with one other bit in its head. The layout is that of RocksDB's logs: blocks of 32 KiB; records of a masked crc32c
//! u32 (of type and content), length u16, type u8 and content; less than 7 bytes at the end of a block are zero.

use crate::error::StateError;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

const BLOCK: usize = 32 << 10;
const HEAD: usize = 7;
/// A running job may be writing a record: so often it is looked again, and after how long.
const LOOKS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(20);

/// Fails unless the MANIFEST of a store is whole, and its write-ahead logs end as they were written or cut off. A
/// directory without a store has none.
pub(crate) fn check(dir: &Path) -> Result<(), StateError> {
    for path in files_of(dir, "log") {
        let bytes = read(&path)?.unwrap_or_default();
        if first_damaged(&bytes).is_some_and(|at| has_flipped_head(&bytes, at)) {
            return Err(StateError::DamagedStore {
                path,
                problem: "the head of a record is not what was written",
            });
        }
    }
    let current = dir.join("CURRENT");
    let Some(name) = read(&current)? else { return Ok(()) };
    let name = std::str::from_utf8(&name).ok().and_then(|name| name.strip_suffix('\n'));
    let Some(name) = name.filter(|name| is_manifest(name)) else {
        return Err(StateError::DamagedStore { path: current, problem: "it names no MANIFEST" });
    };
    let path: PathBuf = dir.join(name);
    match read(&path)? {
        Some(bytes) if is_whole(&bytes) => Ok(()),
        Some(_) => Err(StateError::DamagedStore { path, problem: "a record of it is not what was written" }),
        None => {
            Err(StateError::DamagedStore { path: current, problem: "the MANIFEST that it names is missing" })
        }
    }
}

/// The same beside a job that may be writing.
pub(crate) fn check_beside(dir: &Path) -> Result<(), StateError> {
    for _ in 1..LOOKS {
        match check(dir) {
            Err(StateError::DamagedStore { .. }) => std::thread::sleep(PAUSE),
            other => return other,
        }
    }
    check(dir)
}

/// What kept RocksDB from opening a store, with the name of the file where that can be told.
pub(crate) fn damage(dir: &Path, source: rocksdb::Error) -> StateError {
    let (path, text) = (dir.to_owned(), source.to_string());
    if source.kind() != rocksdb::ErrorKind::Corruption || text.contains(".sst") || text.contains(".log") {
        return StateError::Rocks { path, source };
    }
    let is_damaged = |log: &&PathBuf| !fs::read(log).is_ok_and(|bytes| is_whole(&bytes));
    if let Some(log) = files_of(dir, "log").iter().find(is_damaged) {
        return StateError::DamagedStore {
            path: log.clone(),
            problem: "a record of it is not what was written",
        };
    }
    let tables: Vec<String> = files_of(dir, "sst").iter().map(|t| t.display().to_string()).collect();
    StateError::DamagedTable { path, tables: tables.join(", "), source }
}

fn files_of(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path());
    let mut files: Vec<PathBuf> = files.filter(|p| p.extension().is_some_and(|e| e == extension)).collect();
    files.sort();
    files
}

fn is_manifest(name: &str) -> bool {
    let number = name.strip_prefix("MANIFEST-");
    number.is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, StateError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(e) => Err(StateError::io("read", path)(e)),
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    first_damaged(bytes).is_none()
}

/// Where the first record stands that is not what was written.
fn first_damaged(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    while at < bytes.len() {
        let rest = &bytes[at..block_end(bytes, at)];
        let left = BLOCK - at % BLOCK;
        if left < HEAD && rest.iter().all(|b| *b == 0) {
            at += left;
            continue;
        }
        let length = rest.first_chunk().filter(|_| left >= HEAD).map(length_of);
        match length.filter(|length| is_record(rest, *length)) {
            Some(length) => at += HEAD + length,
            None => return Some(at),
        }
    }
    None
}

/// Whether the record there is whole but for one bit of its head. RocksDB takes a wrong length or type for the end of
/// the log.
fn has_flipped_head(bytes: &[u8], at: usize) -> bool {
    let mut rest = bytes[at..block_end(bytes, at)].to_vec();
    let mut is_whole_with = |bit: usize| {
        rest[bit / 8] ^= 1 << (bit % 8);
        let is_whole = rest.first_chunk().is_some_and(|head| is_record(&rest, length_of(head)));
        rest[bit / 8] ^= 1 << (bit % 8);
        is_whole
    };
    bytes.len() >= at + HEAD && (0..8 * HEAD).any(&mut is_whole_with)
}

fn block_end(bytes: &[u8], at: usize) -> usize {
    bytes.len().min((at / BLOCK + 1) * BLOCK)
}

fn length_of(head: &[u8; HEAD]) -> usize {
    usize::from(u16::from_le_bytes([head[4], head[5]]))
}

/// Whether a record with a content of this length begins here.
fn is_record(rest: &[u8], length: usize) -> bool {
    let Some((head, rest)) = rest.split_first_chunk::<HEAD>() else { return false };
    let crc = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
    let sum = |content| masked(crc32c::crc32c_append(crc32c::crc32c(&head[6..]), content));
    rest.get(..length).is_some_and(|content| crc == sum(content))
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Commit, Durability, Shared, Store};

    #[test]
    fn a_flipped_bit_of_a_write_ahead_log_is_found_and_a_torn_end_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, shared) = (folder.path().join("store"), Shared::new(1 << 20));
        let store = Store::open(&dir, &shared).unwrap();
        for number in 1..3u64 {
            let mut commit = Commit::new(number);
            commit.put(1, b"key", &number.to_le_bytes());
            store.commit(commit, Durability::Process).unwrap();
        }
        drop(store);
        let log = files_of(&dir, "log").into_iter().find(|p| fs::metadata(p).unwrap().len() > 0).unwrap();
        let name = log.file_name().unwrap().to_str().unwrap();
        let open = |bytes: &[u8]| {
            let copy = folder.path().join("copy");
            crate::remove_all(&copy).unwrap();
            fs::create_dir(&copy).unwrap();
            for entry in fs::read_dir(&dir).unwrap() {
                let from = entry.unwrap().path();
                fs::copy(&from, copy.join(from.file_name().unwrap())).unwrap();
            }
            fs::write(copy.join(name), bytes).unwrap();
            Store::open(&copy, &shared).map(|s| s.get(1, b"key").unwrap().map(|value| value[0]))
        };
        let bytes = fs::read(&log).unwrap();
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            let error = open(&damaged).unwrap_err();
            assert!(error.is_damage() && error.to_string().contains(name), "{bit}: {error}");
        }
        assert_eq!(open(&bytes).unwrap(), Some(2));
        assert_eq!(open(&bytes[..bytes.len() - 3]).unwrap(), Some(1), "what a crash cut off was never there");
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, shared) = (folder.path().join("store"), Shared::new(1 << 20));
        for number in 1..4 {
            let store = Store::open(&dir, &shared).unwrap();
            let mut commit = Commit::new(number);
            commit.put(1, b"key", &number.to_le_bytes());
            store.commit(commit, Durability::FromLog).unwrap();
            store.flush().unwrap();
        }
        check(&dir).unwrap();
        let current = fs::read_to_string(dir.join("CURRENT")).unwrap();
        for name in ["CURRENT", current.trim()] {
            let path = dir.join(name);
            let bytes = fs::read(&path).unwrap();
            for bit in 0..8 * bytes.len() {
                let mut damaged = bytes.clone();
                damaged[bit / 8] ^= 1 << (bit % 8);
                fs::write(&path, damaged).unwrap();
                let error = Store::open(&dir, &shared).map(|_| ()).unwrap_err();
                assert!(error.is_damage() && error.to_string().contains(name), "{name} {bit}: {error}");
            }
            fs::write(&path, bytes).unwrap();
        }
        let store = Store::open(&dir, &shared).unwrap();
        assert_eq!(store.get(1, b"key").unwrap().unwrap().as_ref(), 3u64.to_le_bytes());
    }
}
