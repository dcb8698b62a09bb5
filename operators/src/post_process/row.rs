//! A row of the daily books.

use super::entry::code;
use serde::{Deserialize, Serialize};
use std::hash::{Hash, Hasher};
use weir_proto::{Billing, Charge, Currency, EntryKind, MoneyError, Nanos, Outcome};

const NO_BILLING: u8 = 255;
const KEY: usize = 25;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowKey {
    /// Whose account.
    pub advertiser_id: u64,
    /// The day since the epoch, in the time zone of the account.
    pub day: u32,
    /// The campaign; 0 if none.
    pub campaign_id: u64,
    /// What was decided about.
    pub kind: EntryKind,
    /// How it was priced; none for a command.
    pub billing: Option<Billing>,
    /// The currency of the amounts.
    #[serde(with = "code")]
    pub currency: Currency,
}

impl Hash for RowKey {
    /// Of what tells rows apart in practice: this is done for every charge.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.advertiser_id ^ self.campaign_id.rotate_left(32));
        state.write_u64(u64::from(self.day) << 16 | u64::from(self.kind as u8) << 8 | self.billing_code());
    }
}

impl RowKey {
    pub(super) fn of(charge: &Charge<'_>) -> Self {
        RowKey {
            advertiser_id: charge.advertiser_id,
            day: charge.day(),
            campaign_id: charge.campaign_id,
            kind: charge.kind,
            billing: charge.billing,
            currency: charge.currency,
        }
    }

    fn billing_code(&self) -> u64 {
        self.billing.map_or(NO_BILLING, |billing| billing as u8).into()
    }

    /// The key's bytes, in whose order rows are stored and shown.
    pub fn encode(&self) -> [u8; KEY] {
        let mut b = [0; KEY];
        b[..8].copy_from_slice(&self.advertiser_id.to_be_bytes());
        b[8..12].copy_from_slice(&self.day.to_be_bytes());
        b[12..20].copy_from_slice(&self.campaign_id.to_be_bytes());
        b[20] = self.kind as u8;
        b[21] = self.billing_code() as u8;
        b[22..].copy_from_slice(&self.currency.bytes());
        b
    }

    /// Reads a key's bytes; nothing if they are not those of one.
    pub fn decode(b: &[u8]) -> Option<Self> {
        let b: &[u8; KEY] = b.try_into().ok()?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, d0, d1, d2, d3, ..] = *b;
        Some(RowKey {
            advertiser_id: u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            day: u32::from_be_bytes([d0, d1, d2, d3]),
            campaign_id: u64::from_be_bytes(b[12..20].try_into().ok()?),
            kind: EntryKind::ALL.into_iter().find(|kind| *kind as u8 == b[20])?,
            billing: match b[21] {
                NO_BILLING => None,
                code => Some(Billing::from_code(code)?),
            },
            currency: Currency::from_bytes([b[22], b[23], b[24]])?,
        })
    }
}

/// What was decided on one day about one campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// How many were charged, or carried out.
    pub count: u64,
    /// What they took from the balance, in nanos; negative if they put to it.
    pub amount: i128,
    /// How many were refused.
    pub refused_count: u64,
    /// What these asked for in vain, in nanos.
    pub refused_amount: i128,
}

impl Row {
    pub(super) fn of(charge: &Charge<'_>) -> Self {
        match charge.outcome {
            Outcome::Charged => Row { count: 1, amount: charge.amount.0, ..Row::default() },
            Outcome::Refused(_) => {
                Row { refused_count: 1, refused_amount: charge.amount.0, ..Row::default() }
            }
        }
    }

    /// Adds another one of the same key.
    pub fn add(&mut self, other: &Row) -> Result<(), MoneyError> {
        let sum = |a, b| Nanos(a).checked_add(Nanos(b)).map(|sum| sum.0);
        self.count = self.count.saturating_add(other.count);
        self.amount = sum(self.amount, other.amount)?;
        self.refused_count = self.refused_count.saturating_add(other.refused_count);
        self.refused_amount = sum(self.refused_amount, other.refused_amount)?;
        Ok(())
    }
}
