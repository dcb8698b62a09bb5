//! Commands: each decided once, by its key. What it says of money is exact and in the account's currency,
//! or it is refused.

use super::account::Account;
use super::books::zone;
use super::rows::{FOR_EVER, Rows, RowsOf, key};
use super::{Deduct, OperatorError};
use crate::billing::Terms;
use crate::outbox::Outbox;
use serde::{Deserialize, Serialize};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Money};
use weir_proto::{Answer, Billing, Command, Currency, EntryKind, Minute, Nanos, Outcome, RefuseReason};
use weir_state::Store;
use xxhash_rust::xxh3::xxh3_128;

/// How long before it is set up a contract by time may have started, in minutes: it is charged at one tick.
const MOST_IN_ARREAR: u32 = 31 * 24 * 60;

const DECIDED: RowsOf = RowsOf { table: 5, version: 1, what: "a decided command" };

/// What was decided about a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decided {
    /// Of what whoever sent it said.
    content: u128,
    outcome: u8,
    amount: i128,
    balance: i128,
    currency: Currency,
}

/// Decided commands, by advertiser and key.
pub fn decided(now: Minute) -> Rows<Decided> {
    Rows::new(DECIDED, now)
}

/// What a command moves: what is taken from the balance, if it is done.
pub type Moved = Result<Nanos, RefuseReason>;

/// The amount of a command, if it is in the currency of the account.
pub fn amount_in(account: &Account, money: &Money) -> Moved {
    match money.read_in(account.currency) {
        Some((amount, currency)) if currency == account.currency => Ok(amount),
        _ => Err(RefuseReason::OtherCurrency),
    }
}

fn optional_amount(account: &Account, money: Option<&Money>) -> Result<Option<i128>, RefuseReason> {
    money.map(|money| amount_in(account, money).map(|amount| amount.0)).transpose()
}

/// What whoever sent a command said: not what the job added.
fn content_of(command: &rpc::Command) -> u128 {
    use prost::Message;
    let mut said = rpc::Command { time_ms: 0, ..command.clone() };
    match &mut said.action {
        Some(Action::Refund(refund)) => refund.original = None,
        Some(Action::Reply(reply)) => reply.original = None,
        _ => {}
    }
    xxh3_128(&said.encode_to_vec())
}

impl Deduct {
    /// Decides a command, or answers as before.
    pub(super) fn command(
        &mut self,
        store: &Store,
        command: Command<'_>,
        out: &mut Outbox,
    ) -> Result<(), OperatorError> {
        let command = command.read()?;
        let (content, row) = (content_of(&command), key(command.advertiser_id, command.key.as_bytes()));
        let (decided, is_repeated) = match self.commands.get(store, &row)? {
            Some(before) if before.content == content => (before, true),
            Some(before) => {
                let outcome = Outcome::Refused(RefuseReason::OtherContent).code();
                (Decided { outcome, amount: 0, ..before }, true)
            }
            None => {
                let moved = self.act(store, &command, out)?;
                let account = self.books.account(command.advertiser_id);
                let decided = Decided {
                    content,
                    outcome: moved.map_or_else(Outcome::Refused, |_| Outcome::Charged).code(),
                    amount: moved.map_or(0, |amount| amount.0),
                    balance: account.map_or(0, |a| a.balance),
                    currency: account.map_or_else(Currency::default, |a| a.currency),
                };
                self.commands.put(row, FOR_EVER, decided);
                (decided, false)
            }
        };
        let answer = Answer {
            key: &command.key,
            advertiser_id: command.advertiser_id,
            time_ms: command.time_ms,
            outcome: Outcome::from_code(decided.outcome).unwrap_or(Outcome::Charged),
            is_repeated,
            amount: Nanos(decided.amount),
            balance_after: Nanos(decided.balance),
            currency: decided.currency,
        };
        let (fixed, key) = answer.encode();
        out.answer(command.advertiser_id, &[&fixed, key.as_bytes()]);
        Ok(())
    }

