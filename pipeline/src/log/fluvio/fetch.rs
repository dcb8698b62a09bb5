//! Reading from any offset on: what a reader asks for that is not in memory any more.

use super::admin::PATIENCE;
use super::answer::{self, Place};
use super::calls::Connections;
use super::leaders::Known;
use super::options::FluvioOptions;
use crate::log::remote::{Chunks, Fetch, Gather, MOST};
use crate::log::{LogError, LoggedBatch};
use fluvio_protocol::link::ErrorCode;
use fluvio_spu_schema::Isolation;
use fluvio_spu_schema::fetch::FetchablePartitionResponse;
use fluvio_spu_schema::server::fetch_offset::FetchOffsetsRequest;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_proto::TopicId;

/// Bytes of a chunk as they are sent: some ten thousand records.
const CHUNK_BYTES: i32 = 1 << 20;
/// Bytes that are fetched at once otherwise.
pub(super) const FETCH_BYTES: i32 = 2 << 20;
/// Bytes that are fetched at most, where a batch has more.
pub(super) const MOST_BYTES: i32 = 64 << 20;
/// How long to wait before a leader that is away is asked again.
const AGAIN: Duration = Duration::from_millis(200);

pub(super) const UNSETTLED: &str = "not all of its replicas have the newest records";

type Records = fluvio_protocol::record::RecordSet<fluvio_protocol::record::RawRecords>;

/// Reads what it is told to.
pub(super) struct Fetcher {
    options: FluvioOptions,
    pub connections: Connections,
    pub leaders: Known,
    chunks: Chunks,
}

impl Fetcher {
    pub(super) fn new(options: &FluvioOptions, chunks: Chunks) -> Self {
        Fetcher {
            options: options.clone(),
            connections: Connections::new(options),
            leaders: Known::new(options),
            chunks,
        }
    }

    /// Forgets what it has of a topic that is deleted.
    pub(super) fn forget(&self, topic: &str) {
        self.chunks.forget(topic);
        self.leaders.forget(topic);
    }

