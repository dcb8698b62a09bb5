//! Contracts by time over days of 23 and 25 hours, missed minutes, changes and balances that run dry.

use crate::machine::{Input, T0, UNIT, money};
use crate::replies::{Bank, event};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self};
use weir_proto::{Billing, EventKind, Minute, NewEvent, Outcome, Record, RefuseReason};

/// An amount that no count of periods divides.
const PRICE: i128 = 7 * UNIT + 1;

pub fn ms(time: &str) -> u64 {
    time.parse::<jiff::Timestamp>().unwrap().as_millisecond() as u64
}

fn contract(billing: &str, price: i128, starts: &str, ends: &str) -> rpc::Campaign {
    rpc::Campaign {
        campaign_id: 3,
        billing: billing.to_owned(),
        price: Some(money(price, "EUR")),
        starts_ms: ms(starts),
        ends_ms: ms(ends),
        ..rpc::Campaign::default()
    }
}

/// A period: when it ended, its amount, what became of it.
type Period = (u64, i128, Outcome);

/// Advances to a time; the periods that ended.
fn tick(bank: &mut Bank, to: u64) -> Vec<Period> {
    let outputs = bank.deduct.feed(Input::Tick(Minute::of_ms(to)));
    bank.deduct.commit();
    let period = |(_, bytes): &(usize, Vec<u8>)| match Record::decode(bytes).unwrap() {
        Record::Charge(c) => (c.event_time_ms, c.amount.0, c.outcome),
        other => panic!("{other:?}"),
    };
    outputs.iter().map(period).collect()
}

fn set(bank: &mut Bank, terms: rpc::Campaign) {
    assert_eq!(bank.command(Action::Campaign(terms)), Outcome::Charged);
}

fn sum(periods: &[Period]) -> i128 {
    periods.iter().map(|p| p.1).sum()
}

#[test]
fn a_contract_by_day_charges_each_local_day_once_where_clocks_change() {
    for (zone, starts, ends, midnights) in [
        (
            "Europe/Berlin",
            "2026-03-28T00:00+01:00",
            "2026-03-31T00:00+02:00",
            ["2026-03-28T23:00Z", "2026-03-29T22:00Z", "2026-03-30T22:00Z"],
        ),
        (
            "Europe/Berlin",
            "2026-10-24T00:00+02:00",
            "2026-10-27T00:00+01:00",
            ["2026-10-24T22:00Z", "2026-10-25T23:00Z", "2026-10-26T23:00Z"],
        ),
        (
            "America/New_York",
            "2027-03-13T00:00-05:00",
            "2027-03-16T00:00-04:00",
            ["2027-03-14T05:00Z", "2027-03-15T04:00Z", "2027-03-16T04:00Z"],
        ),
        (
            "America/New_York",
            "2026-10-31T00:00-04:00",
            "2026-11-03T00:00-05:00",
            ["2026-11-01T04:00Z", "2026-11-02T05:00Z", "2026-11-03T05:00Z"],
        ),
    ] {
        for step in [1, 7, 61, 5_000] {
            let mut bank = Bank::new(1_000, zone);
            set(&mut bank, contract("cpd", PRICE, starts, ends));
            let (mut at, mut periods) = (ms(starts), Vec::new());
            while at < ms(ends) + 5_000 * Minute::MILLIS {
                at += step * Minute::MILLIS;
                let ended = tick(&mut bank, at);
                assert!(ended.iter().all(|p| p.0 < at), "{zone} {step}");
                periods.extend(ended);
            }
            let ends: Vec<u64> = periods.iter().map(|p| p.0 + 1).collect();
            assert_eq!(ends, midnights.map(ms), "{zone} by {step}");
            assert_eq!(sum(&periods), PRICE);
            assert_eq!(bank.balance(), 1_000 * UNIT - PRICE);
        }
    }
}

#[test]
fn a_contract_by_minute_has_the_minutes_of_the_worlds_clock() {
    for (zone, starts, ends, minutes) in [
        ("Europe/Berlin", "2026-03-29T00:00+01:00", "2026-03-30T00:00+02:00", 23 * 60),
        ("Europe/Berlin", "2026-10-25T00:00+02:00", "2026-10-26T00:00+01:00", 25 * 60),
        ("America/New_York", "2026-11-01T00:00-04:00", "2026-11-02T00:00-05:00", 25 * 60),
    ] {
        let mut bank = Bank::new(1_000, zone);
        set(&mut bank, contract("cpt", PRICE, starts, ends));
        assert_eq!(tick(&mut bank, ms(starts)), []);
        assert_eq!(tick(&mut bank, ms(starts) + 90 * Minute::MILLIS).len(), 90, "missed minutes");
        bank.deduct.crash(None);
        assert_eq!(tick(&mut bank, ms(ends)).len(), minutes - 90);
        assert_eq!(tick(&mut bank, ms(ends) + Minute::MILLIS), []);
        assert_eq!(bank.balance(), 1_000 * UNIT - PRICE, "{zone}");
    }
}

