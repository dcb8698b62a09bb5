//! Commands as they stand in `judged`, and their answers, as they stand in `answers`.
//!
//! Layout of a command: `kind u8 = 12, version u8 = 1, zero [6], advertiser u64`, then the protobuf of
//! `weir.v1.Command`. Layout of an answer, little-endian: `kind u8 = 13, outcome u8, repeated u8, key
//! length u8, zero, currency [3], advertiser u64, time_ms u64, amount i128, balance_after i128, key`.

use crate::bytes::{array_at, i128_at, text, u64_at};
use crate::charge::Outcome;
use crate::money::{Currency, Nanos};
use crate::record::{KIND_ANSWER, KIND_COMMAND, RecordError};
use crate::rpc;
use prost::Message;

const HEAD: usize = 16;
const VERSION: u8 = 1;
const FIXED: usize = 56;

/// A command read from a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Command<'a>(&'a [u8]);

impl<'a> Command<'a> {
    /// The key of every command that comes from an accounts file: one opens an account once.
    pub const ACCOUNTS_FILE: &'static str = "accounts-file";
    /// Longest key, in bytes.
    pub const MAX_KEY: usize = 200;

    /// The record's bytes.
    pub fn encode(command: &rpc::Command) -> Vec<u8> {
        [&Self::head(command.advertiser_id)[..], &command.encode_to_vec()].concat()
    }

    /// What stands in front of the protobuf.
    pub(crate) fn head(advertiser_id: u64) -> [u8; HEAD] {
        let mut b = [0; HEAD];
        (b[0], b[1]) = (KIND_COMMAND, VERSION);
        b[8..].copy_from_slice(&advertiser_id.to_le_bytes());
        b
    }

    /// The protobuf.
    pub(crate) fn message(&self) -> &'a [u8] {
        &self.0[HEAD..]
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        match b.get(1) {
            Some(&VERSION) if b.len() >= HEAD => Ok(Command(b)),
            Some(&version) if b.len() >= HEAD => {
                Err(RecordError::Value { what: "version of a command", value: version })
            }
            _ => Err(RecordError::Length { kind: "command", len: b.len() }),
        }
    }

    /// Whose account it is about.
    pub fn advertiser_id(&self) -> u64 {
        u64_at(self.0, 8)
    }

    /// The whole command.
    pub fn read(&self) -> Result<rpc::Command, RecordError> {
        let read = rpc::Command::decode(self.message()).ok();
        // It was routed by the number in front.
        read.filter(|command| command.advertiser_id == self.advertiser_id())
            .ok_or(RecordError::Length { kind: "command", len: self.0.len() })
    }
}

impl rpc::Command {
    /// The name of what it does, in JSON.
    pub fn action_name(&self) -> &'static str {
        use rpc::command::Action;
        match &self.action {
            None => "nothing",
            Some(Action::Open(_)) => "open",
            Some(Action::TopUp(_)) => "top_up",
            Some(Action::Withdraw(_)) => "withdraw",
            Some(Action::CreditLine(_)) => "credit_line",
            Some(Action::Freeze(f)) if f.frozen => "freeze",
            Some(Action::Freeze(_)) => "unfreeze",
            Some(Action::Budget(_)) => "budget",
            Some(Action::Campaign(_)) => "campaign",
            Some(Action::Refund(_)) => "refund",
            Some(Action::Reply(_)) => "reply",
        }
    }
}

/// What was decided about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answer<'a> {
    /// The command's.
    pub key: &'a str,
    /// Whose account it is about.
    pub advertiser_id: u64,
    /// The command's.
    pub time_ms: u64,
    /// Done or refused.
    pub outcome: Outcome,
    /// The command was decided before: nothing was changed by it now.
    pub is_repeated: bool,
    /// What was taken from the balance; negative if it was put to it.
    pub amount: Nanos,
    /// The balance after it.
    pub balance_after: Nanos,
    /// The currency of the account.
    pub currency: Currency,
}

impl<'a> Answer<'a> {
    /// The record's fixed part; the key follows it.
    pub fn encode(&self) -> ([u8; FIXED], &'a str) {
        let mut b = [0; FIXED];
        b[0] = KIND_ANSWER;
        b[1] = self.outcome.code();
        b[2] = u8::from(self.is_repeated);
        b[3] = self.key.len() as u8;
        b[5..8].copy_from_slice(&self.currency.bytes());
        b[8..16].copy_from_slice(&self.advertiser_id.to_le_bytes());
        b[16..24].copy_from_slice(&self.time_ms.to_le_bytes());
        b[24..40].copy_from_slice(&self.amount.0.to_le_bytes());
        b[40..56].copy_from_slice(&self.balance_after.0.to_le_bytes());
        (b, self.key)
    }

    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        if b.len() < FIXED || b.len() != FIXED + usize::from(b[3]) {
            return Err(RecordError::Length { kind: "answer", len: b.len() });
        }
        let unknown = |what, value| RecordError::Value { what, value };
        Ok(Answer {
            key: text(&b[FIXED..]),
            advertiser_id: u64_at(b, 8),
            time_ms: u64_at(b, 16),
            outcome: Outcome::from_code(b[1]).ok_or(unknown("outcome", b[1]))?,
            is_repeated: b[2] != 0,
            amount: Nanos(i128_at(b, 24)),
            balance_after: Nanos(i128_at(b, 40)),
            currency: Currency::from_bytes(array_at(b, 5)).ok_or(unknown("currency", b[5]))?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Record, RefuseReason};

    #[test]
    fn what_is_written_is_read() {
        let command = rpc::Command { key: "k".to_owned(), advertiser_id: 36, ..rpc::Command::default() };
        let b = Command::encode(&command);
        let Ok(Record::Command(read)) = Record::decode(&b) else { panic!() };
        assert_eq!((read.advertiser_id(), read.read().unwrap()), (36, command));
        assert!(Record::decode(&b[..HEAD - 1]).is_err());
        let mut of_another = b.clone();
        of_another[8] = 37;
        let Ok(Record::Command(read)) = Record::decode(&of_another) else { panic!() };
        assert!(read.read().is_err());
        let answer = Answer {
            key: "k",
            advertiser_id: 36,
            time_ms: 7,
            outcome: Outcome::Refused(RefuseReason::OtherContent),
            is_repeated: true,
            amount: Nanos(-8),
            balance_after: Nanos(9),
            currency: Currency::default(),
        };
        let (fixed, key) = answer.encode();
        let b = [&fixed[..], key.as_bytes()].concat();
        assert!(matches!(Record::decode(&b).unwrap(), Record::Answer(a) if a == answer));
        assert!(Record::decode(&b[..b.len() - 1]).is_err());
    }
}
