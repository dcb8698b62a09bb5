//! The log as topics of Apache Kafka. Nothing about replication is made here: a record counts as appended when Kafka has
//! acknowledged it for all replicas in sync, and is read only then.
//!
//! A Weir record is a Kafka record: its value the protobuf message `weir.v1.Record`, its header `weir` the provenance
//! (see [`stamp`]). Any client of Kafka can read along. [`produce`] appends, [`tail`] receives what is new, for those who
//! read along, [`fetch`] reads what is older, [`admin`] makes topics and looks at them, and [`lag`] tells Kafka how far the
//! job is.

mod admin;
mod chunks;
mod context;
mod error;
mod fetch;
mod lag;
mod options;
mod produce;
mod reader;
mod stamp;
mod tail;

pub use options::KafkaOptions;
pub use reader::{KafkaTopics, TopicReader};

use self::admin::Admin;
use self::fetch::Fetcher;
use self::lag::Lag;
use self::produce::Appender;
use self::tail::{Tail, Tailer};
use super::{Appended, Fetched, FrameHead, LiveLog, Log, LogError, LoggedBatch, NewBatch};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use weir_proto::{TaskId, TopicId};

/// Bytes of a topic that are kept in memory for those who read along.
const TAIL_BYTES: u64 = 24 << 20;

/// What is said of a topic that must be there.
const GONE: &str = "is gone: it was deleted, or `log.kafka` names another cluster or prefix than before. Name the former \
                    ones. If it was deleted, its records are lost: start a new data directory with another `log.kafka.prefix`";

/// Tells whoever waits for the log.
#[derive(Clone, Default)]
struct Wake(Arc<OnceLock<Box<dyn Fn() + Send + Sync>>>);

impl Wake {
    fn call(&self) {
        if let Some(wake) = self.0.get() {
            wake();
        }
    }
}

struct Open {
    name: String,
    tails: Vec<Arc<Tail>>,
    starts: RwLock<Vec<u64>>,
}

/// Topics of Kafka.
pub struct KafkaLog {
    options: KafkaOptions,
    partitions: u32,
    topics: RwLock<BTreeMap<TopicId, Arc<Open>>>,
    wake: Wake,
    admin: Admin,
    appender: Appender,
    tailer: Tailer,
    fetcher: Fetcher,
    lag: Lag,
}

impl KafkaLog {
    /// Connects to Kafka. Topics are to be [added](LiveLog::add).
    pub fn open(options: KafkaOptions, partitions: u32) -> Result<Self, LogError> {
        let (wake, tail_bytes) = (Wake::default(), TAIL_BYTES / u64::from(partitions.max(1)));
        Ok(KafkaLog {
            topics: RwLock::default(),
            admin: Admin::open(&options, partitions)?,
            appender: Appender::open(&options, wake.clone())?,
            tailer: Tailer::open(&options, tail_bytes, wake.clone())?,
            fetcher: Fetcher::new(&options),
            lag: Lag::open(&options)?,
            wake,
            options,
            partitions,
        })
    }

    /// Refuses to go on without a topic that a job has begun with.
    pub fn must_have(&self, topic: TopicId) -> Result<(), LogError> {
        let topic = name_of(&self.options, topic);
        match self.fetcher.partitions(&topic)? {
            0 => Err(LogError::WrongTopic { topic, problem: GONE.to_owned() }),
            _ => Ok(()),
        }
    }

    fn topic(&self, topic: TopicId) -> Result<Arc<Open>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(&topic).cloned().ok_or(LogError::NoTopic(topic))
    }

    fn partition(&self, topic: TopicId, partition: u32) -> Result<(Arc<Open>, Arc<Tail>), LogError> {
        let open = self.topic(topic)?;
        let tail = open.tails.get(partition as usize).cloned().ok_or(LogError::NoTopic(topic))?;
        Ok((open, tail))
    }
}

/// What a topic is called in Kafka.
fn name_of(options: &KafkaOptions, topic: TopicId) -> String {
    format!("{}.{topic}", options.prefix)
}

