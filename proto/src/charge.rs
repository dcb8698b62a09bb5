//! Outcomes of deduction, as they stand in `charges`: what was decided about each billable event, each
//! period of a contract, and each command that moves money.
//!
//! Layout, little-endian:
//! `kind u8 = 10, outcome u8 (0 charged, else the refusal), entry u8, billing u8 (255 none), flags u8
//! (1 guid is text), guid length u8, original length u8, zero, event_time_ms u64, ad u64, campaign u64,
//! advertiser u64, guid u128, amount i128, balance_after i128, crossings u8, currency [3],
//! utc_offset_minutes i16, zero [2], guid text, original text`.

use crate::bytes::{array_at, i128_at, text, u64_at};
use crate::event::Event;
use crate::ids::Guid;
use crate::kinds::{Billing, EventKind};
use crate::money::{Currency, Nanos};
use crate::record::{KIND_CHARGE, RecordError};
use crate::time::Minute;
use serde::{Deserialize, Serialize};

const FIXED: usize = 96;
const BALANCE: usize = 72;
const CURRENCY: usize = 89;
const GUID_TEXT: u8 = 1;
const NO_BILLING: u8 = 255;

/// Why something was not done. A refused event is the platform's loss, never a refund.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum RefuseReason {
    /// No account of this advertiser is open.
    UnknownAccount = 1,
    /// Balance and credit line together are below the price.
    InsufficientBalance = 2,
    /// The account's budget of the day is below the price.
    DailyBudget = 3,
    /// The account is frozen.
    Frozen = 4,
    /// The account has another currency.
    OtherCurrency = 5,
    /// The billing model needs a campaign that was set up, and there is none.
    UnknownCampaign = 6,
    /// Before the start of the campaign, or behind its end.
    CampaignNotRunning = 7,
    /// The campaign's budget of the day is below the price.
    CampaignDailyBudget = 8,
    /// The campaign's total budget is below the price.
    CampaignTotalBudget = 9,
    /// It names a click or a sale that is not known, or not any more.
    UnknownOrigin = 10,
    /// The click that it names is older than the attribution window.
    OutsideWindow = 11,
    /// More than what is left of the original.
    AboveOriginal = 12,
    /// The original was refunded before.
    AlreadyRefunded = 13,
    /// The original was not charged: there is nothing to give back.
    NotCharged = 14,
    /// No event of this guid was decided.
    UnknownGuid = 15,
    /// A command with the same key and another content was decided before.
    OtherContent = 16,
    /// An amount is not that of the original, by value and scale.
    OtherAmount = 17,
    /// The account is open already.
    AccountExists = 18,
    /// A contract by time that would be charged for more than a month of the past at once.
    StartsInThePast = 19,
}

impl RefuseReason {
    /// Every reason.
    pub const ALL: [RefuseReason; 19] = [
        RefuseReason::UnknownAccount,
        RefuseReason::InsufficientBalance,
        RefuseReason::DailyBudget,
        RefuseReason::Frozen,
        RefuseReason::OtherCurrency,
        RefuseReason::UnknownCampaign,
        RefuseReason::CampaignNotRunning,
        RefuseReason::CampaignDailyBudget,
        RefuseReason::CampaignTotalBudget,
        RefuseReason::UnknownOrigin,
        RefuseReason::OutsideWindow,
        RefuseReason::AboveOriginal,
        RefuseReason::AlreadyRefunded,
        RefuseReason::NotCharged,
        RefuseReason::UnknownGuid,
        RefuseReason::OtherContent,
        RefuseReason::OtherAmount,
        RefuseReason::AccountExists,
        RefuseReason::StartsInThePast,
    ];

