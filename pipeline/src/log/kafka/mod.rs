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
mod heads;
mod lag;
mod member;
mod options;
mod peers;
mod produce;
mod reader;
mod stamp;
mod tail;

pub use options::KafkaOptions;
pub use reader::{KafkaTopics, TopicReader};

use self::admin::Admin;
use self::fetch::Fetcher;
use self::heads::Heads;
use self::lag::Lag;
use self::member::Member;
use self::produce::Appender;
use self::tail::{Tail, Tailer};
use super::{Appended, Fetched, Follow, FrameHead, LiveLog, Log, LogError, LoggedBatch, NewBatch};
use crate::group::{Coordinator, Hands, Membership, Peer};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::{Duration, Instant};
use weir_proto::{TaskId, Topic, TopicId};

/// Bytes of a topic that are kept in memory for those who read along.
const TAIL_BYTES: u64 = 24 << 20;

/// How often it is looked whether a topic is there.
const LOOK: Duration = Duration::from_millis(100);

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
    /// Of the partitions that are followed.
    tails: RwLock<BTreeMap<u32, Arc<Tail>>>,
    starts: RwLock<Vec<u64>>,
}

/// Topics of Kafka.
pub struct KafkaLog {
    options: KafkaOptions,
    partitions: u32,
    topics: RwLock<BTreeMap<TopicId, Arc<Open>>>,
    /// The partitions that are followed.
    followed: RwLock<BTreeSet<u32>>,
    wake: Wake,
    admin: Admin,
    appender: Appender,
    tailer: Tailer,
    fetcher: Fetcher,
    heads: Heads,
    lag: Lag,
}

impl KafkaLog {
    /// Connects to Kafka. Topics are to be [added](LiveLog::add).
    pub fn open(options: KafkaOptions, partitions: u32, follow: Follow) -> Result<Self, LogError> {
        let (wake, tail_bytes) = (Wake::default(), TAIL_BYTES / u64::from(partitions.max(1)));
        let followed = if follow == Follow::All { (0..partitions).collect() } else { BTreeSet::new() };
        Ok(KafkaLog {
            topics: RwLock::default(),
            followed: RwLock::new(followed),
            admin: Admin::open(&options, partitions)?,
            appender: Appender::open(&options, wake.clone())?,
            tailer: Tailer::open(&options, tail_bytes, wake.clone())?,
            fetcher: Fetcher::new(&options),
            heads: Heads::default(),
            lag: Lag::open(&options)?,
            wake,
            options,
            partitions,
        })
    }

