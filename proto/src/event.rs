//! Events, as they stand in `raw`, `clean` and `judged`.
//!
//! Layout, little-endian; strings follow the fixed part in the order of their lengths, the user
//! agent last, so that a stage can leave it off without touching the rest:
//!
//! ```text
//!  0 kind u8 = 1      1 flags u8 (1 impression, 2 cpm, 4 guid is text, 8 ip is v6, 16 has an origin,
//!                       32 reported by a server, 64 names its currency)
//!  2 lengths u8: user, guid text, slot, region, channel, app version
//!  8 user agent length u16        10 kind u8, 11 billing u8 (0: by the flags)
//! 12 ipv4 address u32 (0 if v6)
//! 16 event time ms u64            24 ingest time ms u64
//! 32 ad u64    40 campaign u64    48 advertiser u64  56 bid micros u64
//! 64 guid u128 (0 if text)        80 ipv6 address [16] if flagged, then if flagged
//!    the origin (sale micros u64, length u8, text) and the currency [3], then the strings
//! ```

use crate::bytes::{array_at, text, u16_at, u32_at, u64_at};
use crate::ids::{Guid, ip_key};
use crate::kinds::{Billing, EventKind};
use crate::money::Currency;
use crate::record::{KIND_EVENT, RecordError};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const FIXED: usize = 80;
const IMPRESSION: u8 = 1;
const CPM: u8 = 2;
const GUID_TEXT: u8 = 4;
const IP_V6: u8 = 8;
const ORIGIN: u8 = 16;
const REPORTED: u8 = 32;
const CURRENCY: u8 = 64;
const KIND: usize = 10;
const BILLING: usize = 11;
const USER: usize = 2;
const GUID: usize = 3;
const SLOT: usize = 4;
const REGION: usize = 5;
const CHANNEL: usize = 6;
const APP: usize = 7;

/// Where an action, a sale or a reversal comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The guid of the click, or for a reversal of the sale.
    pub guid: &'a str,
    /// The amount of the sale, or of the part that is reversed, in micros; 0 for an action.
    pub sale_micros: u64,
}

/// An event about to be written to `raw`. Strings other than the user agent are at most 255 bytes.
#[derive(Clone, Copy, Debug)]
#[allow(missing_docs)] // the names are those of the input format
pub struct NewEvent<'a> {
    pub guid: Guid<'a>,
    pub event_time_ms: u64,
    pub ingest_time_ms: u64,
    pub kind: EventKind,
    pub user_id: &'a str,
    pub ip: IpAddr,
    pub ua: &'a str,
    pub ad_id: u64,
    pub campaign_id: u64,
    pub advertiser_id: u64,
    pub slot: &'a str,
    pub region: &'a str,
    pub channel: &'a str,
    pub app_version: &'a str,
    pub bid_micros: u64,
    pub billing: Billing,
    pub origin: Option<Origin<'a>>,
    /// A server reported it: its address and user agent are not the user's.
    pub reported: bool,
    /// The currency of its amounts; that of the account if none.
    pub currency: Option<Currency>,
}

