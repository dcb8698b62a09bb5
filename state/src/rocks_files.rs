//! The files of a store: its MANIFEST is checked before RocksDB reads it, and where RocksDB does not say which file
//! is damaged, it is found out here.
//!
//! RocksDB takes a record whose length points beyond the end of the file for one that a crash cut off, and leaves
//! it out with all that follows: one flipped bit there, and the store silently goes back to an earlier flush. Here
//! every record must be whole. The layout is that of RocksDB's logs: blocks of 32 KiB; records of a masked crc32c
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

/// Fails unless the MANIFEST of a store is whole. A directory without a store has none.
pub(crate) fn check(dir: &Path) -> Result<(), StateError> {
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
    bytes.chunks(BLOCK).all(is_whole_block)
}

fn is_whole_block(mut block: &[u8]) -> bool {
    let mut left = BLOCK;
    while !block.is_empty() {
        if left < HEAD {
            return block.iter().all(|b| *b == 0);
        }
        let Some((head, rest)) = block.split_first_chunk::<HEAD>() else { return false };
        let crc = u32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        let length = usize::from(u16::from_le_bytes([head[4], head[5]]));
        let Some((content, rest)) = rest.split_at_checked(length) else { return false };
        if crc != masked(crc32c::crc32c_append(crc32c::crc32c(&head[6..]), content)) {
            return false;
        }
        left -= HEAD + length;
        block = rest;
    }
    true
}

fn masked(crc: u32) -> u32 {
    crc.rotate_right(15).wrapping_add(0xA282_EAD8)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{Commit, Durability, Shared, Store};

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