    /// Refuses to go on without a topic that a job has begun with.
    pub fn must_have(&self, topic: TopicId) -> Result<(), LogError> {
        let (topic, begun) = (name_of(&self.options, topic), Instant::now());
        while self.fetcher.partitions(&topic)? == 0 {
            if begun.elapsed() > fetch::NEWS {
                return Err(LogError::WrongTopic { topic, problem: GONE.to_owned() });
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Refuses to go on in another cluster than the one that a job has begun in, if that is known. A topic of the same
    /// name there is another topic.
    pub fn must_be_in(&self, known: Option<&str>) -> Result<(), LogError> {
        check_cluster(&self.options.brokers, known, &self.admin.cluster()?)
    }

    fn topic(&self, topic: TopicId) -> Result<Arc<Open>, LogError> {
        let topics = self.topics.read().unwrap_or_else(PoisonError::into_inner);
        topics.get(&topic).cloned().ok_or(LogError::NoTopic(topic))
    }

    /// The end of a partition, in memory if it is followed.
    fn tail(&self, topic: TopicId, partition: u32) -> Option<Arc<Tail>> {
        self.topic(topic).ok()?.tail(partition)
    }

    /// The oldest and the end offset of a partition.
    fn bounds(&self, open: &Open, partition: u32) -> Result<(u64, u64), LogError> {
        match open.tail(partition) {
            Some(tail) => Ok((open.start(partition), tail.end())),
            None => self.fetcher.offsets(&open.name, partition),
        }
    }

    /// Receives what is appended to a partition from now on.
    fn receive(&self, open: &Open, partition: u32) -> Result<(), LogError> {
        let (start, end) = self.fetcher.offsets(&open.name, partition)?;
        open.set_start(partition, start);
        let tail = self.tailer.add(&open.name, partition, end)?;
        open.tails.write().unwrap_or_else(PoisonError::into_inner).insert(partition, tail);
        Ok(())
    }
}

/// Whether the brokers are in the cluster that is known; any one is where none is known yet.
fn check_cluster(brokers: &str, known: Option<&str>, found: &str) -> Result<(), LogError> {
    match known {
        Some(known) if known != found => Err(LogError::OtherCluster {
            brokers: brokers.to_owned(),
            found: found.to_owned(),
            known: known.to_owned(),
        }),
        _ => Ok(()),
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
    fn tail(&self, partition: u32) -> Option<Arc<Tail>> {
        self.tails.read().unwrap_or_else(PoisonError::into_inner).get(&partition).cloned()
    }

    fn set_start(&self, partition: u32, start: u64) {
        let mut starts = self.starts.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = starts.get_mut(partition as usize) {
            *known = start.max(*known);
        }
    }

    fn start(&self, partition: u32) -> u64 {
        let starts = self.starts.read().unwrap_or_else(PoisonError::into_inner);
        starts.get(partition as usize).copied().unwrap_or(0)
    }
}

impl Log for KafkaLog {
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        let open = self.topic(topic)?;
        let ticket = self.appender.append(topic, &open.name, partition, &batch)?;
        // Where it will stand nobody knows yet: not before this.
        Ok(Appended { end: open.tail(partition).map_or(0, |tail| tail.end()), ticket })
    }

    fn end(&self, topic: TopicId, partition: u32, appended: &Appended) -> u64 {
        self.appender.end(topic, partition, appended.ticket).unwrap_or(appended.end)
    }

    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        self.appender.is_durable(topic, ticket)
    }

    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64 {
        // Of a partition that is not followed Kafka knows it; while that is away nothing of it can be read.
        self.find_end(topic, partition).unwrap_or(0)
    }

    fn find_end(&self, topic: TopicId, partition: u32) -> Result<u64, LogError> {
        Ok(self.bounds(&*self.topic(topic)?, partition)?.1)
    }

    fn newest(&self, topic: TopicId, partition: u32) -> Result<u64, LogError> {
        Ok(self.fetcher.offsets(&self.topic(topic)?.name, partition)?.1)
    }

    fn start(&self, topic: TopicId, partition: u32) -> u64 {
        let bounds = self.topic(topic).and_then(|open| self.bounds(&open, partition));
        bounds.map_or(0, |(start, _)| start)
    }

    fn read(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
        max_records: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        let (open, tail) = (self.topic(topic)?, self.tail(topic, partition));
        let (start, end) = self.bounds(&open, partition)?;
        if offset < start {
            return Err(LogError::Trimmed { topic, partition, offset, start });
        }
        until_found(offset, end, of, |offset| match tail.as_ref().and_then(|t| t.read(offset, max_records)) {
            Some(batches) => Ok(batches),
            None => self.fetcher.read(&open.name, partition, (offset, end), max_records),
        })
    }

    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        let open = self.topic(topic)?;
        // A followed partition may be received a little later than others have appended to it.
        let (start, end) = self.fetcher.offsets(&open.name, partition)?;
        let read = |from, to| self.fetcher.heads(&open.name, partition, (from, to));
        self.heads.read(&open.name, partition, (offset.max(start), end), read)
    }

    fn trim(&self, topic: TopicId, below: &[u64]) -> Result<(), LogError> {
        let open = self.topic(topic)?;
        self.admin.trim(&open.name, below)?;
        (0..).zip(below).for_each(|(partition, below)| open.set_start(partition, *below));
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
        let open =
            Open { name, tails: RwLock::default(), starts: RwLock::new(vec![0; self.partitions as usize]) };
        let followed = self.followed.read().unwrap_or_else(PoisonError::into_inner).clone();
        // An answer may come in any partition to whoever has taken a command in.
        let wanted = |partition: &u32| id.topic == Topic::Answers || followed.contains(partition);
        (0..self.partitions).filter(wanted).try_for_each(|partition| self.receive(&open, partition))?;
        topics.insert(id, Arc::new(open));
        Ok(())
    }

    fn follow(&self, partition: u32, follows: bool) -> Result<(), LogError> {
        let topics: Vec<Arc<Open>> = {
            // Topics that are added meanwhile wait, and find what is followed then.
            let topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
            let mut followed = self.followed.write().unwrap_or_else(PoisonError::into_inner);
            let changed = if follows { followed.insert(partition) } else { followed.remove(&partition) };
            let own = topics.iter().filter(|(id, _)| changed && id.topic != Topic::Answers);
            own.map(|(_, open)| open.clone()).collect()
        };
        for open in topics {
            if follows {
                self.receive(&open, partition)?;
            } else {
                open.tails.write().unwrap_or_else(PoisonError::into_inner).remove(&partition);
                self.tailer.leave(&open.name, partition)?;
            }
        }
        Ok(())
    }

    fn join(&self, membership: &Membership, hands: Arc<dyn Hands>) -> Result<Box<dyn Coordinator>, LogError> {
        let topic = name_of(&self.options, Topic::Raw.of(1));
        Ok(Box::new(Member::join(&self.options, &topic, membership, hands)?))
    }

    fn remove(&self, id: TopicId) -> Result<(), LogError> {
        self.leave(id)?;
        self.admin.delete(&name_of(&self.options, id))
    }

    fn leave(&self, id: TopicId) -> Result<(), LogError> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let name = name_of(&self.options, id);
        (0..self.partitions).try_for_each(|partition| self.tailer.leave(&name, partition))?;
        self.fetcher.forget(&name);
        Ok(())
    }

    fn opens_many(&self, opens: bool) {
        self.heads.remember(opens);
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

    fn peers(&self) -> Result<Vec<Peer>, LogError> {
        peers::of(&self.options, &self.lag)
    }

    fn cluster(&self) -> Result<Option<String>, LogError> {
        self.admin.cluster().map(Some)
    }

    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        self.lag.tell(positions)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_cluster_is_refused_with_both_ids_and_the_brokers() {
        assert!(check_cluster("a:9092", None, "X1").is_ok());
        assert!(check_cluster("a:9092", Some("X1"), "X1").is_ok());
        let error = check_cluster("a:9092,b:9092", Some("X1"), "Y2").unwrap_err();
        assert!(!error.is_away());
        let text = error.to_string();
        for part in ["X1", "Y2", "a:9092,b:9092", "log.kafka.brokers", "new data directory"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
