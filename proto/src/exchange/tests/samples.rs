//! A record of each kind in which every field says something.

use crate::*;

fn currency() -> Currency {
    Currency::parse("EUR").unwrap()
}

/// An event that leaves out what it can, whose guid is a ULID.
pub(super) fn plain_event() -> Vec<u8> {
    let mut bytes = Vec::new();
    let event = NewEvent {
        guid: Guid::parse("01KDWFZY7JAJ06BJH5MKP4EFSR").unwrap(),
        event_time_ms: 1,
        ingest_time_ms: 2,
        kind: EventKind::Impression,
        user_id: "",
        ip: [209, 86, 0, 7].into(),
        ua: "",
        ad_id: 0,
        campaign_id: 0,
        advertiser_id: 0,
        slot: "",
        region: "",
        channel: "",
        app_version: "",
        bid_micros: 0,
        billing: Billing::Cpm,
        origin: None,
        reported: false,
        currency: None,
    };
    event.encode(&mut bytes);
    bytes
}

/// The bytes of the record of this kind on disk.
pub(super) fn sample(kind: u8) -> Vec<u8> {
    let parts = |fixed: &[u8], texts: &[&str]| [fixed, texts.concat().as_bytes()].concat();
    let bytes = match kind {
        1 => {
            let event = NewEvent {
                guid: Guid::Text("my-own-id"),
                event_time_ms: 1_767_261_599_986,
                ingest_time_ms: 1_767_261_600_001,
                kind: EventKind::Sale,
                user_id: "u22d8",
                ip: "2001:db8::1".parse().unwrap(),
                ua: "Mozilla/5.0 …x",
                ad_id: 1_000_028_503,
                campaign_id: 100_285,
                advertiser_id: 36,
                slot: "article_sidebar",
                region: "FR-IDF",
                channel: "partner",
                app_version: "8.18.6",
                bid_micros: 544_880,
                billing: Billing::Cps,
                origin: Some(Origin { guid: "click-7", sale_micros: 49_990_000 }),
                reported: true,
                currency: Some(currency()),
            };
            let mut bytes = Vec::new();
            event.encode(&mut bytes);
            bytes
        }
        2 => Record::encode_tick(Minute(29_454_360)).to_vec(),
        5 => {
            let bytes = sample(1);
            let Ok(Record::Event(event)) = Record::decode(&bytes) else { panic!("no event") };
            let dropped = Dropped {
                stage: StageId::AntiFraud,
                reason: DropReason::UserClickRate,
                detail: "11 clicks",
                raw: b"a line\xff",
                event: Some(event),
            };
            let (fixed, parts) = dropped.encode();
            [&fixed[..], &parts.concat()].concat()
        }
        8 | 9 => {
            let letter = Letter {
                id: MessageId { topic: Topic::Adjustments.of(4), partition: 3, offset: 5 },
                fate: if kind == 8 { Fate::Retry } else { Fate::Discarded },
                attempt: 6,
                time_ms: 7,
                next_time_ms: 8,
                advertiser_id: 9,
                guid: Guid::Text("abc"),
                at_stake: Nanos(-10_000_000_001),
                reason: "503 Service Unavailable",
            };
            let (fixed, texts) = letter.encode();
            parts(&fixed, &texts)
        }
        10 => {
            let charge = Charge {
                // The key of a command, which is no guid of an event.
                guid: Guid::Text("01KDWFZY7JAJ06BJH5MKP4EFSR"),
                outcome: Outcome::Refused(RefuseReason::DailyBudget),
                kind: EntryKind::Sale,
                billing: Some(Billing::Cps),
                event_time_ms: 1,
                ad_id: 2,
                campaign_id: 3,
                advertiser_id: 4,
                amount: Nanos(5_000_000_006),
                balance_after: Nanos(-7_000_000_008),
                crossings: Crossings(Crossings::BUDGET_REACHED.0 | Crossings::LOW_BALANCE.0),
                currency: currency(),
                utc_offset_minutes: -210,
                original: "the-click",
            };
            let (fixed, texts) = charge.encode();
            parts(&fixed, &texts)
        }
        11 => {
            let kind = NoticeKind::LowBalance;
            let balance = Nanos(4_000_000_005);
            Notice { kind, advertiser_id: 2, event_time_ms: 3, balance, campaign_id: 6 }.encode().to_vec()
        }
        12 => Command::encode(&rpc::Command {
            key: "k".to_owned(),
            advertiser_id: 36,
            time_ms: 7,
            action: Some(rpc::command::Action::TopUp(rpc::Money {
                currency_code: "EUR".to_owned(),
                units: 8,
                nanos: 9,
            })),
        }),
        13 => {
            let answer = Answer {
                key: "the-key",
                advertiser_id: 36,
                time_ms: 7,
                outcome: Outcome::Charged,
                is_repeated: true,
                amount: Nanos(-8_000_000_000),
                balance_after: Nanos(9),
                currency: currency(),
            };
            let (fixed, key) = answer.encode();
            parts(&fixed, &[key])
        }
        14 => {
            let adjustment = Adjustment {
                kind: AdjustmentKind::Change,
                guid: Guid::Text("abc"),
                advertiser_id: 1,
                event_time_ms: 2,
                partition: 3,
                original: ChargeRef { generation: 4, offset: 5 },
                new: ChargeRef { generation: 6, offset: 7 },
                before: Nanos(8_000_000_000),
                after: Nanos(-9),
                currency: currency(),
            };
            let (fixed, text) = adjustment.encode();
            parts(&fixed, &[text])
        }
        15 => {
            let takeover = Takeover { worker: 2, partition: 260, time_ms: 3, took_ms: 4, behind: 5 };
            takeover.encode().to_vec()
        }
        other => panic!("there are no records of kind {other}"),
    };
    assert_eq!(bytes[0], kind);
    bytes
}

/// The kinds of records, as they are numbered on disk.
pub(super) const KINDS: [u8; 11] = [1, 2, 5, 8, 9, 10, 11, 12, 13, 14, 15];
