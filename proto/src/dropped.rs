//! What was dropped, as it stands in `dropped`.
//!
//! Layout, little-endian: `kind u8 = 5, stage u8, reason u8, zero u8, detail length u16,
//! raw length u16, detail, raw, event`. `raw` holds the first bytes of a line that could not be
//! read; `event` is the event's record where one could.

use crate::bytes::{text, u16_at};
use crate::event::Event;
use crate::provenance::StageId;
use crate::record::{KIND_DROPPED, RecordError};

const FIXED: usize = 8;

/// Why an event does not reach the money.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum DropReason {
    /// Not an event of the input format.
    Malformed = 1,
    /// Older than the allowed lateness.
    TooLate = 2,
    /// The user agent of a known bot.
    Bot = 3,
    /// From a data centre's network.
    Datacenter = 4,
    /// Too many of one (ip, ad) in a minute.
    Flood = 5,
    /// Too many of one user on one ad in a minute.
    UserAdRate = 6,
    /// Too many clicks of one user in a minute.
    UserClickRate = 7,
    /// Too many different ads of one user in ten seconds.
    UserAdSpread = 8,
    /// Not what its billing model pays for: a click on CPM, an impression on CPC.
    NotBillable = 9,
    /// This (advertiser, guid) was decided before.
    Duplicate = 10,
    /// A notice with the price `AUDIT`, or of an auction that was won but not billed.
    NotABill = 11,
    /// It carried a billing credential that was forged or altered.
    BadCredential = 12,
    /// It carried a billing credential that had expired.
    ExpiredCredential = 13,
}

impl DropReason {
    /// Every reason, in the order in which the flow checks them.
    pub const ALL: [DropReason; 13] = [
        DropReason::BadCredential,
        DropReason::ExpiredCredential,
        DropReason::Malformed,
        DropReason::NotABill,
        DropReason::TooLate,
        DropReason::Bot,
        DropReason::Datacenter,
        DropReason::Flood,
        DropReason::UserAdRate,
        DropReason::UserClickRate,
        DropReason::UserAdSpread,
        DropReason::NotBillable,
        DropReason::Duplicate,
    ];

    /// The reason of a code on disk.
    pub fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|r| *r as u8 == code)
    }

    /// The name in JSON and metrics.
    pub fn name(self) -> &'static str {
        match self {
            DropReason::Malformed => "malformed",
            DropReason::TooLate => "too_late",
            DropReason::Bot => "bot",
            DropReason::Datacenter => "datacenter",
            DropReason::Flood => "flood",
            DropReason::UserAdRate => "user_ad_rate",
            DropReason::UserClickRate => "user_click_rate",
            DropReason::UserAdSpread => "user_ad_spread",
            DropReason::NotBillable => "not_billable",
            DropReason::Duplicate => "duplicate",
            DropReason::NotABill => "not_a_bill",
            DropReason::BadCredential => "bad_credential",
            DropReason::ExpiredCredential => "expired_credential",
        }
    }
}

/// One dropped event or line.
#[derive(Clone, Copy, Debug)]
pub struct Dropped<'a> {
    /// Where it was dropped.
    pub stage: StageId,
    /// Why.
    pub reason: DropReason,
    /// What exactly was wrong, for people; often empty.
    pub detail: &'a str,
    /// The first bytes of the original line, if it could not be read.
    pub raw: &'a [u8],
    /// The event, if it could be read.
    pub event: Option<Event<'a>>,
}

impl<'a> Dropped<'a> {
    /// The most of a malformed line that is kept, in bytes.
    pub const MAX_RAW: usize = 512;
    pub(crate) const MAX_DETAIL: usize = 1024;

    /// An event that was read and then dropped.
    pub fn event(stage: StageId, reason: DropReason, event: Event<'a>) -> Self {
        Dropped { stage, reason, detail: "", raw: &[], event: Some(event) }
    }

    /// The parts of the record, to be written one after the other.
    pub fn encode(&self) -> ([u8; FIXED], [&'a [u8]; 3]) {
        let raw = &self.raw[..self.raw.len().min(Self::MAX_RAW)];
        let detail = &self.detail[..self.detail.floor_char_boundary(Self::MAX_DETAIL)];
        let mut b = [KIND_DROPPED, self.stage as u8, self.reason as u8, 0, 0, 0, 0, 0];
        b[4..6].copy_from_slice(&(detail.len() as u16).to_le_bytes());
        b[6..8].copy_from_slice(&(raw.len() as u16).to_le_bytes());
        (b, [detail.as_bytes(), raw, self.event.map_or(&[], |e| e.bytes())])
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        let damaged = RecordError::Length { kind: "dropped", len: b.len() };
        if b.len() < FIXED {
            return Err(damaged);
        }
        let (detail, raw) = (usize::from(u16_at(b, 4)), usize::from(u16_at(b, 6)));
        let rest = b.get(FIXED + detail + raw..).ok_or(damaged)?;
        Ok(Dropped {
            stage: StageId::from_u8(b[1]).ok_or(RecordError::Value { what: "stage", value: b[1] })?,
            reason: DropReason::from_code(b[2]).ok_or(RecordError::Value { what: "reason", value: b[2] })?,
            detail: text(&b[FIXED..FIXED + detail]),
            raw: &b[FIXED + detail..FIXED + detail + raw],
            event: if rest.is_empty() { None } else { Some(Event::decode(rest)?) },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    #[test]
    fn what_is_written_is_read() {
        let line = [b'x'; 2000];
        let dropped = Dropped {
            stage: StageId::Collect,
            reason: DropReason::Malformed,
            detail: "guid is missing",
            raw: &line,
            event: None,
        };
        let (fixed, parts) = dropped.encode();
        let b = [&fixed[..], &parts.concat()].concat();
        let Ok(Record::Dropped(read)) = Record::decode(&b) else { panic!() };
        assert_eq!((read.detail, read.raw.len()), ("guid is missing", Dropped::MAX_RAW));
        assert_eq!(read.reason, DropReason::Malformed);
    }
}
