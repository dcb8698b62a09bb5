//! Each field of a record arrives in its message, under its name.

use super::samples::{KINDS, plain_event, sample};
use super::{message, read};
use crate::rpc::record::Kind;
use crate::*;
use xxhash_rust::xxh3::xxh3_64;

fn money(currency_code: &str, units: i64, nanos: i32) -> Option<rpc::Money> {
    Some(rpc::Money { currency_code: currency_code.to_owned(), units, nanos })
}

fn event() -> rpc::Event {
    rpc::Event {
        guid: "my-own-id".to_owned(),
        event_time_ms: 1_767_261_599_986,
        ingest_time_ms: 1_767_261_600_001,
        kind: rpc::EventKind::Sale.into(),
        user_id: "u22d8".to_owned(),
        ip: "2001:db8::1".to_owned(),
        ua: "Mozilla/5.0 …x".to_owned(),
        ad_id: 1_000_028_503,
        campaign_id: 100_285,
        advertiser_id: 36,
        slot: "article_sidebar".to_owned(),
        region: "FR-IDF".to_owned(),
        channel: "partner".to_owned(),
        app_version: "8.18.6".to_owned(),
        bid_micros: 544_880,
        billing: rpc::Billing::Cps.into(),
        currency: "EUR".to_owned(),
        origin: Some(rpc::Origin { guid: "click-7".to_owned(), sale_micros: 49_990_000 }),
        reported: true,
        guid_is_text: false,
    }
}

#[test]
fn events_and_ticks() {
    assert_eq!(read(&sample(1)), Kind::Event(event()));
    let plain = rpc::Event {
        guid: "01KDWFZY7JAJ06BJH5MKP4EFSR".to_owned(),
        event_time_ms: 1,
        ingest_time_ms: 2,
        kind: rpc::EventKind::Impression.into(),
        ip: "209.86.0.7".to_owned(),
        billing: rpc::Billing::Cpm.into(),
        ..rpc::Event::default()
    };
    assert_eq!(read(&plain_event()), Kind::Event(plain));
    assert_eq!(read(&sample(2)), Kind::Tick(rpc::Tick { minute: 29_454_360 }));
    assert_eq!(read(&Record::encode_tick(Minute(0))), Kind::Tick(rpc::Tick { minute: 0 }));
}

#[test]
fn charges_and_adjustments() {
    let charge = rpc::Charge {
        guid: "01KDWFZY7JAJ06BJH5MKP4EFSR".to_owned(),
        outcome: rpc::Outcome::DailyBudget.into(),
        kind: rpc::EntryKind::Sale.into(),
        billing: rpc::Billing::Cps.into(),
        event_time_ms: 1,
        ad_id: 2,
        campaign_id: 3,
        advertiser_id: 4,
        amount: money("EUR", 5, 6),
        balance_after: money("EUR", -7, -8),
        crossings: vec![rpc::NoticeKind::BudgetReached.into(), rpc::NoticeKind::LowBalance.into()],
        utc_offset_minutes: -210,
        original_guid: "the-click".to_owned(),
        guid_is_text: true,
    };
    assert_eq!(read(&sample(10)), Kind::Charge(charge));
    let adjustment = rpc::Adjustment {
        kind: rpc::AdjustmentKind::Change.into(),
        guid: "abc".to_owned(),
        advertiser_id: 1,
        event_time_ms: 2,
        partition: 3,
        original: Some(rpc::ChargeRef { generation: 4, offset: 5 }),
        replacement: Some(rpc::ChargeRef { generation: 6, offset: 7 }),
        before: money("EUR", 8, 0),
        after: money("EUR", 0, -9),
        guid_is_text: false,
    };
    assert_eq!(read(&sample(14)), Kind::Adjustment(adjustment));
}

#[test]
fn what_was_dropped_and_what_was_told() {
    let dropped = rpc::Dropped {
        stage: rpc::Stage::AntiFraud.into(),
        reason: rpc::DropReason::UserClickRate.into(),
        detail: "11 clicks".to_owned(),
        raw: b"a line\xff".to_vec(),
        event: Some(event()),
    };
    assert_eq!(read(&sample(5)), Kind::Dropped(dropped));
    let notice = rpc::Notice {
        kind: rpc::NoticeKind::LowBalance.into(),
        advertiser_id: 2,
        event_time_ms: 3,
        balance: money("", 4, 5),
        campaign_id: 6,
    };
    assert_eq!(read(&sample(11)), Kind::Notice(notice));
    let takeover = rpc::TakenOver { worker: 2, partition: 260, time_ms: 3, took_ms: 4, behind: 5 };
    assert_eq!(read(&sample(15)), Kind::Takeover(takeover));
}

