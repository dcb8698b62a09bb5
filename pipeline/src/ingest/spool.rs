//! The spool: a journal of one partition in the format of the embedded log (see [`crate::log`]), in a directory of
//! its own, held by one process.
//!
//! `spool.json` beside it, `{"format": 1, "crc32c": …, "spool": {"id": …}}`, tells spools apart: which one a data
//! directory has read, and to where.
//!
//! The provenance of a record is when it was accepted, in ms since the epoch, and its index among those of the same
//! batch. A spool whose disk is full is opened again when there is room; any other failure to write is final.

use crate::config::Ingest;
use crate::error::JobError;
use crate::log::{Appended, Codec, Fetched, Journal, LogError, LogOptions, NewBatch};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_state::{PUBLIC, replace_file, sum_of_json};

/// The version of `spool.json`.
const FORMAT: u32 = 1;
/// The partition: there is one.
const PARTITION: u32 = 0;
/// Bytes behind which a place is remembered, to tell sizes and times by.
const MARK_EVERY: u64 = 256 << 10;
/// Room that a disk that was full must have before it is written to again, in bytes.
const ROOM: u64 = 4 << 20;

/// Where and how a spool is kept.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// Its directory.
    pub dir: PathBuf,
    /// Bytes on disk at which it is full.
    pub max_bytes: u64,
    /// Bytes of a segment.
    pub segment_bytes: u64,
    /// How long a group commit gathers.
    pub sync_interval: Duration,
}

impl SpoolOptions {
    /// In a directory, with what `[ingest]` has by default.
    pub fn of(dir: PathBuf) -> Self {
        let Ingest { spool_mb, segment_mb, sync_interval, .. } = Ingest::default();
        SpoolOptions { dir, max_bytes: spool_mb << 20, segment_bytes: segment_mb << 20, sync_interval }
    }
}

/// What was accepted and not yet taken by collect.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// How many records.
    pub records: u64,
    /// Their bytes, about.
    pub bytes: u64,
}

/// A place in the spool.
#[derive(Clone, Copy, Debug, Default)]
struct Mark {
    /// The offset in front of it.
    offset: u64,
    /// Bytes before it, since the spool was opened.
    bytes: u64,
    /// When the record in front of it was accepted.
    ms: u64,
}

#[derive(Serialize, Deserialize)]
struct Identity {
    id: (u64, u64),
}

#[derive(Serialize, Deserialize)]
struct SealedIdentity {
    format: u32,
    crc32c: u32,
    spool: Identity,
}

struct Open {
    journal: Arc<Journal>,
    writer: Option<JoinHandle<()>>,
}

/// What there is in a spool.
#[derive(Default)]
struct Content {
    marks: VecDeque<Mark>,
    /// Where the last record ends.
    end: Mark,
}

type Told = Mutex<Option<Arc<dyn Fn() + Send + Sync>>>;

/// A durable queue between ingest and collect.
pub struct Spool {
    options: SpoolOptions,
    key: (u64, u64),
    open: RwLock<Open>,
    content: Mutex<Content>,
    taken: AtomicU64,
    /// Below it collect needs nothing again, whatever happens.
    done: AtomicU64,
    /// Told when records became durable, or writing failed.
    intake: Arc<Told>,
    collect: Arc<Told>,
    fatal: Mutex<Option<LogError>>,
    _lock: File,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Spool {
    /// Opens a spool, or begins one.
    pub fn open(options: SpoolOptions) -> Result<Self, JobError> {
        std::fs::create_dir_all(&options.dir).map_err(JobError::io("create", &options.dir))?;
        let path = options.dir.join("lock");
        let lock = File::create(&path).map_err(JobError::io("create", &path))?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            return Err(JobError::Setup(format!(
                "the spool {} is in use by another weir process; stop that one first, or give this one a spool of \
                 its own in [ingest]",
                options.dir.display()
            )));
        }
        let key = identity(&options.dir)?;
        let (intake, collect) = (Arc::default(), Arc::default());
        let (open, content) = begin(&options, &intake, &collect)?;
        Ok(Spool {
            options,
            key,
            open: RwLock::new(open),
            content: Mutex::new(content),
            taken: AtomicU64::new(0),
            done: AtomicU64::new(0),
            intake,
            collect,
            fatal: Mutex::default(),
            _lock: lock,
        })
    }

