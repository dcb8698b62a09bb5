//! Post-process against sums worked out from the charges that it was fed.

use crate::common::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use weir_operators::Operator;
use weir_operators::post_process::daily::{Row, RowKey, rows};
use weir_operators::post_process::{Entry, PostProcess, ledger};
use weir_proto::{
    Batch, Billing, Charge, Crossings, Currency, EntryKind, Guid, Minute, Nanos, Outcome, Record,
    RefuseReason, StageId, Topic,
};

const DAY: u64 = 24 * 60 * MINUTE;

fn post() -> Bench<PostProcess> {
    Bench::new(StageId::PostProcess, &[Topic::Notices], |store| PostProcess::load(store).unwrap())
}

/// A click of advertiser 7 that costs so much.
fn click(nanos: i128) -> Charge<'static> {
    Charge {
        guid: Guid::Text("g"),
        outcome: Outcome::Charged,
        kind: EntryKind::Click,
        billing: Some(Billing::Cpc),
        event_time_ms: T0,
        ad_id: 1,
        campaign_id: 70,
        advertiser_id: 7,
        amount: Nanos(nanos),
        balance_after: Nanos(5),
        crossings: Crossings::default(),
        currency: Currency::default(),
        utc_offset_minutes: 0,
        original: "",
    }
}

/// A command of advertiser 7 that takes so much.
fn moved(kind: EntryKind, nanos: i128) -> Charge<'static> {
    Charge { kind, billing: None, ad_id: 0, campaign_id: 0, ..click(nanos) }
}

fn bytes(charge: &Charge<'_>) -> Vec<u8> {
    let (fixed, [guid, original]) = charge.encode();
    [&fixed[..], guid.as_bytes(), original.as_bytes()].concat()
}

