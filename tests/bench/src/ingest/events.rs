//! Events to send: those of a generated log, encoded once, each time with another guid, the time of now, and a user
//! with his address, drawn evenly. Sending them so costs next to nothing, and the job has the cores for itself.

use bytes::Bytes;
use prost::Message;
use prost::encoding::{WireType, encode_key, encode_varint};
use serde_json::Value;
use std::path::Path;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};
use weir_proto::Guid;
use weir_proto::rpc::{CollectRequest, IngestEvent};

/// Users, and with them addresses.
const USERS: u64 = 1_000_000;
/// What stands in for the fields that change; each is as long as what takes its place.
const GUID: &str = "00000000000000000000000000";
const USER: &str = "u0000000";
const ADDRESS: &str = "100.100.100.100";
/// Of six bytes as a varint, as all times from 2004 to 2109 are.
const TIME: u64 = 1 << 40;
/// The fields of the messages.
const BATCH_ID: u32 = 1;
const EVENTS: u32 = 2;

/// An event of the log as a field of the request.
struct Template {
    bytes: Vec<u8>,
    guid: usize,
    user: usize,
    address: usize,
    advertiser: u64,
}

/// An endless row of events.
#[derive(Clone)]
pub struct Events {
    templates: Arc<Vec<Template>>,
    next: usize,
    random: u64,
}

impl Events {
    /// After the lines of a log.
    pub fn of(log: &Path) -> Self {
        let text = std::fs::read_to_string(log).unwrap();
        let templates: Vec<_> = text.lines().map(template).collect();
        assert!(!templates.is_empty(), "{} has no lines", log.display());
        let events =
            Events { templates: Arc::new(templates), next: 0, random: since_epoch().as_nanos() as u64 };
        events.clone().check();
        events
    }

    /// Another row, which begins elsewhere.
    pub fn other(&mut self) -> Self {
        let random = self.bits();
        Events { templates: self.templates.clone(), next: random as usize % self.templates.len(), random }
    }

    /// The next events as an encoded request; `watch` hears the guid and the advertiser of each.
    pub fn request(&mut self, batch_id: u64, count: usize, mut watch: impl FnMut(u128, u64)) -> Bytes {
        let now_ms = since_epoch().as_millis() as u64;
        let templates = self.templates.clone();
        let mut bytes = Vec::with_capacity(16 + count * templates[0].bytes.len() * 5 / 4);
        encode_key(BATCH_ID, WireType::Varint, &mut bytes);
        encode_varint(batch_id, &mut bytes);
        for _ in 0..count {
            let template = &templates[self.next % templates.len()];
            self.next += 1;
            let event = bytes.len();
            bytes.extend_from_slice(&template.bytes);
            let guid = self.fill(template, &mut bytes[event..], now_ms);
            watch(guid, template.advertiser);
        }
        bytes.into()
    }

    /// Writes what is of this event only.
    fn fill(&mut self, template: &Template, event: &mut [u8], now_ms: u64) -> u128 {
        let guid = u128::from(now_ms) << 80 | u128::from(self.bits() as u16) << 64 | u128::from(self.bits());
        event[template.guid..][..GUID.len()].copy_from_slice(&ulid(guid));
        // The time follows its key, and that the guid.
        encode_varint(now_ms, &mut &mut event[template.guid + GUID.len() + 1..]);
        let user = self.bits() % USERS;
        write_number(&mut event[template.user + 1..][..USER.len() - 1], user);
        let mut address = scramble(user);
        for octet in 0..4 {
            write_number(&mut event[template.address + 4 * octet..][..3], 100 + address % 100);
            address >>= 16;
        }
        guid
    }

    fn bits(&mut self) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        scramble(self.random)
    }

    /// Whether what is written into the templates can be read.
    fn check(mut self) {
        let mut guids = Vec::new();
        let request =
            self.request(7, self.templates.len(), |guid, advertiser| guids.push((guid, advertiser)));
        let request = CollectRequest::decode(request).unwrap();
        assert_eq!((request.batch_id, request.events.len()), (7, guids.len()));
        for (event, (guid, advertiser)) in request.events.iter().zip(guids) {
            assert_eq!(Guid::parse(&event.guid), Some(Guid::Ulid(guid)));
            assert_eq!((event.event_time_ms, event.advertiser_id), ((guid >> 80) as u64, advertiser));
            event.ip.parse::<std::net::Ipv4Addr>().unwrap();
        }
    }
}

/// An event of the log, without what changes.
pub fn event_of(line: &str) -> IngestEvent {
    let line: Value = serde_json::from_str(line).unwrap();
    let text = |field: &str| line[field].as_str().unwrap().to_owned();
    let number = |field: &str| line[field].as_u64().unwrap();
    IngestEvent {
        guid: GUID.to_owned(),
        event_time_ms: TIME,
        kind: text("kind"),
        user_id: USER.to_owned(),
        ip: ADDRESS.to_owned(),
        ua: text("ua"),
        ad_id: number("ad_id"),
        campaign_id: number("campaign_id"),
        advertiser_id: number("advertiser_id"),
        slot: text("slot"),
        region: text("region"),
        channel: text("channel"),
        app_version: text("app_version"),
        bid_micros: Some(number("bid_micros")),
        billing: text("billing"),
        ..IngestEvent::default()
    }
}

fn template(line: &str) -> Template {
    let event = event_of(line);
    let mut bytes = Vec::new();
    prost::encoding::message::encode(EVENTS, &event, &mut bytes);
    let place = |what: &str| bytes.windows(what.len()).position(|w| w == what.as_bytes()).unwrap();
    let (guid, user, address) = (place(GUID), place(USER), place(ADDRESS));
    Template { bytes, guid, user, address, advertiser: event.advertiser_id }
}

/// The time since 1970.
pub fn since_epoch() -> std::time::Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}

fn ulid(id: u128) -> [u8; 26] {
    const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
    std::array::from_fn(|i| CROCKFORD[(id >> (125 - 5 * i)) as usize & 31])
}

/// With leading zeros.
fn write_number(digits: &mut [u8], mut number: u64) {
    for digit in digits.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

fn scramble(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}