    /// Opens the journal again, after writing to it has failed: its writer has ended. The one before is read until then.
    pub(super) fn reopen(&self) -> Result<(), LogError> {
        let (open, content) = begin(&self.options, &self.intake, &self.collect)?;
        *locked(&self.content) = content;
        *self.open.write().unwrap_or_else(PoisonError::into_inner) = open;
        Ok(())
    }

    fn journal(&self) -> Arc<Journal> {
        self.open.read().unwrap_or_else(PoisonError::into_inner).journal.clone()
    }

    /// Appends a batch of records accepted at a time.
    pub(super) fn append(&self, batch: NewBatch) -> Result<Appended, LogError> {
        let (bytes, ms) = (batch.bytes.len() as u64, batch.last.position);
        let appended = self.journal().append(PARTITION, batch)?;
        locked(&self.content).advance(appended.end, bytes, ms);
        Ok(appended)
    }

    pub(super) fn is_durable(&self, ticket: u64) -> bool {
        self.journal().is_durable(ticket)
    }

    /// Why the journal cannot be written to, if it cannot.
    pub(super) fn failure(&self) -> Option<LogError> {
        self.journal().failure()
    }

    /// Ends what cannot go on.
    pub(super) fn give_up(&self, error: LogError) {
        locked(&self.fatal).get_or_insert(error);
    }

    /// Why the process must end, if it must: what was written last may not be on disk.
    pub fn fatal(&self) -> Option<LogError> {
        locked(&self.fatal).clone()
    }

    /// Has `tell` called whenever records became durable, for the intake.
    pub(super) fn tell_intake(&self, tell: impl Fn() + Send + Sync + 'static) {
        *locked(&self.intake) = Some(Arc::new(tell));
    }

    /// Has `tell` called whenever records became durable, for whoever takes them.
    pub fn tell_collect(&self, tell: impl Fn() + Send + Sync + 'static) {
        *locked(&self.collect) = Some(Arc::new(tell));
    }

    /// The offset below which records are durable.
    pub fn watermark(&self) -> u64 {
        self.journal().watermark(PARTITION)
    }

    /// The oldest record's offset.
    pub fn start(&self) -> u64 {
        self.journal().start(PARTITION)
    }

    /// Batches of records from the one that holds `offset` on.
    pub fn read(&self, offset: u64, max: u64) -> Result<Fetched, LogError> {
        self.journal().read(PARTITION, offset, max, None)
    }

    /// The offset of the first record that was accepted at this time or later, or of one before it.
    pub(super) fn first_since(&self, ms: u64) -> u64 {
        let marks = &locked(&self.content).marks;
        let before = marks.partition_point(|mark| mark.ms < ms).checked_sub(1);
        before.map_or_else(|| self.start(), |at| marks[at].offset)
    }

    /// Collect has taken what stands below this offset.
    pub fn take(&self, below: u64) {
        self.taken.store(below, Ordering::Release);
    }

    /// What collect has taken it does not need again, even if the machine fails now.
    pub fn release(&self) {
        self.done.store(self.taken.load(Ordering::Acquire), Ordering::Release);
    }

    /// Lets go of what was taken and accepted before this time; of all that was taken if room is scarce.
    pub(super) fn trim(&self, before_ms: u64) -> Result<(), LogError> {
        let (journal, done) = (self.journal(), self.done.load(Ordering::Acquire));
        let below = if self.is_full() { done } else { done.min(self.first_since(before_ms)) };
        journal.trim(&[below])?;
        let start = journal.start(PARTITION);
        let marks = &mut locked(&self.content).marks;
        while marks.front().is_some_and(|mark| mark.offset < start) {
            marks.pop_front();
        }
        Ok(())
    }

    /// Whether the disk has room for what comes next.
    pub(super) fn has_room(&self) -> bool {
        let path = self.options.dir.join("room.new");
        let tried = File::create(&path).is_ok_and(|file| {
            rustix::fs::fallocate(&file, rustix::fs::FallocateFlags::empty(), 0, ROOM).is_ok()
        });
        std::fs::remove_file(&path).is_ok() && tried
    }

    /// Whether it has come to its limit.
    pub(super) fn is_full(&self) -> bool {
        self.size_bytes() >= self.options.max_bytes
    }