    /// Which records may be read. Where a partition is on one SPU, all that stand there: after a restart the server knows only
    /// with the next append that what is behind its last checkpoint of the high watermark is acknowledged.
    pub(super) fn isolation(&self) -> Isolation {
        if self.options.replication > 1 { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
    }

    /// Asks the leader of a partition until there is an answer, or for so long that whoever waits should know.
    fn ask<T>(
        &self,
        what: &'static str,
        place: Place<'_>,
        mut ask: impl FnMut(&str) -> Result<T, Failed>,
    ) -> Result<T, LogError> {
        let begun = Instant::now();
        loop {
            let leader = self.leaders.of(place.topic, place.partition);
            let reason = match leader.map_err(Failed::For).and_then(|leader| ask(&leader)) {
                Ok(answer) => return Ok(answer),
                Err(Failed::For(error)) if !error.is_away() => return Err(error),
                Err(Failed::For(error)) => error.to_string(),
                Err(Failed::Now(reason)) => reason,
            };
            let _ = self.leaders.refresh();
            if begun.elapsed() > PATIENCE {
                let reason = format!("partition {}: {reason}", place.partition);
                return Err(LogError::FluvioAway { what, topic: Some(place.topic.to_owned()), reason });
            }
            std::thread::sleep(AGAIN);
        }
    }

    /// Fetches from one partition.
    fn fetch(
        &self,
        leader: &str,
        place: Place<'_>,
        offset: u64,
        (bytes, isolation): (i32, Isolation),
    ) -> Result<FetchablePartitionResponse<Records>, Failed> {
        let request = answer::request([(place.topic, place.partition, offset)], bytes, isolation);
        let answer = self.connections.call(leader, request).map_err(Failed::Now)?;
        let answer = answer.find_partition(place.topic, place.partition);
        let answer = answer.ok_or_else(|| Failed::Now("its leader says nothing of it".to_owned()))?;
        match &answer.error_code {
            ErrorCode::None => Ok(answer),
            code => {
                Err(place.refused(code, offset).map_or_else(|| Failed::Now(code.to_string()), Failed::For))
            }
        }
    }

    /// The end of what stands in a partition, acknowledged or not, of which this much is acknowledged.
    fn written(&self, leader: &str, place: Place<'_>, acknowledged: u64) -> Result<u64, Failed> {
        let (mut end, mut bytes) = (acknowledged, FETCH_BYTES);
        loop {
            let answer = self.fetch(leader, place, end, (bytes, Isolation::ReadUncommitted))?;
            let whole = answer.records.batches.iter().filter(|batch| batch.validate_decoding());
            match whole.last().map(|batch| batch.computed_last_offset().unsigned_abs()) {
                Some(next) if next > end => end = next,
                _ if answer.records.batches.is_empty() || bytes >= MOST_BYTES => return Ok(end),
                _ => bytes *= 2,
            }
        }
    }

    /// The oldest offset and the high watermark, as the leader knows them.
    fn watermark(&self, leader: &str, place: Place<'_>) -> Result<(u64, u64), Failed> {
        let request = FetchOffsetsRequest::new(place.topic.to_owned(), place.partition);
        let answer = self.connections.call(leader, request).map_err(Failed::Now)?;
        let found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        let found = found.into_iter().find(|found| found.partition_index == place.partition);
        let found = found.ok_or_else(|| Failed::Now("its leader says nothing of it".to_owned()))?;
        match found.error_code {
            ErrorCode::None => {
                Ok((found.start_offset.unsigned_abs(), found.last_stable_offset.unsigned_abs()))
            }
            code => Err(Failed::Now(code.to_string())),
        }
    }

    /// Whether all that is written is acknowledged; or why that cannot be asked.
    pub(super) fn settled(&self, leader: &str, place: Place<'_>) -> Result<bool, String> {
        if self.isolation() == Isolation::ReadUncommitted {
            return Ok(true);
        }
        let settled = self.watermark(leader, place).and_then(|(start, acknowledged)| {
            Ok(self.written(leader, place, acknowledged.max(start))? <= acknowledged)
        });
        match settled {
            Ok(settled) => Ok(settled),
            Err(Failed::For(_)) => Ok(false),
            Err(Failed::Now(reason)) => Err(reason),
        }
    }

    /// Below which offset an answer may be read. Where a partition has just got another leader, that may answer with more.
    pub(super) fn readable(&self, answer: &FetchablePartitionResponse<Records>) -> u64 {
        match self.isolation() {
            Isolation::ReadCommitted => answer.high_watermark.unsigned_abs(),
            Isolation::ReadUncommitted => u64::MAX,
        }
    }

    /// One answer with something of what stands from an offset on and below another one.
    fn chunk(&self, place: Place<'_>, (from, to): (u64, u64)) -> Result<Vec<LoggedBatch>, LogError> {
        let (mut gather, mut batches) = (Gather::new(place.partition, MOST), Vec::new());
        let (mut bytes, begun) = (CHUNK_BYTES, Instant::now());
        loop {
            let how = (bytes, self.isolation());
            let answer = self.ask("read", place, |leader| self.fetch(leader, place, from, how))?;
            let to = to.min(self.readable(&answer));
            let read = place.gather(&answer.records, (from, to), &mut gather, &mut batches)?;
            if read.next > from {
                batches.extend(gather.take());
                return Ok(batches);
            }
            // A batch that is larger than what was asked for; or nothing, for the moment.
            bytes = place.more_than(bytes, &read)?;
            if begun.elapsed() > PATIENCE {
                let reason =
                    format!("partition {}: the record at offset {from} is not there", place.partition);
                return Err(LogError::FluvioAway {
                    what: "read",
                    topic: Some(place.topic.to_owned()),
                    reason,
                });
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn offsets_at(&self, leader: &str, place: Place<'_>) -> Result<(u64, u64), Failed> {
        let (start, acknowledged) = self.watermark(leader, place)?;
        let written = self.written(leader, place, acknowledged.max(start))?;
        if self.isolation() == Isolation::ReadUncommitted || written <= acknowledged {
            return Ok((start, written));
        }
        // A leader that was started again has yet to hear from the others what they have.
        let begun = Instant::now();
        while begun.elapsed() < self.options.timeout {
            let (start, acknowledged) = self.watermark(leader, place)?;
            if acknowledged >= written {
                return Ok((start, acknowledged));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        Err(Failed::Now(UNSETTLED.to_owned()))
    }
}

/// Why there is no answer.
enum Failed {
    /// It may be over after a while.
    Now(String),
    /// It is not.
    For(LogError),
}

impl Fetch for Fetcher {
    fn name_of(&self, topic: TopicId) -> String {
        super::name_of(&self.options, topic)
    }

    fn path_of(&self, topic: TopicId) -> PathBuf {
        PathBuf::from(format!("fluvio://{}/{}", self.options.address, self.name_of(topic)))
    }

    fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        self.leaders.partitions(topic)
    }

    fn offsets(&self, topic: &str, partition: u32) -> Result<(u64, u64), LogError> {
        let place = Place { topic, partition };
        self.ask("ask for the offsets of", place, |leader| self.offsets_at(leader, place))
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
        self.chunks
            .read((topic, partition), from, most, || self.chunk(Place { topic, partition }, (from, to)))
    }
}
