//! The accounts task: the accounts file into `judged`, as commands.
//!
//! Lines added to the file are opened while the job runs, or at its next start; what was taken in before
//! must still stand in the file as it was (checked by its checksum). Commands belong to no generation:
//! they go where the published one reads.

use super::announced;
use super::inlet::Inlet;
use crate::error::JobError;
use crate::flow::ACCOUNTS_WRITES;
use crate::generations::Registry;
use crate::log::Log;
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{FollowUp, Need, Work};
use crate::status::TaskStatus;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use weir_operators::{Outbox, accounts, partition};
use weir_proto::{Command, Producer, rpc};
use weir_state::{Commit, Durability, Store, TaskMeta};

const TABLE: u8 = 1;
const TAKEN: &[u8] = b"taken";

/// Commands with the byte positions of their lines.
type Commands = Vec<(u64, rpc::Command)>;

/// Reads and checks an accounts file: its commands, and its bytes.
pub fn read(path: &Path) -> Result<(Commands, Vec<u8>), JobError> {
    let problem = |e| JobError::Accounts { path: path.to_owned(), problem: format!("cannot be read: {e}") };
    let bytes = std::fs::read(path).map_err(problem)?;
    Ok((parse(path, &bytes)?, bytes))
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Commands, JobError> {
    let error = |problem: String| JobError::Accounts { path: path.to_owned(), problem };
    let text = std::str::from_utf8(bytes).map_err(|e| error(format!("is not UTF-8 text: {e}")))?;
    accounts::parse(text).map_err(|e| error(e.to_string()))
}

/// Commands, and length and CRC-32C of the file with them.
type Added = (Commands, (u64, u32));

/// How often the file is looked at.
const POLL: Duration = Duration::from_secs(1);

/// Shared with the job.
#[derive(Default)]
pub struct AccountsProgress {
    /// Set once every account that stood in the file at start is in `judged`: no event may come before.
    pub loaded: AtomicBool,
    /// In front of the file.
    pub inlet: Arc<Inlet>,
}

/// The task.
pub struct AccountsTask {
    path: Option<PathBuf>,
    /// Length and time of change of the file when it was looked at last.
    seen: Option<(u64, SystemTime)>,
    next_poll: Instant,
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
    registry: Arc<Registry>,
    progress: Arc<AccountsProgress>,
}

impl AccountsTask {
    /// Opens the task; `path` is `None` in a job without an accounts file.
    pub fn open(
        path: Option<&Path>,
        partitions: u32,
        store: Store,
        log: Arc<dyn Log>,
        task: Producer,
        registry: Arc<Registry>,
    ) -> Result<Self, JobError> {
        let new = || TaskMeta::new(task, ACCOUNTS_WRITES, partitions as usize, 0);
        let mut meta = store.meta()?.unwrap_or_else(new);
        announced::pass_over(&store, &*log, &mut meta)?;
        let (mut commands, bytes) = path.map_or(Ok((Vec::new(), Vec::new())), read)?;
        if let Some(path) = path {
            expect_same_beginning(&store, path, &bytes)?;
        }
        commands.retain(|(position, _)| *position >= meta.position);
        let progress = AccountsProgress {
            loaded: AtomicBool::new(commands.is_empty()),
            inlet: Arc::new(Inlet::new(task.generation)),
        };
        let outputs = Outputs::resume(log.clone(), &meta)?;
        announced::looked(&store, &meta)?;
        Ok(AccountsTask {
            path: path.map(Path::to_owned),
            seen: None,
            next_poll: Instant::now() + POLL,
            commands,
            file: (bytes.len() as u64, crc32c::crc32c(&bytes)),
            outbox: Outbox::resume(&meta),
            outputs,
            status: Arc::new(TaskStatus::new(None, &meta)),
            log,
            store,
            meta,
            uncommitted: None,
            registry,
            progress: Arc::new(progress),
        })
    }

    /// What the job may watch and decide.
    pub fn progress(&self) -> Arc<AccountsProgress> {
        self.progress.clone()
    }

    /// Looks whether whole lines were added. What is wrong with them is said, and they wait until it is
    /// put right.
    fn look(&mut self) -> Result<(), JobError> {
        self.next_poll = Instant::now() + POLL;
        let Some(path) = self.path.clone() else { return Ok(()) };
        let Ok(meta) = std::fs::metadata(&path) else { return Ok(()) };
        let now = (meta.len(), meta.modified().unwrap_or(SystemTime::UNIX_EPOCH));
        if self.seen.replace(now) == Some(now) || meta.len() == self.meta.position {
            return Ok(());
        }
        match self.added(&path) {
            Ok(Some((commands, file))) => (self.commands, self.file) = (commands, file),
            Ok(None) => {}
            Err(error) => tracing::error!("{error}. Until then no account is added"),
        }
        Ok(())
    }

    fn added(&self, path: &Path) -> Result<Option<Added>, JobError> {
        let mut bytes = std::fs::read(path).map_err(JobError::io("read", path))?;
        bytes.truncate(memchr::memrchr(b'\n', &bytes).map_or(0, |at| at + 1));
        expect_same_beginning(&self.store, path, &bytes)?;
        let mut commands = parse(path, &bytes)?;
        commands.retain(|(position, _)| *position >= self.meta.position);
        let file = (bytes.len() as u64, crc32c::crc32c(&bytes));
        Ok((!commands.is_empty()).then_some((commands, file)))
    }

    fn has_something(&self) -> bool {
        !self.commands.is_empty() || self.progress.inlet.has_moved(&self.meta)
    }

    fn append_all(&mut self) -> Result<(), JobError> {
        let task = (&mut self.meta, &mut self.outbox, &mut self.outputs);
        let Some(left) = self.progress.inlet.follow(&self.log, &self.store, &self.registry, task)? else {
            return Ok(());
        };
        for left in left {
            // What is not committed comes again below.
            self.outbox.at(left.position);
            self.outbox.emit(left.partition, &[&left.bytes]);
        }
        for (position, command) in &self.commands {
            self.outbox.at(*position);
            self.outbox.taken();
            let to = partition::by_advertiser(command.advertiser_id, self.outbox.partitions());
            self.outbox.emit(to, &[&Command::encode(command)]);
        }
        let batches = self.outbox.take();
        let partitions = batches.iter().map(|batch| batch.partition);
        announced::announce(&self.store, &*self.log, &self.meta, partitions)?;
        self.uncommitted = Some(self.outputs.append(batches, &mut self.meta)?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        if let Some(tickets) = &self.uncommitted {
            tickets.settle(&*self.log, &mut self.meta);
        }
        self.meta.commits += 1;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::new(self.meta.commits);
        if !self.commands.is_empty() {
            self.meta.position = self.file.0;
            let taken = [&self.file.0.to_le_bytes()[..], &self.file.1.to_le_bytes()].concat();
            commit.put(TABLE, TAKEN, &taken);
        }
        commit.put_meta(&self.meta);
        announced::is_done(&self.meta, &mut commit);
        self.store.commit_as("accounts.commit", commit, Durability::Disk)?;
        self.commands.clear();
        self.uncommitted = None;
        self.status.committed(&self.meta);
        self.progress.loaded.store(true, Ordering::Release);
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
            Some(_) => {
                self.progress.inlet.lets_through(false);
                Need::Nothing
            }
            None if !self.progress.inlet.lets_through(true) => Need::Nothing,
            None if self.has_something() => Need::Turn(u64::MAX),
            None if self.path.is_some() && Instant::now() >= self.next_poll => Need::Turn(1),
            None => Need::Nothing,
        }
    }

    fn is_idle(&self) -> bool {
        self.commands.is_empty()
    }

    fn work(&mut self, need: Need) -> Result<FollowUp, JobError> {
        match need {
            Need::Turn(_) if self.has_something() => self.append_all()?,
            Need::Turn(_) => self.look()?,
            Need::Commit => self.commit()?,
            Need::Checkpoint | Need::Nothing => {}
        }
        Ok(None)
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
