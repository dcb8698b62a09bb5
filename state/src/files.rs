//! The files of a checkpoint: their checksums, and a second life of them as a store.
//!
//! RocksDB never changes a table file, so one that was summed once need not be read again for the next
//! checkpoint that links to it.

use crate::direct;
use crate::error::StateError;
use crate::failpoints;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::path::Path;
use std::sync::{Mutex, PoisonError};

/// Bytes of a file that are summed at a time.
const AT_A_TIME: usize = 1 << 18;

/// A file of a checkpoint.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct FileSum {
    /// Its name.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// CRC-32C of its bytes.
    pub crc32c: u32,
}

/// The sums of table files that are known, by device and inode: what a link leads to.
#[derive(Debug, Default)]
pub(crate) struct Sums(Mutex<HashMap<(u64, u64), FileSum>>);

impl Sums {
    /// The files of a directory, in the order of their names.
    pub(crate) fn of_dir(&self, dir: &Path) -> Result<Vec<FileSum>, StateError> {
        let mut sums = Vec::new();
        for entry in fs::read_dir(dir).map_err(StateError::io("list", dir))? {
            let entry = entry.map_err(StateError::io("list", dir))?;
            sums.push(self.of_file(&entry.path(), &entry.file_name().to_string_lossy())?);
        }
        sums.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(sums)
    }

    fn of_file(&self, path: &Path, name: &str) -> Result<FileSum, StateError> {
        use std::os::unix::fs::MetadataExt;
        let meta = fs::metadata(path).map_err(StateError::io("read", path))?;
        let key = (meta.dev(), meta.ino());
        let known = |s: &&FileSum| s.name == name && s.bytes == meta.len();
        if let Some(sum) = self.known().get(&key).filter(known) {
            return Ok(sum.clone());
        }
        let sum = FileSum { name: name.to_owned(), bytes: meta.len(), crc32c: crc_of(path)? };
        if is_table(name) {
            let mut known = self.known();
            // Inodes of files that are gone stay behind; a few megabytes of them are enough.
            if known.len() > 100_000 {
                known.clear();
            }
            known.insert(key, sum.clone());
        }
        Ok(sum)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, HashMap<(u64, u64), FileSum>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

pub(crate) fn is_table(name: &str) -> bool {
    name.ends_with(".sst")
}

fn crc_of(path: &Path) -> Result<u32, StateError> {
    let mut crc = 0;
    let read = direct::read_through(path, AT_A_TIME, |bytes| crc = crc32c::crc32c_append(crc, bytes));
    read.map(|()| crc).map_err(StateError::io("read", path))
}

/// Whether the files of a checkpoint are those that were summed.
pub(crate) fn verify(dir: &Path, sums: &[FileSum]) -> Result<(), StateError> {
    for sum in sums {
        let path = dir.join(&sum.name);
        let problem = match fs::metadata(&path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => "it is missing",
            Err(e) => return Err(StateError::io("read", &path)(e)),
            Ok(meta) if meta.len() != sum.bytes => "its length is wrong",
            Ok(_) if crc_of(&path)? != sum.crc32c => "its checksum is wrong",
            Ok(_) => continue,
        };
        return Err(StateError::Damaged { path, problem });
    }
    Ok(())
}

/// Makes a store of a checkpoint: table files are linked, the few small ones that RocksDB goes on
/// writing are copied. `to` must not exist.
pub(crate) fn link(from: &Path, sums: &[FileSum], to: &Path) -> Result<(), StateError> {
    failpoints::before("restore.link").map_err(StateError::io("link to", to))?;
    fs::create_dir_all(to).map_err(StateError::io("create", to))?;
    for sum in sums {
        let (source, target) = (from.join(&sum.name), to.join(&sum.name));
        let made = if is_table(&sum.name) {
            fs::hard_link(&source, &target)
        } else {
            fs::copy(&source, &target).and_then(|_| File::open(&target)?.sync_all())
        };
        made.map_err(StateError::io("link or copy", &source))?;
    }
    sync_dir(to)?;
    failpoints::after("restore.link").map_err(StateError::io("sync", to))
}

pub(crate) fn sync_dir(path: &Path) -> Result<(), StateError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(StateError::io("sync", path))
}

/// CRC-32C of a value as JSON, to be written beside it.
pub fn sum_of_json(value: &impl serde::Serialize) -> u32 {
    // Writing plain data into memory cannot fail.
    crc32c::crc32c(&serde_json::to_vec(value).unwrap_or_default())
}

/// Deletes a directory with all that is in it, if it is there.
pub fn remove_all(dir: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(dir) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(StateError::io("remove", dir)(e)),
        _ => Ok(()),
    }
}
