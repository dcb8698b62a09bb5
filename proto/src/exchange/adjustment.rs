//! Adjustments.

use super::error::ExchangeError;
use super::values::{guid, guid_is_text, in_one_currency};
use super::wire::{Field, Fields, Writer};
use super::{ADJUSTMENT, is_made_of};
use crate::adjustment::{Adjustment, ChargeRef};
use crate::ids::Guid;

pub(super) fn put(adjustment: &Adjustment<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (fixed, text) = adjustment.encode();
    if !is_made_of(bytes, &[&fixed, text.as_bytes()]) {
        return None;
    }
    Writer(out).nested(ADJUSTMENT, |to| {
        to.one_of(1, adjustment.kind);
        to.guid(2, adjustment.guid);
        to.uint(3, adjustment.advertiser_id);
        to.uint(4, adjustment.event_time_ms);
        to.uint(5, adjustment.partition.into());
        put_ref(6, adjustment.original, to);
        put_ref(7, adjustment.new, to);
        to.money(8, adjustment.before, Some(adjustment.currency))?;
        to.money(9, adjustment.after, Some(adjustment.currency))?;
        to.flag(10, guid_is_text(adjustment.guid));
        Some(())
    })
}

fn put_ref(field: u32, charge: ChargeRef, to: &mut Writer<'_>) {
    if charge != ChargeRef::default() {
        to.nested(field, |to| {
            to.uint(1, charge.generation.into());
            to.uint(2, charge.offset);
        });
    }
}

pub(super) fn read(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    let mut fields = Fields::of("adjustment", message);
    let (mut kind, mut guid_text, mut is_text) = (None, "", false);
    let (mut advertiser_id, mut event_time_ms, mut partition) = (0, 0, 0);
    let (mut original, mut new) = (ChargeRef::default(), ChargeRef::default());
    let (mut before, mut after) = (None, None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => kind = field.one_of()?,
            2 => guid_text = field.text(Guid::MAX_LEN)?,
            3 => advertiser_id = field.uint()?,
            4 => event_time_ms = field.uint()?,
            5 => partition = field.uint32()?,
            6 => original = read_ref(&field)?,
            7 => new = read_ref(&field)?,
            8 => before = Some(field.money()?),
            9 => after = Some(field.money()?),
            10 => is_text = field.flag()?,
            _ => return Err(field.unknown()),
        }
    }
    let ([before, after], currency) = in_one_currency(&fields, 8, [before, after])?;
    let adjustment = Adjustment {
        kind: kind.ok_or_else(|| fields.missing(1))?,
        guid: guid(&fields, 2, guid_text, is_text)?,
        advertiser_id,
        event_time_ms,
        partition,
        original,
        new,
        before,
        after,
        currency,
    };
    let (fixed, text) = adjustment.encode();
    out.extend_from_slice(&fixed);
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

fn read_ref(field: &Field<'_>) -> Result<ChargeRef, ExchangeError> {
    let mut fields = field.nested("place of a charge")?;
    let mut charge = ChargeRef::default();
    while let Some(field) = fields.next()? {
        match field.number {
            1 => charge.generation = field.uint32()?,
            2 => charge.offset = field.uint()?,
            _ => return Err(field.unknown()),
        }
    }
    Ok(charge)
}
