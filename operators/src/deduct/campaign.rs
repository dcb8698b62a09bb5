//! Campaigns: what an advertiser agreed to for some of its ads, and what that has cost so far.

use super::account::Spent;
use crate::billing::{Contract, Model, Terms, model};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use weir_proto::{Billing, Crossings, Event, MoneyError, Nanos, Outcome, RefuseReason};

/// A campaign that was set up. Amounts in nanos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Campaign {
    /// What was agreed.
    pub terms: Terms,
    /// Charged so far.
    pub spent_in_all: i128,
    /// Charged on each of the last days.
    pub spent: Spent,
    /// The days on which its budget was reached; `u32::MAX` for that in all.
    told: Vec<u32>,
    accrual: Accrual,
    /// Of contracts that it was before, by model and start: one that is taken up again goes on.
    left: Vec<(Option<Billing>, u64, Accrual)>,
}

/// How far a contract by time has been charged.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Accrual {
    /// Periods decided, charged or refused.
    periods: u64,
    /// Their amounts together.
    amount: i128,
    /// Periods decided when the terms were set last.
    periods_before: u64,
    /// And their amounts.
    amount_before: i128,
}

/// A period that has ended.
pub struct Period {
    /// Counted from 0.
    pub number: u64,
    /// What is charged for it.
    pub amount: Nanos,
    /// Its last millisecond.
    pub end_ms: u64,
}

impl Campaign {
    /// Is from now on as these terms say. What is left of a contract is spread over the periods left; one
    /// with another start or model is another contract.
    pub fn set(&mut self, terms: Terms) {
        let (own, next) = ((self.terms.billing, self.terms.starts_ms), (terms.billing, terms.starts_ms));
        if next != own {
            let at = self.left.iter().position(|(billing, starts, _)| (*billing, *starts) == next);
            let taken_up = at.map(|at| self.left.swap_remove(at).2).unwrap_or_default();
            let before = std::mem::replace(&mut self.accrual, taken_up);
            if before.periods > 0 {
                self.left.push((own.0, own.1, before));
            }
        }
        self.terms = terms;
        self.accrual.periods_before = self.accrual.periods;
        self.accrual.amount_before = self.accrual.amount;
        self.told.clear();
    }

    /// Whether periods of this contract were decided before.
    pub fn has_begun(&self, terms: &Terms) -> bool {
        let is = |billing, starts| (billing, starts) == (terms.billing, terms.starts_ms);
        let own = is(self.terms.billing, self.terms.starts_ms) && self.accrual.periods > 0;
        own || self.left.iter().any(|(billing, starts, _)| is(*billing, *starts))
    }

    /// The billing model, if it charges by time.
    fn by_time(&self) -> Option<&'static dyn Model> {
        self.terms.billing.filter(|_| self.terms.is_by_time()).map(model)
    }

    /// Whether it may have periods that are not decided yet.
    pub fn accrues(&self) -> bool {
        self.by_time().is_some()
    }

    /// The next period that has ended by a time, if it is not decided yet.
    pub fn next_period(&self, zone: &TimeZone, now_ms: u64) -> Result<Option<Period>, MoneyError> {
        let contract = Contract { starts_ms: self.terms.starts_ms, ends_ms: self.terms.ends_ms, zone };
        let Some(model) = self.by_time() else { return Ok(None) };
        let done = &self.accrual;
        let Some((count, ended)) = model.periods(&contract, now_ms) else { return Ok(None) };
        let Some(end_ms) = model.end_of_period(&contract, done.periods).filter(|_| done.periods < ended)
        else {
            return Ok(None);
        };
        let left = Nanos(self.terms.price.unwrap_or(0)).checked_sub(Nanos(done.amount_before))?;
        let number = done.periods.checked_sub(done.periods_before).ok_or(MoneyError)?;
        let of = count.checked_sub(done.periods_before).ok_or(MoneyError)?;
        let amount = crate::billing::part(left.max(Nanos::ZERO), number, of)?;
        Ok(Some(Period { number: done.periods, amount, end_ms }))
    }

    /// A period was decided.
    pub fn accrue(&mut self, period: &Period) -> Result<(), MoneyError> {
        self.accrual.periods = period.number.checked_add(1).ok_or(MoneyError)?;
        self.accrual.amount = Nanos(self.accrual.amount).checked_add(period.amount)?.0;
        Ok(())
    }

    /// Whether its terms speak against an event, its price aside.
    pub fn refuses(&self, event: &Event<'_>) -> Option<RefuseReason> {
        let (time, terms) = (event.event_time_ms(), &self.terms);
        let is_running = time >= terms.starts_ms && (terms.ends_ms == 0 || time < terms.ends_ms);
        (!is_running).then_some(RefuseReason::CampaignNotRunning)
    }

    /// Whether its budgets allow an amount on a day.
    pub fn check(&self, amount: Nanos, day: u32) -> Result<Outcome, MoneyError> {
        let above = |spent: Nanos, budget: Option<i128>| -> Result<bool, MoneyError> {
            let spent = spent.checked_add(amount)?;
            Ok(budget.is_some_and(|budget| spent.0 > budget))
        };
        Ok(if above(self.spent.on(day), self.terms.daily_budget)? {
            Outcome::Refused(RefuseReason::CampaignDailyBudget)
        } else if above(Nanos(self.spent_in_all), self.terms.total_budget)? {
            Outcome::Refused(RefuseReason::CampaignTotalBudget)
        } else {
            Outcome::Charged
        })
    }

    /// Takes note of what was decided; what is crossed with it.
    pub fn charge(&mut self, outcome: Outcome, amount: Nanos, day: u32) -> Result<Crossings, MoneyError> {
        let told = match outcome {
            Outcome::Charged => {
                self.spent.set(day, self.spent.on(day).checked_add(amount)?);
                self.spent_in_all = Nanos(self.spent_in_all).checked_add(amount)?.0;
                return Ok(Crossings::default());
            }
            Outcome::Refused(RefuseReason::CampaignDailyBudget) => day,
            Outcome::Refused(RefuseReason::CampaignTotalBudget) => u32::MAX,
            Outcome::Refused(_) => return Ok(Crossings::default()),
        };
        if self.told.contains(&told) {
            return Ok(Crossings::default());
        }
        self.told.push(told);
        Ok(Crossings::CAMPAIGN_BUDGET_REACHED)
    }

    /// Lets go of what belongs to earlier days.
    pub fn forget_before(&mut self, day: u32) {
        self.spent.forget_before(day);
        self.told.retain(|d| *d >= day);
    }
}
