//! Events about to be written: each is read as what it was.

#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use std::net::IpAddr;
use weir_fuzz::assert_kept;
use weir_proto::{Billing, Currency, EventKind, Guid, NewEvent, Origin};

#[derive(Arbitrary, Debug)]
struct Input<'a> {
    guid: &'a str,
    numbers: [u64; 6],
    kind: u8,
    texts: [&'a str; 6],
    ip: IpAddr,
    billing: u8,
    origin: Option<(&'a str, u64)>,
    reported: bool,
    currency: Option<[u8; 3]>,
}

fuzz_target!(|input: Input<'_>| {
    let Some(guid) = Guid::parse(input.guid) else { return };
    weir_fuzz::assert_shown(&guid);
    // The limits that collect enforces.
    let fits = |text: &str| &text[..text.floor_char_boundary(NewEvent::MAX_TEXT)] == text;
    if !input.texts[1..].iter().all(|text| fits(text)) || !input.origin.is_none_or(|(guid, _)| fits(guid)) {
        return;
    }
    let [event_time_ms, ingest_time_ms, ad_id, campaign_id, advertiser_id, bid_micros] = input.numbers;
    let [ua, user_id, slot, region, channel, app_version] = input.texts;
    assert_kept(&NewEvent {
        guid,
        event_time_ms,
        ingest_time_ms,
        kind: EventKind::ALL[usize::from(input.kind) % EventKind::ALL.len()],
        user_id,
        ip: input.ip,
        ua,
        ad_id,
        campaign_id,
        advertiser_id,
        slot,
        region,
        channel,
        app_version,
        bid_micros,
        billing: Billing::ALL[usize::from(input.billing) % Billing::ALL.len()],
        origin: input.origin.map(|(guid, sale_micros)| Origin { guid, sale_micros }),
        reported: input.reported,
        currency: input.currency.and_then(Currency::from_bytes),
    });
});
