//! Deduct against a model ledger of a few lines.

use crate::common::*;
use proptest::prelude::*;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use weir_operators::deduct::{Deduct, accounts};
use weir_proto::{Billing, EventKind, Minute, StageId, Topic};

fn deduct() -> Bench<Deduct> {
    Bench::new(StageId::Deduct, &[Topic::Charges, Topic::Dropped, Topic::Answers], |store| {
        Deduct::load(store, Arc::new(rules()), Minute::of_ms(T0)).unwrap()
    })
}

/// The ledger as one would explain it.
#[derive(Default)]
struct Model {
    accounts: HashMap<u64, (i128, i128)>,
    spent: HashMap<(u64, u64), i128>,
    decided: HashSet<(u64, String)>,
}

impl Model {
    fn decide(&mut self, s: &Sample) -> Fate {
        let price = match (s.billing, s.kind) {
            (Billing::Cpc, EventKind::Click) => i128::from(s.bid) * 1000,
            (Billing::Cpm, EventKind::Impression) => i128::from(s.bid),
            _ => return Fate::Dropped("not_billable"),
        };
        if !self.decided.insert((s.advertiser, s.guid.clone())) {
            return Fate::Dropped("duplicate");
        }
        let Some((balance, budget)) = self.accounts.get_mut(&s.advertiser) else {
            return Fate::Refused { reason: "unknown_account", balance: 0 };
        };
        let spent = self.spent.entry((s.advertiser, s.time / 86_400_000)).or_default();
        if price > *balance {
            return Fate::Refused { reason: "insufficient_balance", balance: *balance };
        }
        if *spent + price > *budget {
            return Fate::Refused { reason: "daily_budget", balance: *balance };
        }
        *balance -= price;
        *spent += price;
        Fate::Charged { amount: price, balance: *balance }
    }
}

#[derive(Clone, Debug)]
enum Step {
    Event(Sample),
    Commit,
    Restart,
}

fn guid() -> impl Strategy<Value = String> {
    prop_oneof![
        (0..60u32).prop_map(|n| format!("plain-{n}")),
        // ULIDs of the same minute as T0.
        (0..60u32).prop_map(|n| format!("01KDWG00000000000000000{n:03}")),
    ]
}

fn step() -> impl Strategy<Value = Step> {
    let event = (guid(), 0..4u64, 1..5u64, 0..3_000u64, any::<bool>(), 0..8u8).prop_map(
        |(guid, day, advertiser, bid, click, odd)| {
            let kind = if click { EventKind::Click } else { EventKind::Impression };
            // One in eight is billed by what it is not.
            let billing = if click == (odd > 0) { Billing::Cpc } else { Billing::Cpm };
            let time = T0 - (day % 2) * 12 * 60 * MINUTE;
            Step::Event(Sample { time, advertiser, bid, kind, billing, ..Sample::new(&guid) })
        },
    );
    prop_oneof![20 => event, 2 => Just(Step::Commit), 1 => Just(Step::Restart)]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn deduct_decides_as_the_model_ledger_does(steps in proptest::collection::vec(step(), 1..250)) {
        let (mut bench, mut model) = (deduct(), Model::default());
        let mut opened = HashMap::new();
        for (id, budget, balance) in [(1, 9_000_000, 5_000_000), (2, 2_000_000, 50_000_000), (3, 0, 10)] {
            prop_assert_eq!(bench.open(id, budget, balance), (Some(balance), false));
            model.accounts.insert(id, (balance, budget));
            opened.insert(id, balance);
        }
        for step in steps {
            match step {
                Step::Event(sample) => prop_assert_eq!(bench.event(&sample), model.decide(&sample)),
                Step::Commit => bench.commit(),
                Step::Restart => bench.restart(),
            }
        }
        bench.commit();
        for (id, account) in accounts(&bench.store).unwrap() {
            let spent: i128 = model.spent.iter().filter(|((a, _), _)| *a == id).map(|(_, n)| n).sum();
            prop_assert_eq!(account.balance, model.accounts[&id].0);
            prop_assert_eq!(opened[&id] - spent, account.balance);
            prop_assert!(account.balance >= 0);
        }
    }
}

#[test]
fn the_whole_balance_can_be_spent_and_not_a_nano_more() {
    let mut bench = deduct();
    bench.open(7, 10_000_000, 2_000_001);
    let view = |guid: &str, bid| Sample {
        kind: EventKind::Impression,
        billing: Billing::Cpm,
        bid,
        ..Sample::new(guid)
    };
    assert_eq!(bench.event(&view("a", 2_000_000)), Fate::Charged { amount: 2_000_000, balance: 1 });
    assert_eq!(bench.event(&view("b", 2)), Fate::Refused { reason: "insufficient_balance", balance: 1 });
    assert_eq!(bench.event(&view("c", 1)), Fate::Charged { amount: 1, balance: 0 });
    assert_eq!(bench.event(&view("d", 0)), Fate::Charged { amount: 0, balance: 0 });
    assert_eq!(bench.event(&view("b", 2)), Fate::Dropped("duplicate"), "a refusal is a decision");
}

#[test]
fn the_greatest_price_cannot_overflow() {
    let mut bench = deduct();
    let most = i128::from(i64::MAX) * 1_000_000_000;
    bench.open(7, most, most);
    let greatest = Sample { bid: u64::MAX, ..Sample::new("a") };
    let amount = i128::from(u64::MAX) * 1000;
    assert_eq!(bench.event(&greatest), Fate::Charged { amount, balance: most - amount });
}

#[test]
fn an_account_opened_twice_keeps_its_first_balance() {
    let mut bench = deduct();
    assert_eq!(bench.open(7, 5_000_000, 5_000_000), (Some(5_000_000), false));
    bench.event(&Sample::new("a"));
    assert_eq!(bench.open(7, 5_000_000, 5_000_000), (None, true));
    assert_eq!(bench.event(&Sample::new("b")), Fate::Charged { amount: 1_000_000, balance: 3_000_000 });
}

#[test]
fn an_identity_is_forgotten_only_when_its_event_would_come_too_late_anyway() {
    let mut bench = deduct();
    bench.open(7, 50_000_000, 50_000_000);
    let sample = Sample::new("01KDWG00000000000000000000");
    bench.event(&sample);
    let opened = Minute::of_ms(T0).0;
    for day in [0, 1] {
        bench.tick(opened + day * 24 * 60);
        bench.restart();
        assert_eq!(bench.event(&sample), Fate::Dropped("duplicate"), "day {day}");
    }
    for minutes in [24 * 60 + 1, 3 * 24 * 60, 5 * 24 * 60] {
        bench.tick(opened + minutes);
        bench.commit();
        assert_eq!(bench.event(&sample), Fate::Dropped("too_late"), "after {minutes} minutes");
    }
}