    /// The name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            RefuseReason::UnknownAccount => "unknown_account",
            RefuseReason::InsufficientBalance => "insufficient_balance",
            RefuseReason::DailyBudget => "daily_budget",
            RefuseReason::Frozen => "frozen",
            RefuseReason::OtherCurrency => "other_currency",
            RefuseReason::UnknownCampaign => "unknown_campaign",
            RefuseReason::CampaignNotRunning => "campaign_not_running",
            RefuseReason::CampaignDailyBudget => "campaign_daily_budget",
            RefuseReason::CampaignTotalBudget => "campaign_total_budget",
            RefuseReason::UnknownOrigin => "unknown_origin",
            RefuseReason::OutsideWindow => "outside_window",
            RefuseReason::AboveOriginal => "above_original",
            RefuseReason::AlreadyRefunded => "already_refunded",
            RefuseReason::NotCharged => "not_charged",
            RefuseReason::UnknownGuid => "unknown_guid",
            RefuseReason::OtherContent => "other_content",
            RefuseReason::OtherAmount => "other_amount",
            RefuseReason::AccountExists => "account_exists",
            RefuseReason::StartsInThePast => "starts_in_the_past",
        }
    }
}

/// What was decided.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The whole amount was taken from the balance, or put to it if it is negative.
    Charged,
    /// Nothing was moved.
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

/// What an outcome is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[repr(u8)]
pub enum EntryKind {
    /// A click.
    Click = 0,
    /// An impression.
    Impression = 1,
    /// An action.
    Action = 2,
    /// A sale.
    Sale = 3,
    /// A sale was reversed, and its fee given back in proportion.
    SaleReversal = 4,
    /// A period of a contract: a minute or a day.
    Period = 5,
    /// The opening balance of an account.
    Opening = 6,
    /// Money came in.
    TopUp = 7,
    /// Money went out.
    Withdrawal = 8,
    /// A charge was given back.
    Refund = 9,
    /// The account system had a charge reversed.
    Reversal = 10,
    /// The account system could not collect a charge. No money moves: the amount is 0.
    Arrears = 11,
    /// The balance that an account had before all of this: what its line in an accounts file says.
    BroughtForward = 12,
    /// The credit line was raised, so that an account pays again. No money moves: the amount is 0.
    CreditLine = 13,
}

impl EntryKind {
    /// Every kind.
    pub const ALL: [EntryKind; 14] = [
        EntryKind::Click,
        EntryKind::Impression,
        EntryKind::Action,
        EntryKind::Sale,
        EntryKind::SaleReversal,
        EntryKind::Period,
        EntryKind::Opening,
        EntryKind::TopUp,
        EntryKind::Withdrawal,
        EntryKind::Refund,
        EntryKind::Reversal,
        EntryKind::Arrears,
        EntryKind::BroughtForward,
        EntryKind::CreditLine,
    ];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            EntryKind::Click => "click",
            EntryKind::Impression => "impression",
            EntryKind::Action => "action",
            EntryKind::Sale => "sale",
            EntryKind::SaleReversal => "sale_reversal",
            EntryKind::Period => "period",
            EntryKind::Opening => "opening",
            EntryKind::TopUp => "top_up",
            EntryKind::Withdrawal => "withdrawal",
            EntryKind::Refund => "refund",
            EntryKind::Reversal => "reversal",
            EntryKind::Arrears => "arrears",
            EntryKind::BroughtForward => "brought_forward",
            EntryKind::CreditLine => "credit_line",
        }
    }

    /// Whether it was decided about an event, which has been accepted and has one outcome.
    pub fn is_event(self) -> bool {
        (self as u8) < EntryKind::Period as u8
    }

    /// Whether it is revenue, or takes some back; all else moves an advertiser's own money, or none.
    pub fn is_revenue(self) -> bool {
        !matches!(
            self,
            EntryKind::BroughtForward
                | EntryKind::Opening
                | EntryKind::TopUp
                | EntryKind::Withdrawal
                | EntryKind::Arrears
                | EntryKind::CreditLine
        )
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == code)
    }
}

impl From<EventKind> for EntryKind {
    fn from(kind: EventKind) -> Self {
        match kind {
            EventKind::Click => EntryKind::Click,
            EventKind::Impression => EntryKind::Impression,
            EventKind::Action => EntryKind::Action,
            EventKind::Sale => EntryKind::Sale,
            EventKind::SaleReversal => EntryKind::SaleReversal,
        }
    }
}

