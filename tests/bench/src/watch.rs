//! Watches the charges of a running job, as any reader of its data directory can.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use weir_pipeline::log::{LogPlace, TopicReader};
use weir_proto::{Batch, Guid, Record, Topic};

/// How often it looks.
const POLL: Duration = Duration::from_millis(1);
/// When nothing that is watched has come for so long, the rest was dropped.
const PATIENCE: Duration = Duration::from_secs(5);
/// Records of a partition that are read at once.
const AT_ONCE: u64 = 16_384;

/// When each watched line that has no charge yet was due, by its guid.
pub type Watched = Arc<Mutex<HashMap<u128, Instant>>>;

/// What has come out.
pub struct Reader {
    topic: TopicReader,
    offsets: Vec<u64>,
    watched: Watched,
    /// When a watched line was due, and how long its charge took.
    seen: Vec<(Instant, Duration)>,
}

impl Reader {
    /// Behind what is there already.
    pub fn open(data_dir: &Path, watched: Watched) -> Self {
        let topic = TopicReader::open(&LogPlace::Files(data_dir.join("log")), Topic::Charges.of(1)).unwrap();
        let offsets = (0..topic.partitions()).map(|partition| topic.offsets(partition).1).collect();
        Reader { topic, offsets, watched, seen: Vec::new() }
    }

    /// Until all is written and no charges come any more.
    pub fn watch(&mut self, is_written: impl Fn() -> bool) {
        let mut newest = Instant::now();
        while !is_written() || newest.elapsed() < PATIENCE {
            let known = self.seen.len();
            self.topic.refresh().unwrap();
            (0..self.offsets.len()).for_each(|partition| self.read(partition));
            if self.seen.len() > known || !is_written() {
                newest = Instant::now();
            }
            std::thread::sleep(POLL);
        }
    }

    fn read(&mut self, partition: usize) {
        let (_, end) = self.topic.offsets(partition as u32);
        while self.offsets[partition] < end {
            let fetched = self.topic.read(partition as u32, self.offsets[partition], AT_ONCE, None).unwrap();
            let now = Instant::now();
            for batch in &fetched.batches {
                self.note(&batch.bytes, now);
            }
            self.offsets[partition] = fetched.next;
        }
    }

    fn note(&mut self, batch: &[u8], now: Instant) {
        let mut watched = self.watched.lock().unwrap();
        for record in Batch::open(batch).unwrap() {
            let Record::Charge(charge) = Record::decode(record.unwrap().bytes).unwrap() else { continue };
            let Guid::Ulid(guid) = charge.guid else { continue };
            // What is due later only repeats a line that was charged long ago.
            if let Some(due) = watched.remove(&guid)
                && due <= now
            {
                self.seen.push((due, now - due));
            }
        }
    }

    /// How long the charges took of lines that were due from a moment on.
    pub fn latencies_from(&self, moment: Instant) -> Vec<Duration> {
        self.seen.iter().filter(|(due, _)| *due >= moment).map(|(_, took)| *took).collect()
    }
}
