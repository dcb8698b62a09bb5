//! Records of every kind, as the constructors of this crate make them, from nothing in them to all that fits.

use crate::*;
use proptest::prelude::*;
use proptest::sample::select;
use std::net::{IpAddr, Ipv6Addr};

/// A guid that owns its text.
#[derive(Clone, Debug)]
enum Id {
    Ulid(u128),
    Text(String),
}

impl Id {
    fn guid(&self) -> Guid<'_> {
        match self {
            Id::Ulid(id) => Guid::Ulid(*id),
            Id::Text(text) => Guid::Text(text),
        }
    }
}

fn text(max: usize) -> impl Strategy<Value = String> {
    let any_text = prop::collection::vec(any::<char>(), 0..64).prop_map(move |chars| {
        let text: String = chars.into_iter().collect();
        text[..text.floor_char_boundary(max)].to_owned()
    });
    prop_oneof![2 => Just(String::new()), 4 => any_text, 4 => "[a-z0-9-]{1,20}", 1 => Just("x".repeat(max))]
}

fn number() -> impl Strategy<Value = u64> {
    prop_oneof![Just(0), Just(u64::MAX), 0..1000u64, any::<u64>()]
}

fn small() -> impl Strategy<Value = u32> {
    prop_oneof![Just(0), Just(u32::MAX), 0..1000u32, any::<u32>()]
}

fn id() -> impl Strategy<Value = Id> {
    let ulid = prop_oneof![Just(0), Just(u128::MAX), any::<u128>()];
    prop_oneof![
        ulid.clone().prop_map(Id::Ulid),
        text(255).prop_map(|text| Id::Text(if text.is_empty() { "x".to_owned() } else { text })),
        // The key of a command may be that of a ULID.
        ulid.prop_map(|id| Id::Text(Guid::Ulid(id).to_string())),
    ]
}

fn amount() -> impl Strategy<Value = Nanos> {
    let most = i128::from(i64::MAX) * 1_000_000_000 + 999_999_999;
    let least = i128::from(i64::MIN) * 1_000_000_000 - 999_999_999;
    prop_oneof![
        2 => select(vec![0, 1, -1, most, least]),
        6 => any::<i64>().prop_map(i128::from),
        2 => least..=most,
        1 => select(vec![most + 1, least - 1, i128::MAX, i128::MIN]),
    ]
    .prop_map(Nanos)
}

fn currency() -> impl Strategy<Value = Currency> {
    "[A-Z]{3}".prop_map(|code| Currency::parse(&code).unwrap())
}

fn ip() -> impl Strategy<Value = IpAddr> {
    let mapped = any::<u32>().prop_map(|ip| IpAddr::from(std::net::Ipv4Addr::from(ip).to_ipv6_mapped()));
    prop_oneof![4 => any::<IpAddr>(), 1 => mapped, 1 => Just(IpAddr::from(Ipv6Addr::UNSPECIFIED))]
}

fn outcome() -> impl Strategy<Value = Outcome> {
    (0..=19u8).prop_map(|code| Outcome::from_code(code).unwrap())
}

fn event() -> impl Strategy<Value = Vec<u8>> {
    let texts = [255, 2048, 255, 255, 255, 255].map(text);
    let numbers = prop::array::uniform6(number());
    let origin = prop::option::of((text(255), number()));
    let kinds = (select(EventKind::ALL.to_vec()), select(Billing::ALL.to_vec()), any::<bool>());
    (id(), ip(), texts, numbers, origin, kinds, prop::option::of(currency())).prop_map(
        |(guid, ip, texts, numbers, origin, (kind, billing, reported), currency)| {
            let [user_id, ua, slot, region, channel, app_version] = &texts;
            let [event_time_ms, ingest_time_ms, ad_id, campaign_id, advertiser_id, bid_micros] = numbers;
            let origin = origin.as_ref();
            let mut bytes = Vec::new();
            let event = NewEvent {
                guid: guid.guid(),
                event_time_ms,
                ingest_time_ms,
                kind,
                user_id,
                ip,
                ua,
                ad_id,
                campaign_id,
                advertiser_id,
                slot,
                region,
                channel,
                app_version,
                bid_micros,
                billing,
                origin: origin.map(|(guid, sale_micros)| Origin { guid, sale_micros: *sale_micros }),
                reported,
                currency,
            };
            event.encode(&mut bytes);
            bytes
        },
    )
}

fn charge() -> impl Strategy<Value = Vec<u8>> {
    let kinds = (select(EntryKind::ALL.to_vec()), prop::option::of(select(Billing::ALL.to_vec())));
    let amounts = [amount(), amount()];
    let numbers = [number(), number(), number(), number()];
    let what = (outcome(), kinds, 0..64u8, any::<i16>());
    (id(), what, numbers, amounts, currency(), text(255)).prop_map(
        |(
            guid,
            (outcome, (kind, billing), crossings, utc_offset_minutes),
            numbers,
            amounts,
            currency,
            original,
        )| {
            let [event_time_ms, ad_id, campaign_id, advertiser_id] = numbers;
            let [amount, balance_after] = amounts;
            let charge = Charge {
                guid: guid.guid(),
                outcome,
                kind,
                billing,
                event_time_ms,
                ad_id,
                campaign_id,
                advertiser_id,
                amount,
                balance_after,
                crossings: Crossings(crossings),
                currency,
                utc_offset_minutes,
                original: &original,
            };
            let (fixed, texts) = charge.encode();
            [&fixed[..], texts.concat().as_bytes()].concat()
        },
    )
}