    fn act(
        &mut self,
        store: &Store,
        command: &rpc::Command,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        let advertiser_id = command.advertiser_id;
        let Some(action) = &command.action else { return Ok(Ok(Nanos::ZERO)) };
        if let Action::Open(open) = action {
            return self.open_account(command, open, out);
        }
        let Some(account) = self.books.account_mut(advertiser_id) else {
            return Ok(Err(RefuseReason::UnknownAccount));
        };
        match action {
            Action::TopUp(money) => match amount_in(account, money) {
                Ok(amount) if amount.0 <= 0 => Ok(Err(RefuseReason::OtherAmount)),
                Ok(amount) => self.move_money(command, EntryKind::TopUp, amount, out),
                refused => Ok(refused),
            },
            Action::Withdraw(money) => match amount_in(account, money) {
                Ok(amount) if amount.0 <= 0 => Ok(Err(RefuseReason::OtherAmount)),
                Ok(amount) if amount.0 > account.balance => Ok(Err(RefuseReason::InsufficientBalance)),
                Ok(amount) => {
                    self.move_money(command, EntryKind::Withdrawal, negative(advertiser_id, amount)?, out)
                }
                refused => Ok(refused),
            },
            Action::Refund(refund) => self.refund(store, command, refund, out),
            Action::Reply(reply) => self.reply(store, command, reply, out),
            Action::Campaign(campaign) => Ok(self.set_campaign(advertiser_id, campaign)),
            Action::CreditLine(money) => match amount_in(account, money) {
                // No balance is below its credit line, ever.
                Ok(line) if account.balance < line.0.saturating_neg() => {
                    Ok(Err(RefuseReason::InsufficientBalance))
                }
                Ok(line) => {
                    let crossings = account.set_credit_line(line);
                    self.tell(command, EntryKind::CreditLine, crossings, out)
                }
                refused => Ok(refused),
            },
            Action::Freeze(freeze) => {
                account.frozen = freeze.frozen;
                Ok(Ok(Nanos::ZERO))
            }
            Action::Budget(budget) => Ok(set_budget(account, budget)),
            Action::Open(_) => Ok(Err(RefuseReason::AccountExists)),
        }
    }

    fn open_account(
        &mut self,
        command: &rpc::Command,
        open: &rpc::OpenAccount,
        out: &mut Outbox,
    ) -> Result<Moved, OperatorError> {
        if self.books.account(command.advertiser_id).is_some() {
            return Ok(Err(RefuseReason::AccountExists));
        }
        let Some((balance, currency)) = open.balance.as_ref().and_then(Money::read) else {
            return Ok(Err(RefuseReason::OtherCurrency));
        };
        let time_zone = if zone(&open.time_zone).is_some() { &open.time_zone } else { "" };
        let mut account = Account::new(currency, time_zone);
        let limits = optional_amount(&account, open.daily_budget.as_ref())
            .and_then(|budget| Ok((budget, optional_amount(&account, open.credit_line.as_ref())?)))
            .and_then(|limits| Ok((limits, amounts_in(&account, &open.low_balance)?)));
        let ((daily_budget, credit_line), thresholds) = match limits {
            Ok(limits) => limits,
            Err(reason) => return Ok(Err(reason)),
        };
        (account.daily_budget, account.credit_line) = (daily_budget, credit_line.unwrap_or(0));
        self.books.open(command.advertiser_id, account);
        let kind = if open.brought_forward { EntryKind::BroughtForward } else { EntryKind::Opening };
        let moved = self.move_money(command, kind, balance, out)?;
        if let Some(account) = self.books.account_mut(command.advertiser_id) {
            account.tell_below(thresholds);
        }
        Ok(moved)
    }

    fn set_campaign(&mut self, advertiser_id: u64, campaign: &rpc::Campaign) -> Moved {
        let Some(account) = self.books.account_mut(advertiser_id) else {
            return Err(RefuseReason::UnknownAccount);
        };
        let terms = Terms {
            billing: Billing::from_name(&campaign.billing),
            price: optional_amount(account, campaign.price.as_ref())?,
            basis_points: campaign.basis_points,
            price_cap: optional_amount(account, campaign.price_cap.as_ref())?,
            daily_budget: optional_amount(account, campaign.daily_budget.as_ref())?,
            total_budget: optional_amount(account, campaign.total_budget.as_ref())?,
            starts_ms: campaign.starts_ms,
            ends_ms: campaign.ends_ms,
            attribution_minutes: campaign.attribution_minutes,
        };
        let id = (advertiser_id, campaign.campaign_id);
        let is_late = terms.starts_ms < self.now.minus(MOST_IN_ARREAR).start_ms();
        if is_late && terms.is_by_time() && !self.books.campaign(id).is_some_and(|c| c.has_begun(&terms)) {
            return Err(RefuseReason::StartsInThePast);
        }
        self.books.set_up(id, terms);
        Ok(Nanos::ZERO)
    }
}

fn amounts_in(account: &Account, all: &[Money]) -> Result<Vec<Nanos>, RefuseReason> {
    all.iter().map(|money| amount_in(account, money)).collect()
}

fn set_budget(account: &mut Account, budget: &rpc::AccountBudget) -> Moved {
    let daily = optional_amount(account, budget.daily_budget.as_ref())?;
    let thresholds = amounts_in(account, &budget.low_balance)?;
    account.set_daily_budget(daily);
    account.tell_below(thresholds);
    Ok(Nanos::ZERO)
}

fn negative(advertiser_id: u64, amount: Nanos) -> Result<Nanos, OperatorError> {
    amount.negated().map_err(|source| OperatorError::Money { advertiser_id, source })
}
