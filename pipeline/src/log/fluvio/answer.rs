//! What an SPU answers to whoever reads: batches of Fluvio, the last of which may be cut off, since the server ends an answer
//! at a number of bytes wherever that is. The client takes such a batch for a whole one and goes on behind it; here it ends
//! the answer, and is read again from its first record on.

use super::fetch::MOST_BYTES;
use super::record;
use crate::log::remote::Gather;
use crate::log::{LogError, LoggedBatch};
use fluvio_protocol::link::ErrorCode;
use fluvio_protocol::record::{Batch, RawRecords, RecordSet};
use fluvio_spu_schema::Isolation;
use fluvio_spu_schema::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchableTopic};
use metrics::counter;

pub(crate) const CUT: &str = "weir_fluvio_cut_answers_total";

pub(super) type Request = FetchRequest<RecordSet<RawRecords>>;
pub(super) type Response = FetchResponse<RecordSet<RawRecords>>;

/// Asks for so many bytes of each partition from an offset on.
pub(super) fn request<'a>(
    wanted: impl IntoIterator<Item = (&'a str, u32, u64)>,
    max_bytes: i32,
    isolation: Isolation,
) -> Request {
    let mut request = Request { max_bytes, isolation_level: isolation, ..Request::default() };
    for (topic, partition_index, offset) in wanted {
        let fetch_offset = i64::try_from(offset).unwrap_or(i64::MAX);
        let partition =
            FetchPartition { partition_index, fetch_offset, max_bytes, ..FetchPartition::default() };
        request.topics.push(FetchableTopic { name: topic.to_owned(), fetch_partitions: vec![partition] });
    }
    request
}

/// A partition of a topic.
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    pub topic: &'a str,
    pub partition: u32,
}

/// How far an answer goes.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Read {
    /// The offset to go on from.
    pub next: u64,
    /// Whether a batch was cut off.
    pub cut: bool,
}

