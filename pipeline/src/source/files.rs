//! Which files are read. A file is known by device and inode, not by its name: a rotation renames it
//! and what is left of it is still read.

use crate::error::JobError;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Bytes at the start of a file by which a reused inode is told apart.
const FINGERPRINT: u64 = 256;

/// What collect knows of a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileState {
    /// Number within this collector; never used twice.
    pub id: u32,
    /// Where it was last seen.
    pub path: PathBuf,
    /// Device and inode.
    pub key: (u64, u64),
    /// Bytes taken in.
    pub offset: u64,
    /// How many bytes the fingerprint covers, at most 256.
    pub printed: u64,
    /// CRC-32C of so many first bytes.
    pub print: u32,
    /// The newest event time read from it, in ms; orders the files of a finite run.
    pub newest_ms: u64,
}

impl FileState {
    /// A file that was not seen before.
    pub fn found(id: u32, path: PathBuf, key: (u64, u64)) -> Self {
        FileState { id, path, key, offset: 0, printed: 0, print: 0, newest_ms: 0 }
    }

    /// Remembers the file's first bytes as far as they were taken in.
    pub fn extend_print(&mut self, file: &File) {
        let wanted = self.offset.min(FINGERPRINT);
        if let Some(print) = print_of(file, wanted).filter(|_| wanted > self.printed) {
            (self.printed, self.print) = (wanted, print);
        }
    }

    /// Whether an open file is this one, and not a new one that got its inode.
    pub fn is(&self, file: &File) -> bool {
        print_of(file, self.printed) == Some(self.print) || self.printed == 0
    }
}

fn print_of(file: &File, len: u64) -> Option<u32> {
    let mut bytes = vec![0; len as usize];
    file.read_exact_at(&mut bytes, 0).ok()?;
    Some(crc32c::crc32c(&bytes))
}

/// What to read: a file, a directory, or a glob in the last component of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSpec(pub PathBuf);

impl FileSpec {
    /// The files there are now, by name.
    pub fn list(&self) -> Result<Vec<PathBuf>, JobError> {
        if self.0.is_dir() {
            return list(&self.0, |_| true);
        }
        match self.pattern() {
            Some((dir, pattern)) if dir.is_dir() => list(dir, |name| matches(pattern, name)),
            Some(_) => Ok(Vec::new()),
            None => Ok(self.0.is_file().then(|| self.0.clone()).into_iter().collect()),
        }
    }

    fn pattern(&self) -> Option<(&Path, &str)> {
        let name = self.0.file_name()?.to_str().filter(|n| n.contains(['*', '?']))?;
        Some((self.parent(), name))
    }

    /// The directory in which a rotated file would still be found.
    fn parent(&self) -> &Path {
        match self.0.parent() {
            _ if self.0.is_dir() => &self.0,
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        }
    }

    /// Where each file of the directory is now, by device and inode.
    pub fn whereabouts(&self) -> Result<HashMap<(u64, u64), PathBuf>, JobError> {
        let files = if self.parent().is_dir() { list(self.parent(), |_| true)? } else { Vec::new() };
        Ok(files.into_iter().filter_map(|path| Some((key_of(&path)?, path))).collect())
    }
}

/// Device and inode of a file; `None` if it is gone.
pub fn key_of(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|m| (m.dev(), m.ino()))
}

fn list(dir: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<PathBuf>, JobError> {
    let entries = fs::read_dir(dir).map_err(JobError::io("list", dir))?;
    let mut files: Vec<PathBuf> = entries
        .filter_map(Result::ok)
        .filter(|e| e.file_name().to_str().is_some_and(|n| !n.starts_with('.') && wanted(n)))
        .map(|e| e.path())
        .filter(|p| p.is_file())
        .collect();
    files.sort();
    Ok(files)
}

/// Whether a name matches a pattern of `*` and `?`.
fn matches(pattern: &str, name: &str) -> bool {
    let mut rest = pattern.chars();
    match rest.next() {
        None => name.is_empty(),
        Some('*') => {
            let rest = rest.as_str();
            (0..=name.len()).filter(|i| name.is_char_boundary(*i)).any(|i| matches(rest, &name[i..]))
        }
        Some(c) => name
            .chars()
            .next()
            .is_some_and(|n| (c == '?' || c == n) && matches(rest.as_str(), &name[n.len_utf8()..])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_whole_names() {
        for (pattern, name, is) in [
            ("*.ndjson", "a.ndjson", true),
            ("*.ndjson", "a.ndjson.1", false),
            ("access.log*", "access.log.1", true),
            ("e-?.log", "e-1.log", true),
            ("e-?.log", "e-12.log", false),
            ("*", "ä", true),
        ] {
            assert_eq!(matches(pattern, name), is, "{pattern} {name}");
        }
    }
}
