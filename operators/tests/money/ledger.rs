//! The ledger as an auditor would keep it: sums by what came out, and what they must not exceed.

use jiff::{Timestamp, civil::Date, tz::TimeZone};
use std::collections::{BTreeMap, HashMap, HashSet};
use weir_proto::{Charge, Crossings, EntryKind, Minute, Outcome, RefuseReason, rpc};

/// What one account was told of; thresholds each with whether the balance is at or below it.
#[derive(Default)]
pub struct Told {
    pub exhausted: bool,
    pub budget: HashSet<i64>,
    pub low: Vec<(i128, bool)>,
}

#[derive(Default)]
pub struct Account {
    pub currency: String,
    pub zone: String,
    pub balance: i128,
    pub credit_line: i128,
    pub daily_budget: Option<i128>,
    pub frozen: bool,
    pub told: Told,
    /// Conservation: opening and deposits, given back, withdrawn, charged.
    pub came_in: i128,
    pub given_back: i128,
    pub withdrawn: i128,
    pub charged: i128,
}

/// An event or period that was charged.
#[derive(Clone, Debug)]
pub struct Charged {
    pub kind: EntryKind,
    pub amount: i128,
    pub time: u64,
    pub campaign: u64,
    pub sale_micros: u64,
    pub reversed_micros: u64,
    pub reversed: i128,
    /// Refunded, or reversed for the account system.
    pub refunded: Option<i128>,
    pub in_arrears: bool,
}

#[derive(Default)]
pub struct Contract {
    pub decided: u64,
    pub amount: i128,
    pub names: HashSet<String>,
    /// Decided, and their amounts, when its terms were set last.
    pub before: (u64, i128),
}

#[derive(Default)]
pub struct Ledger {
    pub now: Minute,
    pub accounts: BTreeMap<u64, Account>,
    pub campaigns: BTreeMap<(u64, u64), rpc::Campaign>,
    pub contracts: BTreeMap<(u64, u64, String, u64), Contract>,
    pub campaign_told: HashSet<(u64, u64, i64)>,
    pub decided: HashSet<(u64, String)>,
    pub charged: BTreeMap<(u64, String), Charged>,
    /// Clicks that actions may name, with campaign and time.
    pub clicks: BTreeMap<(u64, String), (u64, u64)>,
    pub spent: HashMap<(u64, u64, i64), i128>,
    pub spent_in_all: HashMap<(u64, u64), i128>,
    /// First answers by (advertiser, key), with the content.
    pub answers: HashMap<(u64, String), (rpc::Command, Answered)>,
    /// For each account what post-process ought to have: net of all charges, lost, refused.
    pub books: BTreeMap<u64, (i128, i128, u64)>,
}

/// Outcome, amount, balance, currency.
pub type Answered = (Outcome, i128, i128, String);

pub fn zone(name: &str) -> TimeZone {
    if name.is_empty() { TimeZone::UTC } else { TimeZone::get(name).unwrap() }
}

pub fn date(ms: u64, zone_name: &str) -> Date {
    Timestamp::from_millisecond(ms as i64).unwrap().to_zoned(zone(zone_name)).date()
}

/// The local day of a time, as a number.
pub fn day(ms: u64, zone_name: &str) -> i64 {
    let epoch = Date::constant(1970, 1, 1);
    i64::from(epoch.until(date(ms, zone_name)).unwrap().get_days())
}

pub fn nanos(money: &rpc::Money) -> i128 {
    i128::from(money.units) * 1_000_000_000 + i128::from(money.nanos)
}

impl Ledger {
    /// What the account system could not collect, and nobody gave back since.
    pub fn arrears(&self, advertiser: u64) -> i128 {
        let own = self.charged.iter().filter(|((id, _), c)| *id == advertiser && c.in_arrears);
        own.map(|(_, c)| c.amount - c.reversed - c.refunded.unwrap_or(0)).sum()
    }

    /// What may be taken at a time: of the balance, or of the day's budget.
    pub fn left(&self, advertiser: u64, time: u64, of_balance: bool) -> i128 {
        let Some(a) = self.accounts.get(&advertiser) else { return 0 };
        let spent = self.spent.get(&(advertiser, 0, day(time, &a.zone))).copied().unwrap_or(0);
        if of_balance { a.balance + a.credit_line } else { a.daily_budget.unwrap_or(0) - spent }
    }

