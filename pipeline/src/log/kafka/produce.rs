//! Appending: every record is a message of its own, in order and without gaps, acknowledged by all replicas.
//!
//! A message never times out here (`message.timeout.ms` is 0): a broker that is away is waited for, and what cannot be
//! delivered at all stops the log. So what follows a failure is never delivered.

use super::options::KafkaOptions;
use super::stamp::{HEADER, Stamp};
use crate::log::{LogError, NewBatch};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use weir_proto::{Batch, TopicId};

/// How long to wait for room in the queue of messages before looking again.
const FULL: Duration = Duration::from_millis(2);
/// How long what is under way has to get there when the log is closed.
const CLOSING: Duration = Duration::from_secs(5);
/// Ends that nobody has asked for are kept so many batches long.
const ENDS: usize = 4096;

/// What is said of a message that is not the last one of its batch.
const UNNAMED: usize = 0;

/// A batch on its way.
struct UnderWay {
    topic: TopicId,
    partition: u32,
    ticket: u64,
}

#[derive(Default)]
struct OfTopic {
    issued: u64,
    under_way: BTreeSet<u64>,
    /// Ticket and end offset of what was delivered, by partition.
    ends: HashMap<u32, BTreeMap<u64, u64>>,
}

#[derive(Default)]
struct State {
    named: usize,
    batches: HashMap<usize, UnderWay>,
    topics: HashMap<TopicId, OfTopic>,
}

/// What the thread of the client tells.
struct Deliveries {
    state: Mutex<State>,
    failure: OnceLock<LogError>,
    wake: super::Wake,
}

impl Deliveries {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn delivered(&self, name: usize, offset: i64) {
        let mut state = self.state();
        let Some(UnderWay { topic, partition, ticket }) = state.batches.remove(&name) else { return };
        let of = state.topics.entry(topic).or_default();
        of.under_way.remove(&ticket);
        let ends = of.ends.entry(partition).or_default();
        ends.insert(ticket, offset.unsigned_abs() + 1);
        if ends.len() > ENDS {
            ends.pop_first();
        }
        drop(state);
        self.wake.call();
    }

    /// The first one is the reason of the others.
    fn failed(&self, error: LogError) {
        let _ = self.failure.set(error);
        self.wake.call();
    }
}

/// As the client knows it.
struct Told(Arc<Deliveries>);

impl ClientContext for Told {
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        tracing::debug!("{message}");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        super::context::tell(&error, reason);
    }
}

impl ProducerContext for Told {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, name: usize) {
        match result {
            Ok(message) if name != UNNAMED => self.0.delivered(name, message.offset()),
            Ok(_) => {}
            Err((error, message)) => {
                self.0.failed(LogError::kafka_topic("deliver records to", message.topic(), error));
            }
        }
    }
}

/// Appends to topics.
pub(super) struct Appender {
    producer: ThreadedProducer<Told>,
    deliveries: Arc<Deliveries>,
    closing: AtomicBool,
}

impl Appender {
    pub(super) fn open(options: &KafkaOptions, wake: super::Wake) -> Result<Self, LogError> {
        let deliveries = Arc::new(Deliveries { state: Mutex::default(), failure: OnceLock::new(), wake });
        let mut config = options.client()?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.timeout.ms", "0")
            .set("enable.gapless.guarantee", "true")
            .set("linger.ms", "5")
            .set("compression.type", "lz4")
            .set("batch.size", "1000000")
            .set("queue.buffering.max.messages", "0")
            .set("queue.buffering.max.kbytes", "524288");
        let producer = config.create_with_context(Told(deliveries.clone()));
        let producer = producer.map_err(|e| LogError::kafka("connect to", &e))?;
        Ok(Appender { producer, deliveries, closing: AtomicBool::new(false) })
    }

    pub(super) fn failure(&self) -> Option<LogError> {
        self.deliveries.failure.get().cloned()
    }

    /// Sends a batch; its ticket.
    pub(super) fn append(
        &self,
        id: TopicId,
        topic: &str,
        partition: u32,
        batch: &NewBatch,
    ) -> Result<u64, LogError> {
        let (ticket, name) = self.begin(id, partition);
        let mut value = Vec::new();
        let records = Batch::open(&batch.bytes).map_err(|_| LogError::NotABatch)?;
        for (at, record) in records.enumerate() {
            let record = record.map_err(|_| LogError::NotABatch)?;
            let seq = batch.first_seq + at as u64;
            let stamp = Stamp { producer: batch.producer, seq, provenance: record.provenance }.encode();
            value.clear();
            weir_proto::exchange::to_message(record.bytes, &mut value).map_err(|_| LogError::NotABatch)?;
            let headers = OwnedHeaders::new_with_capacity(1);
            let headers = headers.insert(Header { key: HEADER, value: Some(&stamp[..]) });
            let name = if at + 1 == batch.count as usize { name } else { UNNAMED };
            let message = BaseRecord::<(), [u8], usize>::with_opaque_to(topic, name)
                .partition(i32::try_from(partition).unwrap_or(i32::MAX))
                .headers(headers)
                .payload(&value);
            self.send(message)?;
        }
        Ok(ticket)
    }

    fn begin(&self, topic: TopicId, partition: u32) -> (u64, usize) {
        let mut state = self.deliveries.state();
        let of = state.topics.entry(topic).or_default();
        of.issued += 1;
        let ticket = of.issued;
        of.under_way.insert(ticket);
        state.named += 1;
        let name = state.named;
        state.batches.insert(name, UnderWay { topic, partition, ticket });
        (ticket, name)
    }

    /// Waits while the queue is full: the brokers take no more than they take.
    fn send(&self, mut message: BaseRecord<'_, (), [u8], usize>) -> Result<(), LogError> {
        loop {
            if let Some(error) = self.failure() {
                return Err(error);
            }
            message = match self.producer.send(message) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), message))
                    if !self.closing.load(Ordering::Acquire) =>
                {
                    message
                }
                Err((error, message)) => {
                    let error = LogError::kafka_topic("append to", message.topic, &error);
                    self.deliveries.failed(error.clone());
                    return Err(error);
                }
            };
            std::thread::sleep(FULL);
        }
    }

    pub(super) fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        let state = self.deliveries.state();
        state.topics.get(&topic).is_some_and(|of| of.under_way.first().is_none_or(|first| *first > ticket))
    }

    /// The end offset behind a batch that was delivered.
    pub(super) fn end(&self, topic: TopicId, partition: u32, ticket: u64) -> Option<u64> {
        let mut state = self.deliveries.state();
        state.topics.get_mut(&topic)?.ends.get_mut(&partition)?.remove(&ticket)
    }
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // What is not there by then is appended again by the next start.
        let _ = self.producer.flush(CLOSING);
    }
}