    /// Bytes on disk.
    pub fn size_bytes(&self) -> u64 {
        self.journal().size_bytes()
    }

    /// What was accepted and not yet taken by collect.
    pub fn backlog(&self) -> Backlog {
        let Content { marks, end } = &*locked(&self.content);
        let taken = self.taken.load(Ordering::Acquire);
        let before = marks.partition_point(|mark| mark.offset <= taken).checked_sub(1);
        let bytes = before.map_or_else(|| marks.front().map_or(end.bytes, |m| m.bytes), |at| marks[at].bytes);
        let records = end.offset.saturating_sub(taken);
        Backlog { records, bytes: if records == 0 { 0 } else { end.bytes.saturating_sub(bytes) } }
    }

    /// What tells it apart.
    pub fn key(&self) -> (u64, u64) {
        self.key
    }

    /// Its directory.
    pub fn dir(&self) -> &Path {
        &self.options.dir
    }
}

/// The identity of the spool in a directory; a new one if there is none yet.
fn identity(dir: &Path) -> Result<(u64, u64), JobError> {
    let path = dir.join("spool.json");
    let text = match std::fs::read(&path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return new_identity(&path),
        Err(e) => return Err(JobError::io("read", &path)(e)),
    };
    let sealed: Option<SealedIdentity> = serde_json::from_slice(&text).ok();
    let whole = sealed.filter(|s| s.format == FORMAT && s.crc32c == sum_of_json(&s.spool));
    whole.map(|s| s.spool.id).ok_or_else(|| JobError::Control {
        path,
        problem: "is damaged, or was written by another version of weir. Restore the file from a backup"
            .to_owned(),
    })
}

fn new_identity(path: &Path) -> Result<(u64, u64), JobError> {
    let random = || {
        let problem = |e| JobError::Setup(format!("no random identity for the spool: {e}"));
        getrandom::u64().map_err(problem)
    };
    let spool = Identity { id: (random()?, random()?) };
    let sealed = SealedIdentity { format: FORMAT, crc32c: sum_of_json(&spool), spool };
    let text = serde_json::to_vec(&sealed).unwrap_or_default();
    replace_file(path, &text, PUBLIC, None).map_err(JobError::io("write", path))?;
    Ok(sealed.spool.id)
}

/// Opens the journal, looks at what it holds, and has it written to.
fn begin(
    options: &SpoolOptions,
    intake: &Arc<Told>,
    collect: &Arc<Told>,
) -> Result<(Open, Content), LogError> {
    let log = LogOptions {
        codec: Codec::Lz4,
        plain_when_behind: false,
        segment_bytes: options.segment_bytes,
        sync_interval: options.sync_interval,
        ..LogOptions::default()
    };
    let journal = Arc::new(Journal::open(options.dir.clone(), 1, log, Arc::default())?);
    let content = Content::of(&journal)?;
    let (writing, intake, collect) = (journal.clone(), intake.clone(), collect.clone());
    let tell = move || {
        for told in [&intake, &collect] {
            let told = locked(told).clone();
            told.iter().for_each(|tell| tell());
        }
    };
    let writer = std::thread::Builder::new()
        .name("spool".to_owned())
        .spawn(move || writing.write_loop(&tell))
        .map_err(LogError::io("start the writer of", &options.dir))?;
    Ok((Open { journal, writer: Some(writer) }, content))
}

impl Content {
    fn of(journal: &Journal) -> Result<Self, LogError> {
        let start = journal.start(PARTITION);
        let end = Mark { offset: start, bytes: 0, ms: 0 };
        let mut content = Content { end, ..Content::default() };
        for head in journal.heads(PARTITION, start)? {
            content.advance(head.end(), head.frame_len(), head.last.position);
        }
        Ok(content)
    }

    fn advance(&mut self, offset: u64, bytes: u64, ms: u64) {
        let before = self.marks.back().map_or(0, |mark| mark.bytes);
        self.end = Mark { offset, bytes: self.end.bytes + bytes, ms };
        if self.end.bytes >= before + MARK_EVERY {
            self.marks.push_back(self.end);
        }
    }
}

impl Drop for Spool {
    fn drop(&mut self) {
        let open = self.open.get_mut().unwrap_or_else(PoisonError::into_inner);
        open.journal.close();
        // A writer that panicked has said so.
        let _ = open.writer.take().map(JoinHandle::join);
    }
}
