//! Deduct: prices events, decides each (advertiser, guid) once, moves money, and decides commands.
//!
//! Checks of an event, in this order: too late, not billable, decided before, no account, what it comes
//! from and its campaign, frozen, balance, budget of the account's day, budgets of the campaign. A decision
//! and its debit are one commit. Charges are whole or not at all, and no balance falls below its credit line.
//! Contracts by time are charged at ticks, one period after the other.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::float_arithmetic))]

mod account;
mod books;
mod campaign;
mod commands;
mod giving_back;
mod origins;
mod rows;

pub use account::{Account, Spent};
pub use books::{CampaignId, campaigns, zone};
pub use campaign::Campaign;

use crate::billing::{Due, model};
use crate::outbox::Outbox;
use crate::rules::Rules;
use crate::{Operator, OperatorError, unexpected};
use books::{ACCOUNTS, Books};
use campaign::Period;
use commands::Decided;
use giving_back::GivenBack;
use hashbrown::HashMap;
use origins::Origins;
use rows::Rows;
use std::sync::Arc;
use weir_proto::{
    Billing, Charge, Crossings, Currency, DropReason, EntryKind, Event, EventKind, Guid, Minute, Nanos,
    Outcome, Record, RefuseReason, StageId,
};
#[cfg(feature = "sabotage")]
use weir_state::sabotage::{self, Sabotage};
use weir_state::{Commit, Identity, IdentityTable, StateError, Store};

const DECIDED: u8 = 1;
const DECIDED_UNTIMED: u8 = 2;

/// Every account of a deduct store.
pub fn accounts(store: &Store) -> Result<HashMap<u64, Account>, StateError> {
    ACCOUNTS.load(store)
}

/// The operator.
pub struct Deduct {
    rules: Arc<Rules>,
    now: Minute,
    decided: IdentityTable,
    books: Books,
    origins: Origins,
    commands: Rows<Decided>,
    given_back: Rows<GivenBack>,
}

impl Deduct {
    /// Loads the operator's state.
    pub fn load(store: &Store, rules: Arc<Rules>, now: Minute) -> Result<Self, StateError> {
        let mut decided = IdentityTable::load(store, DECIDED, DECIDED_UNTIMED, rules.identities())?;
        decided.tick(now);
        Ok(Deduct {
            rules,
            now,
            decided,
            books: Books::load(store)?,
            origins: Origins::new(now),
            commands: commands::decided(now),
            given_back: giving_back::given_back(now),
        })
    }

    fn event(&mut self, store: &Store, event: Event<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        let advertiser_id = event.advertiser_id();
        let minute = Minute::of_ms(event.event_time_ms());
        if minute < self.newest_minute().minus(self.rules.allowed_lateness) {
            out.drop_event(DropReason::TooLate, event);
            return Ok(());
        }
        let due = self.due(&event)?;
        if due == Due::Nothing {
            out.drop_event(DropReason::NotBillable, event);
            return Ok(());
        }
        let id = Identity { advertiser_id, guid: event.guid(), minute };
        if self.decided.get(store, &id)?.is_some() {
            out.drop_event(DropReason::Duplicate, event);
            return Ok(());
        }
        #[cfg(feature = "sabotage")]
        self.mark_early(store, &id)?;
        let outcome = self.decide(store, &event, due, out)?;
        self.decided.insert(store, &id, outcome.code())?;
        out.outcome(outcome);
        Ok(())
    }

    /// What time it is: that of the newest tick.
    fn newest_minute(&self) -> Minute {
        #[cfg(feature = "sabotage")]
        if sabotage::is(Sabotage::ClockInOperator) {
            return Minute::of_ms(sabotage::clock_ms());
        }
        self.now
    }

    #[cfg(feature = "sabotage")]
    fn mark_early(&mut self, store: &Store, id: &Identity<'_>) -> Result<(), StateError> {
        if !sabotage::is(Sabotage::MarkBeforeDebit) {
            return Ok(());
        }
        self.decided.insert(store, id, Outcome::Charged.code())?;
        let number = xxhash_rust::xxh3::xxh3_64(id.guid.to_string().as_bytes());
        let mut commit = Commit::new(number | 1 << 63);
        self.decided.stage(store, &mut commit)?;
        store.commit(commit, weir_state::Durability::FromLog)
    }

    /// What the event's billing model makes of it; another one than its campaign's does not pay for it.
    fn due(&self, event: &Event<'_>) -> Result<Due, OperatorError> {
        let advertiser_id = event.advertiser_id();
        let has_campaigns = self.books.account(advertiser_id).is_some_and(|a| a.has_campaigns);
        let campaign = self.books.campaign((advertiser_id, event.campaign_id())).filter(|_| has_campaigns);
        let terms = campaign.map(|c| &c.terms);
        // A reversal gives back what was charged by the terms of then.
        let agreed = terms.and_then(|t| t.billing).filter(|_| event.kind() != EventKind::SaleReversal);
        if agreed.is_some_and(|billing| billing != event.billing()) {
            return Ok(Due::Nothing);
        }
        let due = model(event.billing()).due(event, terms);
        let due = due.map_err(|source| OperatorError::Money { advertiser_id, source })?;
        let capped = |price: Nanos| terms.map_or(price, |terms| terms.capped(price));
        Ok(match due {
            Due::Price(price) => Due::Price(capped(price)),
            Due::Attributed(price) => Due::Attributed(capped(price)),
            other => other,
        })
    }

