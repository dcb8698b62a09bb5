//! Letters.

use super::error::{ExchangeError, FieldFault};
use super::values::{guid, guid_is_text, without_currency};
use super::wire::{Fields, Writer};
use super::{LETTER, is_made_of};
use crate::ids::Guid;
use crate::letter::{Letter, MessageId};

pub(super) fn put(letter: &Letter<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (fixed, [text, reason]) = letter.encode();
    if !is_made_of(bytes, &[&fixed, text.as_bytes(), reason.as_bytes()]) {
        return None;
    }
    Writer(out).nested(LETTER, |to| {
        to.shown(1, &letter.id)?;
        to.one_of(2, letter.fate);
        to.uint(3, letter.attempt.into());
        to.uint(4, letter.time_ms);
        to.uint(5, letter.next_time_ms);
        to.uint(6, letter.advertiser_id);
        to.guid(7, letter.guid);
        to.money(8, letter.at_stake, None)?;
        to.text(9, letter.reason);
        to.flag(10, guid_is_text(letter.guid));
        Some(())
    })
}

pub(super) fn read(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    let mut fields = Fields::of("letter", message);
    let (mut id, mut fate, mut guid_text, mut is_text) = (None, None, "", false);
    let (mut attempt, mut time_ms, mut next_time_ms, mut advertiser_id) = (0, 0, 0, 0);
    let (mut at_stake, mut reason) = (None, "");
    while let Some(field) = fields.next()? {
        match field.number {
            1 => {
                let read = MessageId::parse(field.text(usize::MAX)?);
                id = Some(read.ok_or_else(|| field.fault(FieldFault::MessageId))?);
            }
            2 => fate = field.one_of()?,
            3 => attempt = field.uint32()?,
            4 => time_ms = field.uint()?,
            5 => next_time_ms = field.uint()?,
            6 => advertiser_id = field.uint()?,
            7 => guid_text = field.text(Guid::MAX_LEN)?,
            8 => at_stake = Some(field.money()?),
            9 => reason = field.text(Letter::MAX_REASON)?,
            10 => is_text = field.flag()?,
            _ => return Err(field.unknown()),
        }
    }
    let letter = Letter {
        id: id.ok_or_else(|| fields.missing(1))?,
        fate: fate.ok_or_else(|| fields.missing(2))?,
        attempt,
        time_ms,
        next_time_ms,
        advertiser_id,
        guid: guid(&fields, 7, guid_text, is_text)?,
        at_stake: without_currency(&fields, 8, at_stake)?,
        reason,
    };
    let (fixed, [text, reason]) = letter.encode();
    [&fixed, text.as_bytes(), reason.as_bytes()].iter().for_each(|part| out.extend_from_slice(part));
    Ok(())
}