/// The day since the epoch by a clock that is so far ahead of UTC.
fn day(time_ms: u64, utc_offset_minutes: i16) -> u32 {
    Minute(Minute::of_ms(time_ms).0.saturating_add_signed(utc_offset_minutes.into())).day()
}

/// Lines that an account or campaign crossed with an outcome: each is told once. A set of bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Crossings(pub u8);

impl Crossings {
    /// The balance came to or below a threshold.
    pub const LOW_BALANCE: Crossings = Crossings(1);
    /// The balance does not pay for an event.
    pub const EXHAUSTED: Crossings = Crossings(2);
    /// The balance pays again.
    pub const RESUMED: Crossings = Crossings(4);
    /// The account's budget of the day does not pay for an event.
    pub const BUDGET_REACHED: Crossings = Crossings(8);
    /// A campaign's budget, of the day or in all, does not pay for an event.
    pub const CAMPAIGN_BUDGET_REACHED: Crossings = Crossings(16);
    /// The account system could not collect a charge.
    pub const ARREARS: Crossings = Crossings(32);

    /// Adds those of another set.
    pub fn add(&mut self, other: Crossings) {
        self.0 |= other.0;
    }

    /// Whether all of another set are in it.
    pub fn has(self, other: Crossings) -> bool {
        self.0 & other.0 == other.0
    }
}

/// One outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Charge<'a> {
    /// The event; the key of a command; the name of a period.
    pub guid: Guid<'a>,
    /// Charged or refused.
    pub outcome: Outcome,
    /// What it is of.
    pub kind: EntryKind,
    /// How it was priced; none for a command.
    pub billing: Option<Billing>,
    /// When it happened.
    pub event_time_ms: u64,
    /// The ad; 0 if none.
    pub ad_id: u64,
    /// Its campaign; 0 if none.
    pub campaign_id: u64,
    /// Who pays.
    pub advertiser_id: u64,
    /// The price: taken if charged, asked for in vain if refused. Negative: put to the balance.
    pub amount: Nanos,
    /// The balance after it.
    pub balance_after: Nanos,
    /// What was crossed with it.
    pub crossings: Crossings,
    /// The currency of the account.
    pub currency: Currency,
    /// How far the account's clock is ahead of UTC at that time, in minutes.
    pub utc_offset_minutes: i16,
    /// The guid of the event that it goes back to: the click, the sale, the charge given back; or empty.
    pub original: &'a str,
}

impl<'a> Charge<'a> {
    /// The outcome of an event.
    pub fn of(event: &Event<'a>, outcome: Outcome, amount: Nanos, balance_after: Nanos) -> Self {
        Charge {
            guid: event.guid(),
            outcome,
            kind: event.kind().into(),
            billing: Some(event.billing()),
            event_time_ms: event.event_time_ms(),
            ad_id: event.ad_id(),
            campaign_id: event.campaign_id(),
            advertiser_id: event.advertiser_id(),
            amount,
            balance_after,
            crossings: Crossings::default(),
            currency: Currency::default(),
            utc_offset_minutes: 0,
            original: event.origin().map_or("", |origin| origin.guid),
        }
    }

    /// Whether the bytes of two charges say the same of the same event, the balance behind it aside.
    pub fn is_same_outcome(one: &[u8], other: &[u8]) -> bool {
        one.get(..BALANCE) == other.get(..BALANCE) && one.get(CURRENCY..) == other.get(CURRENCY..)
    }

    /// The day since the epoch in the account's time zone.
    pub fn day(&self) -> u32 {
        day(self.event_time_ms, self.utc_offset_minutes)
    }

    /// What was taken from the balance: nothing, if it was refused.
    pub fn taken(&self) -> Nanos {
        if self.outcome == Outcome::Charged { self.amount } else { Nanos::ZERO }
    }

