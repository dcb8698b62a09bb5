//! A log in memory that promises what the embedded log promises and no more.
//!
//! All partitions of a topic share one journal, so that appends become durable in the order in which they
//! were made, some at a time. Readers see them from then on; whoever appended is told a moment later. A crash
//! keeps all that was durable and of the rest any beginning: what is torn or was written out of order is cut
//! off when the log is opened, and what is left is durable before it is shown.

use crate::faults::Injector;
use crate::rng::Rng;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use weir_pipeline::log::{Appended, Fetched, FrameHead, Log, LogError, LoggedBatch, NewBatch};
use weir_proto::{TaskId, TopicId};
use weir_state::Fate;

struct Topic {
    /// All batches in the order of their appends, with the partition of each.
    journal: Vec<(usize, Arc<LoggedBatch>)>,
    partitions: Vec<Vec<Arc<LoggedBatch>>>,
    watermarks: Vec<u64>,
    /// How many batches are durable, and of how many that was told.
    durable: usize,
    told: usize,
}

impl Topic {
    fn new(partitions: u32) -> Self {
        let none = || (0..partitions).map(|_| Vec::new()).collect();
        Topic {
            journal: Vec::new(),
            partitions: none(),
            watermarks: vec![0; partitions as usize],
            durable: 0,
            told: 0,
        }
    }

    fn end(&self, partition: usize) -> u64 {
        self.partitions[partition].last().map_or(0, |b| b.head.end())
    }

    fn append(&mut self, partition: u32, batch: &NewBatch) -> Appended {
        let head = FrameHead::of(partition, self.end(partition as usize), batch);
        self.push(LoggedBatch { head, bytes: batch.bytes.clone() })
    }

    fn push(&mut self, batch: LoggedBatch) -> Appended {
        let (partition, end, batch) = (batch.head.partition as usize, batch.head.end(), Arc::new(batch));
        self.partitions[partition].push(batch.clone());
        self.journal.push((partition, batch));
        Appended { end, ticket: self.journal.len() as u64 }
    }

    fn sync(&mut self, upto: usize) {
        for (partition, batch) in &self.journal[self.durable..upto] {
            self.watermarks[*partition] = batch.head.end();
        }
        self.durable = upto;
    }

    fn crash(&mut self, keep: usize) {
        for (partition, _) in self.journal.drain(keep..) {
            self.partitions[partition].pop();
        }
        self.sync(keep);
        self.told = keep;
    }

    fn from(&self, partition: u32, offset: u64) -> impl Iterator<Item = &Arc<LoggedBatch>> {
        let (batches, end) = (&self.partitions[partition as usize], self.watermarks[partition as usize]);
        let first = batches.partition_point(|b| b.head.end() <= offset);
        batches[first..].iter().take_while(move |b| b.head.base_offset < end)
    }
}

/// The log.
pub struct SimLog {
    topics: Mutex<BTreeMap<TopicId, Topic>>,
    partitions: u32,
    injector: Arc<Injector>,
}

impl SimLog {
    /// An empty log.
    pub fn new(partitions: u32, injector: Arc<Injector>) -> Self {
        SimLog { topics: Mutex::default(), partitions, injector }
    }

