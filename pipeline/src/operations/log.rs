//! Writing the audit log. Those who write at the same time share a sync.

use super::{Begun, Ended, Entry};
use crate::auth::Caller;
use crate::error::JobError;
use crate::line_file::LineFile;
use crate::source::collect::now_ms;
use serde_json::Value;
use std::fs::File;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_state::failpoints;

const STEP: &str = "operator_log.append";

/// The audit log of the job that runs.
#[derive(Debug)]
pub struct OperatorLog {
    file: LineFile<Entry>,
    written: Mutex<Written>,
    synced: Mutex<Synced>,
}

#[derive(Debug, Default)]
struct Written {
    /// The file as it is appended to, from the first action on, and the last id in it.
    open: Option<(Arc<File>, u64)>,
    /// Entries of this process.
    entries: u64,
}

#[derive(Debug, Default)]
struct Synced {
    /// How many entries of this process are durable.
    entries: u64,
    /// After a sync that failed nobody knows what is on disk, and the next one would hide that.
    failed: bool,
}

impl OperatorLog {
    /// In a data directory.
    pub fn new(path: PathBuf) -> Self {
        OperatorLog { file: LineFile::new(path, STEP), written: Mutex::default(), synced: Mutex::default() }
    }

    /// Every entry.
    pub fn read(&self) -> Result<Vec<Entry>, JobError> {
        Ok(self.file.read()?.0)
    }

    /// Does something that an operator asks for, once it stands in the log who has asked for what; then what was
    /// answered goes there, too.
    pub fn record<T, E: From<JobError> + std::fmt::Display>(
        &self,
        caller: &Caller,
        action: &str,
        arguments: Value,
        work: impl FnOnce() -> Result<T, E>,
        answer: impl FnOnce(&T) -> Value,
    ) -> Result<T, E> {
        let mut id = 0;
        self.append(|last_id| {
            id = last_id + 1;
            Entry::Begun(Begun {
                id,
                time_ms: now_ms(),
                who: caller.name.clone(),
                address: caller.address.map(|a| a.to_string()),
                action: action.to_owned(),
                arguments,
            })
        })?;
        let done = work();
        let (error, answer) = match &done {
            Ok(done) => (None, answer(done)),
            Err(error) => (Some(error.to_string()), Value::Null),
        };
        let ended = self.append(|_| Entry::Ended(Ended { id, time_ms: now_ms(), error, answer }));
        if let Err(error) = ended {
            // It was done all the same, and whoever asked must know that.
            tracing::error!(
                "what came of {action} by {:?} is not in the log of operations: {error}",
                caller.name
            );
        }
        done
    }

    /// Appends the entry that is made of the last id; durable when it returns.
    fn append(&self, entry: impl FnOnce(u64) -> Entry) -> Result<(), JobError> {
        let (file, mine) = self.write(entry)?;
        let mut synced = self.synced.lock().unwrap_or_else(PoisonError::into_inner);
        if synced.entries >= mine {
            return Ok(());
        }
        if synced.failed {
            return Err(JobError::Refused(format!(
                "{} could not be written to disk before; start the job again when its disk is well",
                self.file.path().display()
            )));
        }
        let written = self.lock().entries;
        match failpoints::io(STEP, || file.sync_all()) {
            Ok(()) => synced.entries = written,
            Err(error) => {
                synced.failed = true;
                return Err(JobError::io("sync", self.file.path())(error));
            }
        }
        Ok(())
    }

    /// Writes an entry; the file, and how many are in it.
    fn write(&self, entry: impl FnOnce(u64) -> Entry) -> Result<(Arc<File>, u64), JobError> {
        let mut written = self.lock();
        let (file, last_id) = match written.open.take() {
            Some(open) => open,
            None => self.begin()?,
        };
        let entry = entry(last_id);
        let last_id = if let Entry::Begun(begun) = &entry { begun.id } else { last_id };
        // If it fails the file is begun anew, which cuts off what was half written.
        self.file.write(&file, &entry)?;
        written.entries += 1;
        written.open = Some((file.clone(), last_id));
        Ok((file, written.entries))
    }

    fn begin(&self) -> Result<(Arc<File>, u64), JobError> {
        let ids = self.read()?.into_iter().map(|entry| match entry {
            Entry::Begun(Begun { id, .. }) | Entry::Ended(Ended { id, .. }) => id,
        });
        let last_id = ids.max().unwrap_or(0);
        Ok((Arc::new(self.file.begin()?), last_id))
    }

    fn lock(&self) -> MutexGuard<'_, Written> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
#[path = "log_tests.rs"]
mod tests;
