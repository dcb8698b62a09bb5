//! A record of Weir as a record of Fluvio. Its value is the protobuf message `weir.v1.Record`, as it stands in Kafka; its key is,
//! since Fluvio has no headers:
//!
//! ```text
//!  0 the stamp, see `log::remote::Stamp` (28 bytes; its first one is the version)
//! 28 crc32c u32, little-endian, of the stamp and the value
//! ```
//!
//! Fluvio's own checksum of a batch is looked at neither by its server nor by its client.

use crate::log::remote::{STAMP_LEN, Stamp};
use crate::log::{LogError, NewBatch};
use fluvio::Compression;
use fluvio_protocol::record::{Batch, RawRecords, Record};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bytes of records, before they are compressed, that go into one batch of Fluvio: far less than what is fetched at once.
const BATCH_BYTES: usize = 256 << 10;
const KEY_LEN: usize = STAMP_LEN + 4;

/// The records of a batch of Weir, in batches of Fluvio.
pub(super) fn encode(batch: &NewBatch) -> Result<Vec<Batch<RawRecords>>, LogError> {
    let (mut batches, mut records, mut bytes) = (Vec::new(), Vec::new(), 0);
    let opened = weir_proto::Batch::open(&batch.bytes).map_err(|_| LogError::NotABatch)?;
    for (seq, record) in (batch.first_seq..).zip(opened) {
        let record = record.map_err(|_| LogError::NotABatch)?;
        let mut value = Vec::new();
        weir_proto::exchange::to_message(record.bytes, &mut value).map_err(|_| LogError::NotABatch)?;
        let stamp = Stamp { producer: batch.producer, seq, provenance: record.provenance }.encode();
        bytes += KEY_LEN + value.len();
        records.push(Record::new_key_value(key(&stamp, &value), value));
        if bytes >= BATCH_BYTES {
            batches.push(pack(std::mem::take(&mut records))?);
            bytes = 0;
        }
    }
    if !records.is_empty() {
        batches.push(pack(records)?);
    }
    Ok(batches)
}

fn pack(records: Vec<Record>) -> Result<Batch<RawRecords>, LogError> {
    let mut batch = Batch::from(records);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let header = batch.get_mut_header();
    header.set_compression(Compression::Lz4);
    header.first_timestamp = i64::try_from(now.as_millis()).unwrap_or(i64::MAX);
    header.max_time_stamp = header.first_timestamp;
    batch.try_into().map_err(|_| LogError::NotABatch)
}

fn key(stamp: &[u8; STAMP_LEN], value: &[u8]) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(stamp), value);
    [&stamp[..], &sum.to_le_bytes()].concat()
}

/// Who made a record of Fluvio, and its value in Weir's own form; or why it is none of Weir.
pub(super) fn decode(record: &Record, into: &mut Vec<u8>) -> Result<Stamp, String> {
    let value: &[u8] = record.value().as_ref();
    let found: Option<&[u8; KEY_LEN]> = record.key().and_then(|key| key.as_ref().try_into().ok());
    let (stamp, sum) = found.and_then(|key| key.split_first_chunk()).ok_or("it has no key of Weir")?;
    if key(stamp, value)[STAMP_LEN..] != *sum {
        return Err("its checksum is wrong".to_owned());
    }
    let stamp = Stamp::decode(stamp).ok_or("it was made by another version of Weir")?;
    into.clear();
    weir_proto::exchange::from_message(value, into).map_err(|error| error.to_string())?;
    Ok(stamp)
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::{BatchBuilder, Minute, Producer, Provenance, StageId};

    fn new_batch(count: u32) -> NewBatch {
        let producer = Producer { stage: StageId::Deduct, partition: 513, generation: 7 };
        let mut builder = BatchBuilder::default();
        for minute in 0..count {
            let record = weir_proto::Record::encode_tick(Minute(minute));
            builder.push(Provenance { position: u64::from(minute), index: 3 }, &[&record]);
        }
        NewBatch { producer, first_seq: 40, count, last: builder.last(), bytes: builder.take() }
    }

    #[test]
    fn records_come_back_from_as_many_batches_as_it_takes() {
        let count = 20_000;
        let batches = encode(&new_batch(count)).unwrap();
        assert!(batches.len() > 1);
        let (mut minute, mut bytes) = (0, Vec::new());
        for batch in batches {
            for record in batch.memory_records().unwrap() {
                let stamp = decode(&record, &mut bytes).unwrap();
                assert_eq!(
                    (stamp.seq, stamp.provenance.position),
                    (40 + u64::from(minute), u64::from(minute))
                );
                assert_eq!((stamp.producer.partition, stamp.producer.generation), (513, 7));
                assert_eq!(bytes, weir_proto::Record::encode_tick(Minute(minute)));
                minute += 1;
            }
        }
        assert_eq!(minute, count);
    }

    #[test]
    fn whatever_bit_is_flipped_is_noticed() {
        let batch = encode(&new_batch(1)).unwrap().remove(0).memory_records().unwrap().remove(0);
        let (key, value) = (batch.key().unwrap().to_vec(), batch.value().to_vec());
        let mut into = Vec::new();
        assert!(decode(&Record::new_key_value(key.clone(), value.clone()), &mut into).is_ok());
        for bit in 0..8 * (key.len() + value.len()) {
            let mut flipped = [key.clone(), value.clone()].concat();
            flipped[bit / 8] ^= 1 << (bit % 8);
            let value = flipped.split_off(key.len());
            assert!(decode(&Record::new_key_value(flipped, value), &mut into).is_err(), "{bit}");
        }
        assert!(decode(&Record::new(value), &mut into).is_err());
    }
}
