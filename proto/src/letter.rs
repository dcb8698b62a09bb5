//! Letters: what became of a record that could not be delivered, as it stands in `retry` and `dead`.
//!
//! Layout, little-endian: `kind u8 (8 in retry, 9 in dead), fate u8, flags u8 (4 guid is text),
//! guid length u8, topic u8, zero u8, reason length u16, partition u32, generation u32, attempt u32,
//! zero u32, offset u64, time_ms u64, next_time_ms u64, advertiser u64, guid u128, at stake i128,
//! guid text, reason`.

use crate::bytes::{array_at, i128_at, text, u16_at, u32_at, u64_at};
use crate::ids::Guid;
use crate::money::Nanos;
use crate::provenance::{Topic, TopicId};
use crate::record::{KIND_DEAD, KIND_RETRY, RecordError};
use serde::{Deserialize, Serialize};
use std::fmt;

const FIXED: usize = 88;
const GUID_TEXT: u8 = 4;

/// The id under which a record is delivered, each time the same: where it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MessageId {
    /// The topic, of a generation.
    pub topic: TopicId,
    /// The partition.
    pub partition: u32,
    /// The offset there.
    pub offset: u64,
}

impl MessageId {
    /// Reads `charges/1/3/120`: topic, generation, partition, offset.
    pub fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let topic = Topic::from_name(parts.next()?)?.of(parts.next()?.parse().ok()?);
        let (partition, offset) = (parts.next()?.parse().ok()?, parts.next()?.parse().ok()?);
        let id = MessageId { topic, partition, offset };
        // Replies are told apart by it: `charges/1/03/120` and `charges/1/+3/120` are no other names of it.
        (parts.next().is_none() && id.to_string() == text).then_some(id)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let MessageId { topic, partition, offset } = self;
        write!(f, "{}/{}/{partition}/{offset}", topic.topic, topic.generation)
    }
}

/// What is decided about a record that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Fate {
    /// It is tried again; stands in `retry`, all others in `dead`.
    Retry = 1,
    /// It is not tried any more, until a person decides.
    Dead = 2,
    /// A person had it tried again.
    Retried = 3,
    /// A person gave it up.
    Discarded = 4,
}

impl Fate {
    /// Every fate.
    pub const ALL: [Fate; 4] = [Fate::Retry, Fate::Dead, Fate::Retried, Fate::Discarded];

    /// The name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Fate::Retry => "retry",
            Fate::Dead => "dead",
            Fate::Retried => "retried",
            Fate::Discarded => "discarded",
        }
    }

    fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|f| *f as u8 == code)
    }
}

/// What became of a record that could not be delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter<'a> {
    /// The record.
    pub id: MessageId,
    /// What is decided about it.
    pub fate: Fate,
    /// How often it was tried so far.
    pub attempt: u32,
    /// When the request failed or a person decided, in ms since the epoch.
    pub time_ms: u64,
    /// When it is tried again, in ms since the epoch; 0 if it is not.
    pub next_time_ms: u64,
    /// Whose account it is about.
    pub advertiser_id: u64,
    /// The event that it is about.
    pub guid: Guid<'a>,
    /// What was charged by it, or the size of the adjustment; 0 for a refusal.
    pub at_stake: Nanos,
    /// The answer, the error, or what the person said.
    pub reason: &'a str,
}

impl<'a> Letter<'a> {
    pub(crate) const MAX_REASON: usize = 1024;

