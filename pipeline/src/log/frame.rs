//! Frames: how a batch stands in a segment.
//!
//! Little-endian:
//!
//! ```text
//!  0 magic "WFR1"            4 crc32c u32 of bytes 8..72
//!  8 partition u16          10 codec u8 (0 none, 1 lz4 block, 255 a seal)    11 producer stage u8
//! 12 producer partition u16 14 zero u16      16 producer generation u32
//! 20 records u32            24 batch length u32                  28 stored length u32
//! 32 base offset u64        40 first running number u64
//! 48 last position u64      56 last index u32                    60 u32: bytes from the start of the
//!                                                                   group commit that it belongs to
//! 64 crc32c u32 of the stored bytes          68 zero u32
//! 72 the stored bytes
//! ```
//!
//! A *seal* is a frame without a batch, a group commit of its own at the end of a segment whose writer ended
//! in peace: all that stands before it was durable, so that none of that is taken for a torn tail.

use weir_proto::{Producer, Provenance, StageId};

/// Bytes before a frame's stored bytes.
pub(crate) const HEAD: usize = 72;
/// The most bytes that LZ4 makes of one.
const MOST_OF_A_BYTE: usize = 255;
pub(crate) const MAGIC: &[u8; 4] = b"WFR1";
const SEAL: u8 = 255;

/// How a frame's batch is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Codec {
    /// As it is.
    None,
    /// One LZ4 block.
    Lz4,
}

/// What a frame says of its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHead {
    /// The partition it belongs to.
    pub partition: u32,
    /// Who made it.
    pub producer: Producer,
    /// The offset of its first record.
    pub base_offset: u64,
    /// How many records.
    pub count: u32,
    /// The running number of its first record.
    pub first_seq: u64,
    /// The provenance of its last record.
    pub last: Provenance,
    /// Bytes from the start of its group commit: all that stands before that start was durable when
    /// this frame was written.
    pub(crate) in_group: u32,
    /// Whether there is no batch: see the module.
    pub(crate) is_seal: bool,
    codec: Codec,
    batch_len: u32,
    stored_len: u32,
    stored_crc: u32,
}

impl FrameHead {
    /// Of a batch as it is, in a log that is not made of files.
    pub fn of(partition: u32, base_offset: u64, batch: &super::NewBatch) -> Self {
        FrameHead { base_offset, ..Sealed::new(partition, batch, Codec::None).head }
    }

    /// The offset behind its last record.
    pub fn end(&self) -> u64 {
        self.base_offset + u64::from(self.count)
    }

    /// Bytes of the whole frame.
    pub(crate) fn frame_len(&self) -> u64 {
        HEAD as u64 + u64::from(self.stored_len)
    }

    pub(crate) fn decode(b: &[u8; HEAD]) -> Option<Self> {
        let u16_at = |at: usize| u16::from_le_bytes([b[at], b[at + 1]]);
        let u32_at = |at: usize| u32::from_le_bytes([b[at], b[at + 1], b[at + 2], b[at + 3]]);
        let u64_at = |at: usize| u64::from(u32_at(at)) | u64::from(u32_at(at + 4)) << 32;
        if &b[..4] != MAGIC || u32_at(4) != crc32c::crc32c(&b[8..]) {
            return None;
        }
        // No offset is beyond 64 bits.
        u64_at(32).checked_add(u64::from(u32_at(20)))?;
        Some(FrameHead {
            partition: u32::from(u16_at(8)),
            codec: match b[10] {
                0 | SEAL => Codec::None,
                1 => Codec::Lz4,
                _ => return None,
            },
            is_seal: b[10] == SEAL,
            producer: Producer {
                stage: StageId::from_u8(b[11])?,
                partition: u16_at(12),
                generation: u32_at(16),
            },
            count: u32_at(20),
            batch_len: u32_at(24),
            stored_len: u32_at(28),
            base_offset: u64_at(32),
            first_seq: u64_at(40),
            last: Provenance { position: u64_at(48), index: u32_at(56) },
            in_group: u32_at(60),
            stored_crc: u32_at(64),
        })
    }

    /// The seal at the end of a segment.
    pub(crate) fn seal() -> Self {
        FrameHead {
            partition: 0,
            producer: Producer { stage: StageId::Collect, partition: 0, generation: 0 },
            base_offset: 0,
            count: 0,
            first_seq: 0,
            last: Provenance::default(),
            in_group: 0,
            is_seal: true,
            codec: Codec::None,
            batch_len: 0,
            stored_len: 0,
            stored_crc: 0,
        }
    }

