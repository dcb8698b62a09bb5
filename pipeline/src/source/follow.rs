//! The open files of a collector: which are new, which have grown, which were rotated away.

use super::files::{FileSpec, FileState, key_of};
use super::plan::Slice;
use super::reader;
use super::spooled::SPOOL;
use crate::error::JobError;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::path::Path;
use std::time::Duration;

/// Bytes of a turn of the long-running job, at most and about.
const TURN: u64 = 8 << 20;

/// How long a rotated file must have been quiet before its unfinished last line is taken for whole.
const QUIET: Duration = Duration::from_secs(5);

/// The files of a collector.
pub struct Files {
    specs: Vec<FileSpec>,
    open: HashMap<u32, File>,
    /// Files that are not looked at again: read to the end of a finite run, or lost.
    closed: HashSet<u32>,
}

impl Files {
    /// Of these specifications.
    pub fn new(specs: Vec<FileSpec>) -> Self {
        Files { specs, open: HashMap::new(), closed: HashSet::new() }
    }

    /// Files that are there and not known yet, in the order of the specifications and names.
    pub fn discover(&self, known: &[FileState], mut next: u32) -> Result<Vec<FileState>, JobError> {
        let mut found: Vec<FileState> = Vec::new();
        for spec in &self.specs {
            for path in spec.list()? {
                let Some(key) = key_of(&path) else { continue };
                let is_new = !found.iter().any(|f| f.key == key)
                    && known.iter().rev().find(|f| f.key == key).is_none_or(|f| replaced(f, &path));
                if is_new {
                    found.push(FileState::found(next, path, key));
                    next += 1;
                }
            }
        }
        Ok(found)
    }

    /// The open file of a known one, wherever it was renamed to.
    pub fn file(&mut self, state: &FileState) -> Result<&File, JobError> {
        if !self.open.contains_key(&state.id) {
            let file = self.find(state)?;
            self.open.insert(state.id, file);
        }
        self.open.get(&state.id).ok_or_else(|| gone(state))
    }

    fn find(&self, state: &FileState) -> Result<File, JobError> {
        let mut candidates = vec![state.path.clone()];
        for spec in &self.specs {
            candidates.extend(spec.whereabouts()?.remove(&state.key));
        }
        candidates
            .into_iter()
            .filter(|path| key_of(path) == Some(state.key))
            .filter_map(|path| File::open(path).ok())
            .find(|file| state.is(file))
            .ok_or_else(|| gone(state))
    }

    /// What has been added to the files and makes whole lines.
    pub fn grown(&mut self, known: &[FileState]) -> Result<Vec<Slice>, JobError> {
        let (mut slices, mut bytes) = (Vec::new(), 0);
        for state in known {
            if bytes >= TURN || state.id == SPOOL || self.closed.contains(&state.id) {
                continue;
            }
            if let Err(error) = self.file(state) {
                tracing::error!("{error}");
                self.closed.insert(state.id);
                continue;
            }
            if let Some(slice) = self.slice_of(state)? {
                bytes += slice.to - slice.from;
                slices.push(slice);
            }
        }
        Ok(slices)
    }

    fn slice_of(&mut self, state: &FileState) -> Result<Option<Slice>, JobError> {
        let meta = self.file(state)?.metadata().map_err(JobError::io("read", &state.path))?;
        if meta.len() <= state.offset {
            return Ok(None);
        }
        // A live file will get the rest of its line; one that was renamed or removed may not.
        let quiet = || meta.modified().ok().and_then(|t| t.elapsed().ok()).is_some_and(|age| age > QUIET);
        let ended = key_of(&state.path) != Some(state.key) && quiet();
        let end = reader::slice_end(self.file(state)?, &state.path, state.offset, meta.len(), ended)?;
        Ok(end.map(|to| Slice { file: state.id, from: state.offset, to }))
    }

    /// The next slice of a finite run: from the file whose events are the oldest, so that files of
    /// the same time are read side by side and files of different times one after the other.
    pub fn next_finite(&mut self, known: &[FileState]) -> Result<Option<Slice>, JobError> {
        let is_open = |f: &&FileState| f.id != SPOOL && !self.closed.contains(&f.id);
        let mut order: Vec<&FileState> = known.iter().filter(is_open).collect();
        order.sort_by_key(|f| (f.newest_ms, f.id));
        for state in order {
            let state = state.clone();
            let file = self.file(&state)?;
            let size = file.metadata().map_err(JobError::io("read", &state.path))?.len();
            match reader::slice_end(file, &state.path, state.offset, size, true)? {
                Some(to) => return Ok(Some(Slice { file: state.id, from: state.offset, to })),
                None => {
                    self.closed.insert(state.id);
                    self.open.remove(&state.id);
                }
            }
        }
        Ok(None)
    }

    /// Forgets files that are gone from the disk and have nothing left to read.
    pub fn forget_gone(&mut self, known: &mut Vec<FileState>) -> Result<(), JobError> {
        let mut on_disk = HashSet::new();
        for spec in &self.specs {
            on_disk.extend(spec.whereabouts()?.into_keys());
        }
        known.retain(|f| {
            let left = |file: &File| file.metadata().is_ok_and(|m| m.len() > f.offset);
            let keep = f.id == SPOOL || on_disk.contains(&f.key) || self.open.get(&f.id).is_some_and(left);
            if !keep {
                self.open.remove(&f.id);
            }
            keep
        });
        Ok(())
    }
}

/// Whether what now stands at a path has the inode of a known file and is another one: shorter than
/// what was read, or with another beginning.
fn replaced(known: &FileState, path: &Path) -> bool {
    let Ok(file) = File::open(path) else { return false };
    file.metadata().is_ok_and(|m| m.len() < known.offset) || !known.is(&file)
}

fn gone(state: &FileState) -> JobError {
    JobError::Source {
        path: state.path.clone(),
        problem: format!(
            "the file was removed or replaced before it was read from byte {} on. If you still have it, put \
             it back into its directory under any name",
            state.offset
        ),
    }
}