#[test]
fn a_contract_whose_price_changes_halfway_costs_the_new_price_in_all() {
    let (starts, ends) = ("2026-03-27T12:00Z", "2026-03-27T13:40Z");
    let mut bank = Bank::new(1_000, "Europe/Berlin");
    set(&mut bank, contract("cpt", PRICE, starts, ends));
    let first = tick(&mut bank, ms(starts) + 33 * Minute::MILLIS);
    set(&mut bank, contract("cpt", 2 * PRICE, starts, ends));
    let second = tick(&mut bank, ms(ends));
    assert_eq!((first.len(), second.len()), (33, 67));
    assert_eq!(sum(&first) + sum(&second), 2 * PRICE);
    // Nothing is given back by a lower one.
    let mut bank = Bank::new(1_000, "Europe/Berlin");
    set(&mut bank, contract("cpt", PRICE, starts, ends));
    let first = tick(&mut bank, ms(starts) + 33 * Minute::MILLIS);
    set(&mut bank, contract("cpt", 1, starts, ends));
    assert_eq!((tick(&mut bank, ms(ends)).len(), bank.balance()), (67, 1_000 * UNIT - sum(&first)));
}

#[test]
fn a_contract_that_is_left_and_taken_up_again_charges_no_period_twice() {
    let (starts, ends) = ("2026-03-27T12:00Z", "2026-04-06T12:00Z");
    let other = contract("cpt", PRICE, "2027-01-01T00:00Z", "2027-01-02T00:00Z");
    let mut bank = Bank::new(1_000, "");
    set(&mut bank, contract("cpd", PRICE, starts, ends));
    let first = tick(&mut bank, ms("2026-04-04T12:00Z"));
    set(&mut bank, other);
    assert_eq!(tick(&mut bank, ms("2026-04-04T13:00Z")), []);
    bank.deduct.crash(None);
    set(&mut bank, contract("cpd", PRICE, starts, ends));
    let second = tick(&mut bank, ms(ends));
    assert_eq!((first.len(), second.len()), (8, 3));
    assert_eq!(sum(&first) + sum(&second), PRICE);
    assert_eq!(bank.balance(), 1_000 * UNIT - PRICE);
}

#[test]
fn a_balance_that_runs_dry_halfway_loses_its_periods_and_no_later_ones() {
    let (starts, ends) = ("2026-03-27T12:00Z", "2026-03-27T13:40Z");
    let mut bank = Bank::new(3, "Europe/Berlin");
    set(&mut bank, contract("cpt", PRICE, starts, ends));
    let mut periods = tick(&mut bank, ms(starts) + 60 * Minute::MILLIS);
    let dry = Outcome::Refused(RefuseReason::InsufficientBalance);
    assert_eq!(periods.iter().filter(|p| p.2 == dry).count(), 60 - 42, "7 cents a minute of 3 units");
    assert_eq!(bank.command(Action::TopUp(money(UNIT, "EUR"))), Outcome::Charged);
    assert_eq!(bank.command(Action::TopUp(money(9 * UNIT, "EUR"))), Outcome::Charged);
    let later = tick(&mut bank, ms(ends));
    assert!(later.len() == 40 && later.iter().all(|p| p.2 == Outcome::Charged));
    periods.extend(later);
    assert_eq!(sum(&periods), PRICE, "charged and refused");
    let charged: i128 = periods.iter().filter(|p| p.2 == Outcome::Charged).map(|p| p.1).sum();
    assert_eq!(bank.balance(), 13 * UNIT - charged);
}

#[test]
fn a_tick_that_stands_for_days_keeps_to_the_budget_of_each_of_them() {
    let mut bank = Bank::new(1_000, "");
    let budget = rpc::AccountBudget { daily_budget: Some(money(10 * UNIT, "EUR")), low_balance: vec![] };
    assert_eq!(bank.command(Action::Budget(budget)), Outcome::Charged);
    let click = event("click", EventKind::Click, Billing::Cpc, 10_000_000);
    bank.event(&NewEvent { campaign_id: 1, ..click });
    assert_eq!(bank.balance(), 990 * UNIT, "the whole budget of the day");
    set(&mut bank, contract("cpt", 60 * UNIT, "2026-03-27T12:00Z", "2026-03-27T13:00Z"));
    let periods = tick(&mut bank, T0 + 5 * 24 * 60 * Minute::MILLIS);
    let refused = Outcome::Refused(RefuseReason::DailyBudget);
    assert!(periods.len() == 60 && periods.iter().all(|p| p.2 == refused), "{periods:?}");
    assert_eq!(bank.balance(), 990 * UNIT);
}

#[test]
fn a_contract_is_not_begun_long_after_its_start_and_one_that_has_begun_may_change() {
    let mut bank = Bank::new(1_000, "");
    let now = Minute::of_ms(T0).start_ms();
    let days = |n: u64| n * 24 * 3_600_000;
    let of = |starts_ms| rpc::Campaign {
        starts_ms,
        ends_ms: now + days(60),
        ..contract("cpd", PRICE, "2026-01-01T00:00Z", "2026-01-02T00:00Z")
    };
    let late = Action::Campaign(of(now - days(32)));
    assert_eq!(bank.command(late), Outcome::Refused(RefuseReason::StartsInThePast));
    let campaign = of(now - days(30));
    set(&mut bank, campaign.clone());
    assert_eq!(tick(&mut bank, now + days(10)).len(), 40);
    set(&mut bank, rpc::Campaign { price: Some(money(2 * PRICE, "EUR")), ..campaign });
    assert_eq!(tick(&mut bank, now + days(11)).len(), 1);
}
