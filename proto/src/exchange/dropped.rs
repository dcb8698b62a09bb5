//! What was dropped.

use super::error::ExchangeError;
use super::event;
use super::wire::{Fields, Writer};
use super::{DROPPED, is_made_of};
use crate::dropped::Dropped;

pub(super) fn put(dropped: &Dropped<'_>, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let (fixed, [detail, raw, rest]) = dropped.encode();
    if !is_made_of(bytes, &[&fixed, detail, raw, rest]) {
        return None;
    }
    let event = match dropped.event {
        Some(event) => Some(event::told(event, out)?),
        None => None,
    };
    out.clear();
    Writer(out).nested(DROPPED, |to| {
        to.one_of(1, dropped.stage);
        to.one_of(2, dropped.reason);
        to.text(3, dropped.detail);
        to.bytes(4, dropped.raw);
        event.map_or(Some(()), |event| to.nested(5, |to| event::put_fields(&event, to)))
    })
}

pub(super) fn read(message: &[u8], out: &mut Vec<u8>) -> Result<(), ExchangeError> {
    let mut fields = Fields::of("dropped event", message);
    let (mut stage, mut reason, mut detail, mut raw, mut event) = (None, None, "", &[][..], None);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => stage = field.one_of()?,
            2 => reason = field.one_of()?,
            3 => detail = field.text(Dropped::MAX_DETAIL)?,
            4 => raw = field.bytes(Dropped::MAX_RAW)?,
            5 => event = Some(event::read(field.bytes(usize::MAX)?)?),
            _ => return Err(field.unknown()),
        }
    }
    let stage = stage.ok_or_else(|| fields.missing(1))?;
    let reason = reason.ok_or_else(|| fields.missing(2))?;
    let (fixed, [detail, raw, _]) = Dropped { stage, reason, detail, raw, event: None }.encode();
    // An event replaces all there is, so it goes first and makes room in front.
    if let Some(event) = event {
        event.encode(out);
    }
    let (head, len) = (fixed.len() + detail.len() + raw.len(), out.len());
    out.resize(head + len, 0);
    out.copy_within(..len, head);
    let mut at = 0;
    for part in [&fixed, detail, raw] {
        out[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    Ok(())
}
