//! Takeovers: a partition came to a worker of a group, told beside the notices about accounts.
//!
//! Layout, little-endian: `kind u8 = 15, zero u8, worker u16, partition u32, time_ms u64, took_ms u64, behind u64`.

use crate::bytes::{u16_at, u32_at, u64_at};
use crate::record::{KIND_TAKEOVER, RecordError, expect_len};

/// A worker has opened the tasks of a partition that came to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Takeover {
    /// Which worker.
    pub worker: u16,
    /// Which partition, of all topics that are folded.
    pub partition: u32,
    /// When the tasks were open, by the worker's clock.
    pub time_ms: u64,
    /// How long it took to open them, with those of other partitions that came together with this one.
    pub took_ms: u64,
    /// Records that all of those tasks had still to read then.
    pub behind: u64,
}

impl Takeover {
    const LEN: usize = 32;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[0] = KIND_TAKEOVER;
        b[2..4].copy_from_slice(&self.worker.to_le_bytes());
        b[4..8].copy_from_slice(&self.partition.to_le_bytes());
        b[8..16].copy_from_slice(&self.time_ms.to_le_bytes());
        b[16..24].copy_from_slice(&self.took_ms.to_le_bytes());
        b[24..32].copy_from_slice(&self.behind.to_le_bytes());
        b
    }

    pub(crate) fn decode(b: &[u8]) -> Result<Self, RecordError> {
        expect_len("takeover", b, Self::LEN)?;
        Ok(Takeover {
            worker: u16_at(b, 2),
            partition: u32_at(b, 4),
            time_ms: u64_at(b, 8),
            took_ms: u64_at(b, 16),
            behind: u64_at(b, 24),
        })
    }
}