    pub(crate) fn encode(&self) -> [u8; HEAD] {
        let mut b = [0; HEAD];
        b[..4].copy_from_slice(MAGIC);
        b[8..10].copy_from_slice(&(self.partition as u16).to_le_bytes());
        b[10] = if self.is_seal { SEAL } else { u8::from(self.codec == Codec::Lz4) };
        b[11] = self.producer.stage as u8;
        b[12..14].copy_from_slice(&self.producer.partition.to_le_bytes());
        b[16..20].copy_from_slice(&self.producer.generation.to_le_bytes());
        b[20..24].copy_from_slice(&self.count.to_le_bytes());
        b[24..28].copy_from_slice(&self.batch_len.to_le_bytes());
        b[28..32].copy_from_slice(&self.stored_len.to_le_bytes());
        b[32..40].copy_from_slice(&self.base_offset.to_le_bytes());
        b[40..48].copy_from_slice(&self.first_seq.to_le_bytes());
        b[48..56].copy_from_slice(&self.last.position.to_le_bytes());
        b[56..60].copy_from_slice(&self.last.index.to_le_bytes());
        b[60..64].copy_from_slice(&self.in_group.to_le_bytes());
        b[64..68].copy_from_slice(&self.stored_crc.to_le_bytes());
        let crc = crc32c::crc32c(&b[8..]);
        b[4..8].copy_from_slice(&crc.to_le_bytes());
        b
    }

    /// The batch's bytes from the stored ones; `None` if they are damaged.
    pub(crate) fn open(&self, stored: &[u8]) -> Option<Vec<u8>> {
        if stored.len() != self.stored_len as usize || crc32c::crc32c(stored) != self.stored_crc {
            return None;
        }
        let len = self.batch_len as usize;
        let batch = match self.codec {
            Codec::None => stored.to_vec(),
            // LZ4 makes no more of a byte; memory for what cannot be there is not asked for.
            Codec::Lz4 if len / MOST_OF_A_BYTE > stored.len() => return None,
            Codec::Lz4 => lz4_flex::block::decompress(stored, len).ok()?,
        };
        (batch.len() == len).then_some(batch)
    }
}

/// A batch ready to be written; only its offset is still open.
pub(crate) struct Sealed {
    pub(crate) head: FrameHead,
    /// `None` if the batch is stored as it is.
    compressed: Option<Vec<u8>>,
}

impl Sealed {
    pub(crate) fn new(partition: u32, batch: &super::NewBatch, codec: Codec) -> Self {
        let compressed = (codec == Codec::Lz4).then(|| lz4_flex::block::compress(&batch.bytes));
        let compressed = compressed.filter(|c| c.len() < batch.bytes.len());
        let stored = compressed.as_deref().unwrap_or(&batch.bytes);
        let head = FrameHead {
            partition,
            producer: batch.producer,
            base_offset: 0,
            count: batch.count,
            first_seq: batch.first_seq,
            last: batch.last,
            in_group: 0,
            is_seal: false,
            codec: if compressed.is_some() { Codec::Lz4 } else { Codec::None },
            batch_len: batch.bytes.len() as u32,
            stored_len: stored.len() as u32,
            stored_crc: crc32c::crc32c(stored),
        };
        Sealed { head, compressed }
    }

    /// What is stored behind the head, given the batch it was made of.
    pub(crate) fn stored<'a>(&'a self, batch: &'a [u8]) -> &'a [u8] {
        self.compressed.as_deref().unwrap_or(batch)
    }

    /// The batch is written: the compressed form is not needed any more.
    pub(crate) fn forget_compressed(&mut self) {
        self.compressed = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_is_believed_only_if_its_batch_can_be_as_it_says() {
        let batch = super::super::NewBatch {
            producer: Producer { stage: StageId::Deduct, partition: 3, generation: 1 },
            first_seq: 7,
            count: 2,
            last: Provenance::default(),
            bytes: vec![b'x'; 1000].into(),
        };
        for codec in [Codec::None, Codec::Lz4] {
            let sealed = Sealed::new(3, &batch, codec);
            let (head, stored) = (sealed.head, sealed.stored(&batch.bytes));
            assert_eq!(FrameHead::decode(&head.encode()), Some(head));
            assert_eq!(head.open(stored).as_deref(), Some(&batch.bytes[..]));
            for batch_len in [0, 999, 1001, u32::MAX] {
                assert_eq!(FrameHead { batch_len, ..head }.open(stored), None, "{batch_len}");
            }
            let behind_the_end = FrameHead { base_offset: u64::MAX - 1, ..head };
            assert_eq!(FrameHead::decode(&behind_the_end.encode()), None);
        }
    }
}