    /// Why an amount may not be taken, all that apply.
    pub fn speaks_against(&self, c: &Charge<'_>) -> Vec<RefuseReason> {
        let Some(a) = self.accounts.get(&c.advertiser_id) else { return vec![RefuseReason::UnknownAccount] };
        let (amount, mut why) = (c.amount.0, Vec::new());
        let day = day(c.event_time_ms, &a.zone);
        let spent = |campaign| self.spent.get(&(c.advertiser_id, campaign, day)).copied().unwrap_or(0);
        let mut say = |is_so: bool, reason| why.extend(is_so.then_some(reason));
        say(a.frozen, RefuseReason::Frozen);
        say(a.balance - amount < -a.credit_line, RefuseReason::InsufficientBalance);
        say(a.daily_budget.is_some_and(|b| spent(0) + amount > b), RefuseReason::DailyBudget);
        if let Some(terms) = self.campaigns.get(&(c.advertiser_id, c.campaign_id)) {
            let all = self.spent_in_all.get(&(c.advertiser_id, c.campaign_id)).copied().unwrap_or(0);
            let above = |budget: &Option<rpc::Money>, spent| {
                budget.as_ref().is_some_and(|b| spent + amount > nanos(b))
            };
            let campaign_spent = spent(c.campaign_id);
            say(above(&terms.daily_budget, campaign_spent), RefuseReason::CampaignDailyBudget);
            say(above(&terms.total_budget, all), RefuseReason::CampaignTotalBudget);
        }
        why
    }

    /// Books an outcome, and checks what holds for every one.
    pub fn book(&mut self, c: &Charge<'_>) {
        let entry = self.books.entry(c.advertiser_id).or_default();
        match c.outcome {
            Outcome::Charged => entry.0 += c.amount.0,
            Outcome::Refused(_) => (entry.1, entry.2) = (entry.1 + c.amount.0, entry.2 + 1),
        }
        let Some(a) = self.accounts.get_mut(&c.advertiser_id) else {
            assert!(c.outcome != Outcome::Charged && c.balance_after.0 == 0, "{c:?}");
            return;
        };
        assert_eq!(c.currency.to_string(), a.currency, "{c:?}");
        let (day, amount) = (day(c.event_time_ms, &a.zone), c.taken().0);
        assert_eq!(i64::from(c.day()), day, "the account's day of {c:?}");
        match c.kind {
            EntryKind::BroughtForward | EntryKind::Opening | EntryKind::TopUp => a.came_in -= amount,
            EntryKind::Withdrawal => a.withdrawn += amount,
            EntryKind::SaleReversal | EntryKind::Refund | EntryKind::Reversal => a.given_back -= amount,
            EntryKind::Arrears | EntryKind::CreditLine => assert_eq!(amount, 0),
            _ => a.charged += amount,
        }
        let before = std::mem::replace(&mut a.balance, c.balance_after.0);
        assert_eq!(a.balance, a.came_in + a.given_back - a.withdrawn - a.charged, "conservation: {c:?}");
        assert_eq!(a.balance, before - amount, "only this moved: {c:?}");
        let takes = c.kind.is_event() || c.kind == EntryKind::Period;
        if takes && c.outcome == Outcome::Charged && c.kind != EntryKind::SaleReversal {
            assert!(amount >= 0 && a.balance >= -a.credit_line, "below the credit line: {c:?}");
            let id = (c.advertiser_id, c.campaign_id);
            *self.spent.entry((id.0, 0, day)).or_default() += amount;
            if c.campaign_id != 0 && self.campaigns.contains_key(&id) {
                *self.spent.entry((id.0, id.1, day)).or_default() += amount;
                *self.spent_in_all.entry(id).or_default() += amount;
            }
        }
        self.check_crossings(c, before, day);
    }

    fn check_crossings(&mut self, c: &Charge<'_>, before: i128, day: i64) {
        let a = self.accounts.get_mut(&c.advertiser_id).unwrap();
        let mut expected = Crossings::default();
        let is_more = a.balance > before || c.kind == EntryKind::CreditLine;
        if is_more && std::mem::take(&mut a.told.exhausted) {
            expected.add(Crossings::RESUMED);
        }
        if c.outcome == Outcome::Charged {
            for (threshold, told) in &mut a.told.low {
                if a.balance <= *threshold && !*told {
                    expected.add(Crossings::LOW_BALANCE);
                }
                *told = a.balance <= *threshold;
            }
        }
        let campaign = |day| (c.advertiser_id, c.campaign_id, day);
        let told = match c.outcome {
            Outcome::Refused(RefuseReason::InsufficientBalance) => {
                (!std::mem::replace(&mut a.told.exhausted, true)).then_some(Crossings::EXHAUSTED)
            }
            Outcome::Refused(RefuseReason::DailyBudget) => {
                a.told.budget.insert(day).then_some(Crossings::BUDGET_REACHED)
            }
            Outcome::Refused(RefuseReason::CampaignDailyBudget) => {
                self.campaign_told.insert(campaign(day)).then_some(Crossings::CAMPAIGN_BUDGET_REACHED)
            }
            Outcome::Refused(RefuseReason::CampaignTotalBudget) => {
                self.campaign_told.insert(campaign(i64::MAX)).then_some(Crossings::CAMPAIGN_BUDGET_REACHED)
            }
            _ => (c.kind == EntryKind::Arrears).then_some(Crossings::ARREARS),
        };
        told.into_iter().for_each(|told| expected.add(told));
        assert_eq!(c.crossings, expected, "told once per crossing: {c:?}");
    }
}