/// The notices that a charge gives rise to.
fn notices(bench: &mut Bench<PostProcess>, charge: &Charge<'_>) -> Vec<(&'static str, u64, i128)> {
    let record = bytes(charge);
    bench.operator.fold(&bench.store, Record::decode(&record).unwrap(), &mut bench.out).unwrap();
    let batches = bench.out.take();
    let records = batches.iter().flat_map(|batch| Batch::open(&batch.bytes).unwrap());
    records
        .map(|record| match Record::decode(record.unwrap().bytes).unwrap() {
            Record::Notice(n) => (n.kind.name(), n.campaign_id, n.balance.0),
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn each_crossing_is_told_once() {
    let mut bench = post();
    assert_eq!(notices(&mut bench, &click(1)), []);
    let mut both = Crossings::LOW_BALANCE;
    both.add(Crossings::CAMPAIGN_BUDGET_REACHED);
    let told = notices(&mut bench, &Charge { crossings: both, ..click(1) });
    assert_eq!(told, [("low_balance", 70, 5), ("campaign_budget_reached", 70, 5)]);
    bench.restart();
    assert_eq!(notices(&mut bench, &click(1)), []);
    let all = Charge { crossings: Crossings(63), ..moved(EntryKind::TopUp, -1) };
    let names: Vec<_> = notices(&mut bench, &all).into_iter().map(|(name, ..)| name).collect();
    let resumed = ["low_balance", "exhausted", "resumed"];
    assert_eq!(names, [&resumed[..], &["budget_reached", "campaign_budget_reached", "arrears"]].concat());
}

#[test]
fn the_ledger_tells_revenue_from_an_advertisers_own_money() {
    let mut bench = post();
    let refused = |reason, charge| Charge { outcome: Outcome::Refused(reason), ..charge };
    for charge in [
        moved(EntryKind::BroughtForward, -1),
        moved(EntryKind::Opening, -1_000),
        moved(EntryKind::TopUp, -500),
        moved(EntryKind::Withdrawal, 200),
        click(70),
        click(0),
        Charge { kind: EntryKind::Period, billing: Some(Billing::Cpt), ..click(30) },
        moved(EntryKind::Refund, -10),
        Charge { kind: EntryKind::SaleReversal, billing: Some(Billing::Cps), ..click(-5) },
        refused(RefuseReason::InsufficientBalance, click(40)),
        refused(RefuseReason::InsufficientBalance, moved(EntryKind::Withdrawal, 9_000)),
        refused(RefuseReason::AlreadyRefunded, moved(EntryKind::Refund, -10)),
    ] {
        bench.feed(&bytes(&charge));
    }
    bench.restart();
    let entry = &ledger(&bench.store).unwrap()[&7];
    let mut refused = [0; 24];
    refused[RefuseReason::InsufficientBalance as usize] = 2;
    refused[RefuseReason::AlreadyRefunded as usize] = 1;
    let expected = Entry {
        charged: 100,
        charges: 3,
        credited: 15,
        credits: 2,
        opened: 1,
        deposited: 1_500,
        deposits: 2,
        withdrawn: 200,
        withdrawals: 1,
        refused,
        lost: 40,
        currency: Currency::default(),
    };
    assert_eq!(*entry, expected);
    assert_eq!(entry.balance(), Ok(Nanos(1_216)));
    // Of these only events were accepted, and have one outcome each.
    let tally = bench.out.tally();
    assert_eq!(tally.outcomes.iter().sum::<u64>(), 4);
    assert_eq!(tally.outcome(Outcome::Charged), 3);
}

#[test]
fn a_day_is_that_of_the_account_and_currencies_are_kept_apart() {
    let mut bench = post();
    let late = Charge { event_time_ms: Minute(29_455_199).start_ms(), ..click(3) };
    let euros = Charge { currency: Currency::parse("EUR").unwrap(), ..late };
    for charge in [late, Charge { utc_offset_minutes: 1, ..late }, euros] {
        bench.feed(&bytes(&charge));
    }
    bench.commit();
    let found = rows(&bench.store, Some(7), &(0..=u32::MAX)).unwrap();
    let found: Vec<_> = found.iter().map(|(key, _)| (key.day, key.currency.to_string())).collect();
    let of = |day, currency: &str| (day, currency.to_owned());
    assert_eq!(found, [of(20_454, "EUR"), of(20_454, "USD"), of(20_455, "USD")]);
}

/// The first advertiser, campaign and day, and charges of many rows or of a few.
fn charge() -> impl Strategy<Value = Charge<'static>> {
    (0..3u64, 0..4u64, 0..6u64, -50..50i128, 0..8usize).prop_map(
        |(advertiser, day, campaign, nanos, kind)| {
            let outcome = match nanos % 7 {
                0 => Outcome::Refused(RefuseReason::DailyBudget),
                _ => Outcome::Charged,
            };
            let event_time_ms = T0 + day * DAY;
            let (advertiser_id, campaign_id) = (advertiser, campaign);
            let kind = EntryKind::ALL[kind];
            Charge { outcome, event_time_ms, advertiser_id, campaign_id, kind, ..click(nanos) }
        },
    )
}

#[derive(Clone, Debug)]
enum Step {
    Charges(Vec<Charge<'static>>),
    Commit,
    Restart,
}

fn model(charges: &[Charge<'_>]) -> BTreeMap<[u8; 25], (RowKey, Row)> {
    let mut rows = BTreeMap::<_, (RowKey, Row)>::new();
    for c in charges {
        let key = RowKey {
            advertiser_id: c.advertiser_id,
            day: (c.event_time_ms / DAY) as u32,
            campaign_id: c.campaign_id,
            kind: c.kind,
            billing: c.billing,
            currency: c.currency,
        };
        let (_, row) = rows.entry(key.encode()).or_insert((key, Row::default()));
        match c.outcome {
            Outcome::Charged => (row.count, row.amount) = (row.count + 1, row.amount + c.amount.0),
            Outcome::Refused(_) => {
                row.refused_count += 1;
                row.refused_amount += c.amount.0;
            }
        }
    }
    rows
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn the_daily_books_add_up_over_commits_and_restarts(
        steps in proptest::collection::vec(
            prop_oneof![
                4 => proptest::collection::vec(charge(), 1..1_500).prop_map(Step::Charges),
                8 => Just(Step::Commit),
                2 => Just(Step::Restart),
            ],
            1..60,
        )
    ) {
        let (mut bench, mut fed) = (post(), Vec::new());
        for step in steps {
            match step {
                Step::Charges(charges) => for charge in charges {
                    bench.feed(&bytes(&charge));
                    fed.push(charge);
                },
                Step::Commit => bench.commit(),
                Step::Restart => bench.restart(),
            }
        }
        bench.commit();
        let all: Vec<_> = model(&fed).into_values().collect();
        prop_assert_eq!(&rows(&bench.store, None, &(0..=u32::MAX)).unwrap(), &all);
        let (first, last) = ((T0 / DAY) as u32 + 1, (T0 / DAY) as u32 + 2);
        let some = |(key, _): &&(RowKey, Row)| key.advertiser_id == 1 && (first..=last).contains(&key.day);
        let some: Vec<_> = all.iter().filter(some).copied().collect();
        prop_assert_eq!(rows(&bench.store, Some(1), &(first..=last)).unwrap(), some);
        for (id, entry) in ledger(&bench.store).unwrap() {
            let taken: i128 = all.iter().filter(|(k, _)| k.advertiser_id == id).map(|(_, r)| r.amount).sum();
            prop_assert_eq!(entry.balance(), Ok(Nanos(-taken)));
        }
    }
}
