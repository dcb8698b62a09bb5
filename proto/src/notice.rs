//! Notices about accounts and campaigns.
//!
//! Layout, little-endian: `kind u8 = 11, notice u8, zero [6], advertiser u64, event_time_ms u64,
//! balance i128, campaign u64`.

use crate::bytes::{i128_at, u64_at};
use crate::money::Nanos;
use crate::record::{KIND_NOTICE, RecordError, expect_len};

/// What an advertiser is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum NoticeKind {
    /// The balance did not pay for an event: take the ads down.
    Exhausted = 1,
    /// The account's budget of the day did not pay for an event.
    BudgetReached = 2,
    /// The balance came to or below a threshold.
    LowBalance = 3,
    /// The balance pays again: the ads may go up.
    Resumed = 4,
    /// A campaign's budget did not pay for an event.
    CampaignBudgetReached = 5,
    /// The account system could not collect a charge.
    Arrears = 6,
}

impl NoticeKind {
    /// Every kind.
    pub const ALL: [NoticeKind; 6] = [
        NoticeKind::Exhausted,
        NoticeKind::BudgetReached,
        NoticeKind::LowBalance,
        NoticeKind::Resumed,
        NoticeKind::CampaignBudgetReached,
        NoticeKind::Arrears,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            NoticeKind::Exhausted => "exhausted",
            NoticeKind::BudgetReached => "budget_reached",
            NoticeKind::LowBalance => "low_balance",
            NoticeKind::Resumed => "resumed",
            NoticeKind::CampaignBudgetReached => "campaign_budget_reached",
            NoticeKind::Arrears => "arrears",
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
    /// The time of what crossed the line.
    pub event_time_ms: u64,
    /// The balance at that moment.
    pub balance: Nanos,
    /// The campaign of what crossed the line; 0 if none.
    pub campaign_id: u64,
}

impl Notice {
    const LEN: usize = 48;

    /// The record's bytes.
    pub fn encode(&self) -> [u8; Self::LEN] {
        let mut b = [0; Self::LEN];
        b[0] = KIND_NOTICE;
        b[1] = self.kind as u8;
        b[8..16].copy_from_slice(&self.advertiser_id.to_le_bytes());
        b[16..24].copy_from_slice(&self.event_time_ms.to_le_bytes());
        b[24..40].copy_from_slice(&self.balance.0.to_le_bytes());
        b[40..48].copy_from_slice(&self.campaign_id.to_le_bytes());
        b
    }

    pub(crate) fn decode(b: &[u8]) -> Result<Self, RecordError> {
        expect_len("notice", b, Self::LEN)?;
        let kind = NoticeKind::ALL.into_iter().find(|kind| *kind as u8 == b[1]);
        Ok(Notice {
            kind: kind.ok_or(RecordError::Value { what: "notice", value: b[1] })?,
            advertiser_id: u64_at(b, 8),
            event_time_ms: u64_at(b, 16),
            balance: Nanos(i128_at(b, 24)),
            campaign_id: u64_at(b, 40),
        })
    }
}
