//! The content of local files, by which they are named in a depot.
//!
//! RocksDB never changes a table file, so one that was hashed once need not be read again.

use crate::direct;
use crate::error::StateError;
use crate::files::{self, FileSum};
use blake3::{Hash, Hasher};
use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Mutex;

/// Bytes of a file that are hashed at a time.
const AT_A_TIME: usize = 1 << 18;

/// The hashes of table files that are known, by device and inode: what a link leads to.
#[derive(Default)]
pub(super) struct Hashes(Mutex<HashMap<(u64, u64), (FileSum, Hash)>>);

impl Hashes {
    /// Of all files of a checkpoint, in their order.
    pub(super) fn of_all(&self, dir: &Path, sums: &[FileSum]) -> Result<Vec<Hash>, StateError> {
        sums.iter().map(|sum| self.of(&dir.join(&sum.name), sum)).collect()
    }

    /// Of a file, which must be the one that was summed.
    pub(super) fn of(&self, path: &Path, sum: &FileSum) -> Result<Hash, StateError> {
        use std::os::unix::fs::MetadataExt;
        let damaged = |problem| StateError::Damaged { path: path.to_owned(), problem };
        let meta = match fs::metadata(path) {
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Err(damaged("it is missing")),
            other => other.map_err(StateError::io("read", path))?,
        };
        if meta.len() != sum.bytes {
            return Err(damaged("its length is wrong"));
        }
        let key = (meta.dev(), meta.ino());
        if let Some((_, hash)) = super::lock(&self.0).get(&key).filter(|(known, _)| known == sum) {
            return Ok(*hash);
        }
        let mut content = Content::default();
        direct::read_through(path, AT_A_TIME, |bytes| content.add(bytes))
            .map_err(StateError::io("read", path))?;
        let hash = content.hash_if(sum).map_err(damaged)?;
        if files::is_table(&sum.name) {
            super::remember(&self.0, key, (sum.clone(), hash));
        }
        Ok(hash)
    }
}

/// What there is to know of bytes that pass by.
#[derive(Default)]
pub(super) struct Content {
    bytes: u64,
    crc32c: u32,
    hasher: Hasher,
}

impl Content {
    pub(super) fn add(&mut self, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        self.crc32c = crc32c::crc32c_append(self.crc32c, bytes);
        self.hasher.update(bytes);
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The hash, if length and checksum are right; otherwise what is wrong.
    pub(super) fn hash_if(&self, sum: &FileSum) -> Result<Hash, &'static str> {
        match () {
            () if self.bytes != sum.bytes => Err("its length is wrong"),
            () if self.crc32c != sum.crc32c => Err("its checksum is wrong"),
            () => Ok(self.hasher.finalize()),
        }
    }

    /// What is wrong, if these are not the bytes of a hash.
    pub(super) fn check(&self, sum: &FileSum, hash: Hash) -> Result<(), &'static str> {
        match self.hash_if(sum)? {
            own if own == hash => Ok(()),
            _ => Err("its hash is wrong"),
        }
    }
}