impl NewEvent<'_> {
    /// Longest string other than the user agent, in bytes.
    pub const MAX_TEXT: usize = 255;
    /// Longest user agent kept, in bytes.
    pub const MAX_UA: usize = 2048;

    /// Replaces `out` by the record's bytes.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (id, guid_text) = match self.guid {
            Guid::Ulid(id) => (id, ""),
            Guid::Text(text) => (0, text),
        };
        let (v4, v6) = match self.ip {
            IpAddr::V4(ip) => (u32::from(ip), None),
            IpAddr::V6(ip) => (0, Some(ip.octets())),
        };
        let mut b = [0; FIXED];
        b[0] = KIND_EVENT;
        b[1] = IMPRESSION * u8::from(self.kind == EventKind::Impression)
            | CPM * u8::from(self.billing == Billing::Cpm)
            | GUID_TEXT * u8::from(!guid_text.is_empty())
            | IP_V6 * u8::from(v6.is_some())
            | ORIGIN * u8::from(self.origin.is_some())
            | REPORTED * u8::from(self.reported)
            | CURRENCY * u8::from(self.currency.is_some());
        if self.kind.has_origin() {
            b[KIND] = self.kind as u8;
        }
        if !matches!(self.billing, Billing::Cpc | Billing::Cpm) {
            b[BILLING] = self.billing as u8;
        }
        let texts = [self.user_id, guid_text, self.slot, self.region, self.channel, self.app_version];
        for (at, text) in texts.iter().enumerate() {
            debug_assert!(text.len() <= Self::MAX_TEXT);
            b[USER + at] = text.len() as u8;
        }
        let ua = &self.ua.as_bytes()[..self.ua.floor_char_boundary(Self::MAX_UA)];
        b[8..10].copy_from_slice(&(ua.len() as u16).to_le_bytes());
        b[12..16].copy_from_slice(&v4.to_le_bytes());
        let numbers = [
            self.event_time_ms,
            self.ingest_time_ms,
            self.ad_id,
            self.campaign_id,
            self.advertiser_id,
            self.bid_micros,
        ];
        for (at, number) in numbers.iter().enumerate() {
            b[16 + 8 * at..24 + 8 * at].copy_from_slice(&number.to_le_bytes());
        }
        b[64..80].copy_from_slice(&id.to_le_bytes());
        out.clear();
        out.extend_from_slice(&b);
        out.extend_from_slice(v6.as_ref().map_or(&[], |ip| &ip[..]));
        if let Some(origin) = self.origin {
            debug_assert!(origin.guid.len() <= Self::MAX_TEXT);
            out.extend_from_slice(&origin.sale_micros.to_le_bytes());
            out.push(origin.guid.len() as u8);
            out.extend_from_slice(origin.guid.as_bytes());
        }
        out.extend_from_slice(self.currency.map(Currency::bytes).as_ref().map_or(&[], |c| &c[..]));
        texts.iter().for_each(|t| out.extend_from_slice(t.as_bytes()));
        out.extend_from_slice(ua);
    }
}

/// An event read from a topic.
#[derive(Clone, Copy, Debug)]
pub struct Event<'a>(&'a [u8]);

impl<'a> Event<'a> {
    pub(crate) fn decode(b: &'a [u8]) -> Result<Self, RecordError> {
        let damaged = RecordError::Length { kind: "event", len: b.len() };
        if b.len() < FIXED {
            return Err(damaged);
        }
        let texts: usize = b[USER..=APP].iter().map(|n| usize::from(*n)).sum();
        let v6 = if b[1] & IP_V6 != 0 { 16 } else { 0 };
        let origin = match b[1] & ORIGIN {
            0 => 0,
            _ => 9 + usize::from(*b.get(FIXED + v6 + 8).ok_or(damaged.clone())?),
        };
        let currency = if b[1] & CURRENCY != 0 { 3 } else { 0 };
        if b.len() != FIXED + v6 + origin + currency + texts + usize::from(u16_at(b, 8)) {
            return Err(damaged);
        }
        if b[1] & GUID_TEXT != 0 && b[GUID] == 0 {
            return Err(damaged);
        }
        if !EventKind::ALL.into_iter().any(|kind| kind as u8 == b[KIND]) {
            return Err(RecordError::Value { what: "kind of event", value: b[KIND] });
        }
        if Billing::from_code(b[BILLING]).is_none() {
            return Err(RecordError::Value { what: "billing model", value: b[BILLING] });
        }
        let event = Event(b);
        match event.currency_bytes() {
            // An amount in no currency must not pass for one in that of the account.
            Some(code) if Currency::from_bytes(code).is_none() => {
                Err(RecordError::Value { what: "currency", value: code[0] })
            }
            _ => Ok(event),
        }
    }

    /// Where the part behind the address begins.
    fn behind_ip(&self) -> usize {
        FIXED + if self.0[1] & IP_V6 != 0 { 16 } else { 0 }
    }

    fn origin_len(&self) -> usize {
        if self.0[1] & ORIGIN != 0 { 9 + usize::from(self.0[self.behind_ip() + 8]) } else { 0 }
    }

