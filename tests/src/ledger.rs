//! A second ledger: it repeats the movements of money in recorded order and doubts each of them.

use std::collections::{BTreeMap, HashMap};

use crate::input::{Account, Event, Input};
use crate::rules::{DAY_MS, bucket};
use crate::taps::{Charge, Nanos};

/// The accounts as they are after some charges.
pub struct Ledger<'a> {
    input: &'a Input,
    balances: BTreeMap<u64, i128>,
    spent: HashMap<(u64, i64), i128>,
}

impl<'a> Ledger<'a> {
    /// The accounts before the first charge.
    pub fn open(input: &'a Input) -> Self {
        let opening = |(id, account): (&u64, &Account)| (*id, account.balance_nanos);
        Self { input, balances: input.accounts.iter().map(opening).collect(), spent: HashMap::new() }
    }

    /// All balances together.
    pub fn total(&self) -> i128 {
        self.balances.values().sum()
    }

    /// Applies the next record of an advertiser; says what is wrong with it.
    pub fn apply(&mut self, charge: &Charge, event: &Event) -> Result<(), String> {
        let id = charge.advertiser_id;
        if id != event.advertiser || charge.event_time_ms != event.time_ms {
            return Err("it names another advertiser or time than the line".into());
        }
        let Some(price) = event.nanos else {
            return Err("it was never billable".into());
        };
        let Some(account) = self.input.accounts.get(&id) else {
            return unknown(charge);
        };
        let balance = self.balances.entry(id).or_default();
        let spent = self.spent.entry((id, bucket(event.time_ms, DAY_MS))).or_default();
        let too_poor = price > *balance;
        let over_budget = *spent + price > account.daily_budget_nanos;
        if charge.is_charged() {
            *balance -= charge.amount_nanos.0;
            *spent += charge.amount_nanos.0;
        }
        justified(charge, price, too_poor, over_budget)?;
        match charge.balance_after_nanos {
            Some(Nanos(after)) if after != *balance => Err(format!("the balance is {balance} by our ledger")),
            _ => Ok(()),
        }
    }
}

fn unknown(charge: &Charge) -> Result<(), String> {
    match (charge.outcome.as_str(), charge.reason.as_deref()) {
        ("refused", Some("unknown_account")) => Ok(()),
        _ => Err("there is no such account".into()),
    }
}

/// Whether the outcome is right for an account that is too poor, over its budget, or neither.
fn justified(charge: &Charge, price: i128, poor: bool, over_budget: bool) -> Result<(), String> {
    let wrong = match (charge.outcome.as_str(), charge.reason.as_deref()) {
        ("charged", _) if charge.amount_nanos != Nanos(price) => format!("the price is {price}"),
        ("charged", _) if charge.balance_after_nanos.is_none() => "it does not tell the balance".into(),
        ("charged", _) if poor => "the balance did not suffice".into(),
        ("charged", _) if over_budget => "the daily budget did not suffice".into(),
        ("charged", _) => return Ok(()),
        ("refused", Some("insufficient_balance")) if poor => return Ok(()),
        ("refused", Some("daily_budget")) if over_budget => return Ok(()),
        _ => "there was no such reason to refuse it".into(),
    };
    Err(wrong)
}
