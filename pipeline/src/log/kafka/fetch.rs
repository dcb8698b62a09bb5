//! Reading from any offset on: what a reader asks for that is not in memory any more.

use super::HEADER;
use super::context::Reading;
use super::options::KafkaOptions;
use crate::log::remote::{Chunks, Fetch, Gather, MOST, NEWS, Stamp};
use crate::log::{LogError, LoggedBatch};
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{Offset, TopicPartitionList};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_proto::TopicId;

/// Records that are fetched at once.
const CHUNK: u64 = 16_384;
/// Clients that are kept for the next reader.
const KEPT: usize = 16;
/// How long brokers may be silent before whoever reads is told so.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

type Client = BaseConsumer<Reading>;

/// A client, and where it reads on.
struct Reader {
    client: Client,
    at: Option<(String, u32, u64)>,
}

/// Clients that read what they are told to.
pub(super) struct Fetcher {
    options: KafkaOptions,
    idle: Mutex<Vec<Reader>>,
    chunks: Chunks,
}

impl Fetcher {
    pub(super) fn new(options: &KafkaOptions, chunks: Chunks) -> Self {
        Fetcher { options: options.clone(), idle: Mutex::default(), chunks }
    }

    /// Forgets what it has of a topic that is deleted.
    pub(super) fn forget(&self, topic: &str) {
        self.chunks.forget(topic);
    }

    fn put_back(&self, reader: Reader) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if idle.len() < KEPT {
            idle.push(reader);
        }
    }

    /// One that stands at this offset, if there is one.
    fn reader(&self, topic: &str, partition: u32, from: u64) -> Result<Reader, LogError> {
        let stands =
            |r: &Reader| r.at.as_ref().is_some_and(|(t, p, o)| t == topic && (*p, *o) == (partition, from));
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = idle.iter().position(stands) {
            return Ok(idle.swap_remove(at));
        }
        drop(idle);
        let mut reader = self.any()?;
        let mut list = TopicPartitionList::new();
        let offset = Offset::Offset(i64::try_from(from).unwrap_or(i64::MAX));
        let assign = list
            .add_partition_offset(topic, partition_of(partition), offset)
            .and_then(|()| reader.client.assign(&list));
        assign.map_err(|e| LogError::kafka_topic("read", topic, &e))?;
        reader.at = Some((topic.to_owned(), partition, from));
        Ok(reader)
    }

    fn any(&self) -> Result<Reader, LogError> {
        if let Some(reader) = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop() {
            return Ok(reader);
        }
        let mut config = self.options.consumer()?;
        // What it is asked for is there; a request that waits for more would hold up the next one.
        config.set("queued.max.messages.kbytes", "8192").set("fetch.wait.max.ms", "5");
        let client = config.create_with_context(Reading).map_err(|e| LogError::kafka("connect to", &e))?;
        Ok(Reader { client, at: None })
    }
}

impl Fetch for Fetcher {
    fn name_of(&self, topic: TopicId) -> String {
        super::name_of(&self.options, topic)
    }

    fn path_of(&self, topic: TopicId) -> PathBuf {
        PathBuf::from(format!("kafka://{}/{}", self.options.brokers, self.name_of(topic)))
    }

    fn read(
        &self,
        topic: &str,
        partition: u32,
        (from, to): (u64, u64),
        most: u64,
    ) -> Result<Vec<Arc<LoggedBatch>>, LogError> {
        if from >= to {
            return Ok(Vec::new());
        }
        self.chunks.read((topic, partition), from, most, || {
            let mut reader = self.reader(topic, partition, from)?;
            let found = reader.read(topic, partition, from, to.min(from + CHUNK))?;
            self.put_back(reader);
            Ok(found)
        })
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<(u64, u64), LogError> {
        let (reader, begun) = (self.any()?, Instant::now());
        loop {
            let found = reader.client.fetch_watermarks(topic, partition_of(partition), PATIENCE);
            match found.map_err(|e| LogError::kafka_topic("ask for the offsets of", topic, &e)) {
                Ok((start, end)) => {
                    self.put_back(reader);
                    return Ok((start.unsigned_abs(), end.unsigned_abs()));
                }
                // A new partition has no leader for a moment, nor has one whose broker has just gone.
                Err(error) if error.is_away() && begun.elapsed() < PATIENCE => std::thread::sleep(POLL),
                Err(LogError::WrongTopic { .. }) if begun.elapsed() < NEWS => std::thread::sleep(POLL),
                Err(error) => return Err(error),
            }
        }
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        let reader = self.any()?;
        let all = reader.client.fetch_metadata(Some(topic), PATIENCE);
        let all = all.map_err(|e| LogError::kafka_topic("look for", topic, &e))?;
        self.put_back(reader);
        let found = all.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        Ok(found.map_or(0, |found| found.partitions().len() as u32))
    }
}

impl Reader {
    fn read(
        &mut self,
        topic: &str,
        partition: u32,
        from: u64,
        to: u64,
    ) -> Result<Vec<LoggedBatch>, LogError> {
        let (mut gather, mut batches) = (Gather::new(partition, MOST), Vec::new());
        let (mut next, mut last) = (from, Instant::now());
        while next < to {
            let message = match self.client.poll(POLL) {
                Some(Ok(message)) => message,
                Some(Err(error)) if goes_on(&error) => continue,
                Some(Err(error)) => return Err(LogError::kafka_topic("read", topic, &error)),
                None if last.elapsed() < PATIENCE => continue,
                None => return Err(LogError::Away { what: "read", topic: Some(topic.to_owned()) }),
            };
            last = Instant::now();
            next = push(&mut gather, topic, &message, &mut batches)? + 1;
        }
        batches.extend(gather.take());
        self.at = Some((topic.to_owned(), partition, next));
        Ok(batches)
    }
}

/// Whether the client reads on by itself after this.
pub(super) fn goes_on(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    !matches!(
        error.rdkafka_error_code(),
        Some(
            Code::AutoOffsetReset
                | Code::OffsetOutOfRange
                | Code::UnknownTopicOrPartition
                | Code::UnknownTopic
                | Code::UnknownPartition
                | Code::TopicAuthorizationFailed
                | Code::Fatal
        )
    )
}

/// Adds a message to the batches of its partition; its offset.
pub(super) fn push(
    gather: &mut Gather,
    topic: &str,
    message: &BorrowedMessage<'_>,
    batches: &mut Vec<LoggedBatch>,
) -> Result<u64, LogError> {
    let offset = message.offset().unsigned_abs();
    let foreign = |problem| LogError::Foreign {
        system: "Kafka",
        topic: topic.to_owned(),
        partition: message.partition(),
        offset,
        problem,
    };
    let header = message.headers().and_then(|headers| headers.iter().find(|header| header.key == HEADER));
    let stamp = header.and_then(|header| Stamp::decode(header.value?));
    let stamp = stamp.ok_or_else(|| foreign("it has no header of Weir".to_owned()))?;
    let mut record = Vec::new();
    weir_proto::exchange::from_message(message.payload().unwrap_or_default(), &mut record)
        .map_err(|error| foreign(error.to_string()))?;
    batches.extend(gather.push(offset, stamp, &record));
    Ok(offset)
}

pub(super) fn partition_of(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
}