/// Reads on until something of what is wanted is found, or nothing is left.
fn until_found(
    mut offset: u64,
    end: u64,
    of: Option<TaskId>,
    mut read: impl FnMut(u64) -> Result<Vec<Arc<LoggedBatch>>, LogError>,
) -> Result<Fetched, LogError> {
    let mut batches = Vec::new();
    while batches.is_empty() && offset < end {
        batches = read(offset)?;
        offset = batches.last().map_or(end, |batch| batch.head.end());
        batches.retain(|batch| of.is_none_or(|of| batch.head.producer.task() == of));
    }
    Ok(Fetched { batches, next: offset })
}

impl Open {
    fn start(&self, partition: u32) -> u64 {
        let starts = self.starts.read().unwrap_or_else(PoisonError::into_inner);
        starts.get(partition as usize).copied().unwrap_or(0)
    }
}

impl Log for KafkaLog {
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        let (open, tail) = self.partition(topic, partition)?;
        let ticket = self.appender.append(topic, &open.name, partition, &batch)?;
        // Where it will stand nobody knows yet: not before this.
        Ok(Appended { end: tail.end(), ticket })
    }

    fn end(&self, topic: TopicId, partition: u32, appended: &Appended) -> u64 {
        self.appender.end(topic, partition, appended.ticket).unwrap_or(appended.end)
    }

    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        self.appender.is_durable(topic, ticket)
    }

    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64 {
        self.partition(topic, partition).map_or(0, |(_, tail)| tail.end())
    }

    fn start(&self, topic: TopicId, partition: u32) -> u64 {
        self.topic(topic).map_or(0, |open| open.start(partition))
    }

    fn read(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
        max_records: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        let (open, tail) = self.partition(topic, partition)?;
        let start = open.start(partition);
        if offset < start {
            return Err(LogError::Trimmed { topic, partition, offset, start });
        }
        let end = tail.end();
        until_found(offset, end, of, |offset| match tail.read(offset, max_records) {
            Some(batches) => Ok(batches),
            None => self.fetcher.read(&open.name, partition, (offset, end), max_records),
        })
    }

    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        let (open, tail) = self.partition(topic, partition)?;
        self.fetcher.heads(&open.name, partition, (offset.max(open.start(partition)), tail.end()))
    }

    fn trim(&self, topic: TopicId, below: &[u64]) -> Result<(), LogError> {
        let open = self.topic(topic)?;
        self.admin.trim(&open.name, below)?;
        let mut starts = open.starts.write().unwrap_or_else(PoisonError::into_inner);
        for (start, below) in starts.iter_mut().zip(below) {
            *start = (*start).max(*below);
        }
        Ok(())
    }

    fn newest_file(&self, topic: TopicId) -> PathBuf {
        reader::path_of(&self.options, topic)
    }

    fn size_bytes(&self, _topic: TopicId) -> Option<u64> {
        None
    }
}

impl LiveLog for KafkaLog {
    fn add(&self, id: TopicId) -> Result<(), LogError> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.contains_key(&id) {
            return Ok(());
        }
        let name = name_of(&self.options, id);
        self.admin.ensure(&name)?;
        let partitions = 0..self.partitions;
        let offsets: Vec<(u64, u64)> =
            partitions.map(|partition| self.fetcher.offsets(&name, partition)).collect::<Result<_, _>>()?;
        let (starts, ends): (Vec<u64>, Vec<u64>) = offsets.into_iter().unzip();
        let tails = self.tailer.add(&name, &ends)?;
        topics.insert(id, Arc::new(Open { name, tails, starts: RwLock::new(starts) }));
        Ok(())
    }

    fn remove(&self, id: TopicId) -> Result<(), LogError> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let name = name_of(&self.options, id);
        self.tailer.remove(&name)?;
        self.fetcher.forget(&name);
        self.admin.delete(&name)
    }

    fn topics(&self) -> Vec<TopicId> {
        self.topics.read().unwrap_or_else(PoisonError::into_inner).keys().copied().collect()
    }

    fn on_durable(&self, wake: Box<dyn Fn() + Send + Sync>) {
        let _ = self.wake.0.set(wake);
    }

    fn failure(&self) -> Option<LogError> {
        self.appender.failure().or_else(|| self.tailer.failure())
    }

    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        let named = |(topic, partition, offset): &(TopicId, u32, u64)| {
            (name_of(&self.options, *topic), *partition, *offset)
        };
        self.lag.tell(&positions.iter().map(named).collect::<Vec<_>>())
    }
}
