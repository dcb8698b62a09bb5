//! Two results of the same input, held against each other.

use std::collections::{BTreeMap, HashMap};

use crate::expect::{Expectation, Must};
use crate::input::Input;
use crate::taps::{Dropped, Nanos, Taps};

/// Fails unless both results have the same charges and refusals in the same order.
#[track_caller]
pub fn assert_same_charges(one: &Taps, other: &Taps) {
    let difference = one.charges.iter().zip(&other.charges).position(|(a, b)| a != b);
    if let Some(at) = difference {
        let (a, b) = (&one.charges[at], &other.charges[at]);
        panic!("the charges differ from record {at} on:\n{a:?}\n{b:?}");
    }
    assert_eq!(one.charges.len(), other.charges.len(), "charges are missing");
}

/// Fails unless both results dropped the same, each as often.
#[track_caller]
pub fn assert_same_dropped(one: &Taps, other: &Taps) {
    let sorted = |taps: &Taps| -> Vec<Dropped> {
        let mut dropped = taps.dropped.clone();
        dropped.sort();
        dropped
    };
    let (one, other) = (sorted(one), sorted(other));
    if let Some(at) = one.iter().zip(&other).position(|(a, b)| a != b) {
        panic!("what was dropped differs:\n{:?}\n{:?}", one[at], other[at]);
    }
    assert_eq!(one.len(), other.len(), "dropped records are missing");
}

/// Fails unless both results agree wherever no order of arrival can make a difference.
#[track_caller]
pub fn assert_same_where_certain(input: &Input, one: &Taps, other: &Taps) {
    let expectation = Expectation::of(input);
    let (a, b) = (certain(input, &expectation, one), certain(input, &expectation, other));
    assert_eq!(a.len(), b.len(), "certain events are missing");
    for (guid, fate) in &a {
        assert_eq!(Some(fate), b.get(guid), "the outcomes of {guid} differ");
    }
    let uncontested = expectation.uncontested();
    assert!(!uncontested.is_empty(), "the input leaves nothing certain");
    assert_eq!(sums(one, &uncontested), sums(other, &uncontested));
    for reason in ["malformed", "bot", "flood"] {
        let of = |taps: &Taps| taps.dropped.iter().filter(|d| d.reason == reason).count();
        assert_eq!(of(one), of(other), "records dropped as {reason}");
    }
}

/// What became of the guids that have no choice: the outcome and what was paid.
fn certain<'a>(
    input: &Input,
    expectation: &Expectation<'_>,
    taps: &'a Taps,
) -> BTreeMap<&'a str, (&'a str, Nanos)> {
    let is_certain = |guid: &str| {
        let must = input.guid(guid).map(|index| expectation.musts[index]);
        !matches!(must, None | Some(Must::BeDecided | Must::Anything))
    };
    let charges = taps.charges.iter();
    let charges = charges.map(|c| (c.guid.as_str(), (c.outcome.as_str(), c.amount_nanos)));
    let bots = taps.dropped.iter().filter(|d| d.reason == "bot");
    let bots = bots.filter_map(|d| Some((d.guid.as_deref()?, ("bot", Nanos(0)))));
    let all = charges.chain(bots);
    all.filter(|(guid, _)| is_certain(guid)).collect()
}

/// What each of the advertisers in `of` paid.
fn sums(taps: &Taps, of: &HashMap<u64, i128>) -> BTreeMap<u64, i128> {
    let mut sums = BTreeMap::new();
    for charge in taps.charges.iter().filter(|c| c.is_charged()) {
        if of.contains_key(&charge.advertiser_id) {
            *sums.entry(charge.advertiser_id).or_default() += charge.amount_nanos.0;
        }
    }
    sums
}
