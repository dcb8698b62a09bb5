//! Notices and ticks.

use super::error::ExchangeError;
use super::values::without_currency;
use super::wire::{Fields, Writer};
use super::{NOTICE, TICK};
use crate::notice::Notice;
use crate::record::Record;
use crate::time::Minute;

pub(super) fn put(notice: &Notice, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    if notice.encode() != bytes {
        return None;
    }
    Writer(out).nested(NOTICE, |to| {
        to.one_of(1, notice.kind);
        to.uint(2, notice.advertiser_id);
        to.uint(3, notice.event_time_ms);
        to.money(4, notice.balance, None)?;
        to.uint(5, notice.campaign_id);
        Some(())
    })
}

pub(super) fn read(message: &[u8]) -> Result<Notice, ExchangeError> {
    let mut fields = Fields::of("notice", message);
    let (mut kind, mut advertiser_id, mut event_time_ms) = (None, 0, 0);
    let (mut balance, mut campaign_id) = (None, 0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => kind = field.one_of()?,
            2 => advertiser_id = field.uint()?,
            3 => event_time_ms = field.uint()?,
            4 => balance = Some(field.money()?),
            5 => campaign_id = field.uint()?,
            _ => return Err(field.unknown()),
        }
    }
    Ok(Notice {
        kind: kind.ok_or_else(|| fields.missing(1))?,
        advertiser_id,
        event_time_ms,
        balance: without_currency(&fields, 4, balance)?,
        campaign_id,
    })
}

pub(super) fn put_tick(minute: Minute, bytes: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let is_told = Record::encode_tick(minute) == bytes;
    is_told.then(|| Writer(out).nested(TICK, |to| to.uint(1, minute.0.into())))
}

pub(super) fn read_tick(message: &[u8]) -> Result<[u8; 8], ExchangeError> {
    let mut fields = Fields::of("tick", message);
    let mut minute = Minute(0);
    while let Some(field) = fields.next()? {
        match field.number {
            1 => minute = Minute(field.uint32()?),
            _ => return Err(field.unknown()),
        }
    }
    Ok(Record::encode_tick(minute))
}
