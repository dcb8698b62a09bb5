//! The money adds up: for each account opening + deposits + given back − charged − withdrawn = balance ≥ 0,
//! no budget is overspent, nothing is given back twice or without being asked for, and what deduct keeps says
//! the same.

use super::Records;
use crate::facts::Facts;
use crate::run::Broken;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::reply::Status;
use weir_proto::rpc::{self, Money};
use weir_proto::{Charge, EntryKind, Outcome, Record, StageId, Topic};
use weir_state::Store;

#[derive(Default)]
struct Books {
    balances: BTreeMap<u64, i128>,
    spent: BTreeMap<(u64, u32), i128>,
    /// Charged and given back of each event.
    charged: BTreeMap<(u64, String), (i128, i128)>,
    /// Charges that were refunded or reversed as a whole.
    closed: BTreeSet<(u64, String)>,
    keys: BTreeSet<(u64, String)>,
}

/// Checks the published line.
pub fn adds_up(world: &World, facts: &Facts, records: &Records) -> Result<(), Broken> {
    for task in world.dir.tasks_of(StageId::Deduct) {
        let mut books = Books::default();
        for partition in 0..world.dir.partitions() {
            for record in records.of(world, task, Topic::Charges, partition)? {
                if let Ok(Record::Charge(charge)) = Record::decode(&record.bytes) {
                    books.book(facts, &charge).map_err(|e| format!("{e}: {charge:?}"))?;
                }
            }
        }
        let published = world.registry.runs(world.registry.published(), StageId::Deduct);
        let store = world.dir.store(task.in_generation(published));
        let store = Store::open(&store, &world.stores).map_err(|e| e.to_string())?;
        for (id, account) in weir_operators::deduct::accounts(&store).map_err(|e| e.to_string())? {
            let sum = books.balances.get(&id).copied().unwrap_or(0);
            if account.balance != sum {
                return Err(format!("account {id} has {}, its charges say {sum}", account.balance));
            }
        }
    }
    Ok(())
}

fn nanos(money: Option<&Money>) -> Option<i128> {
    money.and_then(Money::read).map(|(nanos, _)| nanos.0)
}

/// What the command behind an entry allows to be moved into the balance.
fn allowed(kind: EntryKind, command: &rpc::Command) -> Option<i128> {
    match (kind, command.action.as_ref()?) {
        (EntryKind::Opening, Action::Open(open)) => nanos(open.balance.as_ref()),
        (EntryKind::TopUp, Action::TopUp(money)) => nanos(Some(money)),
        (EntryKind::Withdrawal, Action::Withdraw(money)) => nanos(Some(money)).map(|n| -n),
        (EntryKind::Refund, Action::Refund(refund)) => nanos(refund.original.as_ref()?.amount.as_ref()),
        (EntryKind::Reversal, Action::Reply(reply)) if reply.status() == Status::Reverse => {
            nanos(reply.original.as_ref()?.amount.as_ref())
        }
        (EntryKind::Arrears, Action::Reply(reply)) => {
            (reply.status() == Status::InsufficientFunds).then_some(0)
        }
        _ => None,
    }
}

impl Books {
    fn book(&mut self, facts: &Facts, c: &Charge<'_>) -> Result<(), String> {
        let known = self.balances.contains_key(&c.advertiser_id) || c.kind == EntryKind::Opening;
        let balance = self.balances.get(&c.advertiser_id).copied().unwrap_or(0) - c.taken().0;
        if !known && c.outcome == Outcome::Charged {
            return Err("charged without an account".to_owned());
        }
        if c.balance_after.0 != balance {
            return Err(format!("the balance should be {balance}"));
        }
        if known {
            self.balances.insert(c.advertiser_id, balance);
        }
        if c.outcome != Outcome::Charged {
            return Ok(());
        }
        let id = (c.advertiser_id, c.guid.to_string());
        match c.kind {
            EntryKind::SaleReversal => self.give_back(c, false),
            kind if kind.is_event() || kind == EntryKind::Period => self.take(facts, c, id),
            kind => {
                let command = facts.commands.get(&id).ok_or("no command asked for it")?;
                let most = allowed(kind, command).ok_or("its command did not ask for it")?;
                let moved = -c.amount.0;
                let is_back = matches!(kind, EntryKind::Refund | EntryKind::Reversal);
                let is_right = if is_back { (1..=most).contains(&moved) } else { moved == most };
                match (self.keys.insert(id), is_right) {
                    (false, _) => Err("a command moves money twice".to_owned()),
                    (_, false) => Err(format!("its command asked for {most}")),
                    _ if is_back => self.give_back(c, true),
                    _ => Ok(()),
                }
            }
        }
    }

    fn take(&mut self, facts: &Facts, c: &Charge<'_>, id: (u64, String)) -> Result<(), String> {
        if c.amount.0 < 0 || c.balance_after.0 < 0 {
            return Err("overspent".to_owned());
        }
        let spent = self.spent.entry((c.advertiser_id, c.day())).or_default();
        *spent += c.amount.0;
        let budgets = facts.commands.values().filter(|command| command.advertiser_id == c.advertiser_id);
        let budget = budgets.filter_map(|command| match &command.action {
            Some(Action::Open(open)) => nanos(open.daily_budget.as_ref()),
            _ => None,
        });
        if budget.max().is_some_and(|budget| *spent > budget) {
            return Err(format!("{spent} spent on that day is above the budget"));
        }
        match self.charged.insert(id, (c.amount.0, 0)) {
            Some(_) => Err("charged twice".to_owned()),
            None => Ok(()),
        }
    }

    fn give_back(&mut self, c: &Charge<'_>, closes: bool) -> Result<(), String> {
        let id = (c.advertiser_id, c.original.to_owned());
        let (charged, back) = self.charged.get_mut(&id).ok_or("given back and never charged")?;
        *back -= c.amount.0;
        if *back > *charged || c.amount.0 > 0 {
            return Err(format!("{back} is given back of {charged}"));
        }
        if self.closed.contains(&id) || closes && !self.closed.insert(id) {
            return Err("given back twice".to_owned());
        }
        Ok(())
    }
}
