//! The provenance of a record, as it goes along with the record in the cluster. Little-endian:
//!
//! ```text
//!  0 version u8 (1)           1 producer stage u8        2 producer partition u16
//!  4 producer generation u32  8 running number u64      16 position u64      24 index u32
//! ```
//!
//! Whoever carries it keeps a checksum over it, and over the record.

use crate::log::{FrameHead, LoggedBatch, NewBatch};
use weir_proto::{BatchBuilder, Producer, Provenance, StageId};

const VERSION: u8 = 1;
/// Bytes of a stamp.
pub(crate) const STAMP_LEN: usize = 28;

/// Who made a record, from what, and as his how many-eth of this partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp {
    pub producer: Producer,
    pub seq: u64,
    pub provenance: Provenance,
}

impl Stamp {
    pub(crate) fn encode(&self) -> [u8; STAMP_LEN] {
        let mut b = [0; STAMP_LEN];
        b[0] = VERSION;
        b[1] = self.producer.stage as u8;
        b[2..4].copy_from_slice(&self.producer.partition.to_le_bytes());
        b[4..8].copy_from_slice(&self.producer.generation.to_le_bytes());
        b[8..16].copy_from_slice(&self.seq.to_le_bytes());
        b[16..24].copy_from_slice(&self.provenance.position.to_le_bytes());
        b[24..].copy_from_slice(&self.provenance.index.to_le_bytes());
        b
    }

    /// What bytes say, if they are one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let b: &[u8; STAMP_LEN] = bytes.try_into().ok()?;
        let u32_at = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        let stage = StageId::from_u8(b[1]).filter(|_| b[0] == VERSION)?;
        let partition = u16::from_le_bytes([b[2], b[3]]);
        Some(Stamp {
            producer: Producer { stage, partition, generation: u32_at(4) },
            seq: u64_at(8),
            provenance: Provenance { position: u64_at(16), index: u32_at(24) },
        })
    }
}

/// Puts records of one partition together to batches: those of one producer that follow each other.
pub(crate) struct Gather {
    partition: u32,
    /// The first of the batch, and its offset.
    first: Option<(u64, Stamp)>,
    builder: BatchBuilder,
    most: u32,
}

impl Gather {
    /// Batches of no more than so many records.
    pub(crate) fn new(partition: u32, most: u32) -> Self {
        Gather { partition, first: None, builder: BatchBuilder::default(), most }
    }

    /// Adds a record; the batch before it, if that ends here.
    pub(crate) fn push(&mut self, offset: u64, stamp: Stamp, record: &[u8]) -> Option<LoggedBatch> {
        let count = self.builder.count();
        let goes_on = self.first.is_some_and(|(base, first)| {
            let follows = stamp.producer == first.producer && stamp.seq == first.seq + u64::from(count);
            follows && offset == base + u64::from(count) && count < self.most
        });
        let ended = if goes_on { None } else { self.take() };
        self.first.get_or_insert((offset, stamp));
        self.builder.push(stamp.provenance, &[record]);
        ended
    }

    /// The batch so far.
    pub(crate) fn take(&mut self) -> Option<LoggedBatch> {
        let (base, first) = self.first.take()?;
        let batch = NewBatch {
            producer: first.producer,
            first_seq: first.seq,
            count: self.builder.count(),
            last: self.builder.last(),
            bytes: self.builder.take(),
        };
        Some(LoggedBatch { head: FrameHead::of(self.partition, base, &batch), bytes: batch.bytes })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::Batch;

    fn stamp(partition: u16, seq: u64) -> Stamp {
        let producer = Producer { stage: StageId::Deduct, partition, generation: 7 };
        Stamp { producer, seq, provenance: Provenance { position: 3 * seq, index: 5 } }
    }

    #[test]
    fn a_stamp_comes_back_and_nothing_else_is_taken_for_one() {
        let stamp = Stamp { seq: u64::MAX, ..stamp(513, 9) };
        let bytes = stamp.encode();
        assert_eq!(Stamp::decode(&bytes), Some(stamp));
        assert_eq!(Stamp::decode(&bytes[1..]), None);
        assert_eq!(Stamp::decode(&[&[2], &bytes[1..]].concat()), None);
    }

    #[test]
    fn a_batch_ends_where_another_producer_begins_or_something_is_missing() {
        let mut gather = Gather::new(4, 3);
        // Offset, producer, running number.
        let records = [
            (10, 1, 0),
            (11, 1, 1),
            (12, 2, 7),
            (13, 1, 2),
            (14, 1, 4),
            (16, 1, 5),
            (17, 1, 6),
            (18, 1, 7),
            (19, 1, 8),
        ];
        let mut batches = Vec::new();
        for (offset, producer, seq) in records {
            batches.extend(gather.push(offset, stamp(producer, seq), &offset.to_le_bytes()));
        }
        batches.extend(gather.take());
        assert!(gather.take().is_none());
        let heads: Vec<_> =
            batches.iter().map(|b| (b.head.base_offset, b.head.first_seq, b.head.count)).collect();
        assert_eq!(heads, [(10, 0, 2), (12, 7, 1), (13, 2, 1), (14, 4, 1), (16, 5, 3), (19, 8, 1)]);
        for batch in &batches {
            assert_eq!(batch.head.partition, 4);
            for (at, record) in Batch::open(&batch.bytes).unwrap().enumerate() {
                assert_eq!(record.unwrap().bytes, (batch.head.base_offset + at as u64).to_le_bytes());
            }
        }
    }
}
