//! What the input alone decides, whatever order the lines arrive in.

use std::collections::HashMap;

use crate::input::{Event, Input};
use crate::rules::{DAY_MS, bucket};
use crate::windows::{Key, Users, flood_key, floods, is_flood_free};

/// What must become of an event, if anything must.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Must {
    /// A robot's: every line of it is dropped.
    BeDroppedAsBot,
    /// No window of it is too full and there is money for all that its advertiser could owe.
    BeCharged,
    /// No window of it is too full, but nobody would pay.
    BeRefusedAsUnknown,
    /// No window of it is too full; the account may be empty by then.
    BeDecided,
    /// An arrival order can decide it.
    Anything,
}

/// The input, seen by guid.
pub struct Expectation<'a> {
    /// The first line of each guid and the number of its repeats.
    pub guids: Vec<(&'a Event, usize)>,
    /// What must become of each.
    pub musts: Vec<Must>,
    /// Lines per window of the flood rule, robots left out.
    pub floods: HashMap<Key, usize>,
}

impl<'a> Expectation<'a> {
    /// Works out what the rules say about each guid.
    pub fn of(input: &'a Input) -> Self {
        let guids = input.first_lines();
        let floods = floods(input.events.iter().filter(|e| !e.is_bot));
        let people = guids.iter().map(|(event, _)| *event).filter(|e| !e.is_bot);
        let users = Users::of(people.clone());
        let covered = covered_advertisers(input, people);
        let must = |(event, _): &(&Event, usize)| {
            let innocent = |e| is_flood_free(floods[&flood_key(e)]) && users.is_within_limits(e);
            match event {
                e if e.is_bot => Must::BeDroppedAsBot,
                e if e.nanos.is_none() || !innocent(e) => Must::Anything,
                e if !input.accounts.contains_key(&e.advertiser) => Must::BeRefusedAsUnknown,
                e if covered[&e.advertiser] => Must::BeCharged,
                _ => Must::BeDecided,
            }
        };
        let musts = guids.iter().map(must).collect();
        Self { guids, musts, floods }
    }

    /// Advertisers of whom every event's outcome is certain, and what they pay.
    pub fn uncontested(&self) -> HashMap<u64, i128> {
        let mut sums: HashMap<u64, Option<i128>> = HashMap::new();
        for ((event, _), must) in self.guids.iter().zip(&self.musts) {
            let sum = sums.entry(event.advertiser).or_insert(Some(0));
            *sum = match must {
                Must::BeDroppedAsBot => *sum,
                Must::BeCharged => sum.map(|sum| sum + event.nanos.unwrap()),
                _ => None,
            };
        }
        let certain = sums.into_iter().filter_map(|(id, sum)| Some((id, sum?)));
        certain.collect()
    }
}

/// Whether each advertiser could pay for everything, on each day.
fn covered_advertisers<'a>(input: &Input, people: impl Iterator<Item = &'a Event>) -> HashMap<u64, bool> {
    let mut by_day: HashMap<(u64, i64), i128> = HashMap::new();
    let mut in_all: HashMap<u64, i128> = HashMap::new();
    for event in people {
        let nanos = event.nanos.unwrap_or(0);
        *in_all.entry(event.advertiser).or_default() += nanos;
        let day = (event.advertiser, bucket(event.time_ms, DAY_MS));
        *by_day.entry(day).or_default() += nanos;
    }
    let mut covered = HashMap::new();
    for (advertiser, nanos) in in_all {
        let account = input.accounts.get(&advertiser);
        covered.insert(advertiser, account.is_some_and(|a| a.balance_nanos >= nanos));
    }
    for ((advertiser, _), nanos) in by_day {
        let account = input.accounts.get(&advertiser);
        if account.is_some_and(|a| a.daily_budget_nanos < nanos) {
            covered.insert(advertiser, false);
        }
    }
    covered
}
