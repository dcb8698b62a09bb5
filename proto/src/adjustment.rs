//! Adjustments: what is posted to the ledger when a charge of the past comes out differently. The past
//! itself is never edited.
//!
//! Layout, little-endian: `kind u8 = 14, what u8, flags u8 (4 guid is text), guid length u8,
//! partition u32, original generation u32, new generation u32, advertiser u64, event_time_ms u64,
//! original offset u64, new offset u64, guid u128, before i128, after i128, currency [3],
//! zero, guid text`.

use crate::bytes::{array_at, i128_at, u32_at, u64_at};
use crate::ids::Guid;
use crate::money::{Currency, Nanos};
use crate::record::{KIND_ADJUSTMENT, RecordError};

const FIXED: usize = 100;
const GUID_TEXT: u8 = 4;

/// What an adjustment does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum AdjustmentKind {
    /// Takes a charge back as a whole.
    Reversal = 1,
    /// Charges what had not been charged.
    Charge = 2,
    /// Changes the amount of a charge.
    Change = 3,
}

impl AdjustmentKind {
    /// Every kind.
    pub const ALL: [AdjustmentKind; 3] =
        [AdjustmentKind::Reversal, AdjustmentKind::Charge, AdjustmentKind::Change];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            AdjustmentKind::Reversal => "reversal",
            AdjustmentKind::Charge => "charge",
            AdjustmentKind::Change => "change",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|k| *k as u8 == code)
    }
}

/// Where a charge stands: its generation's `charges` and the offset there. Generation 0: nowhere.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ChargeRef {
    /// The generation whose `charges` it is in.
    pub generation: u32,
    /// Its offset there.
    pub offset: u64,
}

/// The difference between what is in the ledger for an event and its new outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adjustment<'a> {
    /// What it does.
    pub kind: AdjustmentKind,
    /// The event.
    pub guid: Guid<'a>,
    /// Whose account.
    pub advertiser_id: u64,
    /// When the event happened.
    pub event_time_ms: u64,
    /// The partition of `charges`.
    pub partition: u32,
    /// The charge or refusal that it corrects.
    pub original: ChargeRef,
    /// The new outcome; its generation is the reason.
    pub new: ChargeRef,
    /// Charged before.
    pub before: Nanos,
    /// Charged by the new outcome.
    pub after: Nanos,
    /// The currency of both.
    pub currency: Currency,
}

impl<'a> Adjustment<'a> {
    /// The record's fixed part; the guid's text, if it has one, follows it.
    pub fn encode(&self) -> ([u8; FIXED], &'a str) {
        let (id, text) = match self.guid {
            Guid::Ulid(id) => (id, ""),
            Guid::Text(text) => (0, text),
        };
        let mut b = [0; FIXED];
        b[0] = KIND_ADJUSTMENT;
        b[1] = self.kind as u8;
        b[2] = GUID_TEXT * u8::from(!text.is_empty());
        b[3] = text.len() as u8;
        let small = [self.partition, self.original.generation, self.new.generation];
        for (at, number) in small.iter().enumerate() {
            b[4 + 4 * at..8 + 4 * at].copy_from_slice(&number.to_le_bytes());
        }
        let numbers = [self.advertiser_id, self.event_time_ms, self.original.offset, self.new.offset];
        for (at, number) in numbers.iter().enumerate() {
            b[16 + 8 * at..24 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        b[48..64].copy_from_slice(&id.to_le_bytes());
        b[64..80].copy_from_slice(&self.before.0.to_le_bytes());
        b[80..96].copy_from_slice(&self.after.0.to_le_bytes());
        b[96..99].copy_from_slice(&self.currency.bytes());
        (b, text)
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        let damaged = RecordError::Length { kind: "adjustment", len: b.len() };
        if b.len() < FIXED || b.len() != FIXED + usize::from(b[3]) {
            return Err(damaged);
        }
        let kind = AdjustmentKind::from_code(b[1]);
        Ok(Adjustment {
            kind: kind.ok_or(RecordError::Value { what: "adjustment", value: b[1] })?,
            guid: Guid::stored(b[2] & GUID_TEXT != 0, &b[FIXED..], array_at(b, 48)).ok_or(damaged)?,
            advertiser_id: u64_at(b, 16),
            event_time_ms: u64_at(b, 24),
            partition: u32_at(b, 4),
            original: ChargeRef { generation: u32_at(b, 8), offset: u64_at(b, 32) },
            new: ChargeRef { generation: u32_at(b, 12), offset: u64_at(b, 40) },
            before: Nanos(i128_at(b, 64)),
            after: Nanos(i128_at(b, 80)),
            currency: Currency::from_bytes(array_at(b, 96))
                .ok_or(RecordError::Value { what: "currency", value: b[96] })?,
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
            let adjustment = Adjustment {
                kind: AdjustmentKind::Change,
                guid,
                advertiser_id: 1,
                event_time_ms: 2,
                partition: 3,
                original: ChargeRef { generation: 4, offset: 5 },
                new: ChargeRef { generation: 6, offset: 7 },
                before: Nanos(8),
                after: Nanos(-9),
                currency: Currency::parse("EUR").unwrap(),
            };
            let (fixed, text) = adjustment.encode();
            let b = [&fixed[..], text.as_bytes()].concat();
            assert!(matches!(Record::decode(&b).unwrap(), Record::Adjustment(a) if a == adjustment));
            assert!(Record::decode(&b[..b.len() - 1]).is_err());
        }
    }
}