#[test]
fn letters() {
    for (kind, fate) in [(8, rpc::Fate::Retry), (9, rpc::Fate::Discarded)] {
        let letter = rpc::Letter {
            message_id: "adjustments/4/3/5".to_owned(),
            fate: fate.into(),
            attempt: 6,
            time_ms: 7,
            next_time_ms: 8,
            advertiser_id: 9,
            guid: "abc".to_owned(),
            at_stake: money("", -10, -1),
            reason: "503 Service Unavailable".to_owned(),
            guid_is_text: false,
        };
        assert_eq!(read(&sample(kind)), Kind::Letter(letter));
    }
}

#[test]
fn commands_and_their_answers() {
    let command = rpc::Command {
        key: "k".to_owned(),
        advertiser_id: 36,
        time_ms: 7,
        action: money("EUR", 8, 9).map(rpc::command::Action::TopUp),
    };
    assert_eq!(read(&sample(12)), Kind::Command(command));
    let answer = rpc::Answer {
        key: "the-key".to_owned(),
        advertiser_id: 36,
        time_ms: 7,
        outcome: rpc::Outcome::Charged.into(),
        repeated: true,
        amount: money("EUR", -8, 0),
        balance_after: money("EUR", 0, 9),
    };
    assert_eq!(read(&sample(13)), Kind::Answer(answer));
}

/// Every value of an enumeration has the name here that it has in JSON.
#[test]
fn enumerations_have_their_names() {
    use super::super::values::Numbered;
    fn check<T: Numbered, P: TryFrom<i32>>(
        values: impl IntoIterator<Item = T>,
        name: impl Fn(T) -> &'static str,
        prefix: &str,
        shown: impl Fn(&P) -> &'static str,
    ) where
        P::Error: std::fmt::Debug,
    {
        let mut numbers = vec![];
        for value in values {
            let there = P::try_from(value.number().into()).unwrap();
            let name = name(value).to_uppercase().replace('-', "_");
            assert_eq!(shown(&there), format!("{prefix}_{name}"));
            assert_eq!(T::from_number(value.number()).map(T::number), Some(value.number()));
            numbers.push(value.number());
        }
        // There are no others.
        numbers.sort_unstable();
        assert_eq!(numbers, (1..=numbers.len() as u8).collect::<Vec<_>>());
        assert!(P::try_from(numbers.len() as i32 + 1).is_err());
        assert!(T::from_number(0).is_none() && P::try_from(0).is_ok());
    }
    let outcomes = (0..20u8).map(|code| Outcome::from_code(code).unwrap());
    let outcome_name = |outcome| match outcome {
        Outcome::Charged => "charged",
        Outcome::Refused(reason) => reason.name(),
    };
    check(EventKind::ALL, EventKind::name, "EVENT_KIND", rpc::EventKind::as_str_name);
    check(Billing::ALL, Billing::name, "BILLING", rpc::Billing::as_str_name);
    check(outcomes, outcome_name, "OUTCOME", rpc::Outcome::as_str_name);
    check(EntryKind::ALL, EntryKind::name, "ENTRY_KIND", rpc::EntryKind::as_str_name);
    check(StageId::ALL, StageId::name, "STAGE", rpc::Stage::as_str_name);
    check(DropReason::ALL, DropReason::name, "DROP_REASON", rpc::DropReason::as_str_name);
    check(NoticeKind::ALL, NoticeKind::name, "NOTICE_KIND", rpc::NoticeKind::as_str_name);
    check(AdjustmentKind::ALL, AdjustmentKind::name, "ADJUSTMENT_KIND", rpc::AdjustmentKind::as_str_name);
    check(Fate::ALL, Fate::name, "FATE", rpc::Fate::as_str_name);
}

/// Messages stay in logs for years: their form is never changed, only added to.
#[test]
fn messages_are_pinned() {
    let pin = |kinds: &[u8]| {
        let all: Vec<u8> = kinds.iter().flat_map(|kind| message(&sample(*kind))).collect();
        (all.len(), xxh3_64(&all))
    };
    // Those before there were takeovers, and all.
    assert_eq!(pin(&KINDS[..10]), (754, 15_733_877_936_834_462_503));
    assert_eq!(pin(&KINDS), (767, 4_336_015_551_311_995_246));
}
