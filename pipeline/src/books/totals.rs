//! The sums of a statement.

use serde::Serialize;
use std::collections::BTreeMap;
use weir_operators::post_process::daily::{Row, RowKey};
use weir_proto::{Currency, EntryKind, MoneyError, Nanos};

/// The sums of one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Which.
    pub currency: Currency,
    /// Paid in, an opening balance that came with a command included.
    pub deposits: Sum,
    /// Paid out.
    pub withdrawals: Sum,
    /// Charged for.
    pub charges: Sum,
    /// Given back of that: refunds and reversals.
    pub credits: Sum,
    /// Could not be charged, and is nobody's debt.
    pub refused: Sum,
}

/// How many, and how much; never negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Sum {
    /// How many.
    pub count: u64,
    /// How much.
    pub amount_nanos: Nanos,
}

impl Sum {
    fn add(&mut self, count: u64, amount: Nanos) -> Result<(), MoneyError> {
        self.count += count;
        self.amount_nanos = self.amount_nanos.checked_add(amount)?;
        Ok(())
    }
}

impl Totals {
    fn add(&mut self, kind: EntryKind, row: &Row) -> Result<(), MoneyError> {
        let (amount, given) = (Nanos(row.amount), Nanos::ZERO.checked_sub(Nanos(row.amount))?);
        match kind {
            EntryKind::Opening | EntryKind::TopUp => self.deposits.add(row.count, given)?,
            EntryKind::Withdrawal => self.withdrawals.add(row.count, amount)?,
            EntryKind::SaleReversal | EntryKind::Refund | EntryKind::Reversal => {
                self.credits.add(row.count, given)?;
            }
            EntryKind::Click
            | EntryKind::Impression
            | EntryKind::Action
            | EntryKind::Sale
            | EntryKind::Period => {
                self.charges.add(row.count, amount)?;
                self.refused.add(row.refused_count, Nanos(row.refused_amount))?;
            }
            // No money moves, or on no day.
            EntryKind::Arrears | EntryKind::CreditLine | EntryKind::BroughtForward => {}
        }
        Ok(())
    }
}

/// Adds rows up.
pub(super) fn totals(rows: &[(RowKey, Row)]) -> Result<Vec<Totals>, MoneyError> {
    let mut all: BTreeMap<Currency, Totals> = BTreeMap::new();
    for (key, row) in rows {
        let new = Totals { currency: key.currency, ..Totals::default() };
        all.entry(key.currency).or_insert(new).add(key.kind, row)?;
    }
    Ok(all.into_values().collect())
}
