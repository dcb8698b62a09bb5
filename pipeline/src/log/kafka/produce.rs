//! Appending: every record is a message of its own, in order and without gaps, acknowledged by all replicas.
//!
//! A message never times out here (`message.timeout.ms` is 0): a broker that is away is waited for, and what cannot be
//! delivered at all stops the log. So what follows a failure is never delivered.

use super::HEADER;
use super::options::KafkaOptions;
use crate::log::remote::{Deliveries, Stamp, Wake};
use crate::log::{LogError, NewBatch};
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Header, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer as _, ProducerContext, ThreadedProducer};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use weir_proto::{Batch, TopicId};

/// How long to wait for room in the queue of messages before looking again.
const FULL: Duration = Duration::from_millis(2);
/// How long what is under way has to get there when the log is closed.
const CLOSING: Duration = Duration::from_secs(5);

/// What is said of a message that is not the last one of its batch.
const UNNAMED: usize = 0;

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
            Ok(message) if name != UNNAMED => self.0.delivered(name, message.offset().unsigned_abs() + 1),
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
    pub(super) fn open(options: &KafkaOptions, wake: Wake) -> Result<Self, LogError> {
        let deliveries = Arc::new(Deliveries::new(wake));
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

    pub(super) fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// Sends a batch; its ticket.
    pub(super) fn append(
        &self,
        id: TopicId,
        topic: &str,
        partition: u32,
        batch: &NewBatch,
    ) -> Result<u64, LogError> {
        let (ticket, name) = self.deliveries.begin(id, partition);
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

    /// Waits while the queue is full: the brokers take no more than they take.
    fn send(&self, mut message: BaseRecord<'_, (), [u8], usize>) -> Result<(), LogError> {
        loop {
            if let Some(error) = self.deliveries.failure() {
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
}

impl Drop for Appender {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::Release);
        // What is not there by then is appended again by the next start.
        let _ = self.producer.flush(CLOSING);
    }
}
