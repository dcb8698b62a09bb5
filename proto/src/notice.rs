//! Notices about accounts.
//!
//! Layout, little-endian: `kind u8 = 6, notice u8, zero [6], advertiser u64, event_time_ms u64,
//! balance i128`.

use crate::bytes::{i128_at, u64_at};
use crate::money::Nanos;
use crate::record::{KIND_NOTICE, RecordError, expect_len};

/// What an advertiser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NoticeKind {
    /// The balance did not pay for an event: take the ads down.
    Exhausted = 1,
    /// The budget of the day did not pay for an event.
    BudgetReached = 2,
}

impl NoticeKind {
    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::Exhausted => "exhausted",
            NoticeKind::BudgetReached => "budget_reached",
        }
    }
}

/// One notice, sent once per crossing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Notice {
    /// What happened.
    pub kind: NoticeKind,
    /// To whose account.
    pub advertiser_id: u64,
    /// The event time of the refusal that crossed the line.
    pub event_time_ms: u64,
    /// The balance at that moment.
    pub balance: Nanos,
}

impl Notice {
    const LEN: usize = 40;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[0] = KIND_NOTICE;
        b[1] = self.kind as u8;
        b[8..16].copy_from_slice(&self.advertiser_id.to_le_bytes());
        b[16..24].copy_from_slice(&self.event_time_ms.to_le_bytes());
        b[24..40].copy_from_slice(&self.balance.0.to_le_bytes());
        b
    }

    pub(crate) fn decode(b: &[u8]) -> Result<Self, RecordError> {
        expect_len("notice", b, Self::LEN)?;
        let kind = match b[1] {
            1 => NoticeKind::Exhausted,
            2 => NoticeKind::BudgetReached,
            n => return Err(RecordError::Value { what: "notice", value: n }),
        };
        Ok(Notice {
            kind,
            advertiser_id: u64_at(b, 8),
            event_time_ms: u64_at(b, 16),
            balance: Nanos(i128_at(b, 24)),
        })
    }
}
