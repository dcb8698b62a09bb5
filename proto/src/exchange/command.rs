//! Commands and their answers.

use super::error::ExchangeError;
use super::values::in_one_currency;
use super::wire::{Fields, Writer};
use super::{ANSWER, COMMAND, is_made_of};
use crate::command::{Answer, Command};
use crate::rpc;
use prost::Message;

/// A command is a message already, and goes as it stands.
pub(super) fn put(command: &Command<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    // A client has to be able to read it, and the account in front has to be its own.
    command.read().ok()?;
    let message = command.message();
    if !is_made_of(bytes, &[&Command::head(command.advertiser_id()), message]) {
        return None;
    }
    Writer(out).nested(COMMAND, |to| to.0.extend_from_slice(message));
    Some(())
}

pub(super) fn read(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    let command = rpc::Command::decode(message)?;
    out.extend_from_slice(&Command::head(command.advertiser_id));
    out.extend_from_slice(message);
    Ok(())
}

pub(super) fn put_answer(answer: &Answer<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (fixed, key) = answer.encode();
    if !is_made_of(bytes, &[&fixed, key.as_bytes()]) {
        return None;
    }
    Writer(out).nested(ANSWER, |to| {
        to.text(1, answer.key);
        to.uint(2, answer.advertiser_id);
        to.uint(3, answer.time_ms);
        to.one_of(4, answer.outcome);
        to.flag(5, answer.is_repeated);
        to.money(6, answer.amount, Some(answer.currency))?;
        to.money(7, answer.balance_after, Some(answer.currency))
    })
}

pub(super) fn read_answer(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    let mut fields = Fields::of("answer", message);
    let (mut key, mut advertiser_id, mut time_ms) = ("", 0, 0);
    let (mut outcome, mut is_repeated, mut amount, mut balance_after) = (None, false, None, None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => key = field.text(usize::from(u8::MAX))?,
            2 => advertiser_id = field.uint()?,
            3 => time_ms = field.uint()?,
            4 => outcome = field.one_of()?,
            5 => is_repeated = field.flag()?,
            6 => amount = Some(field.money()?),
            7 => balance_after = Some(field.money()?),
            _ => return Err(field.unknown()),
        }
    }
    let ([amount, balance_after], currency) = in_one_currency(&fields, 6, [amount, balance_after])?;
    let answer = Answer {
        key,
        advertiser_id,
        time_ms,
        outcome: outcome.ok_or_else(|| fields.missing(4))?,
        is_repeated,
        amount,
        balance_after,
        currency,
    };
    let (fixed, key) = answer.encode();
    out.extend_from_slice(&fixed);
    out.extend_from_slice(key.as_bytes());
    Ok(())
}
