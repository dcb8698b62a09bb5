//! Outcomes of deduction, as they stand in `charges`.
//!
//! Layout, little-endian:
//! `kind u8 = 4, outcome u8 (0 charged, else the refusal), flags u8 (1 impression, 2 cpm, 4 guid is
//! text), guid length u8, zero [4], event_time_ms u64, ad u64, campaign u64, advertiser u64,
//! guid u128, amount i128, balance_after i128, guid text`.

use crate::bytes::{array_at, i128_at, text, u64_at};
use crate::event::{Billing, Event, EventKind};
use crate::ids::Guid;
use crate::money::Nanos;
use crate::record::{KIND_CHARGE, RecordError};

const FIXED: usize = 88;
const BALANCE: usize = 72;
const IMPRESSION: u8 = 1;
const CPM: u8 = 2;
const GUID_TEXT: u8 = 4;

/// Why an event was not paid for. A refusal is the platform's loss, never a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum RefuseReason {
    /// No account of this advertiser is open.
    UnknownAccount = 1,
    /// The balance is below the price.
    InsufficientBalance = 2,
    /// The budget of the event's UTC day is below the price.
    DailyBudget = 3,
}

impl RefuseReason {
    /// Every reason.
    pub const ALL: [RefuseReason; 3] =
        [RefuseReason::UnknownAccount, RefuseReason::InsufficientBalance, RefuseReason::DailyBudget];

    /// The name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            RefuseReason::UnknownAccount => "unknown_account",
            RefuseReason::InsufficientBalance => "insufficient_balance",
            RefuseReason::DailyBudget => "daily_budget",
        }
    }
}

/// What became of a billable event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The whole amount was taken from the balance.
    Charged,
    /// Nothing was taken.
    Refused(RefuseReason),
}

impl Outcome {
    /// The code on disk.
    pub fn code(self) -> u8 {
        match self {
            Outcome::Charged => 0,
            Outcome::Refused(reason) => reason as u8,
        }
    }

    /// The outcome of a code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        match code {
            0 => Some(Outcome::Charged),
            n => RefuseReason::ALL.into_iter().find(|r| *r as u8 == n).map(Outcome::Refused),
        }
    }
}

/// One outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The event.
    pub guid: Guid<'a>,
    /// Charged or refused.
    pub outcome: Outcome,
    /// What the event was.
    pub kind: EventKind,
    /// How it was priced.
    pub billing: Billing,
    /// When it happened.
    pub event_time_ms: u64,
    /// The ad.
    pub ad_id: u64,
    /// Its campaign.
    pub campaign_id: u64,
    /// Who pays.
    pub advertiser_id: u64,
    /// The price: taken if charged, asked for in vain if refused.
    pub amount: Nanos,
    /// The balance after it.
    pub balance_after: Nanos,
}

impl<'a> Charge<'a> {
    /// The outcome of an event.
    pub fn of(event: &Event<'a>, outcome: Outcome, amount: Nanos, balance_after: Nanos) -> Self {
        Charge {
            guid: event.guid(),
            outcome,
            kind: event.kind(),
            billing: event.billing(),
            event_time_ms: event.event_time_ms(),
            ad_id: event.ad_id(),
            campaign_id: event.campaign_id(),
            advertiser_id: event.advertiser_id(),
            amount,
            balance_after,
        }
    }

    /// Whether the bytes of two charges say the same of the same event, the balance behind it aside.
    pub fn is_same_outcome(one: &[u8], other: &[u8]) -> bool {
        one.get(..BALANCE) == other.get(..BALANCE) && one.get(FIXED..) == other.get(FIXED..)
    }

    /// The record's fixed part; the guid's text, if it has one, follows it.
    pub fn encode(&self) -> ([u8; FIXED], &'a str) {
        let (id, text) = match self.guid {
            Guid::Ulid(id) => (id, ""),
            Guid::Text(text) => (0, text),
        };
        let mut b = [0; FIXED];
        b[0] = KIND_CHARGE;
        b[1] = self.outcome.code();
        b[2] = IMPRESSION * u8::from(self.kind == EventKind::Impression)
            | CPM * u8::from(self.billing == Billing::Cpm)
            | GUID_TEXT * u8::from(!text.is_empty());
        b[3] = text.len() as u8;
        let numbers = [self.event_time_ms, self.ad_id, self.campaign_id, self.advertiser_id];
        for (at, number) in numbers.iter().enumerate() {
            b[8 + 8 * at..16 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        b[40..56].copy_from_slice(&id.to_le_bytes());
        b[56..72].copy_from_slice(&self.amount.0.to_le_bytes());
        b[72..88].copy_from_slice(&self.balance_after.0.to_le_bytes());
        (b, text)
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        if b.len() < FIXED || b.len() != FIXED + usize::from(b[3]) {
            return Err(RecordError::Length { kind: "charge", len: b.len() });
        }
        let outcome = Outcome::from_code(b[1]).ok_or(RecordError::Value { what: "outcome", value: b[1] })?;
        Ok(Charge {
            guid: match b[2] & GUID_TEXT {
                0 => Guid::Ulid(u128::from_le_bytes(array_at(b, 40))),
                _ => Guid::Text(text(&b[FIXED..])),
            },
            outcome,
            kind: if b[2] & IMPRESSION != 0 { EventKind::Impression } else { EventKind::Click },
            billing: if b[2] & CPM != 0 { Billing::Cpm } else { Billing::Cpc },
            event_time_ms: u64_at(b, 8),
            ad_id: u64_at(b, 16),
            campaign_id: u64_at(b, 24),
            advertiser_id: u64_at(b, 32),
            amount: Nanos(i128_at(b, 56)),
            balance_after: Nanos(i128_at(b, 72)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    #[test]
    fn what_is_written_is_read() {
        for guid in [Guid::Ulid(7 << 90 | 3), Guid::Text("abc")] {
            let charge = Charge {
                guid,
                outcome: Outcome::Refused(RefuseReason::DailyBudget),
                kind: EventKind::Click,
                billing: Billing::Cpc,
                event_time_ms: 1,
                ad_id: 2,
                campaign_id: 3,
                advertiser_id: 4,
                amount: Nanos(5),
                balance_after: Nanos(-6),
            };
            let (fixed, text) = charge.encode();
            let b = [&fixed[..], text.as_bytes()].concat();
            assert!(matches!(Record::decode(&b).unwrap(), Record::Charge(c) if c == charge));
            assert!(Record::decode(&b[..b.len() - 1]).is_err());
        }
    }
}
