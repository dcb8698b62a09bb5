//! The embedded log: a directory with a folder for each topic.

use super::frame::{Codec, FrameHead};
use super::journal::Journal;
use super::{Appended, Fetched, LiveLog, Log, LogError, NewBatch};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_proto::{TaskId, Topic, TopicId};
use weir_state::failpoints;

/// How the embedded log writes.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How batches are stored.
    pub codec: Codec,
    /// Whether batches are stored as they are while the producers have fallen behind.
    pub plain_when_behind: bool,
    /// A segment is closed when it has so many bytes.
    pub segment_bytes: u64,
    /// How long a group commit gathers appends.
    pub sync_interval: Duration,
    /// Bytes of each topic kept in memory for its readers.
    pub tail_bytes: usize,
}

impl Default for LogOptions {
    fn default() -> Self {
        LogOptions {
            codec: Codec::Lz4,
            plain_when_behind: true,
            segment_bytes: 128 << 20,
            sync_interval: Duration::from_millis(5),
            tail_bytes: 24 << 20,
        }
    }
}

type Wake = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// Topics as files.
pub struct EmbeddedLog {
    dir: PathBuf,
    partitions: u32,
    options: LogOptions,
    journals: RwLock<BTreeMap<TopicId, Arc<Journal>>>,
    behind: Arc<AtomicBool>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    wake: Wake,
}

impl EmbeddedLog {
    /// Opens the log of a data directory for writing: the topics of the first generation.
    pub fn open(dir: &Path, partitions: u32, options: LogOptions) -> Result<Self, LogError> {
        let log = Self::empty(dir, partitions, options);
        Topic::ALL.into_iter().try_for_each(|topic| log.add(topic.of(1)))?;
        Ok(log)
    }

    /// A log without topics.
    pub fn empty(dir: &Path, partitions: u32, options: LogOptions) -> Self {
        EmbeddedLog {
            dir: dir.to_owned(),
            partitions,
            options,
            journals: RwLock::default(),
            behind: Arc::default(),
            writers: Mutex::default(),
            wake: Wake::default(),
        }
    }

    fn journal(&self, topic: TopicId) -> Result<Arc<Journal>, LogError> {
        let journals = self.journals.read().unwrap_or_else(PoisonError::into_inner);
        journals.get(&topic).cloned().ok_or(LogError::NoTopic(topic))
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        let journals = self.journals.read().unwrap_or_else(PoisonError::into_inner);
        journals.values().for_each(|j| j.close());
        let writers = std::mem::take(&mut *self.writers.lock().unwrap_or_else(PoisonError::into_inner));
        for writer in writers {
            // A writer that panicked has said so.
            let _ = writer.join();
        }
    }
}

impl Log for EmbeddedLog {
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        self.journal(topic)?.append(partition, batch)
    }

    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        self.journal(topic).is_ok_and(|j| j.is_durable(ticket))
    }

    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64 {
        self.journal(topic).map_or(0, |j| j.watermark(partition))
    }

    fn start(&self, topic: TopicId, partition: u32) -> u64 {
        self.journal(topic).map_or(0, |j| j.start(partition))
    }

    fn read(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
        max_records: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        let journal = self.journal(topic)?;
        not_trimmed(topic, &journal, partition, offset)?;
        journal.read(partition, offset, max_records, of)
    }

    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        self.journal(topic)?.heads(partition, offset)
    }

    fn set_behind(&self, behind: bool) {
        self.behind.store(behind, Ordering::Relaxed);
    }

    fn trim(&self, topic: TopicId, below: &[u64]) -> Result<(), LogError> {
        self.journal(topic)?.trim(below)
    }

    fn newest_file(&self, topic: TopicId) -> PathBuf {
        self.journal(topic).map_or_else(|_| self.dir.join(topic.to_string()), |j| j.newest_file())
    }

    fn size_bytes(&self, topic: TopicId) -> Option<u64> {
        Some(self.journal(topic).map_or(0, |j| j.size_bytes()))
    }
}

impl LiveLog for EmbeddedLog {
    fn add(&self, id: TopicId) -> Result<(), LogError> {
        let mut journals = self.journals.write().unwrap_or_else(PoisonError::into_inner);
        if journals.contains_key(&id) {
            return Ok(());
        }
        let dir = self.dir.join(id.to_string());
        let journal = Arc::new(Journal::open(dir, self.partitions, self.options, self.behind.clone())?);
        let (writing, wake) = (journal.clone(), self.wake.clone());
        let writer = std::thread::Builder::new()
            .name(format!("log-{id}"))
            .spawn(move || {
                writing.write_loop(&|| {
                    if let Some(wake) = wake.get() {
                        wake();
                    }
                })
            })
            .map_err(LogError::io("start the writer of", &self.dir))?;
        self.writers.lock().unwrap_or_else(PoisonError::into_inner).push(writer);
        journals.insert(id, journal);
        Ok(())
    }

    fn remove(&self, id: TopicId) -> Result<(), LogError> {
        let journal = self.journals.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(journal) = journal {
            journal.close();
        }
        let dir = self.dir.join(id.to_string());
        match failpoints::io("topic.remove", || std::fs::remove_dir_all(&dir)) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(LogError::io("remove", &dir)(e)),
            _ => Ok(()),
        }
    }

    fn topics(&self) -> Vec<TopicId> {
        self.journals.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn on_durable(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.wake.set(wake);
    }

    fn failure(&self) -> Option<LogError> {
        let journals = self.journals.read().unwrap_or_else(PoisonError::into_inner);
        journals.values().find_map(|j| j.failure())
    }
}

fn not_trimmed(topic: TopicId, journal: &Journal, partition: u32, offset: u64) -> Result<(), LogError> {
    match journal.start(partition) {
        start if offset < start => Err(LogError::Trimmed { topic, partition, offset, start }),
        _ => Ok(()),
    }
}
