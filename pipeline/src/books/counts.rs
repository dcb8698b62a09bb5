//! Figures to compare: how many events were billed and for how much, by advertiser, campaign and day.

use super::stores::Stores;
use super::{BooksError, Day, Period};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use weir_operators::post_process::daily::{Row, RowKey, rows};
use weir_proto::{Currency, EntryKind, MoneyError, Nanos, StageId};

/// What a figure is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Key {
    /// Whose account.
    pub advertiser_id: u64,
    /// The campaign; 0 if none.
    pub campaign_id: u64,
    /// The day, in the time zone of the account.
    pub day: Day,
    /// What of; all that is billed if none is named.
    pub kind: Option<&'static str>,
}

/// How many, and for how much.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Figure {
    /// How many were billed.
    pub count: i64,
    /// For how much.
    pub amount_nanos: Nanos,
    /// Of the amount, where it is known.
    pub currency: Option<Currency>,
}

impl Figure {
    /// Adds another one.
    pub fn add(&mut self, count: i64, amount: Nanos) -> Result<(), MoneyError> {
        self.count = self.count.checked_add(count).ok_or(MoneyError)?;
        self.amount_nanos = self.amount_nanos.checked_add(amount)?;
        Ok(())
    }
}

/// Figures by what they are about.
pub type Figures = BTreeMap<Key, Figure>;

/// Which rows of the books are counted, and how finely.
#[derive(Clone, Debug, Default)]
pub struct Scope {
    /// Only these days.
    pub period: Period,
    /// Only these advertisers; all if there are none.
    pub advertisers: BTreeSet<u64>,
    /// Only these kinds, each by itself; everything that is billed, taken together, if there are none.
    pub kinds: BTreeSet<&'static str>,
}

impl Scope {
    /// Whether an advertiser's day is in it.
    pub fn has(&self, advertiser_id: u64, day: Day) -> bool {
        let is_named = self.advertisers.is_empty() || self.advertisers.contains(&advertiser_id);
        is_named && self.period.has(day.0)
    }

    /// Where a row counts, and as how many; what was given back lowers the amount and is no event.
    fn key(&self, key: &RowKey, row: &Row) -> Option<(Key, i64)> {
        let day = Day(key.day);
        let at = |kind| Key { advertiser_id: key.advertiser_id, campaign_id: key.campaign_id, day, kind };
        if !self.has(key.advertiser_id, day) {
            return None;
        }
        let count = i64::try_from(row.count).unwrap_or(i64::MAX);
        match self.kinds.is_empty() {
            false => self.kinds.contains(key.kind.name()).then_some((at(Some(key.kind.name())), count)),
            true if !key.kind.is_revenue() => None,
            true => Some((at(None), if is_credit(key.kind) { 0 } else { count })),
        }
    }
}

/// Whether it takes back what was billed.
fn is_credit(kind: EntryKind) -> bool {
    matches!(kind, EntryKind::SaleReversal | EntryKind::Refund | EntryKind::Reversal)
}

/// What the books say. Rows of which nothing was charged are no figures.
pub fn ours(stores: &Stores, scope: &Scope) -> Result<Figures, BooksError> {
    let mut figures = Figures::new();
    for found in stores.all(StageId::PostProcess) {
        let (store, _) = found?;
        let all = rows(&store, None, &scope.period.days())?;
        for (key, row) in all.iter().filter(|(_, row)| row.count > 0) {
            let Some((at, count)) = scope.key(key, row) else { continue };
            let figure = figures.entry(at).or_default();
            figure.add(count, Nanos(row.amount))?;
            figure.currency = Some(key.currency);
        }
    }
    Ok(figures)
}