    /// Decides an event that was not decided before, and hands its outcome on.
    fn decide(
        &mut self,
        store: &Store,
        event: &Event<'_>,
        due: Due,
        out: &mut Outbox,
    ) -> Result<Outcome, OperatorError> {
        let advertiser_id = event.advertiser_id();
        let campaign = self.books.campaign((advertiser_id, event.campaign_id()));
        let account = self.books.account(advertiser_id);
        let is_other = |own: Currency| event.currency().is_some_and(|c| c != own);
        let is_foreign = account.is_some_and(|a| is_other(a.currency));
        let mut refused = match is_foreign {
            true => Some(RefuseReason::OtherCurrency),
            false => campaign.and_then(|c| c.refuses(event)),
        };
        let mut amount = Nanos::ZERO;
        match due {
            Due::Price(price) => amount = price,
            Due::Attributed(price) => {
                amount = price;
                let terms = campaign.map(|c| &c.terms);
                refused = match refused {
                    None => self.origins.refuses(store, event, terms)?,
                    reason => reason,
                };
            }
            Due::Refused(reason) => refused = Some(reason),
            Due::GivenBack => return self.give_back_sale(store, event, is_foreign, out),
            Due::Remembered | Due::Nothing => {}
        }
        let mut charge = Charge::of(event, Outcome::Charged, amount, Nanos::ZERO);
        let decided = self.books.charge(&mut charge, refused);
        decided.map_err(|source| OperatorError::Money { advertiser_id, source })?;
        if charge.outcome == Outcome::Charged {
            match event.kind() {
                EventKind::Click if due == Due::Remembered => self.origins.click(event),
                EventKind::Sale => self.origins.sold(event, amount),
                _ => {}
            }
        }
        out.charge(&charge);
        Ok(charge.outcome)
    }

    fn give_back_sale(
        &mut self,
        store: &Store,
        event: &Event<'_>,
        is_foreign: bool,
        out: &mut Outbox,
    ) -> Result<Outcome, OperatorError> {
        let charge = Charge::of(event, Outcome::Charged, Nanos::ZERO, Nanos::ZERO);
        let reversed = match is_foreign {
            true => Err(RefuseReason::OtherCurrency),
            false => self.reverse_sale(store, event, charge, out)?,
        };
        let reason = match reversed {
            Ok(_) => return Ok(Outcome::Charged),
            Err(reason) => reason,
        };
        let mut refused = Charge { outcome: Outcome::Refused(reason), ..charge };
        refused.utc_offset_minutes = self.books.utc_offset(event.advertiser_id(), event.event_time_ms());
        if let Some(account) = self.books.account(event.advertiser_id()) {
            (refused.balance_after, refused.currency) = (Nanos(account.balance), account.currency);
        }
        out.charge(&refused);
        Ok(refused.outcome)
    }

    /// Charges the periods of contracts that have ended.
    fn accrue(&mut self, store: &Store, now: Minute, out: &mut Outbox) -> Result<(), OperatorError> {
        for id in self.books.by_time() {
            let zone = self.books.zone_of(id.0);
            let money = |source| OperatorError::Money { advertiser_id: id.0, source };
            while let Some(campaign) = self.books.campaign(id) {
                let next = campaign.next_period(&zone, now.start_ms()).map_err(money)?;
                let Some((period, billing)) = next.zip(campaign.terms.billing) else { break };
                let name =
                    format!("{}/{}/{}/{}", billing.name(), id.1, campaign.terms.starts_ms, period.number);
                self.books.campaign_mut(id).accrue(&period).map_err(money)?;
                self.charge_period(store, id, billing, &period, &name, out)?;
            }
        }
        Ok(())
    }

    fn charge_period(
        &mut self,
        store: &Store,
        (advertiser_id, campaign_id): CampaignId,
        billing: Billing,
        period: &Period,
        name: &str,
        out: &mut Outbox,
    ) -> Result<(), OperatorError> {
        let (guid, minute) = (Guid::Text(name), Minute::of_ms(period.end_ms));
        let id = Identity { advertiser_id, guid, minute };
        if self.decided.get(store, &id)?.is_some() {
            return Ok(());
        }
        let mut charge = Charge {
            guid,
            outcome: Outcome::Charged,
            kind: EntryKind::Period,
            billing: Some(billing),
            event_time_ms: period.end_ms,
            ad_id: 0,
            campaign_id,
            advertiser_id,
            amount: period.amount,
            balance_after: Nanos::ZERO,
            crossings: Crossings::default(),
            currency: Currency::default(),
            utc_offset_minutes: 0,
            original: "",
        };
        let decided = self.books.charge(&mut charge, None);
        decided.map_err(|source| OperatorError::Money { advertiser_id, source })?;
        self.decided.insert(store, &id, charge.outcome.code())?;
        out.charge(&charge);
        Ok(())
    }
}

impl Operator for Deduct {
    fn fold(&mut self, store: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        match record {
            Record::Event(event) => self.event(store, event, out),
            Record::Command(command) => self.command(store, command, out),
            other => Err(unexpected(StageId::Deduct, &other)),
        }
    }

    fn tick(&mut self, store: &Store, now: Minute, out: &mut Outbox) -> Result<(), OperatorError> {
        // First: the periods of a tick that stands for days ask what was spent on each of them.
        self.accrue(store, now, out)?;
        let oldest = |m: Minute| m.minus(self.rules.allowed_lateness);
        if oldest(now).day() > oldest(self.now).day() {
            self.books.forget_before(oldest(now));
        }
        self.now = now;
        self.decided.tick(now);
        self.origins.tick(now);
        self.commands.tick(now);
        self.given_back.tick(now);
        Ok(())
    }

    fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        self.books.stage(commit);
        self.origins.stage(store, commit)?;
        self.commands.stage(store, commit)?;
        self.given_back.stage(store, commit)?;
        self.decided.stage(store, commit)
    }
}
