//! What was fetched last, in memory: readers go through several partitions at once, some a batch at a time and many side by
//! side, and each jump costs the client of the cluster a new beginning.

use crate::log::{LogError, LoggedBatch};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that a job keeps.
const OF_A_JOB: usize = 64 << 20;
/// Bytes that are kept beside one: an audit goes through three topics at once, of which this holds a stretch of some twenty partitions.
const BESIDE_A_JOB: usize = 256 << 20;
/// Chunks that are kept.
const MOST: usize = 1024;

/// A stretch of a partition.
struct Chunk {
    topic: String,
    partition: u32,
    batches: Vec<Arc<LoggedBatch>>,
    bytes: usize,
}

impl Chunk {
    fn holds(&self, topic: &str, partition: u32, offset: u64) -> bool {
        if self.partition != partition || self.topic != topic {
            return false;
        }
        let (first, last) = (self.batches.first(), self.batches.last());
        first.zip(last).is_some_and(|(f, l)| f.head.base_offset <= offset && offset < l.head.end())
    }
}

/// A partition of a topic.
type Place = (String, u32);

pub(crate) struct Chunks {
    most_bytes: usize,
    /// The stretches that were asked for last, the newest at the end.
    kept: Mutex<VecDeque<Chunk>>,
    /// Held by whoever fetches from a partition: another one may want the same.
    fetching: Mutex<HashMap<Place, Arc<Mutex<()>>>>,
}

impl Chunks {
    pub(crate) fn of_a_job() -> Self {
        Chunks { most_bytes: OF_A_JOB, kept: Mutex::default(), fetching: Mutex::default() }
    }

    pub(crate) fn beside_a_job() -> Self {
        Chunks { most_bytes: BESIDE_A_JOB, ..Self::of_a_job() }
    }

    /// The batches from the one that holds an offset on, until they have so many records, at least one: what is kept, or what
    /// `fetch` brings, which begins with that one.
    pub(crate) fn read(
        &self,
        (topic, partition): (&str, u32),
        offset: u64,
        most: u64,
        fetch: impl FnOnce() -> Result<Vec<LoggedBatch>, LogError>,
    ) -> Result<Vec<Arc<LoggedBatch>>, LogError> {
        if let Some(found) = self.find(topic, partition, offset, most) {
            return Ok(found);
        }
        let fetching = lock(&self.fetching).entry((topic.to_owned(), partition)).or_default().clone();
        let _alone = lock(&fetching);
        if let Some(found) = self.find(topic, partition, offset, most) {
            return Ok(found);
        }
        let batches: Vec<Arc<LoggedBatch>> = fetch()?.into_iter().map(Arc::new).collect();
        let found = from(&batches, offset, most);
        self.add(topic, partition, batches);
        Ok(found)
    }

    fn find(&self, topic: &str, partition: u32, offset: u64, most: u64) -> Option<Vec<Arc<LoggedBatch>>> {
        let mut kept = lock(&self.kept);
        let at = kept.iter().rposition(|chunk| chunk.holds(topic, partition, offset))?;
        let chunk = kept.remove(at)?;
        let found = from(&chunk.batches, offset, most);
        kept.push_back(chunk);
        Some(found)
    }

    fn add(&self, topic: &str, partition: u32, batches: Vec<Arc<LoggedBatch>>) {
        let bytes = batches.iter().map(|batch| batch.bytes.len()).sum();
        let mut kept = lock(&self.kept);
        kept.push_back(Chunk { topic: topic.to_owned(), partition, batches, bytes });
        let mut all: usize = kept.iter().map(|chunk| chunk.bytes).sum();
        while (all > self.most_bytes || kept.len() > MOST) && kept.len() > 1 {
            all -= kept.pop_front().map_or(0, |chunk| chunk.bytes);
        }
    }

    /// Forgets a topic: one of its name may be made anew.
    pub(crate) fn forget(&self, topic: &str) {
        lock(&self.kept).retain(|chunk| chunk.topic != topic);
        lock(&self.fetching).retain(|(name, _), _| name != topic);
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The batches from the one that holds an offset on, until they have so many records, at least one.
pub(crate) fn from(batches: &[Arc<LoggedBatch>], offset: u64, most: u64) -> Vec<Arc<LoggedBatch>> {
    let first = batches.partition_point(|batch| batch.head.end() <= offset);
    let mut records = 0;
    let wanted = batches[first..].iter().take_while(|batch| {
        let before = records;
        records += u64::from(batch.head.count);
        before == 0 || before < most
    });
    wanted.cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::remote::{Gather, Stamp};
    use std::sync::Barrier;
    use std::sync::atomic::{AtomicU32, Ordering};
    use weir_proto::{Minute, Producer, Provenance, Record, StageId};

    /// Batches of ten records from an offset on, up to another one.
    fn batches(from: u64, to: u64) -> Vec<LoggedBatch> {
        let producer = Producer { stage: StageId::Deduct, partition: 0, generation: 1 };
        let mut gather = Gather::new(0, 10);
        let stamp = |n| Stamp { producer, seq: n, provenance: Provenance { position: n, index: 0 } };
        let tick = Record::encode_tick(Minute(7));
        let mut all: Vec<_> = (from..to).filter_map(|n| gather.push(n, stamp(n), &tick)).collect();
        all.extend(gather.take());
        all
    }

    /// Which offsets a read brings, and whether it had to be fetched.
    fn read(chunks: &Chunks, offset: u64, most: u64) -> (u64, u64, bool) {
        let mut fetched = false;
        let found = chunks.read(("t", 3), offset, most, || {
            fetched = true;
            Ok(batches(offset, 100))
        });
        let found = found.unwrap();
        (found[0].head.base_offset, found.last().unwrap().head.end(), fetched)
    }

    #[test]
    fn what_was_fetched_is_kept_until_its_topic_is_forgotten() {
        let chunks = Chunks::of_a_job();
        assert_eq!(read(&chunks, 20, 1), (20, 30, true));
        assert_eq!(read(&chunks, 30, 15), (30, 50, false));
        assert_eq!(read(&chunks, 25, 1), (20, 30, false));
        assert_eq!(read(&chunks, 10, 1), (10, 20, true));
        chunks.forget("other");
        assert_eq!(read(&chunks, 99, 1), (90, 100, false));
        chunks.forget("t");
        assert_eq!(read(&chunks, 90, 5), (90, 100, true));
    }

    #[test]
    fn several_who_want_the_same_fetch_it_once() {
        let (chunks, fetched, all) = (Chunks::of_a_job(), AtomicU32::new(0), Barrier::new(4));
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    all.wait();
                    let found = chunks.read(("t", 0), 0, 1, || {
                        fetched.fetch_add(1, Ordering::Relaxed);
                        std::thread::sleep(std::time::Duration::from_millis(50));
                        Ok(batches(0, 100))
                    });
                    assert_eq!(found.unwrap()[0].head.end(), 10);
                });
            }
        });
        assert_eq!(fetched.into_inner(), 1);
    }

    #[test]
    fn a_failure_is_told_and_the_next_one_fetches_again() {
        let chunks = Chunks::of_a_job();
        let failed = chunks.read(("t", 3), 0, 1, || Err(LogError::NoGroups));
        assert!(matches!(failed, Err(LogError::NoGroups)));
        assert_eq!(read(&chunks, 0, 1), (0, 10, true));
    }
}
