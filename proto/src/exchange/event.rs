//! Events.

use super::EVENT;
use super::error::{ExchangeError, FieldFault};
use super::values::{guid, guid_is_text};
use super::wire::{Field, Fields, Writer};
use crate::event::{Event, NewEvent, Origin};
use crate::ids::Guid;
use crate::kinds::{Billing, EventKind};
use std::net::{IpAddr, Ipv4Addr};

/// What a message without fields says. Those that it cannot be without are put in at the end.
const NOTHING: NewEvent<'static> = NewEvent {
    guid: Guid::Ulid(0),
    event_time_ms: 0,
    ingest_time_ms: 0,
    kind: EventKind::Click,
    user_id: "",
    ip: IpAddr::V4(Ipv4Addr::UNSPECIFIED),
    ua: "",
    ad_id: 0,
    campaign_id: 0,
    advertiser_id: 0,
    slot: "",
    region: "",
    channel: "",
    app_version: "",
    bid_micros: 0,
    billing: Billing::Cpc,
    origin: None,
    reported: false,
    currency: None,
};

pub(super) fn put(event: Event<'_>, out: &mut Vec<u8>) -> Option<()> {
    let new = told(event, out)?;
    out.clear();
    Writer(out).nested(EVENT, |to| put_fields(&new, to))
}

/// What an event says, if that is all there is to its bytes. Leaves something in `scratch`.
pub(super) fn told<'a>(event: Event<'a>, scratch: &mut Vec<u8>) -> Option<NewEvent<'a>> {
    let new = NewEvent {
        guid: event.guid(),
        event_time_ms: event.event_time_ms(),
        ingest_time_ms: event.ingest_time_ms(),
        kind: event.kind(),
        user_id: event.user_id(),
        ip: event.ip(),
        ua: event.ua(),
        ad_id: event.ad_id(),
        campaign_id: event.campaign_id(),
        advertiser_id: event.advertiser_id(),
        slot: event.slot(),
        region: event.region(),
        channel: event.channel(),
        app_version: event.app_version(),
        bid_micros: event.bid_micros(),
        billing: event.billing(),
        origin: event.origin(),
        reported: event.is_reported(),
        currency: event.currency(),
    };
    new.encode(scratch);
    (scratch == event.bytes()).then_some(new)
}

pub(super) fn put_fields(event: &NewEvent<'_>, to: &mut Writer<'_>) -> Option<()> {
    to.guid(1, event.guid);
    to.uint(2, event.event_time_ms);
    to.uint(3, event.ingest_time_ms);
    to.one_of(4, event.kind);
    to.text(5, event.user_id);
    put_ip(event.ip, to)?;
    to.text(7, event.ua);
    to.uint(8, event.ad_id);
    to.uint(9, event.campaign_id);
    to.uint(10, event.advertiser_id);
    to.text(11, event.slot);
    to.text(12, event.region);
    to.text(13, event.channel);
    to.text(14, event.app_version);
    to.uint(15, event.bid_micros);
    to.one_of(16, event.billing);
    if let Some(currency) = event.currency {
        to.bytes(17, &currency.bytes());
    }
    if let Some(origin) = event.origin {
        to.nested(18, |to| {
            to.text(1, origin.guid);
            to.uint(2, origin.sale_micros);
        });
    }
    to.flag(19, event.reported);
    to.flag(20, guid_is_text(event.guid));
    Some(())
}

fn put_ip(ip: IpAddr, to: &mut Writer<'_>) -> Option<()> {
    let IpAddr::V4(ip) = ip else { return to.shown(6, &ip) };
    // Almost all, and formatting takes as long as all the rest of an event.
    let (mut text, mut len) = ([0; 15], 0);
    for (at, octet) in ip.octets().into_iter().enumerate() {
        if at > 0 {
            text[len] = b'.';
            len += 1;
        }
        let digits = [octet / 100, octet / 10 % 10, octet % 10];
        let zeros = if octet >= 100 { 0 } else { 1 + usize::from(octet < 10) };
        for digit in &digits[zeros..] {
            text[len] = b'0' + digit;
            len += 1;
        }
    }
    to.bytes(6, &text[..len]);
    Some(())
}

pub(super) fn read(message: &[u8]) -> Result<NewEvent<'_>, ExchangeError> {
    let mut fields = Fields::of("event", message);
    let (mut guid_text, mut is_text, mut kind, mut ip, mut billing) = ("", false, None, None, None);
    let mut event = NOTHING;
    while let Some(field) = fields.next()? {
        match field.number {
            1 => guid_text = field.text(Guid::MAX_LEN)?,
            2 => event.event_time_ms = field.uint()?,
            3 => event.ingest_time_ms = field.uint()?,
            4 => kind = field.one_of()?,
            5 => event.user_id = field.text(NewEvent::MAX_TEXT)?,
            6 => ip = Some(read_ip(&field)?),
            7 => event.ua = field.text(NewEvent::MAX_UA)?,
            8 => event.ad_id = field.uint()?,
            9 => event.campaign_id = field.uint()?,
            10 => event.advertiser_id = field.uint()?,
            11 => event.slot = field.text(NewEvent::MAX_TEXT)?,
            12 => event.region = field.text(NewEvent::MAX_TEXT)?,
            13 => event.channel = field.text(NewEvent::MAX_TEXT)?,
            14 => event.app_version = field.text(NewEvent::MAX_TEXT)?,
            15 => event.bid_micros = field.uint()?,
            16 => billing = field.one_of()?,
            17 => event.currency = field.currency()?,
            18 => event.origin = Some(read_origin(&field)?),
            19 => event.reported = field.flag()?,
            20 => is_text = field.flag()?,
            _ => return Err(field.unknown()),
        }
    }
    event.guid = guid(&fields, 1, guid_text, is_text)?;
    event.kind = kind.ok_or_else(|| fields.missing(4))?;
    event.ip = ip.ok_or_else(|| fields.missing(6))?;
    event.billing = billing.ok_or_else(|| fields.missing(16))?;
    Ok(event)
}

fn read_ip(field: &Field<'_>) -> Result<IpAddr, ExchangeError> {
    field.text(usize::MAX)?.parse().map_err(|_| field.fault(FieldFault::Address))
}

fn read_origin<'a>(field: &Field<'a>) -> Result<Origin<'a>, ExchangeError> {
    let mut fields = field.nested("origin of an event")?;
    let mut origin = Origin { guid: "", sale_micros: 0 };
    while let Some(field) = fields.next()? {
        match field.number {
            1 => origin.guid = field.text(NewEvent::MAX_TEXT)?,
            2 => origin.sale_micros = field.uint()?,
            _ => return Err(field.unknown()),
        }
    }
    Ok(origin)
}