    /// Where it comes from, if it has to say so.
    pub fn origin(&self) -> Option<Origin<'a>> {
        let (at, len) = (self.behind_ip(), self.origin_len());
        (len > 0).then(|| Origin { sale_micros: u64_at(self.0, at), guid: text(&self.0[at + 9..at + len]) })
    }

    /// The currency of its amounts, if it names one.
    pub fn currency(&self) -> Option<Currency> {
        self.currency_bytes().and_then(Currency::from_bytes)
    }

    fn currency_bytes(&self) -> Option<[u8; 3]> {
        (self.0[1] & CURRENCY != 0).then(|| array_at(self.0, self.behind_ip() + self.origin_len()))
    }

    /// Whether a server reported it, so that its address and user agent are not the user's.
    pub fn is_reported(&self) -> bool {
        self.0[1] & REPORTED != 0
    }

    /// The record's bytes.
    pub fn bytes(&self) -> &'a [u8] {
        self.0
    }

    /// The record's bytes without the user agent: a patched fixed part, and the rest as it stands.
    pub fn without_ua(&self) -> ([u8; FIXED], &'a [u8]) {
        let mut fixed: [u8; FIXED] = array_at(self.0, 0);
        fixed[8..10].fill(0);
        (fixed, &self.0[FIXED..self.0.len() - self.ua_len()])
    }

    fn ua_len(&self) -> usize {
        usize::from(u16_at(self.0, 8))
    }

    fn string(&self, which: usize) -> &'a str {
        text(self.string_bytes(which))
    }

    fn string_bytes(&self, which: usize) -> &'a [u8] {
        let before: usize = self.0[USER..which].iter().map(|n| usize::from(*n)).sum();
        let currency = if self.0[1] & CURRENCY != 0 { 3 } else { 0 };
        let start = self.behind_ip() + self.origin_len() + currency + before;
        &self.0[start..start + usize::from(self.0[which])]
    }

    /// The event's id.
    pub fn guid(&self) -> Guid<'a> {
        if self.0[1] & GUID_TEXT != 0 {
            Guid::Text(self.string(GUID))
        } else {
            Guid::Ulid(u128::from_le_bytes(array_at(self.0, 64)))
        }
    }

    /// When it happened, by the front end's clock, in ms since the epoch.
    pub fn event_time_ms(&self) -> u64 {
        u64_at(self.0, 16)
    }

    /// When it was taken in, in ms since the epoch.
    pub fn ingest_time_ms(&self) -> u64 {
        u64_at(self.0, 24)
    }

    /// What happened.
    pub fn kind(&self) -> EventKind {
        match self.0[KIND] {
            2 => EventKind::Action,
            3 => EventKind::Sale,
            4 => EventKind::SaleReversal,
            _ if self.0[1] & IMPRESSION != 0 => EventKind::Impression,
            _ => EventKind::Click,
        }
    }

    /// What is paid for.
    pub fn billing(&self) -> Billing {
        match self.0[BILLING] {
            0 if self.0[1] & CPM != 0 => Billing::Cpm,
            code => Billing::from_code(code).unwrap_or(Billing::Cpc),
        }
    }

    /// The user.
    pub fn user_id(&self) -> &'a str {
        self.string(USER)
    }

    /// The user, to be hashed.
    pub fn user_bytes(&self) -> &'a [u8] {
        self.string_bytes(USER)
    }

    /// The address of the client.
    pub fn ip(&self) -> IpAddr {
        if self.0[1] & IP_V6 != 0 {
            Ipv6Addr::from(array_at::<16>(self.0, FIXED)).into()
        } else {
            Ipv4Addr::from(u32_at(self.0, 12)).into()
        }
    }

    /// The address as [`ip_key`] has it.
    pub fn ip_bytes(&self) -> [u8; 16] {
        ip_key(self.ip())
    }

    /// The user agent; empty after anti-brush, which is the stage that judges it.
    pub fn ua(&self) -> &'a str {
        text(self.ua_bytes())
    }

    /// The same, to be compared.
    pub fn ua_bytes(&self) -> &'a [u8] {
        &self.0[self.0.len() - self.ua_len()..]
    }

    /// The ad.
    pub fn ad_id(&self) -> u64 {
        u64_at(self.0, 32)
    }

    /// Its campaign.
    pub fn campaign_id(&self) -> u64 {
        u64_at(self.0, 40)
    }

    /// Whose balance pays.
    pub fn advertiser_id(&self) -> u64 {
        u64_at(self.0, 48)
    }

    /// The bid: micros per click or action, or per thousand impressions.
    pub fn bid_micros(&self) -> u64 {
        u64_at(self.0, 56)
    }

    /// Where on the page.
    pub fn slot(&self) -> &'a str {
        self.string(SLOT)
    }

    /// Where in the world.
    pub fn region(&self) -> &'a str {
        self.string(REGION)
    }

    /// How the user came.
    pub fn channel(&self) -> &'a str {
        self.string(CHANNEL)
    }

    /// Which app.
    pub fn app_version(&self) -> &'a str {
        self.string(APP)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Record;

    fn sample<'a>(guid: &'a str, ip: &str) -> NewEvent<'a> {
        NewEvent {
            guid: Guid::parse(guid).unwrap(),
            event_time_ms: 1_767_261_599_986,
            ingest_time_ms: 1_767_261_600_001,
            kind: EventKind::Impression,
            user_id: "u22d8",
            ip: ip.parse().unwrap(),
            ua: "Mozilla/5.0 …",
            ad_id: 1_000_028_503,
            campaign_id: 100_285,
            advertiser_id: 36,
            slot: "article_sidebar",
            region: "FR-IDF",
            channel: "partner",
            app_version: "8.18.6",
            bid_micros: 544_880,
            billing: Billing::Cpm,
            origin: None,
            reported: false,
            currency: None,
        }
    }

    fn read(b: &[u8]) -> Event<'_> {
        match Record::decode(b).unwrap() {
            Record::Event(e) => e,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (guid, ip) in [("01KDWFZY7JAJ06BJH5MKP4EFSR", "22.186.217.44"), ("my-own-id", "2001:db8::1")] {
            let (new, mut b) = (sample(guid, ip), Vec::new());
            new.encode(&mut b);
            let e = read(&b);
            assert_eq!((e.guid(), e.ip(), e.kind(), e.billing()), (new.guid, new.ip, new.kind, new.billing));
            assert_eq!(
                (e.user_id(), e.ua(), e.slot(), e.region()),
                (new.user_id, new.ua, new.slot, new.region)
            );
            assert_eq!((e.channel(), e.app_version()), (new.channel, new.app_version));
            assert_eq!((e.event_time_ms(), e.ingest_time_ms()), (new.event_time_ms, new.ingest_time_ms));
            assert_eq!((e.ad_id(), e.campaign_id(), e.advertiser_id()), (new.ad_id, new.campaign_id, 36));
            let (fixed, rest) = e.without_ua();
            let shorter = [&fixed[..], rest].concat();
            let e = read(&shorter);
            assert_eq!((e.ua(), e.guid(), e.app_version()), ("", new.guid, "8.18.6"));
        }
    }

    #[test]
    fn a_sale_names_its_click() {
        for ip in ["22.186.217.44", "2001:db8::1"] {
            let origin = Origin { guid: "click-7", sale_micros: 49_990_000 };
            let sample = sample("my-own-id", ip);
            let new = NewEvent {
                kind: EventKind::Sale,
                billing: Billing::Cps,
                origin: Some(origin),
                reported: true,
                currency: Currency::parse("EUR"),
                ..sample
            };
            let mut b = Vec::new();
            new.encode(&mut b);
            let e = read(&b);
            assert_eq!((e.kind(), e.billing(), e.origin()), (EventKind::Sale, Billing::Cps, Some(origin)));
            assert_eq!((e.user_id(), e.guid(), e.is_reported()), ("u22d8", Guid::Text("my-own-id"), true));
            assert_eq!((e.app_version(), e.ua(), e.currency()), (new.app_version, new.ua, new.currency));
        }
    }

    #[test]
    fn a_cut_event_is_refused() {
        let mut b = Vec::new();
        sample("x", "10.0.0.1").encode(&mut b);
        for len in 0..b.len() {
            assert!(Record::decode(&b[..len]).is_err(), "{len}");
        }
    }

    #[test]
    fn a_currency_or_a_guid_that_is_none_is_refused() {
        let new = NewEvent { currency: Currency::parse("EUR"), ..sample("my-own-id", "10.0.0.1") };
        let mut b = Vec::new();
        new.encode(&mut b);
        let mut euro = b.clone();
        euro[FIXED] = b'e';
        assert!(matches!(Record::decode(&euro), Err(crate::RecordError::Value { what: "currency", .. })));
        let mut nameless = Vec::new();
        sample("01KDWFZY7JAJ06BJH5MKP4EFSR", "10.0.0.1").encode(&mut nameless);
        nameless[1] |= GUID_TEXT;
        assert!(Record::decode(&nameless).is_err());
    }
}
