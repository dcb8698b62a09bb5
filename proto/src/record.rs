//! The kinds of record that stand in topics. The first byte of a record names its kind; a kind's
//! layout is never changed, a new layout takes a new number.

use crate::adjustment::Adjustment;
use crate::bytes::u32_at;
use crate::charge::Charge;
use crate::command::{Answer, Command};
use crate::dropped::Dropped;
use crate::event::Event;
use crate::letter::Letter;
use crate::notice::Notice;
use crate::takeover::Takeover;
use crate::time::Minute;

pub(crate) const KIND_EVENT: u8 = 1;
pub(crate) const KIND_TICK: u8 = 2;
// 3 was an opening of an account; 4, 6 and 7 were earlier layouts of charges, notices and adjustments.
pub(crate) const KIND_CHARGE: u8 = 10;
pub(crate) const KIND_DROPPED: u8 = 5;
pub(crate) const KIND_NOTICE: u8 = 11;
pub(crate) const KIND_ADJUSTMENT: u8 = 14;
pub(crate) const KIND_RETRY: u8 = 8;
pub(crate) const KIND_DEAD: u8 = 9;
pub(crate) const KIND_COMMAND: u8 = 12;
pub(crate) const KIND_ANSWER: u8 = 13;
pub(crate) const KIND_TAKEOVER: u8 = 15;

/// A record's bytes do not have the layout that their kind promises.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum RecordError {
    /// Too short or too long.
    #[error("a record of kind {kind} has {len} bytes, which its layout does not allow; the topic is damaged")]
    Length {
        /// The kind, in words.
        kind: &'static str,
        /// Bytes found.
        len: usize,
    },
    /// An unknown kind: written by a newer version.
    #[error("a record has the unknown kind {0}; it was written by a newer version of weir")]
    Kind(u8),
    /// A coded value out of range.
    #[error("a record has the unknown {what} {value}; it was written by a newer version of weir")]
    Value {
        /// What is coded.
        what: &'static str,
        /// The code found.
        value: u8,
    },
}

pub(crate) fn expect_len(kind: &'static str, b: &[u8], len: usize) -> Result<(), RecordError> {
    if b.len() == len { Ok(()) } else { Err(RecordError::Length { kind, len: b.len() }) }
}

/// A record as it stands in a topic, borrowed from its batch.
#[derive(Clone, Copy, Debug)]
pub enum Record<'a> {
    /// An event on its way.
    Event(Event<'a>),
    /// A minute began.
    Tick(Minute),
    /// An event was charged or refused.
    Charge(Charge<'a>),
    /// An event or a line was dropped.
    Dropped(Dropped<'a>),
    /// An advertiser is told something.
    Notice(Notice),
    /// A partition came to a worker.
    Takeover(Takeover),
    /// A charge of the past came out differently.
    Adjustment(Adjustment<'a>),
    /// A record that could not be delivered is tried again.
    Retry(Letter<'a>),
    /// A record that could not be delivered is not tried any more, or a person has decided about it.
    Dead(Letter<'a>),
    /// A command about an account, a campaign or a charge.
    Command(Command<'a>),
    /// What was decided about a command.
    Answer(Answer<'a>),
}

impl<'a> Record<'a> {
    /// Reads a record.
    pub fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        Ok(match b.first().copied() {
            Some(KIND_EVENT) => Record::Event(Event::decode(b)?),
            Some(KIND_TICK) => {
                expect_len("tick", b, 8)?;
                Record::Tick(Minute(u32_at(b, 4)))
            }
            Some(KIND_CHARGE) => Record::Charge(Charge::decode(b)?),
            Some(KIND_DROPPED) => Record::Dropped(Dropped::decode(b)?),
            Some(KIND_NOTICE) => Record::Notice(Notice::decode(b)?),
            Some(KIND_TAKEOVER) => Record::Takeover(Takeover::decode(b)?),
            Some(KIND_ADJUSTMENT) => Record::Adjustment(Adjustment::decode(b)?),
            Some(KIND_RETRY) => Record::Retry(Letter::decode(b)?),
            Some(KIND_DEAD) => Record::Dead(Letter::decode(b)?),
            Some(KIND_COMMAND) => Record::Command(Command::decode(b)?),
            Some(KIND_ANSWER) => Record::Answer(Answer::decode(b)?),
            Some(kind) => return Err(RecordError::Kind(kind)),
            None => return Err(RecordError::Length { kind: "any", len: 0 }),
        })
    }

    /// The minute of a tick, if the bytes are those of one.
    pub fn tick_of(b: &[u8]) -> Option<Minute> {
        (b.first() == Some(&KIND_TICK) && b.len() == 8).then(|| Minute(u32_at(b, 4)))
    }

    /// The bytes of a tick: `kind u8 = 2, zero [3], minute u32`.
    pub fn encode_tick(minute: Minute) -> [u8; 8] {
        let m = minute.0.to_le_bytes();
        [KIND_TICK, 0, 0, 0, m[0], m[1], m[2], m[3]]
    }
}