    /// The record's fixed part; the texts of the guid, if it has one, and of the original follow it.
    pub fn encode(&self) -> ([u8; FIXED], [&'a str; 2]) {
        let (id, text) = match self.guid {
            Guid::Ulid(id) => (id, ""),
            Guid::Text(text) => (0, text),
        };
        debug_assert!(self.original.len() <= Guid::MAX_LEN);
        let mut b = [0; FIXED];
        b[0] = KIND_CHARGE;
        b[1] = self.outcome.code();
        b[2] = self.kind as u8;
        b[3] = self.billing.map_or(NO_BILLING, |billing| billing as u8);
        b[4] = GUID_TEXT * u8::from(!text.is_empty());
        b[5] = text.len() as u8;
        b[6] = self.original.len() as u8;
        let numbers = [self.event_time_ms, self.ad_id, self.campaign_id, self.advertiser_id];
        for (at, number) in numbers.iter().enumerate() {
            b[8 + 8 * at..16 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        b[40..56].copy_from_slice(&id.to_le_bytes());
        b[56..72].copy_from_slice(&self.amount.0.to_le_bytes());
        b[72..88].copy_from_slice(&self.balance_after.0.to_le_bytes());
        b[88] = self.crossings.0;
        b[CURRENCY..92].copy_from_slice(&self.currency.bytes());
        b[92..94].copy_from_slice(&self.utc_offset_minutes.to_le_bytes());
        (b, [text, self.original])
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        let damaged = RecordError::Length { kind: "charge", len: b.len() };
        if b.len() < FIXED {
            return Err(damaged);
        }
        let guid_end = FIXED + usize::from(b[5]);
        if b.len() != guid_end + usize::from(b[6]) {
            return Err(damaged);
        }
        let unknown = |what, value| RecordError::Value { what, value };
        Ok(Charge {
            guid: Guid::stored(b[4] & GUID_TEXT != 0, &b[FIXED..guid_end], array_at(b, 40)).ok_or(damaged)?,
            outcome: Outcome::from_code(b[1]).ok_or(unknown("outcome", b[1]))?,
            kind: EntryKind::from_code(b[2]).ok_or(unknown("entry", b[2]))?,
            billing: match b[3] {
                NO_BILLING => None,
                code => Some(Billing::from_code(code).ok_or(unknown("billing model", code))?),
            },
            event_time_ms: u64_at(b, 8),
            ad_id: u64_at(b, 16),
            campaign_id: u64_at(b, 24),
            advertiser_id: u64_at(b, 32),
            amount: Nanos(i128_at(b, 56)),
            balance_after: Nanos(i128_at(b, 72)),
            crossings: Crossings(b[88]),
            currency: Currency::from_bytes(array_at(b, CURRENCY)).ok_or(unknown("currency", b[CURRENCY]))?,
            utc_offset_minutes: i16::from_le_bytes(array_at(b, 92)),
            original: text(&b[guid_end..]),
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
            for (billing, original) in [(Some(Billing::Cps), "the-click"), (None, "")] {
                let charge = Charge {
                    guid,
                    outcome: Outcome::Refused(RefuseReason::DailyBudget),
                    kind: EntryKind::Sale,
                    billing,
                    event_time_ms: 1,
                    ad_id: 2,
                    campaign_id: 3,
                    advertiser_id: 4,
                    amount: Nanos(5),
                    balance_after: Nanos(-6),
                    crossings: Crossings::BUDGET_REACHED,
                    currency: Currency::parse("EUR").unwrap(),
                    utc_offset_minutes: -210,
                    original,
                };
                let (fixed, [text, origin]) = charge.encode();
                let b = [&fixed[..], text.as_bytes(), origin.as_bytes()].concat();
                assert!(matches!(Record::decode(&b).unwrap(), Record::Charge(c) if c == charge));
                assert!(Record::decode(&b[..b.len() - 1]).is_err());
                if text.is_empty() {
                    let mut without_text = b.clone();
                    without_text[4] = GUID_TEXT;
                    assert!(Record::decode(&without_text).is_err());
                }
            }
        }
    }
}
