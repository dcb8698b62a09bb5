//! What is charged and what is refused, to the last nano.

use weir_tests::{Ad, bill};

/// 2026-03-10T23:59:30Z, half a minute before midnight.
const T: i64 = 1_773_187_170_000;
const MIDNIGHT: i64 = T + 30_000;
const PLENTY: i64 = 1_000_000_000_000;

#[test]
fn an_account_is_charged_down_to_nothing_and_no_further() {
    let ads: Vec<Ad> = (0..4).map(|n| Ad::click(n, T).priced(1_000)).collect();
    let outcomes = bill("empty", &ads, &[(1, PLENTY, 3_000)]);
    assert_eq!(outcomes, ["charged", "charged", "charged", "insufficient_balance"]);
}

#[test]
fn a_charge_is_for_the_whole_price_or_refused() {
    let prices = [1_000, 1_000, 1_000, 500, 1];
    let ads: Vec<Ad> = (0..).zip(prices).map(|(n, price)| Ad::click(n, T).priced(price)).collect();
    let outcomes = bill("partial", &ads, &[(1, PLENTY, 2_500)]);
    let (yes, no) = ("charged", "insufficient_balance");
    assert_eq!(outcomes, [yes, yes, no, yes, no], "the fourth fits what the third left");
}

#[test]
fn a_daily_budget_counts_the_day_of_the_event() {
    let times = [T, T + 1, T + 2, MIDNIGHT, MIDNIGHT - 1, MIDNIGHT + 1, MIDNIGHT + 2];
    let ads: Vec<Ad> = (0..).zip(times).map(|(n, t)| Ad::click(n, t).priced(1_000)).collect();
    let outcomes = bill("budget", &ads, &[(1, 2_000, PLENTY)]);
    let (yes, no) = ("charged", "daily_budget");
    assert_eq!(outcomes, [yes, yes, no, yes, no, yes, no], "the fifth is of the day before");
}

#[test]
fn an_impression_costs_a_thousandth_of_the_bid_exactly() {
    // 1,001 nanos in two impressions; the balance is one micro.
    let ads = [
        Ad::impression(0, T).priced(999),
        Ad::impression(1, T).priced(2),
        Ad::impression(2, T).priced(1),
        Ad::impression(3, T).priced(1),
    ];
    let outcomes = bill("impression", &ads, &[(1, PLENTY, 1)]);
    let no = "insufficient_balance";
    assert_eq!(outcomes, ["charged", no, "charged", no]);
}

#[test]
fn nobody_pays_without_an_account() {
    let ads = [Ad::click(0, T).paid_by(2), Ad::click(1, T), Ad::click(2, T).paid_by(2)];
    let outcomes = bill("unknown", &ads, &[(1, PLENTY, PLENTY)]);
    assert_eq!(outcomes, ["unknown_account", "charged", "unknown_account"]);
}

#[test]
fn an_event_is_decided_once_even_if_it_was_refused() {
    let (dear, cheap) = (Ad::click(0, T).priced(2_000), Ad::click(1, T).priced(1_000));
    let mut ads = vec![dear.clone(), cheap.clone(), dear.clone()];
    ads.extend((2..20).map(|n| Ad::click(n, T + 540_000).priced(1)));
    ads.extend([cheap, dear]);
    let outcomes = bill("decided", &ads, &[(1, PLENTY, 1_500)]);
    assert_eq!(outcomes[0], "insufficient_balance duplicate duplicate");
    assert_eq!(outcomes[1], "charged duplicate");
}

#[test]
fn an_event_that_nobody_prices_moves_no_money() {
    let click_per_thousand = Ad { billing: "cpm".into(), ..Ad::click(0, T) };
    let impression_per_click = Ad { billing: "cpc".into(), ..Ad::impression(1, T) };
    let ads = [click_per_thousand, impression_per_click, Ad::click(2, T)];
    let outcomes = bill("unpriced", &ads, &[(1, PLENTY, PLENTY)]);
    assert_eq!(outcomes, ["not_billable", "not_billable", "charged"]);
}

#[test]
fn a_price_beyond_all_accounts_is_refused_and_does_not_wrap() {
    let ads = [Ad::click(0, T).priced(u64::MAX), Ad::click(1, T)];
    let outcomes = bill("wrap", &ads, &[(1, PLENTY, PLENTY)]);
    let refusals = ["insufficient_balance", "daily_budget"];
    assert!(refusals.contains(&outcomes[0].as_str()), "{outcomes:?}");
    assert_eq!(outcomes[1], "charged");
}

#[test]
fn large_amounts_are_exact() {
    let bid: i64 = 4_000_000_000_000_000;
    let ads: Vec<Ad> = (0..3).map(|n| Ad::click(n, T).priced(bid)).collect();
    let outcomes = bill("large", &ads, &[(1, i64::MAX / 1_000, 2 * bid + 1)]);
    assert_eq!(outcomes, ["charged", "charged", "insufficient_balance"]);
}
