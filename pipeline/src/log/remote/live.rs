//! The log of a job whose topics are in a cluster.

use super::heads::Heads;
use super::{Cluster, Tail, Wake, until_found};
use crate::group::{Coordinator, Hands, Membership, Peer};
use crate::log::{Appended, Fetched, Follow, FrameHead, LiveLog, Log, LogError, NewBatch};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use weir_proto::{TaskId, Topic, TopicId};

/// How often it is looked whether a topic is there.
const LOOK: Duration = Duration::from_millis(100);

struct Open {
    name: String,
    /// Of the partitions that are followed.
    tails: RwLock<BTreeMap<u32, Arc<Tail>>>,
    starts: RwLock<Vec<u64>>,
}

/// Topics in a cluster.
pub struct RemoteLog<C> {
    pub(crate) cluster: C,
    partitions: u32,
    topics: RwLock<BTreeMap<TopicId, Arc<Open>>>,
    /// The partitions that are followed.
    followed: RwLock<BTreeSet<u32>>,
    wake: Wake,
    heads: Heads,
}

impl<C: Cluster> RemoteLog<C> {
    /// With topics that are to be [added](LiveLog::add); the cluster calls `wake` when something is appended or received.
    pub(crate) fn new(cluster: C, partitions: u32, follow: Follow, wake: Wake) -> Self {
        let followed = if follow == Follow::All { (0..partitions).collect() } else { BTreeSet::new() };
        RemoteLog {
            cluster,
            partitions,
            topics: RwLock::default(),
            followed: RwLock::new(followed),
            wake,
            heads: Heads::default(),
        }
    }

    /// Refuses to go on without a topic that a job has begun with.
    pub fn must_have(&self, topic: TopicId) -> Result<(), LogError> {
        let (topic, begun) = (self.cluster.fetcher().name_of(topic), Instant::now());
        while self.cluster.fetcher().partitions(&topic)? == 0 {
            if begun.elapsed() > self.cluster.news() {
                return Err(self.cluster.gone(topic));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
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
            None => self.cluster.fetcher().offsets(&open.name, partition),
        }
    }

    /// Receives what is appended to a partition from now on.
    fn receive(&self, open: &Open, partition: u32) -> Result<(), LogError> {
        let (start, end) = self.cluster.fetcher().offsets(&open.name, partition)?;
        open.set_start(partition, start);
        let tail = self.cluster.receive(&open.name, partition, end)?;
        open.tails.write().unwrap_or_else(PoisonError::into_inner).insert(partition, tail);
        Ok(())
    }
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

impl<C: Cluster> Log for RemoteLog<C> {
    fn append(&self, topic: TopicId, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        let open = self.topic(topic)?;
        let ticket = self.cluster.append(topic, &open.name, partition, &batch)?;
        // Where it will stand nobody knows yet: not before this.
        Ok(Appended { end: open.tail(partition).map_or(0, |tail| tail.end()), ticket })
    }

    fn end(&self, topic: TopicId, partition: u32, appended: &Appended) -> u64 {
        self.cluster.end(topic, partition, appended.ticket).unwrap_or(appended.end)
    }

    fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        self.cluster.is_durable(topic, ticket)
    }

    fn high_watermark(&self, topic: TopicId, partition: u32) -> u64 {
        // Of a partition that is not followed the cluster knows it; while that is away nothing of it can be read.
        self.find_end(topic, partition).unwrap_or(0)
    }

    fn find_end(&self, topic: TopicId, partition: u32) -> Result<u64, LogError> {
        Ok(self.bounds(&*self.topic(topic)?, partition)?.1)
    }

    fn newest(&self, topic: TopicId, partition: u32) -> Result<u64, LogError> {
        Ok(self.cluster.fetcher().offsets(&self.topic(topic)?.name, partition)?.1)
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
            None => self.cluster.fetcher().read(&open.name, partition, (offset, end), max_records),
        })
    }

    fn heads(&self, topic: TopicId, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        let open = self.topic(topic)?;
        // A followed partition may be received a little later than others have appended to it.
        let (start, end) = self.cluster.fetcher().offsets(&open.name, partition)?;
        let read = |from, to| self.cluster.fetcher().heads(&open.name, partition, (from, to));
        self.heads.read(&open.name, partition, (offset.max(start), end), read)
    }

    fn trim(&self, topic: TopicId, below: &[u64]) -> Result<(), LogError> {
        let open = self.topic(topic)?;
        if self.cluster.trim(&open.name, below)? {
            (0..).zip(below).for_each(|(partition, below)| open.set_start(partition, *below));
            return Ok(());
        }
        // What goes in its own time is looked for.
        let tails = open.tails.read().unwrap_or_else(PoisonError::into_inner);
        let followed: Vec<u32> = tails.keys().copied().collect();
        drop(tails);
        for partition in followed {
            open.set_start(partition, self.cluster.fetcher().offsets(&open.name, partition)?.0);
        }
        Ok(())
    }

    fn newest_file(&self, topic: TopicId) -> PathBuf {
        self.cluster.fetcher().path_of(topic)
    }

    fn size_bytes(&self, _topic: TopicId) -> Option<u64> {
        None
    }
}

impl<C: Cluster> LiveLog for RemoteLog<C> {
    fn add(&self, id: TopicId) -> Result<(), LogError> {
        let mut topics = self.topics.write().unwrap_or_else(PoisonError::into_inner);
        if topics.contains_key(&id) {
            return Ok(());
        }
        let name = self.cluster.fetcher().name_of(id);
        self.cluster.ensure(&name)?;
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
                self.cluster.leave(&open.name, partition)?;
            }
        }
        Ok(())
    }

    fn join(&self, membership: &Membership, hands: Arc<dyn Hands>) -> Result<Box<dyn Coordinator>, LogError> {
        self.cluster.join(&self.cluster.fetcher().name_of(Topic::Raw.of(1)), membership, hands)
    }

    fn remove(&self, id: TopicId) -> Result<(), LogError> {
        self.leave(id)?;
        self.cluster.delete(&self.cluster.fetcher().name_of(id))
    }

    fn leave(&self, id: TopicId) -> Result<(), LogError> {
        self.topics.write().unwrap_or_else(PoisonError::into_inner).remove(&id);
        let name = self.cluster.fetcher().name_of(id);
        (0..self.partitions).try_for_each(|partition| self.cluster.leave(&name, partition))?;
        self.cluster.forget(&name);
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
        self.cluster.failure()
    }

    fn peers(&self) -> Result<Vec<Peer>, LogError> {
        self.cluster.peers()
    }

    fn cluster(&self) -> Result<Option<String>, LogError> {
        self.cluster.id()
    }

    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        self.cluster.tell(positions)
    }
}