    /// The parts of the record, to be written one after the other.
    pub fn encode(&self) -> ([u8; FIXED], [&'a str; 2]) {
        let (id, guid) = match self.guid {
            Guid::Ulid(id) => (id, ""),
            Guid::Text(text) => (0, text),
        };
        let reason = &self.reason[..self.reason.floor_char_boundary(Self::MAX_REASON)];
        let mut b = [0; FIXED];
        b[0] = if self.fate == Fate::Retry { KIND_RETRY } else { KIND_DEAD };
        b[1] = self.fate as u8;
        b[2] = GUID_TEXT * u8::from(!guid.is_empty());
        b[3] = guid.len() as u8;
        b[4] = self.id.topic.topic as u8;
        b[6..8].copy_from_slice(&(reason.len() as u16).to_le_bytes());
        let small = [self.id.partition, self.id.topic.generation, self.attempt];
        for (at, number) in small.iter().enumerate() {
            b[8 + 4 * at..12 + 4 * at].copy_from_slice(&number.to_le_bytes());
        }
        let numbers = [self.id.offset, self.time_ms, self.next_time_ms, self.advertiser_id];
        for (at, number) in numbers.iter().enumerate() {
            b[24 + 8 * at..32 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        b[56..72].copy_from_slice(&id.to_le_bytes());
        b[72..88].copy_from_slice(&self.at_stake.0.to_le_bytes());
        (b, [guid, reason])
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        let damaged = RecordError::Length { kind: "letter", len: b.len() };
        if b.len() < FIXED {
            return Err(damaged);
        }
        let (guid, reason) = (FIXED + usize::from(b[3]), usize::from(u16_at(b, 6)));
        if b.len() != guid + reason {
            return Err(damaged);
        }
        let fate = Fate::from_code(b[1]).filter(|fate| (*fate == Fate::Retry) == (b[0] == KIND_RETRY));
        let fate = fate.ok_or(RecordError::Value { what: "fate", value: b[1] })?;
        let topic = Topic::from_code(b[4]).ok_or(RecordError::Value { what: "topic", value: b[4] })?;
        Ok(Letter {
            id: MessageId { topic: topic.of(u32_at(b, 12)), partition: u32_at(b, 8), offset: u64_at(b, 24) },
            fate,
            attempt: u32_at(b, 16),
            time_ms: u64_at(b, 32),
            next_time_ms: u64_at(b, 40),
            advertiser_id: u64_at(b, 48),
            guid: Guid::stored(b[2] & GUID_TEXT != 0, &b[FIXED..guid], array_at(b, 56)).ok_or(damaged)?,
            at_stake: Nanos(i128_at(b, 72)),
            reason: text(&b[guid..]),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    #[test]
    fn what_is_written_is_read() {
        for (guid, fate) in [(Guid::Ulid(7 << 90 | 3), Fate::Retry), (Guid::Text("abc"), Fate::Discarded)] {
            let letter = Letter {
                id: MessageId { topic: Topic::Adjustments.of(4), partition: 3, offset: 5 },
                fate,
                attempt: 6,
                time_ms: 7,
                next_time_ms: 8,
                advertiser_id: 9,
                guid,
                at_stake: Nanos(-10),
                reason: "503 Service Unavailable: später",
            };
            let (fixed, [guid, reason]) = letter.encode();
            let b = [&fixed[..], guid.as_bytes(), reason.as_bytes()].concat();
            match Record::decode(&b).unwrap() {
                Record::Retry(read) => assert_eq!((read, fate), (letter, Fate::Retry)),
                Record::Dead(read) => assert_eq!((read, fate), (letter, Fate::Discarded)),
                other => panic!("{other:?}"),
            }
            assert!(Record::decode(&b[..b.len() - 1]).is_err());
            let mut of_the_other_topic = b.clone();
            of_the_other_topic[0] ^= KIND_RETRY ^ KIND_DEAD;
            assert!(Record::decode(&of_the_other_topic).is_err());
        }
    }

    #[test]
    fn ids_are_read_as_they_are_shown() {
        let id = MessageId { topic: Topic::Charges.of(2), partition: 3, offset: 120 };
        assert_eq!(id.to_string(), "charges/2/3/120");
        assert_eq!(MessageId::parse("charges/2/3/120"), Some(id));
        for text in ["charges/2/03/120", "charges/+2/3/120", "charges/2/3/0120", "charges/2/3/120/"] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
        for text in ["", "charges/2/3", "charges/2/3/120/1", "nothing/2/3/1", "charges/x/3/1"] {
            assert_eq!(MessageId::parse(text), None, "{text}");
        }
    }
}