fn dropped() -> impl Strategy<Value = Vec<u8>> {
    let raw = prop::collection::vec(any::<u8>(), 0..=Dropped::MAX_RAW);
    let what = (select(StageId::ALL.to_vec()), select(DropReason::ALL.to_vec()));
    (what, text(1024), raw, prop::option::of(event())).prop_map(|((stage, reason), detail, raw, event)| {
        let event = event.as_ref().map(|bytes| match Record::decode(bytes).unwrap() {
            Record::Event(event) => event,
            other => panic!("{other:?}"),
        });
        let (fixed, parts) = Dropped { stage, reason, detail: &detail, raw: &raw, event }.encode();
        [&fixed[..], &parts.concat()].concat()
    })
}

fn notice() -> impl Strategy<Value = Vec<u8>> {
    (select(NoticeKind::ALL.to_vec()), [number(), number(), number()], amount()).prop_map(
        |(kind, [advertiser_id, event_time_ms, campaign_id], balance)| {
            Notice { kind, advertiser_id, event_time_ms, balance, campaign_id }.encode().to_vec()
        },
    )
}

fn takeover() -> impl Strategy<Value = Vec<u8>> {
    (any::<u16>(), small(), [number(), number(), number()]).prop_map(
        |(worker, partition, [time_ms, took_ms, behind])| {
            Takeover { worker, partition, time_ms, took_ms, behind }.encode().to_vec()
        },
    )
}

fn adjustment() -> impl Strategy<Value = Vec<u8>> {
    let place = || {
        prop_oneof![
            Just(ChargeRef::default()),
            (small(), number()).prop_map(|(generation, offset)| ChargeRef { generation, offset })
        ]
    };
    let numbers = (number(), number(), small());
    let kind = select(AdjustmentKind::ALL.to_vec());
    (kind, id(), numbers, [place(), place()], [amount(), amount()], currency()).prop_map(
        |(
            kind,
            guid,
            (advertiser_id, event_time_ms, partition),
            [original, new],
            [before, after],
            currency,
        )| {
            let guid = guid.guid();
            let adjustment = Adjustment {
                kind,
                guid,
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
            [&fixed[..], text.as_bytes()].concat()
        },
    )
}

fn letter() -> impl Strategy<Value = Vec<u8>> {
    let place = (select(Topic::ALL.to_vec()), small(), small(), number());
    let numbers = [number(), number(), number()];
    (place, select(Fate::ALL.to_vec()), small(), numbers, id(), amount(), text(1024)).prop_map(
        |((topic, generation, partition, offset), fate, attempt, numbers, guid, at_stake, reason)| {
            let [time_ms, next_time_ms, advertiser_id] = numbers;
            let letter = Letter {
                id: MessageId { topic: topic.of(generation), partition, offset },
                fate,
                attempt,
                time_ms,
                next_time_ms,
                advertiser_id,
                guid: guid.guid(),
                at_stake,
                reason: &reason,
            };
            let (fixed, texts) = letter.encode();
            [&fixed[..], texts.concat().as_bytes()].concat()
        },
    )
}

fn command() -> impl Strategy<Value = Vec<u8>> {
    use rpc::command::Action;
    let money = || {
        (text(3), any::<i64>(), any::<i32>()).prop_map(|(currency_code, units, nanos)| rpc::Money {
            currency_code,
            units,
            nanos,
        })
    };
    let open = (prop::option::of(money()), text(40), prop::collection::vec(money(), 0..3)).prop_map(
        |(balance, time_zone, low_balance)| rpc::OpenAccount {
            balance,
            time_zone,
            low_balance,
            ..rpc::OpenAccount::default()
        },
    );
    let refund = (text(255), prop::option::of(money()), text(300))
        .prop_map(|(guid, amount, reason)| rpc::Refund { guid, amount, reason, original: None });
    let action = prop_oneof![
        open.prop_map(Action::Open),
        money().prop_map(Action::TopUp),
        any::<bool>().prop_map(|frozen| Action::Freeze(rpc::Freeze { frozen })),
        refund.prop_map(Action::Refund),
    ];
    (text(Command::MAX_KEY), number(), number(), prop::option::of(action)).prop_map(
        |(key, advertiser_id, time_ms, action)| {
            Command::encode(&rpc::Command { key, advertiser_id, time_ms, action })
        },
    )
}

fn answer() -> impl Strategy<Value = Vec<u8>> {
    (text(255), [number(), number()], outcome(), any::<bool>(), [amount(), amount()], currency()).prop_map(
        |(key, [advertiser_id, time_ms], outcome, is_repeated, [amount, balance_after], currency)| {
            let key = &key;
            let answer =
                Answer { key, advertiser_id, time_ms, outcome, is_repeated, amount, balance_after, currency };
            let (fixed, key) = answer.encode();
            [&fixed[..], key.as_bytes()].concat()
        },
    )
}

pub(super) fn record() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => event(),
        1 => small().prop_map(|minute| Record::encode_tick(Minute(minute)).to_vec()),
        2 => charge(),
        2 => dropped(),
        1 => notice(),
        1 => takeover(),
        1 => adjustment(),
        1 => letter(),
        1 => command(),
        1 => answer(),
    ]
}
