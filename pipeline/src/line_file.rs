//! A file of entries that are appended one by one and never changed: the control log and the log of operations.
//!
//! One entry a line, `{"format": 1, "crc32c": …, "entry": {…}}`, the checksum over the entry as compact JSON. A
//! last line that is cut short was never acknowledged.

use crate::error::JobError;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Write};
use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use weir_state::{failpoints, sum_of_json};

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Line<E> {
    format: u32,
    crc32c: u32,
    entry: E,
}

/// A file of entries of one kind.
#[derive(Debug)]
pub struct LineFile<E> {
    path: PathBuf,
    /// The name of its failpoints.
    step: &'static str,
    entries: PhantomData<fn() -> E>,
}

impl<E: Serialize + DeserializeOwned> LineFile<E> {
    /// At a path; it need not exist yet.
    pub fn new(path: PathBuf, step: &'static str) -> Self {
        LineFile { path, step, entries: PhantomData }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Every entry, and the length of what is whole.
    pub fn read(&self) -> Result<(Vec<E>, u64), JobError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(e) => return Err(JobError::io("read", &self.path)(e)),
        };
        let (mut entries, mut whole) = (Vec::new(), 0);
        for (number, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            match parse::<E>(line) {
                Some(parsed) if line.ends_with(b"\n") && parsed.format == FORMAT => {
                    entries.push(parsed.entry);
                }
                _ if whole as usize + line.len() == text.len() && is_cut_short::<E>(line) => break,
                _ => return Err(self.damaged(number + 1)),
            }
            whole += line.len() as u64;
        }
        Ok((entries, whole))
    }

    /// Cuts off what a crash has left of an entry; the file to append to.
    pub fn begin(&self) -> Result<File, JobError> {
        let (_, whole) = self.read()?;
        let error = |what| JobError::io(what, &self.path);
        let file = OpenOptions::new().create(true).append(true).open(&self.path).map_err(error("open"))?;
        file.set_len(whole).map_err(error("cut"))?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|d| d.sync_all()).map_err(JobError::io("sync", dir))?;
        Ok(file)
    }

    /// Appends an entry to the file, which was begun. It is not durable yet.
    pub fn write(&self, mut file: &File, entry: &E) -> Result<(), JobError> {
        let line = Line { format: FORMAT, crc32c: sum_of_json(entry), entry };
        // Plain data can always be written as JSON.
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        file.write_all(&text).map_err(JobError::io("write", &self.path))
    }

    /// Appends an entry and makes it durable.
    pub fn append(&self, entry: &E) -> Result<(), JobError> {
        let file = self.begin()?;
        let mut written = Ok(());
        let write = || {
            written = self.write(&file, entry);
            if written.is_ok() { file.sync_all() } else { Ok(()) }
        };
        failpoints::io(self.step, write).map_err(JobError::io("write", &self.path))?;
        written
    }

    fn damaged(&self, line: usize) -> JobError {
        JobError::Control {
            path: self.path.clone(),
            problem: format!(
                "line {line} is damaged, or was written by another version of weir. Restore the file from a backup"
            ),
        }
    }
}

fn parse<E: Serialize + DeserializeOwned>(line: &[u8]) -> Option<Line<E>> {
    serde_json::from_slice::<Line<E>>(line).ok().filter(|l| l.crc32c == sum_of_json(&l.entry))
}

/// Whether a last line ends where a write was cut off: not behind a whole entry in something else than a line
/// feed.
fn is_cut_short<E: Serialize + DeserializeOwned>(line: &[u8]) -> bool {
    let without_end = line.split_last().map_or(line, |(_, rest)| rest);
    !line.ends_with(b"\n") && parse::<E>(without_end).is_none()
}
