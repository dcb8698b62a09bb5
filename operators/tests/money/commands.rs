//! What the ledger makes of a command.

use crate::answers::{read, said};
use crate::ledger::{Account, Answered, Ledger, nanos};
use crate::machine::Output;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Money, Original};
use weir_proto::{Charge, EntryKind, Outcome, RefuseReason};

/// The entry that a command gives rise to, if it moves money or tells of arrears.
type Expected = Result<Option<(EntryKind, i128)>, RefuseReason>;

impl Ledger {
    pub fn command(&mut self, command: &rpc::Command, outputs: &[Output]) {
        let (answer, charge) = read(outputs);
        let id = (command.advertiser_id, command.key.clone());
        assert_eq!((answer.advertiser_id, answer.key, answer.time_ms), (id.0, &*id.1, command.time_ms));
        let answered: Answered =
            (answer.outcome, answer.amount.0, answer.balance_after.0, answer.currency.to_string());
        let said = said(command);
        assert_eq!(answer.is_repeated, self.answers.contains_key(&id), "{command:?}");
        if let Some((before, first)) = self.answers.get(&id) {
            assert!(charge.is_none(), "a repeated command moved money: {command:?}");
            match *before == said {
                true => assert_eq!(answered, *first, "the same answer: {command:?}"),
                false => assert_eq!(answer.outcome, Outcome::Refused(RefuseReason::OtherContent)),
            }
            return;
        }
        let expected = self.expect(command);
        match expected {
            Err(reason) => {
                assert_eq!(answer.outcome, Outcome::Refused(reason), "{command:?}");
                assert!(charge.is_none(), "{charge:?}");
            }
            Ok(entry) => {
                assert_eq!(answer.outcome, Outcome::Charged, "{command:?}");
                assert_eq!(charge.map(|c| (c.kind, c.amount.0)), entry, "{command:?}");
                self.apply(command, charge.as_ref());
            }
        }
        assert_eq!(answer.amount.0, charge.map_or(0, |c| c.amount.0));
        let account = self.accounts.get(&command.advertiser_id);
        assert_eq!(answer.balance_after.0, account.map_or(0, |a| a.balance));
        self.answers.insert(id, (said, answered));
    }

    fn expect(&self, command: &rpc::Command) -> Expected {
        let action = command.action.as_ref().unwrap();
        let account = self.accounts.get(&command.advertiser_id);
        let code = |m: &Money| m.currency_code.clone();
        if let Action::Open(open) = action {
            let balance = open.balance.as_ref().unwrap();
            let limits = open.daily_budget.iter().chain(&open.credit_line).chain(&open.low_balance);
            return match account {
                Some(_) => Err(RefuseReason::AccountExists),
                None if limits.map(code).any(|c| c != code(balance)) => Err(RefuseReason::OtherCurrency),
                None if open.brought_forward => Ok(Some((EntryKind::BroughtForward, -nanos(balance)))),
                None => Ok(Some((EntryKind::Opening, -nanos(balance)))),
            };
        }
        let account = account.ok_or(RefuseReason::UnknownAccount)?;
        let own = |all: Vec<&Money>| match all.into_iter().all(|m| code(m) == account.currency) {
            true => Ok(None),
            false => Err(RefuseReason::OtherCurrency),
        };
        match action {
            Action::TopUp(m) | Action::Withdraw(m) => {
                own(vec![m])?;
                let is_top_up = matches!(action, Action::TopUp(_));
                match nanos(m) {
                    ..=0 => Err(RefuseReason::OtherAmount),
                    n if is_top_up => Ok(Some((EntryKind::TopUp, -n))),
                    n if n > account.balance => Err(RefuseReason::InsufficientBalance),
                    n => Ok(Some((EntryKind::Withdrawal, n))),
                }
            }
            Action::CreditLine(m) => match own(vec![m])? {
                None if account.balance < -nanos(m) => Err(RefuseReason::InsufficientBalance),
                None if account.told.exhausted && nanos(m) > account.credit_line => {
                    Ok(Some((EntryKind::CreditLine, 0)))
                }
                moved => Ok(moved),
            },
            Action::Budget(b) => own(b.daily_budget.iter().chain(&b.low_balance).collect()),
            Action::Campaign(c) => own([&c.price, &c.price_cap, &c.daily_budget, &c.total_budget]
                .into_iter()
                .flatten()
                .collect()),
            Action::Refund(r) => {
                let amount = self.past(command.advertiser_id, r.original.as_ref())?;
                own(r.amount.iter().collect())?;
                let asked = r.amount.as_ref().map(nanos);
                self.give_back(command.advertiser_id, EntryKind::Refund, r.original.as_ref(), amount, asked)
            }
            Action::Reply(r) => {
                let amount = self.past(command.advertiser_id, r.original.as_ref())?;
                let is_same = i128::from(r.amount) * 10_i128.pow(18 - r.scale) == amount * 10_i128.pow(9)
                    && r.currency_code == account.currency;
                let charged = &self.charged[&id_of(command.advertiser_id, r.original.as_ref())];
                match r.status {
                    _ if !is_same => Err(RefuseReason::OtherAmount),
                    2 if charged.in_arrears || charged.refunded.is_some() => Ok(None),
                    2 => Ok(Some((EntryKind::Arrears, 0))),
                    4 => self.give_back(
                        command.advertiser_id,
                        EntryKind::Reversal,
                        r.original.as_ref(),
                        amount,
                        None,
                    ),
                    _ => Ok(None),
                }
            }
            _ => Ok(None),
        }
    }

