//! Receiving: one thread fills the tails of all partitions that are followed.

use super::context::Reading;
use super::fetch::{PATIENCE, goes_on, partition_of, push};
use super::options::KafkaOptions;
use crate::log::LogError;
use crate::log::remote::{Gather, MOST, Tail, Wake};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::thread::JoinHandle;
use std::time::Duration;

/// Messages after which those who wait for them are told, although there are more.
const AT_ONCE: usize = 4096;
const POLL: Duration = Duration::from_millis(50);

type Tails = RwLock<HashMap<String, HashMap<i32, Arc<Tail>>>>;

/// What the receiving thread and the log share.
struct Shared {
    client: BaseConsumer<Reading>,
    tails: Tails,
    failure: OnceLock<LogError>,
    closing: AtomicBool,
    wake: Wake,
}

/// Receives what is appended, by whomever.
pub(super) struct Tailer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    most_bytes: u64,
}

impl Tailer {
    /// Keeps so many bytes of each partition.
    pub(super) fn open(options: &KafkaOptions, most_bytes: u64, wake: Wake) -> Result<Self, LogError> {
        let mut config = options.consumer()?;
        config.set("queued.max.messages.kbytes", "65536").set("fetch.wait.max.ms", "20");
        let client = config.create_with_context(Reading).map_err(|e| LogError::kafka("connect to", &e))?;
        let shared = Arc::new(Shared {
            client,
            tails: Tails::default(),
            failure: OnceLock::new(),
            closing: AtomicBool::new(false),
            wake,
        });
        let receiving = shared.clone();
        let thread =
            std::thread::Builder::new().name("kafka-tail".to_owned()).spawn(move || receiving.receive());
        let thread = thread.map_err(LogError::io("start a thread for", std::path::Path::new("Kafka")))?;
        Ok(Tailer { shared, thread: Some(thread), most_bytes })
    }

    /// Receives what is appended to a partition from an offset on.
    pub(super) fn add(&self, topic: &str, partition: u32, end: u64) -> Result<Arc<Tail>, LogError> {
        let tail = Arc::new(Tail::new(end, self.most_bytes));
        self.tails().entry(topic.to_owned()).or_default().insert(partition_of(partition), tail.clone());
        let list = one(topic, partition, end).and_then(|list| self.shared.client.incremental_assign(&list));
        list.map_err(|e| LogError::kafka_topic("read", topic, &e))?;
        Ok(tail)
    }

    /// Does not receive it any more, if it did.
    pub(super) fn leave(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        let tail = self.tails().get_mut(topic).and_then(|tails| tails.remove(&partition_of(partition)));
        let Some(tail) = tail else { return Ok(()) };
        let list = one(topic, partition, tail.end());
        let list = list.and_then(|list| self.shared.client.incremental_unassign(&list));
        list.map_err(|e| LogError::kafka_topic("stop to read", topic, &e))
    }

    pub(super) fn failure(&self) -> Option<LogError> {
        self.shared.failure.get().cloned()
    }

    fn tails(&self) -> std::sync::RwLockWriteGuard<'_, HashMap<String, HashMap<i32, Arc<Tail>>>> {
        self.shared.tails.write().unwrap_or_else(PoisonError::into_inner)
    }
}

fn one(topic: &str, partition: u32, offset: u64) -> Result<TopicPartitionList, rdkafka::error::KafkaError> {
    let mut list = TopicPartitionList::new();
    let offset = Offset::Offset(i64::try_from(offset).unwrap_or(i64::MAX));
    list.add_partition_offset(topic, partition_of(partition), offset)?;
    Ok(list)
}

impl Shared {
    fn receive(&self) {
        let mut gathers = HashMap::new();
        while !self.closing.load(Ordering::Acquire) {
            if let Err(error) = self.receive_some(&mut gathers) {
                let _ = self.failure.set(error);
                self.wake.call();
                return;
            }
        }
    }

    /// Receives until nothing more is there for the moment, and says so.
    fn receive_some(
        &self,
        gathers: &mut HashMap<(String, i32), (Arc<Tail>, Gather)>,
    ) -> Result<(), LogError> {
        let mut wait = POLL;
        for _ in 0..AT_ONCE {
            let message = match self.client.poll(wait) {
                None => break,
                Some(Err(error)) if goes_on(&error) => break,
                Some(Err(error)) => return Err(self.explain(&error)),
                Some(Ok(message)) => message,
            };
            wait = Duration::ZERO;
            let Some(tail) = self.tail(message.topic(), message.partition()) else { continue };
            if message.offset().unsigned_abs() < tail.end() {
                // It was on its way when the partition was left and followed again.
                continue;
            }
            let key = (message.topic().to_owned(), message.partition());
            let (tail, gather) = gathers
                .entry(key)
                .or_insert_with(|| (tail, Gather::new(message.partition().unsigned_abs(), MOST)));
            let mut ended = Vec::new();
            push(gather, message.topic(), &message, &mut ended)?;
            ended.into_iter().for_each(|batch| tail.push(batch));
        }
        let mut some = false;
        for (tail, mut gather) in std::mem::take(gathers).into_values() {
            if let Some(batch) = gather.take() {
                tail.push(batch);
                some = true;
            }
        }
        if some {
            self.wake.call();
        }
        Ok(())
    }

    /// The client does not say which topic it cannot read: the one that is gone, or that ends before what was read of it.
    fn explain(&self, error: &KafkaError) -> LogError {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        for (topic, tails) in &*tails {
            for (&partition, tail) in tails {
                let found = self.client.fetch_watermarks(topic, partition, PATIENCE);
                let found = found.map_err(|e| LogError::kafka_topic("read", topic, &e));
                let read = tail.end();
                match found {
                    Ok((start, end)) if end.unsigned_abs() < read || start.unsigned_abs() > read => {
                        let problem = format!(
                            "has the offsets {start} to {end} in partition {partition}, where {read} is to be read next: it \
                             was deleted and made anew, or has lost records. Start weir again to see whether it can go on"
                        );
                        return LogError::of_kafka(topic.clone(), problem);
                    }
                    Err(gone @ LogError::WrongTopic { .. }) => return gone,
                    _ => {}
                }
            }
        }
        LogError::kafka("read", error)
    }

    fn tail(&self, topic: &str, partition: i32) -> Option<Arc<Tail>> {
        let tails = self.tails.read().unwrap_or_else(PoisonError::into_inner);
        tails.get(topic)?.get(&partition).cloned()
    }
}

impl Drop for Tailer {
    fn drop(&mut self) {
        self.shared.closing.store(true, Ordering::Release);
        // A thread that panicked has said so.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
