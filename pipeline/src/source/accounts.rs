//! The accounts task: the accounts file into `judged`, as commands.
//!
//! The file is read once, at start. Lines added since the last start are opened then; what was taken
//! in before must still stand in the file as it was (checked by its checksum).

use crate::error::JobError;
use crate::flow::ACCOUNTS_WRITES;
use crate::log::Log;
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{Need, Work};
use crate::status::TaskStatus;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_operators::{Outbox, accounts, partition};
use weir_proto::{AccountOpen, Producer, StageId};
use weir_state::{Commit, Durability, Store, TaskMeta};

const TABLE: u8 = 1;
const TAKEN: &[u8] = b"taken";

/// Commands with the byte positions of their lines.
type Commands = Vec<(u64, AccountOpen)>;

/// Reads and checks an accounts file: its commands, and its bytes.
pub fn read(path: &Path) -> Result<(Commands, Vec<u8>), JobError> {
    let error = |problem: String| JobError::Accounts { path: path.to_owned(), problem };
    let bytes = std::fs::read(path).map_err(|e| error(format!("cannot be read: {e}")))?;
    let text = std::str::from_utf8(&bytes).map_err(|e| error(format!("is not UTF-8 text: {e}")))?;
    let commands = accounts::parse(text).map_err(|e| error(e.to_string()))?;
    Ok((commands, bytes))
}

/// The task.
pub struct AccountsTask {
    commands: Commands,
    /// Length and CRC-32C of the whole file, as it will have been taken in.
    file: (u64, u32),
    log: Arc<dyn Log>,
    store: Store,
    outbox: Outbox,
    outputs: Outputs,
    meta: TaskMeta,
    uncommitted: Option<Tickets>,
    status: Arc<TaskStatus>,
    loaded: Arc<AtomicBool>,
}

impl AccountsTask {
    /// Opens the task; `path` is `None` in a job without an accounts file.
    pub fn open(
        path: Option<&Path>,
        partitions: u32,
        store: Store,
        log: Arc<dyn Log>,
    ) -> Result<Self, JobError> {
        let task = Producer { stage: StageId::Accounts, partition: 0, generation: 1 };
        let new = || TaskMeta::new(task, ACCOUNTS_WRITES, partitions as usize, 0);
        let meta = store.meta()?.unwrap_or_else(new);
        let (mut commands, bytes) = path.map_or(Ok((Vec::new(), Vec::new())), read)?;
        if let Some(path) = path {
            expect_same_beginning(&store, path, &bytes)?;
        }
        commands.retain(|(position, _)| *position >= meta.position);
        let loaded = Arc::new(AtomicBool::new(commands.is_empty()));
        Ok(AccountsTask {
            commands,
            file: (bytes.len() as u64, crc32c::crc32c(&bytes)),
            outbox: Outbox::resume(&meta),
            outputs: Outputs::resume(log.clone(), &meta)?,
            status: Arc::new(TaskStatus::new(None, &meta)),
            log,
            store,
            meta,
            uncommitted: None,
            loaded,
        })
    }

    /// Set once every account stands in `judged`: no event may come before.
    pub fn loaded(&self) -> Arc<AtomicBool> {
        self.loaded.clone()
    }

    fn append_all(&mut self) -> Result<(), JobError> {
        for (position, command) in &self.commands {
            self.outbox.at(*position);
            self.outbox.taken();
            let to = partition::by_advertiser(command.advertiser_id, self.outbox.partitions());
            self.outbox.emit(to, &[&command.encode()]);
        }
        let batches = self.outbox.take();
        self.uncommitted = Some(self.outputs.append(batches, &mut self.meta)?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        self.meta.commits += 1;
        self.meta.position = self.file.0;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::new(self.meta.commits);
        let taken = [&self.file.0.to_le_bytes()[..], &self.file.1.to_le_bytes()].concat();
        commit.put(TABLE, TAKEN, &taken);
        commit.put_meta(&self.meta);
        self.store.commit(commit, Durability::Disk)?;
        self.commands.clear();
        self.uncommitted = None;
        self.status.committed(&self.meta);
        self.loaded.store(true, Ordering::Release);
        Ok(())
    }
}

fn expect_same_beginning(store: &Store, path: &Path, bytes: &[u8]) -> Result<(), JobError> {
    let Some(taken) = store.get(TABLE, TAKEN)? else { return Ok(()) };
    let (Some(len), Some(crc)) = (taken.first_chunk::<8>(), taken.last_chunk::<4>()) else { return Ok(()) };
    let (len, crc) = (u64::from_le_bytes(*len) as usize, u32::from_le_bytes(*crc));
    if bytes.get(..len).is_some_and(|b| crc32c::crc32c(b) == crc) {
        return Ok(());
    }
    Err(JobError::Accounts {
        path: path.to_owned(),
        problem: format!(
            "its first {len} bytes were taken in before and are different now. Opened accounts cannot be \
             changed here: restore those lines, and add new accounts behind them"
        ),
    })
}

impl Work for AccountsTask {
    fn need(&self) -> Need {
        match &self.uncommitted {
            Some(tickets) if tickets.are_durable(&*self.log) => Need::Commit,
            Some(_) => Need::Nothing,
            None if self.commands.is_empty() => Need::Nothing,
            None => Need::Turn(u64::MAX),
        }
    }

    fn is_idle(&self) -> bool {
        self.commands.is_empty()
    }

    fn work(&mut self, need: Need) -> Result<(), JobError> {
        match need {
            Need::Turn(_) => self.append_all(),
            Need::Commit => self.commit(),
            Need::Checkpoint | Need::Nothing => Ok(()),
        }
    }

    fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    fn position(&self) -> u64 {
        self.outbox.tally().taken
    }

    fn store(&self) -> &Store {
        &self.store
    }
}
