//! The embedded log: a directory with a folder for each topic.

use super::frame::{Codec, FrameHead};
use super::journal::Journal;
use super::{Appended, Log, LogError, LoggedBatch, NewBatch};
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use weir_proto::Topic;

/// How the embedded log writes.
#[derive(Clone, Copy, Debug)]
pub struct LogOptions {
    /// How batches are stored.
    pub codec: Codec,
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
            segment_bytes: 128 << 20,
            sync_interval: Duration::from_millis(5),
            tail_bytes: 24 << 20,
        }
    }
}

type Wake = Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>;

/// Topics as files.
pub struct EmbeddedLog {
    journals: Vec<Arc<Journal>>,
    writers: Mutex<Vec<JoinHandle<()>>>,
    wake: Wake,
}

impl EmbeddedLog {
    /// Opens the log of a data directory for writing.
    pub fn open(dir: &Path, partitions: u32, options: LogOptions) -> Result<Self, LogError> {
        let mut log = EmbeddedLog { journals: Vec::new(), writers: Mutex::default(), wake: Wake::default() };
        let mut writers = Vec::new();
        for topic in Topic::ALL {
            let journal = Arc::new(Journal::open(dir.join(topic.name()), partitions, options)?);
            let (writing, wake) = (journal.clone(), log.wake.clone());
            let writer = std::thread::Builder::new()
                .name(format!("log-{topic}"))
                .spawn(move || {
                    writing.write_loop(&|| {
                        if let Some(wake) = wake.get() {
                            wake();
                        }
                    })
                })
                .map_err(LogError::io("start the writer of", dir))?;
            writers.push(writer);
            log.journals.push(journal);
        }
        log.writers = Mutex::new(writers);
        Ok(log)
    }

    /// Calls `wake` whenever something became durable, or a write failed.
    pub fn on_durable(&self, wake: impl Fn() + Send + Sync + 'static) {
        // Only the scheduler of the job asks for it, once.
        let _ = self.wake.set(Box::new(wake));
    }

    /// The error that stopped a topic's writer, if one did.
    pub fn failure(&self) -> Option<LogError> {
        self.journals.iter().find_map(|j| j.failure())
    }

    fn journal(&self, topic: Topic) -> &Journal {
        &self.journals[topic as usize]
    }
}

impl Drop for EmbeddedLog {
    fn drop(&mut self) {
        self.journals.iter().for_each(|j| j.close());
        let writers = std::mem::take(&mut *self.writers.lock().unwrap_or_else(PoisonError::into_inner));
        for writer in writers {
            // A writer that panicked has said so.
            let _ = writer.join();
        }
    }
}

impl Log for EmbeddedLog {
    fn append(&self, topic: Topic, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        self.journal(topic).append(partition, batch)
    }

    fn is_durable(&self, topic: Topic, ticket: u64) -> bool {
        self.journal(topic).is_durable(ticket)
    }

    fn high_watermark(&self, topic: Topic, partition: u32) -> u64 {
        self.journal(topic).watermark(partition)
    }

    fn start(&self, topic: Topic, partition: u32) -> u64 {
        self.journal(topic).start(partition)
    }

    fn read(
        &self,
        topic: Topic,
        partition: u32,
        offset: u64,
        max_records: u64,
    ) -> Result<Vec<Arc<LoggedBatch>>, LogError> {
        let start = self.start(topic, partition);
        if offset < start {
            return Err(LogError::Trimmed { topic, partition, offset, start });
        }
        self.journal(topic).read(partition, offset, max_records)
    }

    fn heads(&self, topic: Topic, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        let (mut heads, mut next) = (Vec::new(), offset);
        let end = self.high_watermark(topic, partition);
        while next < end {
            let Some((_, _, entries)) = self.journal(topic).locate(partition, next)? else { break };
            let Some(last) = entries.last() else { break };
            next = last.head.end();
            heads.extend(entries.into_iter().map(|e| e.head));
        }
        Ok(heads)
    }

    fn trim(&self, topic: Topic, below: &[u64]) -> Result<(), LogError> {
        self.journal(topic).trim(below)
    }

    fn size_bytes(&self, topic: Topic) -> u64 {
        self.journal(topic).size_bytes()
    }
}

/// One topic of a data directory, read beside a job that may be running.
pub struct TopicReader(Journal);

impl TopicReader {
    /// Opens a topic for reading.
    pub fn open(dir: &Path, topic: Topic) -> Result<Self, LogError> {
        Journal::open_read_only(dir.join(topic.name())).map(TopicReader)
    }

    /// Looks at what has been written since.
    pub fn refresh(&self) -> Result<(), LogError> {
        self.0.refresh()
    }

    /// How many partitions it has.
    pub fn partitions(&self) -> u32 {
        self.0.partitions()
    }

    /// The oldest and the end offset of a partition.
    pub fn offsets(&self, partition: u32) -> (u64, u64) {
        (self.0.start(partition), self.0.watermark(partition))
    }

    /// Batches from the one that holds `offset` on.
    pub fn read(&self, partition: u32, offset: u64, max: u64) -> Result<Vec<Arc<LoggedBatch>>, LogError> {
        self.0.read(partition, offset, max)
    }
}
