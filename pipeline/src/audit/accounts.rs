//! The balance of every account after every record of `charges`.

use super::report::Money;
use std::collections::HashMap;
use weir_operators::deduct::{Account, price};
use weir_proto::{AccountOpen, Charge, Event, Nanos, Outcome, RefuseReason};

#[derive(Clone, Copy)]
struct Chain {
    opening: i128,
    charged: i128,
    balance: i128,
}

/// Walks along the balances of one deduct task.
#[derive(Default)]
pub(super) struct Accounts {
    chains: HashMap<u64, Chain>,
}

impl Accounts {
    /// Going on from the accounts of a checkpoint.
    pub(super) fn from(accounts: impl IntoIterator<Item = (u64, Account)>) -> Self {
        let chain = |a: Account| Chain { opening: a.balance, charged: 0, balance: a.balance };
        Accounts { chains: accounts.into_iter().map(|(id, a)| (id, chain(a))).collect() }
    }

    /// An account is opened; the same command again changes nothing.
    pub(super) fn open(&mut self, command: &AccountOpen) {
        let opening = command.balance.0;
        self.chains.entry(command.advertiser_id).or_insert(Chain { opening, charged: 0, balance: opening });
    }

    /// An event was decided; what is wrong with that.
    pub(super) fn decided(&mut self, event: &Event<'_>, charge: &Charge<'_>) -> Result<(), String> {
        if price(event) != Some(charge.amount) {
            return Err(format!("the amount {} is not the price of the event", charge.amount));
        }
        if charge.advertiser_id != event.advertiser_id() {
            return Err(format!("advertiser {} pays for another one's event", charge.advertiser_id));
        }
        let chain = self.chains.get_mut(&charge.advertiser_id);
        let (chain, reason) = match (chain, charge.outcome) {
            (None, Outcome::Refused(RefuseReason::UnknownAccount)) => return Ok(()),
            (Some(_), Outcome::Refused(RefuseReason::UnknownAccount)) => {
                return Err(format!("advertiser {} has an account here", charge.advertiser_id));
            }
            (None, _) => return Err(format!("advertiser {} has no account here", charge.advertiser_id)),
            (Some(chain), Outcome::Charged) => {
                chain.charged = chain.charged.saturating_add(charge.amount.0);
                chain.balance = chain.balance.saturating_sub(charge.amount.0);
                (chain, None)
            }
            (Some(chain), Outcome::Refused(reason)) => (chain, Some(reason)),
        };
        let balance = Nanos(chain.balance);
        if charge.balance_after != balance {
            let after = charge.balance_after;
            return Err(format!("the balance after it is {after}; by the records before it is {balance}"));
        }
        if balance.0 < 0 {
            return Err(format!("the balance {balance} is negative"));
        }
        if reason == Some(RefuseReason::InsufficientBalance) && charge.amount <= balance {
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
    pub(super) fn add_to(&self, money: &mut Money) {
        money.accounts += self.chains.len() as u64;
        for chain in self.chains.values() {
            money.opening_nanos.0 += chain.opening;
            money.charged_nanos.0 += chain.charged;
            money.closing_nanos.0 += chain.balance;
        }
    }

    /// How many accounts there are.
    pub(super) fn len(&self) -> u64 {
        self.chains.len() as u64
    }
}