impl Place<'_> {
    /// Puts records together from the next one on, and below an offset.
    pub(super) fn gather(
        &self,
        set: &RecordSet<RawRecords>,
        (mut next, to): (u64, u64),
        gather: &mut Gather,
        batches: &mut Vec<LoggedBatch>,
    ) -> Result<Read, LogError> {
        let mut bytes = Vec::new();
        for batch in &set.batches {
            if next >= to {
                break;
            }
            if !batch.validate_decoding() {
                counter!(CUT).increment(1);
                return Ok(Read { next, cut: true });
            }
            let base = batch.get_base_offset().unsigned_abs();
            if base > next {
                return Err(self.hole(next, base));
            }
            for (offset, record) in (base..).zip(self.records(batch)?) {
                if (next..to).contains(&offset) {
                    let stamp = record::decode(&record, &mut bytes)
                        .map_err(|problem| self.foreign(offset, problem))?;
                    batches.extend(gather.push(offset, stamp, &bytes));
                    next = offset + 1;
                }
            }
        }
        Ok(Read { next, cut: false })
    }

    /// How many bytes to ask for next, where so many brought nothing.
    pub(super) fn more_than(&self, bytes: i32, read: &Read) -> Result<i32, LogError> {
        if read.cut && bytes >= MOST_BYTES {
            let problem = format!("its batch is damaged, or has more than {} MiB", MOST_BYTES >> 20);
            return Err(self.foreign(read.next, problem));
        }
        Ok(if read.cut { bytes.saturating_mul(2).min(MOST_BYTES) } else { bytes })
    }

    /// All records of a batch. The client takes what it cannot read for the end of them.
    fn records(&self, batch: &Batch<RawRecords>) -> Result<Vec<fluvio_protocol::record::Record>, LogError> {
        let base = batch.get_base_offset().unsigned_abs();
        let records = batch.memory_records().map_err(|error| self.foreign(base, error.to_string()))?;
        if records.len() != batch.records_len() {
            let problem = format!("{} records can be read of {}", records.len(), batch.records_len());
            return Err(self.foreign(base, problem));
        }
        Ok(records)
    }

    fn foreign(&self, offset: u64, problem: String) -> LogError {
        let (topic, partition) = (self.topic.to_owned(), self.partition as i32);
        LogError::Foreign { system: "Fluvio", topic, partition, offset, problem }
    }

    fn hole(&self, next: u64, base: u64) -> LogError {
        let problem = format!(
            "has lost the records {next} to {} of partition {}: they were deleted, by age or by hand. Raise \
             `log.fluvio.retention` before a job stands still for longer",
            base - 1,
            self.partition
        );
        LogError::of_fluvio(self.topic.to_owned(), problem)
    }

    /// What it means that a partition cannot be read; nothing if it may be over after a while.
    pub(super) fn refused(&self, code: &ErrorCode, next: u64) -> Option<LogError> {
        match code {
            ErrorCode::OffsetEvicted { next_available, .. } => {
                Some(self.hole(next, next_available.unsigned_abs()))
            }
            ErrorCode::Other(reason) if reason.contains("greater than leo") => {
                let problem = format!(
                    "ends before the offset {next} of partition {}, which is to be read next: it was deleted and made anew, \
                     or has lost records ({reason}). Start weir again to see whether it can go on",
                    self.partition
                );
                Some(LogError::of_fluvio(self.topic.to_owned(), problem))
            }
            ErrorCode::PermissionDenied | ErrorCode::CompressionError => Some(LogError::Fluvio {
                what: "read",
                topic: Some(self.topic.to_owned()),
                reason: code.to_string(),
            }),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NewBatch;
    use fluvio_protocol::bytes::Bytes;
    use weir_proto::{BatchBuilder, Minute, Producer, Provenance, Record, StageId};

    /// Batches of Fluvio of so many records each, as they stand one behind the other.
    fn set(sizes: &[u32]) -> RecordSet<RawRecords> {
        let producer = Producer { stage: StageId::Deduct, partition: 0, generation: 1 };
        let (mut set, mut seq) = (RecordSet::default(), 0);
        for &count in sizes {
            let mut builder = BatchBuilder::default();
            for n in seq..seq + u64::from(count) {
                builder.push(Provenance { position: n, index: 0 }, &[&Record::encode_tick(Minute(n as u32))]);
            }
            let new =
                NewBatch { producer, first_seq: seq, count, last: builder.last(), bytes: builder.take() };
            let mut batch = record::encode(&new).unwrap().remove(0);
            batch.base_offset = seq as i64;
            // The length as it stands in the file.
            batch.batch_len += (fluvio_protocol::record::BATCH_FILE_HEADER_SIZE
                - fluvio_protocol::record::BATCH_PREAMBLE_SIZE) as i32;
            set.batches.push(batch);
            seq += u64::from(count);
        }
        set
    }

    fn read(set: &RecordSet<RawRecords>, range: (u64, u64)) -> Result<(Read, Vec<(u64, u32)>), LogError> {
        let (mut gather, mut batches) = (Gather::new(0, 1000), Vec::new());
        let read = Place { topic: "t", partition: 0 }.gather(set, range, &mut gather, &mut batches)?;
        batches.extend(gather.take());
        Ok((read, batches.iter().map(|b| (b.head.base_offset, b.head.count)).collect()))
    }

    #[test]
    fn a_batch_that_is_cut_off_is_not_taken_and_what_is_before_it_is() {
        let mut set = set(&[10, 20, 30]);
        assert_eq!(read(&set, (5, 100)).unwrap(), (Read { next: 60, cut: false }, vec![(5, 55)]));
        assert_eq!(read(&set, (5, 33)).unwrap(), (Read { next: 33, cut: false }, vec![(5, 28)]));
        // What is not wanted is not looked at.
        assert_eq!(read(&set, (5, 8)).unwrap(), (Read { next: 8, cut: false }, vec![(5, 3)]));
        let last = &mut set.batches[2].mut_records().0;
        *last = Bytes::copy_from_slice(&last[..last.len() - 1]);
        assert_eq!(read(&set, (5, 100)).unwrap(), (Read { next: 30, cut: true }, vec![(5, 25)]));
        assert_eq!(read(&set, (30, 100)).unwrap(), (Read { next: 30, cut: true }, vec![]));
    }

    #[test]
    fn what_is_missing_is_an_error_and_never_passed_over() {
        let mut set = set(&[10, 20, 30]);
        set.batches.remove(1);
        let error = read(&set, (0, 100)).unwrap_err().to_string();
        assert!(error.contains("records 10 to 29 of partition 0"), "{error}");
        set.batches[1].header.last_offset_delta += 1;
        let error = read(&set, (30, 100)).unwrap_err().to_string();
        assert!(error.contains("30 records can be read of 31"), "{error}");
    }
}