    fn past(&self, advertiser: u64, original: Option<&Original>) -> Result<i128, RefuseReason> {
        original.ok_or(RefuseReason::UnknownGuid)?;
        match self.charged[&id_of(advertiser, original)].amount {
            ..=0 => Err(RefuseReason::NotCharged),
            amount => Ok(amount),
        }
    }

    fn give_back(
        &self,
        advertiser: u64,
        kind: EntryKind,
        original: Option<&Original>,
        amount: i128,
        asked: Option<i128>,
    ) -> Expected {
        let charged = &self.charged[&id_of(advertiser, original)];
        let left = amount - charged.reversed;
        match asked.unwrap_or(left) {
            _ if charged.refunded.is_some() => Err(RefuseReason::AlreadyRefunded),
            asked if asked <= 0 || asked > left => Err(RefuseReason::AboveOriginal),
            asked => Ok(Some((kind, -asked))),
        }
    }

    fn apply(&mut self, command: &rpc::Command, charge: Option<&Charge<'_>>) {
        let advertiser = command.advertiser_id;
        if let Some(Action::Open(open)) = &command.action {
            let account = Account {
                currency: open.balance.as_ref().unwrap().currency_code.clone(),
                zone: open.time_zone.clone(),
                credit_line: open.credit_line.as_ref().map_or(0, nanos),
                daily_budget: open.daily_budget.as_ref().map(nanos),
                ..Account::default()
            };
            self.accounts.insert(advertiser, account);
        }
        if let Some(charge) = charge {
            self.book(charge);
        }
        let account = self.accounts.get_mut(&advertiser).unwrap();
        let low = |all: &[Money], balance| all.iter().map(|m| (nanos(m), balance <= nanos(m))).collect();
        match command.action.as_ref().unwrap() {
            Action::Open(open) => account.told.low = low(&open.low_balance, account.balance),
            Action::Budget(b) => {
                account.daily_budget = b.daily_budget.as_ref().map(nanos);
                account.told.budget.clear();
                account.told.low = low(&b.low_balance, account.balance);
            }
            Action::CreditLine(m) => account.credit_line = nanos(m),
            Action::Freeze(f) => account.frozen = f.frozen,
            Action::Campaign(c) => self.set_campaign(advertiser, c),
            Action::Refund(r) => self.gave_back(advertiser, r.original.as_ref(), charge),
            Action::Reply(r) if r.status == 1 => {
                let id = id_of(advertiser, r.original.as_ref());
                self.charged.get_mut(&id).unwrap().in_arrears = false;
            }
            Action::Reply(r) => self.gave_back(advertiser, r.original.as_ref(), charge),
            _ => {}
        }
    }

    fn gave_back(&mut self, advertiser: u64, original: Option<&Original>, charge: Option<&Charge<'_>>) {
        let charged = self.charged.get_mut(&id_of(advertiser, original)).unwrap();
        match charge.map(|c| (c.kind, -c.amount.0)) {
            Some((EntryKind::Arrears, _)) => charged.in_arrears = true,
            Some((_, amount)) => {
                assert!(charged.refunded.is_none() && amount + charged.reversed <= charged.amount);
                charged.refunded = Some(amount);
            }
            None => {}
        }
    }
}

fn id_of(advertiser: u64, original: Option<&Original>) -> (u64, String) {
    (advertiser, original.unwrap().guid.clone())
}
