//! The audit itself: it accepts a right result and finds each kind of wrong one.

use weir_tests::{Ad, Audit, Charge, Dropped, Input, Nanos, Taps, accounts_csv};

/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
const PRICE: i128 = 250_000_000;

#[test]
fn a_right_result_passes() {
    let (input, taps) = right();
    assert_eq!(Audit::faults(&input, &taps), Vec::<String>::new());
}

#[test]
fn lost_and_repeated_records_are_found() {
    found("not one record for each", |taps| drop(taps.charges.pop()));
    found("21 lines went in", |taps| drop(taps.dropped.pop()));
    found("charged more than once", |taps| {
        let mut again = taps.charges[0].clone();
        again.balance_after_nanos = Some(Nanos(0));
        taps.charges.push(again);
    });
    found("charged more than once", |taps| {
        // In place of the record that says that it is a duplicate.
        let duplicate = taps.dropped.iter().position(|d| d.reason == "duplicate");
        let guid = duplicate.and_then(|at| taps.dropped.remove(at).guid);
        let twice = taps.charges.iter().find(|c| Some(&c.guid) == guid.as_ref()).cloned();
        taps.charges.extend(twice);
    });
    found("malformed lines", |taps| {
        taps.dropped.retain(|d| d.reason != "malformed");
    });
    found("of no line", |taps| taps.charges[0].guid = "01KDWFZY7JAJ06BJH5MKP4EFSR".into());
}

#[test]
fn wrong_money_is_found() {
    found("the price is", |taps| taps.charges[0].amount_nanos = Nanos(PRICE - 1));
    found("by our ledger", |taps| taps.charges[1].balance_after_nanos = Some(Nanos(-1)));
    found("does not tell the balance", |taps| taps.charges[1].balance_after_nanos = None);
    found("another advertiser", |taps| taps.charges[0].advertiser_id = 2);
    found("another advertiser or time", |taps| taps.charges[0].event_time_ms += 1);
    found("the balance did not suffice", |taps| charge_the_refused(taps, "insufficient_balance"));
    found("the daily budget did not suffice", |taps| charge_the_refused(taps, "daily_budget"));
    found("no such account", |taps| charge_the_refused(taps, "unknown_account"));
    found("no such reason to refuse", |taps| refuse(&mut taps.charges[0], "insufficient_balance"));
    found("no such reason to refuse", |taps| refuse(&mut taps.charges[0], "daily_budget"));
    found("no such reason to refuse", |taps| refuse(&mut taps.charges[0], "unknown_account"));
}

#[test]
fn events_dropped_without_reason_are_found() {
    for reason in ["flood", "user_ad_rate", "user_click_rate", "user_ad_spread", "too_late", "bot"] {
        found("", |taps| {
            let innocent = taps.charges.remove(0);
            taps.dropped.push(dropped(&innocent.guid, reason));
        });
    }
    found("not what it must be", |taps| {
        let robot = taps.dropped.iter_mut().find(|d| d.reason == "bot");
        robot.into_iter().for_each(|d| d.reason = "flood".into());
    });
    found("no known reason", |taps| taps.dropped[0].reason = "because".into());
    found("dropped as flood", |taps| {
        taps.dropped
            .iter_mut()
            .filter(|d| d.reason == "flood")
            .for_each(|d| d.reason = "user_ad_rate".into());
    });
    found("a duplicate of nothing", |taps| {
        taps.dropped.iter_mut().filter(|d| d.reason == "flood").for_each(|d| d.reason = "duplicate".into());
    });
}

/// Spoils the right result and expects the audit to name the fault.
#[track_caller]
fn found(fault: &str, spoil: impl Fn(&mut Taps)) {
    let (input, mut taps) = right();
    spoil(&mut taps);
    let faults = Audit::faults(&input, &taps);
    assert!(faults.iter().any(|f| f.contains(fault)), "no {fault:?} among {faults:?}");
}

/// Three clicks of advertiser 1 and the first once more; a flood of 12 paid by advertiser 2; one too
/// many for the balance of 3, the budget of 4, and nobody; a robot; and a line that is none.
fn right() -> (Input, Taps) {
    let rich: Vec<Ad> = (0..3).map(|n| Ad::click(n, T)).collect();
    let flood = |n| Ad { ip: "20.30.40.50".into(), ad_id: 9, ..Ad::click(n, T).paid_by(2) };
    let flood: Vec<Ad> = (10..22).map(flood).collect();
    let poor: Vec<Ad> = (3..6).map(|n| Ad::click(30 + n as u32, T).paid_by(n)).collect();
    let robot = Ad { ua: "curl/8.5.0".into(), ..Ad::click(40, T) };
    let mut lines: Vec<String> =
        [&rich[..], &rich[..1], &flood, &poor].concat().iter().map(Ad::line).collect();
    lines.extend([robot.line(), "no event\n".into()]);
    let enough = 1_000_000_000;
    let accounts = [(1, enough, enough), (2, enough, enough), (3, enough, 1), (4, 1, enough)];
    let input = Input::of(&lines, &accounts_csv(&accounts));

    let mut charges = charged(&rich);
    charges.extend(charged(&flood[..10]));
    for (ad, reason) in poor.iter().zip(["insufficient_balance", "daily_budget", "unknown_account"]) {
        let mut charge = charged(std::slice::from_ref(ad)).remove(0);
        refuse(&mut charge, reason);
        charge.balance_after_nanos = None;
        charges.push(charge);
    }
    let mut all = vec![dropped(&rich[0].guid, "duplicate"), dropped(&robot.guid, "bot")];
    all.extend(flood[10..].iter().map(|ad| dropped(&ad.guid, "flood")));
    all.push(Dropped { guid: None, ..dropped("", "malformed") });
    (input, Taps { charges, dropped: all })
}

/// The records of a row of charges to one account.
fn charged(ads: &[Ad]) -> Vec<Charge> {
    let record = |(n, ad): (i128, &Ad)| Charge {
        guid: ad.guid.clone(),
        advertiser_id: ad.advertiser,
        campaign_id: 100_000 + ad.advertiser,
        outcome: "charged".into(),
        reason: None,
        amount_nanos: Nanos(PRICE),
        balance_after_nanos: Some(Nanos(1_000_000_000_000 - n * PRICE)),
        event_time_ms: T,
    };
    (1..).zip(ads).map(record).collect()
}

fn refuse(charge: &mut Charge, reason: &str) {
    charge.outcome = "refused".into();
    charge.reason = Some(reason.into());
    charge.balance_after_nanos = None;
}

/// Turns the refusal for `reason` into a charge that leaves the balance that it should.
fn charge_the_refused(taps: &mut Taps, reason: &str) {
    for charge in &mut taps.charges {
        if charge.reason.as_deref() == Some(reason) {
            let opening = if charge.advertiser_id == 3 { 1_000 } else { 1_000_000_000_000 };
            charge.outcome = "charged".into();
            charge.reason = None;
            charge.balance_after_nanos = Some(Nanos(opening - PRICE));
        }
    }
}

fn dropped(guid: &str, reason: &str) -> Dropped {
    Dropped { guid: Some(guid.into()), stage: "collect".into(), reason: reason.into(), raw: None }
}
