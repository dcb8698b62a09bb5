//! Bodies of `POST /v1/events`: whatever they are, each event of them is answered, and what is accepted is a record
//! that can be read again. The first byte says whether it is sent as lines.

#![no_main]

use libfuzzer_sys::fuzz_target;
use weir_pipeline::credentials::{Claims, RedeemError};
use weir_pipeline::fuzzing;
use weir_pipeline::ingest::Became;
use weir_proto::{Billing, Currency, Guid, Record};

const NOW: u64 = 1_767_261_600_000;

fuzz_target!(|data: &[u8]| {
    let Some((first, body)) = data.split_first() else { return };
    let is_lines = first & 1 == 1;
    let Ok((answer, offers)) = fuzzing::events(body, is_lines, NOW, &redeem) else { return };
    let json: serde_json::Value = serde_json::from_slice(&serde_json::to_vec(&answer).unwrap()).unwrap();
    assert_eq!(json["events"].as_array().unwrap().len(), answer.events.len());
    if let Ok(values) = serde_json::from_slice::<Vec<serde_json::Value>>(body)
        && !is_lines
    {
        assert_eq!(values.len(), answer.events.len(), "an array is taken apart where JSON says");
    }
    let mut offers = offers.into_iter();
    for event in &answer.events {
        match &event.became {
            Became::Taken(_) => {
                let offer = offers.next().expect("what is accepted was offered");
                let Ok(Record::Event(read)) = Record::decode(&offer.record) else { panic!() };
                let guid = event.guid.as_deref().expect("an accepted event has a guid");
                assert_eq!(Guid::parse(guid), Some(read.guid()));
                assert!(offer.identity.is_some() && read.ingest_time_ms() == NOW);
                assert!(NOW.abs_diff(read.event_time_ms()) <= 24 * 3_600_000);
            }
            Became::Refused(refusal) => {
                assert!(!refusal.message.is_empty());
                if refusal.reason.name().ends_with("_credential") {
                    let offer = offers.next().expect("it is to be seen");
                    assert!(matches!(Record::decode(&offer.record), Ok(Record::Dropped(_))));
                }
            }
        }
    }
    assert!(offers.next().is_none());
});

/// Tokens say by their first letter what they are for.
fn redeem(token: &str) -> Result<Claims, RedeemError> {
    let billing = match token.as_bytes().first() {
        Some(b'c') => Billing::Cpc,
        Some(b'm') => Billing::Cpm,
        Some(b'e') => return Err(RedeemError::Expired { claims: None }),
        _ => return Err(RedeemError::Lost),
    };
    Ok(Claims {
        guid: "01KDWFZY7JAJ06BJH5MKP4EFSR".to_owned(),
        user_id: token[1..].chars().take(50).collect(),
        ad_id: 1,
        campaign_id: 2,
        advertiser_id: 3,
        billing,
        bid_micros: 540_000,
        currency: Currency::parse("EUR"),
        slot: "top".to_owned(),
        landing_url: String::new(),
        expires_ms: NOW + 1,
    })
}
