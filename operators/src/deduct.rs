//! Deduct: prices events, decides each (advertiser, guid) once, moves money.
//!
//! Checks, in this order: too late, not billable, decided before, unknown account, balance, budget
//! of the event's UTC day. A decision and its debit are one commit. Charges are whole or not at all,
//! and a balance is never negative.

use crate::outbox::Outbox;
use crate::partition;
use crate::rules::Rules;
use crate::{Operator, OperatorError, unexpected};
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use weir_proto::{
    AccountOpen, Billing, Charge, DropReason, Event, EventKind, Minute, MoneyError, Nanos, Outcome, Record,
    RefuseReason, StageId,
};
use weir_state::versioned::ById;
use weir_state::{Commit, Identity, IdentityTable, StateError, Store};

const DECIDED: u8 = 1;
const DECIDED_UNTIMED: u8 = 2;
/// Accounts by advertiser.
const ACCOUNTS: ById = ById { table: 3, version: 1, what: "an account" };

/// What an advertiser has, in nanos.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Account {
    /// At the opening.
    pub opening: i128,
    /// Now.
    pub balance: i128,
    /// The most for each UTC day of event time.
    pub daily_budget: i128,
    /// Charged on each of the last days, as (days since the epoch, amount).
    pub spent: Vec<(u32, i128)>,
}

impl Account {
    fn open(command: &AccountOpen) -> Self {
        Account {
            opening: command.balance.0,
            balance: command.balance.0,
            daily_budget: command.daily_budget.0,
            spent: Vec::new(),
        }
    }

    fn spent_on(&self, day: u32) -> i128 {
        self.spent.iter().find(|(d, _)| *d == day).map_or(0, |(_, amount)| *amount)
    }

    /// Takes an amount for a day, or says why not.
    pub fn charge(&mut self, amount: Nanos, day: u32) -> Result<Outcome, MoneyError> {
        let spent = Nanos(self.spent_on(day)).checked_add(amount)?;
        if amount.0 > self.balance {
            return Ok(Outcome::Refused(RefuseReason::InsufficientBalance));
        }
        if spent.0 > self.daily_budget {
            return Ok(Outcome::Refused(RefuseReason::DailyBudget));
        }
        self.balance = Nanos(self.balance).checked_sub(amount)?.0;
        match self.spent.iter_mut().find(|(d, _)| *d == day) {
            Some((_, amount)) => *amount = spent.0,
            None => self.spent.push((day, spent.0)),
        }
        Ok(Outcome::Charged)
    }

    fn forget_before(&mut self, day: u32) {
        self.spent.retain(|(d, _)| *d >= day);
    }
}

/// Every account of a deduct store.
pub fn accounts(store: &Store) -> Result<HashMap<u64, Account>, StateError> {
    ACCOUNTS.load(store)
}

/// What an event costs, or `None` if its billing model does not pay for it.
pub fn price(event: &Event<'_>) -> Option<Nanos> {
    match (event.billing(), event.kind()) {
        (Billing::Cpc, EventKind::Click) => Some(Nanos::from_micros(event.bid_micros())),
        (Billing::Cpm, EventKind::Impression) => Some(Nanos::per_mille_of_micros(event.bid_micros())),
        _ => None,
    }
}

/// The operator.
pub struct Deduct {
    rules: Arc<Rules>,
    now: Minute,
    decided: IdentityTable,
    accounts: HashMap<u64, Account>,
    touched: HashSet<u64>,
}

impl Deduct {
    /// Loads the operator's state.
    pub fn load(store: &Store, rules: Arc<Rules>, now: Minute) -> Result<Self, StateError> {
        let mut decided = IdentityTable::load(store, DECIDED, DECIDED_UNTIMED, rules.identities())?;
        decided.tick(now);
        Ok(Deduct { rules, now, decided, accounts: accounts(store)?, touched: HashSet::new() })
    }

    fn event(&mut self, store: &Store, event: Event<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        let minute = Minute::of_ms(event.event_time_ms());
        if minute < self.now.minus(self.rules.allowed_lateness) {
            out.drop_event(DropReason::TooLate, event);
            return Ok(());
        }
        let Some(amount) = price(&event) else {
            out.drop_event(DropReason::NotBillable, event);
            return Ok(());
        };
        let advertiser_id = event.advertiser_id();
        let id = Identity { advertiser_id, guid: event.guid(), minute };
        if self.decided.get(store, &id)?.is_some() {
            out.drop_event(DropReason::Duplicate, event);
            return Ok(());
        }
        let (outcome, balance) = match self.accounts.get_mut(&advertiser_id) {
            None => (Outcome::Refused(RefuseReason::UnknownAccount), Nanos::ZERO),
            Some(account) => {
                let outcome = account
                    .charge(amount, minute.day())
                    .map_err(|source| OperatorError::Money { advertiser_id, source })?;
                (outcome, Nanos(account.balance))
            }
        };
        self.decided.insert(store, &id, outcome.code())?;
        if outcome == Outcome::Charged {
            self.touched.insert(advertiser_id);
        }
        out.outcome(outcome);
        let (fixed, [guid, original]) = Charge::of(&event, outcome, amount, balance).encode();
        let to = partition::by_advertiser(advertiser_id, out.partitions());
        out.emit(to, &[&fixed, guid.as_bytes(), original.as_bytes()]);
        Ok(())
    }

    /// An account is opened once; the same command again changes nothing.
    fn open(&mut self, command: &AccountOpen) {
        if !self.accounts.contains_key(&command.advertiser_id) {
            self.accounts.insert(command.advertiser_id, Account::open(command));
            self.touched.insert(command.advertiser_id);
        }
    }
}

impl Operator for Deduct {
    fn fold(&mut self, store: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        match record {
            Record::Event(event) => self.event(store, event, out),
            Record::AccountOpen(command) => {
                self.open(&command);
                Ok(())
            }
            other => Err(unexpected(StageId::Deduct, &other)),
        }
    }

    fn tick(&mut self, _: &Store, now: Minute, _: &mut Outbox) -> Result<(), OperatorError> {
        let oldest = |m: Minute| m.minus(self.rules.allowed_lateness).day();
        if oldest(now) > oldest(self.now) {
            for (id, account) in &mut self.accounts {
                account.forget_before(oldest(now));
                self.touched.insert(*id);
            }
        }
        self.now = now;
        self.decided.tick(now);
        Ok(())
    }

    fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        for id in self.touched.drain() {
            if let Some(account) = self.accounts.get(&id) {
                ACCOUNTS.put(id, account, commit);
            }
        }
        self.decided.stage(store, commit)
    }
}
