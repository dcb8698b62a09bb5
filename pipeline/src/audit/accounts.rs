//! The balance of every account after every record of `charges`.

use super::report::Money;
use std::collections::{BTreeMap, HashMap};
use weir_operators::billing::{Due, Terms, model};
use weir_operators::deduct::{Account, Campaign, CampaignId};
use weir_proto::rpc::{self, command::Action};
use weir_proto::{Charge, Currency, EntryKind, Event, Nanos, Outcome, RefuseReason};

#[derive(Clone, Copy, Default)]
struct Chain {
    currency: Currency,
    opening: i128,
    deposited: i128,
    charged: i128,
    balance: i128,
    credit_line: i128,
}

/// Walks along the balances of one deduct task.
#[derive(Default)]
pub(super) struct Accounts {
    chains: HashMap<u64, Chain>,
    /// The campaigns that were set up, as far as prices depend on them.
    campaigns: HashMap<CampaignId, Terms>,
}

impl Accounts {
    /// Going on from the accounts and campaigns of a checkpoint.
    pub(super) fn from(
        accounts: impl IntoIterator<Item = (u64, Account)>,
        campaigns: impl IntoIterator<Item = (CampaignId, Campaign)>,
    ) -> Self {
        let chain = |a: Account| Chain {
            currency: a.currency,
            opening: a.balance,
            balance: a.balance,
            credit_line: a.credit_line,
            ..Chain::default()
        };
        Accounts {
            chains: accounts.into_iter().map(|(id, a)| (id, chain(a))).collect(),
            campaigns: campaigns.into_iter().map(|(id, c)| (id, c.terms)).collect(),
        }
    }

    /// A command was done; what it moved was told before.
    pub(super) fn done(&mut self, command: &rpc::Command) {
        let amount = |money: &Option<rpc::Money>| {
            money.as_ref().and_then(|m| m.read_in(Currency::default())).map(|m| m.0.0)
        };
        let chain = self.chains.entry(command.advertiser_id).or_default();
        match &command.action {
            Some(Action::Open(open)) => chain.credit_line = amount(&open.credit_line).unwrap_or(0),
            Some(Action::CreditLine(line)) => {
                chain.credit_line = line.read_in(Currency::default()).map_or(0, |m| m.0.0)
            }
            Some(Action::Campaign(campaign)) => {
                let terms = Terms {
                    price: amount(&campaign.price),
                    basis_points: campaign.basis_points,
                    price_cap: amount(&campaign.price_cap),
                    ..Terms::default()
                };
                self.campaigns.insert((command.advertiser_id, campaign.campaign_id), terms);
            }
            _ => {}
        }
    }

    /// An event was decided; what is wrong with that.
    pub(super) fn decided(&mut self, event: &Event<'_>, charge: &Charge<'_>) -> Result<(), String> {
        if charge.advertiser_id != event.advertiser_id() {
            return Err(format!("advertiser {} pays for another one's event", charge.advertiser_id));
        }
        let terms = self.campaigns.get(&(event.advertiser_id(), event.campaign_id()));
        let due = model(event.billing()).due(event, terms).map_err(|e| e.to_string())?;
        let capped = |price: Nanos| terms.map_or(price, |terms| terms.capped(price));
        let is_price = match due {
            Due::Price(price) | Due::Attributed(price) => charge.amount == capped(price),
            // What is given back of a sale depends on what was before.
            Due::GivenBack => charge.amount <= Nanos::ZERO,
            Due::Remembered | Due::Refused(_) => charge.amount == Nanos::ZERO,
            Due::Nothing => false,
        };
        if !is_price {
            return Err(format!("the amount {} is not the price of the event", charge.amount));
        }
        self.moved(charge)
    }

    /// Money was moved, or was not; what is wrong with that.
    pub(super) fn moved(&mut self, charge: &Charge<'_>) -> Result<(), String> {
        let id = charge.advertiser_id;
        if charge.kind == EntryKind::BroughtForward {
            let balance = charge.balance_after.0;
            let is_new = self
                .chains
                .insert(
                    id,
                    Chain { currency: charge.currency, opening: balance, balance, ..Chain::default() },
                )
                .is_none();
            let is_all = charge.taken().negated() == Ok(charge.balance_after);
            return match is_new && is_all {
                true => Ok(()),
                false => {
                    Err(format!("advertiser {id} has money already, to which a balance is brought forward"))
                }
            };
        }
        if charge.kind == EntryKind::Opening {
            self.chains.entry(id).or_default().currency = charge.currency;
        }
        let (chain, outcome) = match (self.chains.get_mut(&id), charge.outcome) {
            (None, Outcome::Refused(RefuseReason::UnknownAccount | RefuseReason::UnknownOrigin)) => {
                return Ok(());
            }
            (Some(_), Outcome::Refused(RefuseReason::UnknownAccount)) => {
                return Err(format!("advertiser {id} has an account here"));
            }
            (None, _) => return Err(format!("advertiser {id} has no account here")),
            (Some(chain), outcome) => (chain, outcome),
        };
        match charge.kind.is_revenue() {
            true => chain.charged = chain.charged.saturating_add(charge.taken().0),
            false => chain.deposited = chain.deposited.saturating_sub(charge.taken().0),
        }
        chain.balance = chain.balance.saturating_sub(charge.taken().0);
        let balance = Nanos(chain.balance);
        if charge.balance_after != balance {
            let after = charge.balance_after;
            return Err(format!("the balance after it is {after}; by the records before it is {balance}"));
        }
        if charge.taken().0 > 0 && balance.0 < chain.credit_line.saturating_neg() {
            return Err(format!("the balance {balance} is negative"));
        }
        if outcome == Outcome::Refused(RefuseReason::InsufficientBalance) && charge.amount <= balance {
            return Err(format!("it is refused although the balance {balance} pays for {}", charge.amount));
        }
        Ok(())
    }

    /// What the store of the task says otherwise, account by account.
    pub(super) fn compare(&self, store: impl IntoIterator<Item = (u64, Account)>) -> Option<String> {
        let store: HashMap<u64, Account> = store.into_iter().collect();
        let mut ids: Vec<_> = self.chains.keys().chain(store.keys()).copied().collect();
        ids.sort_unstable();
        ids.into_iter().find_map(|id| match (self.chains.get(&id), store.get(&id)) {
            (Some(chain), Some(account)) if chain.balance == account.balance => None,
            (Some(chain), Some(account)) => Some(format!(
                "advertiser {id} has the balance {} in the state of deduct, and {} by the records",
                Nanos(account.balance),
                Nanos(chain.balance)
            )),
            (None, _) => {
                Some(format!("the state of deduct has advertiser {id}, whose account was never opened"))
            }
            (_, None) => {
                Some(format!("the state of deduct has no account of advertiser {id}, which was opened"))
            }
        })
    }

    /// Adds all of it up.
    pub(super) fn add_to(&self, money: &mut BTreeMap<String, Money>) {
        for chain in self.chains.values() {
            money.entry(chain.currency.to_string()).or_default().add(&Money {
                accounts: 1,
                opening_nanos: Nanos(chain.opening),
                deposited_nanos: Nanos(chain.deposited),
                charged_nanos: Nanos(chain.charged),
                closing_nanos: Nanos(chain.balance),
            });
        }
    }

    /// How many accounts there are.
    pub(super) fn len(&self) -> u64 {
        self.chains.len() as u64
    }
}
