//! The statement of one advertiser: the daily books over a period, and the balances around it.
//!
//! All amounts are by the books of the published generation, which are a fold of its own outcomes. When
//! another generation is published, a statement over the same days may change; what was posted to
//! `adjustments` then says by how much, and is shown beside the books, not added to them.
//!
//! A day is one of the account's time zone, and an event belongs to the day on which it happened: one that
//! comes late still changes the statement of its day. The balance at the beginning of the period is what an
//! accounts file brought forward, if it did, and all that the days before moved.

use super::adjusted::{self, Adjusted};
use super::stores::Stores;
use super::totals::{Totals, totals};
use super::{BooksError, Day, Period};
use serde::Serialize;
use weir_operators::deduct::{self, Account};
use weir_operators::partition::by_advertiser;
use weir_operators::post_process::daily::{Row, RowKey, rows};
use weir_operators::post_process::{self, Entry};
use weir_proto::{Billing, Currency, Minute, MoneyError, Nanos, StageId, TaskId};

/// A statement.
#[derive(Clone, Debug, Serialize)]
pub struct Statement {
    /// Whose.
    pub advertiser_id: u64,
    /// Over which days.
    #[serde(flatten)]
    pub period: Period,
    /// The newest tick that the books have seen.
    #[serde(serialize_with = "Minute::rfc3339")]
    pub as_of: Minute,
    /// Whether a job runs, so that what it has done lately may be missing.
    pub job_runs: bool,
    /// The books by day, campaign, kind and billing model.
    pub lines: Vec<Line>,
    /// Their sums in each currency.
    pub totals: Vec<Totals>,
    /// The account's money; none if there is no account.
    pub balance: Option<Balance>,
    /// What was posted in the period for earlier statements; it is contained in the books.
    pub adjustments: Vec<Adjusted>,
}

/// A row of the books.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// The day, in the time zone of the account.
    pub day: Day,
    /// The campaign; 0 if none.
    pub campaign_id: u64,
    /// What of.
    pub kind: &'static str,
    /// How it was priced, if it was.
    pub billing: Option<&'static str>,
    /// How many were charged or carried out.
    pub count: u64,
    /// What they took from the balance; negative if they put to it.
    pub amount_nanos: Nanos,
    /// How many were refused.
    pub refused_count: u64,
    /// What these asked for in vain.
    pub refused_amount_nanos: Nanos,
    /// Of both amounts.
    pub currency: Currency,
}

impl Line {
    fn of((key, row): &(RowKey, Row)) -> Self {
        Line {
            day: Day(key.day),
            campaign_id: key.campaign_id,
            kind: key.kind.name(),
            billing: key.billing.map(Billing::name),
            count: row.count,
            amount_nanos: Nanos(row.amount),
            refused_count: row.refused_count,
            refused_amount_nanos: Nanos(row.refused_amount),
            currency: key.currency,
        }
    }
}

/// An account's money around a period, and now.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Balance {
    /// Of all of it.
    pub currency: Currency,
    /// At the beginning of the first day.
    pub opening_nanos: Nanos,
    /// At the end of the last day.
    pub closing_nanos: Nanos,
    /// Now, by the account itself.
    pub now_nanos: Nanos,
    /// The balance now less that by the books up to now: what is on its way between the two.
    pub on_its_way_nanos: Nanos,
}

impl Balance {
    fn of(
        account: &Account,
        entry: &Entry,
        all: &[(RowKey, Row)],
        period: &Period,
    ) -> Result<Self, MoneyError> {
        let own = |at: &dyn Fn(u32) -> bool| {
            let rows = all.iter().filter(|(key, _)| key.currency == entry.currency && at(key.day));
            rows.map(|(_, row)| Nanos(row.amount)).try_fold(Nanos::ZERO, Nanos::checked_add)
        };
        let days = period.days();
        let brought = Nanos(entry.opened);
        let by_books = brought.checked_sub(own(&|_| true)?)?;
        Ok(Balance {
            currency: entry.currency,
            opening_nanos: brought.checked_sub(own(&|day| day < *days.start())?)?,
            closing_nanos: brought.checked_sub(own(&|day| day <= *days.end())?)?,
            now_nanos: Nanos(account.balance),
            on_its_way_nanos: Nanos(account.balance).checked_sub(by_books)?,
        })
    }
}

/// Makes the statement of an advertiser.
pub fn statement(stores: &Stores, advertiser_id: u64, period: Period) -> Result<Statement, BooksError> {
    let partition = by_advertiser(advertiser_id, stores.dir().partitions());
    let task = |stage| TaskId { stage, partition: partition as u16 };
    let (all, entry, as_of) = match stores.of(task(StageId::PostProcess))? {
        None => Default::default(),
        Some((store, meta)) => (
            rows(&store, Some(advertiser_id), &Period::default().days())?,
            post_process::ledger(&store)?.remove(&advertiser_id),
            meta.last_tick,
        ),
    };
    let account = match stores.of(task(StageId::Deduct))? {
        Some((store, _)) => deduct::accounts(&store)?.remove(&advertiser_id),
        None => None,
    };
    if account.is_none() && entry.is_none() {
        return Err(BooksError::Unknown(advertiser_id));
    }
    let entry = entry.unwrap_or_default();
    let balance = account.map(|account| Balance::of(&account, &entry, &all, &period)).transpose()?;
    let shown: Vec<_> = all.into_iter().filter(|(key, _)| period.has(key.day)).collect();
    let log = stores.dir().topics();
    Ok(Statement {
        advertiser_id,
        period,
        as_of,
        job_runs: stores.dir().is_in_use(),
        lines: shown.iter().map(Line::of).collect(),
        totals: totals(&shown)?,
        balance,
        adjustments: adjusted::of(&log, stores.registry(), (partition, advertiser_id), &period)?,
    })
}