    fn topics(&self) -> MutexGuard<'_, BTreeMap<TopicId, Topic>> {
        self.topics.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, id: TopicId, f: impl FnOnce(&mut Topic) -> T) -> Result<T, LogError> {
        self.topics().get_mut(&id).map(f).ok_or(LogError::NoTopic(id))
    }

    /// Creates a topic, unless it is there.
    pub fn add(&self, id: TopicId) {
        self.topics().entry(id).or_insert_with(|| Topic::new(self.partitions));
    }

    /// Deletes a topic.
    pub fn remove(&self, id: TopicId) {
        self.topics().remove(&id);
    }

    /// The topics in which something waits to become durable, or to be told of.
    pub fn waiting(&self) -> Vec<TopicId> {
        let topics = self.topics();
        topics.iter().filter(|(_, t)| t.told < t.journal.len()).map(|(id, _)| *id).collect()
    }

    /// All topics.
    pub fn all(&self) -> Vec<TopicId> {
        self.topics().keys().copied().collect()
    }

    /// Some more of a topic becomes durable, or that it has is told.
    pub fn sync(&self, id: TopicId, rng: &mut Rng) {
        let _ = self.with(id, |topic| {
            let waiting = topic.journal.len() - topic.durable;
            if topic.told < topic.durable && (waiting == 0 || rng.percent(50)) {
                topic.told = topic.durable;
            } else {
                let all = rng.percent(60);
                let more =
                    if all { waiting } else { rng.between(waiting.min(1) as u64, waiting as u64) as usize };
                topic.sync(topic.durable + more);
                if rng.percent(50) {
                    topic.told = topic.durable;
                }
            }
        });
    }

    /// Everything becomes durable.
    pub fn sync_all(&self) {
        for topic in self.topics().values_mut() {
            topic.sync(topic.journal.len());
            topic.told = topic.durable;
        }
    }

    /// Whoever writes the log is gone; how many appends were lost.
    pub fn crash(&self, rng: &mut Rng) -> usize {
        let mut lost = 0;
        for topic in self.topics().values_mut() {
            let keep = rng.between(topic.durable as u64, topic.journal.len() as u64) as usize;
            lost += topic.journal.len() - keep;
            topic.crash(keep);
        }
        lost
    }

    /// One of the batches of a topic, mostly a late one, is delivered again.
    pub fn repeat(&self, id: TopicId, rng: &mut Rng) -> Option<FrameHead> {
        let repeated = self.with(id, |topic| {
            let len = topic.journal.len();
            let back = if rng.percent(70) { len.min(3) } else { len };
            let (partition, batch) = topic.journal.get(len - 1 - rng.at(back))?.clone();
            let mut head = batch.head;
            head.base_offset = topic.end(partition);
            topic.push(LoggedBatch { head, bytes: batch.bytes.clone() });
            Some(head)
        });
        repeated.ok().flatten()
    }
}

impl Log for SimLog {
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        let fate = self.injector.at_append();
        let failed = || LogError::Io {
            what: "write",
            path: PathBuf::from(topic.to_string()),
            source: Arc::new(std::io::ErrorKind::StorageFull.into()),
        };
        if fate == Fate::Fails {
            return Err(failed());
        }
        let appended = self.with(topic, |t| t.append(partition, &batch))?;
        if fate == Fate::Done { Ok(appended) } else { Err(failed()) }
    }

    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        self.with(topic, |t| t.told as u64 >= ticket).unwrap_or(false)
    }

    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64 {
        self.with(topic, |t| t.watermarks[partition as usize]).unwrap_or(0)
    }

    fn start(&self, _: TopicId, _: u32) -> u64 {
        0
    }

    fn read(
        &self,
        topic: TopicId,
        partition: u32,
        offset: u64,
        max_records: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        self.with(topic, |t| {
            let mut found = Fetched { next: offset, ..Fetched::default() };
            let mut records = 0;
            for batch in t.from(partition, offset) {
                if records >= max_records {
                    break;
                }
                found.next = batch.head.end();
                if of.is_none_or(|of| batch.head.producer.task() == of) {
                    records += u64::from(batch.head.count);
                    found.batches.push(batch.clone());
                }
            }
            found
        })
    }

    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        self.with(topic, |t| t.from(partition, offset).map(|b| b.head).collect())
    }

    fn trim(&self, _: TopicId, _: &[u64]) -> Result<(), LogError> {
        Ok(())
    }

    fn newest_file(&self, topic: TopicId) -> PathBuf {
        PathBuf::from(topic.to_string())
    }

    fn size_bytes(&self, _: TopicId) -> Option<u64> {
        None
    }
}
