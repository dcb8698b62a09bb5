//! Accounts: a balance in one currency, and what limits what may be taken from it.

use serde::{Deserialize, Serialize};
use weir_proto::{Crossings, Currency, MoneyError, Nanos, Outcome, RefuseReason};

/// What was spent on days, as (days since the epoch, nanos).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent(Vec<(u32, i128)>);

impl Spent {
    /// On a day.
    pub fn on(&self, day: u32) -> Nanos {
        Nanos(self.0.iter().find(|(d, _)| *d == day).map_or(0, |(_, amount)| *amount))
    }

    /// Each day with what was spent on it.
    pub fn iter(&self) -> impl Iterator<Item = (u32, Nanos)> {
        self.0.iter().map(|(day, amount)| (*day, Nanos(*amount)))
    }

    /// Sets what was spent on a day.
    pub fn set(&mut self, day: u32, amount: Nanos) {
        match self.0.iter_mut().find(|(d, _)| *d == day) {
            Some((_, spent)) => *spent = amount.0,
            None => self.0.push((day, amount.0)),
        }
    }

    /// Lets go of earlier days.
    pub fn forget_before(&mut self, day: u32) {
        self.0.retain(|(d, _)| *d >= day);
    }
}

/// What an advertiser has. Amounts in nanos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// The only currency of all its amounts.
    pub currency: Currency,
    /// The IANA time zone of its days; UTC if empty.
    pub time_zone: String,
    /// Now.
    pub balance: i128,
    /// How far the balance may fall below zero.
    pub credit_line: i128,
    /// The most for each day.
    pub daily_budget: Option<i128>,
    /// Charged on each of the last days.
    pub spent: Spent,
    /// Nothing is charged.
    pub frozen: bool,
    /// What the account system could not collect.
    pub arrears: i128,
    /// Whether it has campaigns that were set up.
    pub has_campaigns: bool,
    told: Told,
}

/// What the advertiser was told, so that each crossing is told once.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Told {
    exhausted: bool,
    /// The days on which the budget was reached.
    budget: Vec<u32>,
    /// Thresholds, each with whether the balance was told to be at or below it.
    low: Vec<(i128, bool)>,
}

impl Account {
    /// A new account, without money yet.
    pub fn new(currency: Currency, time_zone: &str) -> Self {
        Account { currency, time_zone: time_zone.to_owned(), ..Account::default() }
    }

    /// Sets the thresholds of which the advertiser is told; those that lie above the balance already are
    /// not told of.
    pub fn tell_below(&mut self, thresholds: impl IntoIterator<Item = Nanos>) {
        self.told.low = thresholds.into_iter().map(|t| (t.0, self.balance <= t.0)).collect();
    }

    /// The thresholds of which the advertiser is told.
    pub fn thresholds(&self) -> impl Iterator<Item = Nanos> {
        self.told.low.iter().map(|(threshold, _)| Nanos(*threshold))
    }

    /// Whether an amount may be taken on a day. A balance never falls below the credit line.
    pub fn check(&self, amount: Nanos, day: u32) -> Result<Outcome, MoneyError> {
        if self.frozen {
            return Ok(Outcome::Refused(RefuseReason::Frozen));
        }
        if amount > Nanos(self.balance).checked_add(Nanos(self.credit_line))? {
            return Ok(Outcome::Refused(RefuseReason::InsufficientBalance));
        }
        let spent = self.spent.on(day).checked_add(amount)?;
        Ok(match self.daily_budget {
            Some(budget) if spent.0 > budget => Outcome::Refused(RefuseReason::DailyBudget),
            _ => Outcome::Charged,
        })
    }

    /// Takes an amount for a day, or refuses to; what is crossed with it.
    pub fn charge(&mut self, outcome: Outcome, amount: Nanos, day: u32) -> Result<Crossings, MoneyError> {
        match outcome {
            Outcome::Charged => {
                self.spent.set(day, self.spent.on(day).checked_add(amount)?);
                self.move_by(Nanos::ZERO.checked_sub(amount)?)
            }
            Outcome::Refused(RefuseReason::InsufficientBalance) => {
                let told = std::mem::replace(&mut self.told.exhausted, true);
                Ok(if told { Crossings::default() } else { Crossings::EXHAUSTED })
            }
            Outcome::Refused(RefuseReason::DailyBudget) if !self.told.budget.contains(&day) => {
                self.told.budget.push(day);
                Ok(Crossings::BUDGET_REACHED)
            }
            Outcome::Refused(_) => Ok(Crossings::default()),
        }
    }

    /// Puts an amount to the balance, or takes it if it is negative; what is crossed with it.
    pub fn move_by(&mut self, amount: Nanos) -> Result<Crossings, MoneyError> {
        self.balance = Nanos(self.balance).checked_add(amount)?.0;
        let mut crossings = Crossings::default();
        if amount.0 > 0 && self.told.exhausted {
            self.told.exhausted = false;
            crossings.add(Crossings::RESUMED);
        }
        for (threshold, told) in &mut self.told.low {
            let is_low = self.balance <= *threshold;
            if is_low && !*told {
                crossings.add(Crossings::LOW_BALANCE);
            }
            *told = is_low;
        }
        Ok(crossings)
    }

    /// Sets how far the balance may fall below zero; what is crossed with it.
    pub fn set_credit_line(&mut self, line: Nanos) -> Crossings {
        let is_raised = line.0 > std::mem::replace(&mut self.credit_line, line.0);
        match is_raised && std::mem::take(&mut self.told.exhausted) {
            true => Crossings::RESUMED,
            false => Crossings::default(),
        }
    }

    /// Sets the most for each day. What is crossed then is told, even on a day on which it was told before.
    pub fn set_daily_budget(&mut self, budget: Option<i128>) {
        self.daily_budget = budget;
        self.told.budget.clear();
    }

    /// Lets go of what belongs to earlier days.
    pub fn forget_before(&mut self, day: u32) {
        self.spent.forget_before(day);
        self.told.budget.retain(|d| *d >= day);
    }
}
