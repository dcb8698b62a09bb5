//! `weir account`.

use super::Failure;
use super::holdings::{list, show};
use super::session::books_of;
use super::submit::{Sending, amount, currency, money};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{AccountBudget, Freeze, Money, OpenAccount};
use weir_proto::{Currency, Nanos};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir account open 36 --balance 1000.00 --currency EUR --time-zone Europe/Berlin --daily-budget 50
  weir account top-up 36 250.00 --key invoice-4711     # the same again changes nothing
  weir account budget 36 --daily 80 --low-balance 100,20
  weir account freeze 36
  weir account show 36

Amounts are units of the account's currency with at most nine decimals. What is sent with the same key and
the same content twice is done once.")]
pub(super) enum AccountCommand {
    /// Open an account.
    Open(OpenArgs),
    /// Put money in.
    TopUp(AmountArgs),
    /// Take money out, never more than the balance.
    Withdraw(AmountArgs),
    /// Set how far the balance may fall below zero.
    CreditLine(AmountArgs),
    /// Have its events refused from now on.
    Freeze(OnlyArgs),
    /// Have its events charged again.
    Unfreeze(OnlyArgs),
    /// Set the budget of each day, and when the advertiser is told that the balance is low.
    Budget(BudgetArgs),
    /// Print an account.
    Show(ShowArgs),
    /// Print all accounts.
    List(ListArgs),
}

#[derive(Args)]
pub(super) struct OpenArgs {
    /// Whose account.
    advertiser: u64,
    /// The balance to begin with.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    balance: Nanos,
    /// Its currency, for good: a code of ISO 4217.
    #[arg(long, value_parser = currency)]
    currency: Currency,
    /// The time zone in which its days begin and end; UTC if not given.
    #[arg(long, value_name = "NAME", default_value = "")]
    time_zone: String,
    /// The most for each day; no limit if not given.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    daily_budget: Option<Nanos>,
    /// How far the balance may fall below zero.
    #[arg(long, value_parser = amount, value_name = "AMOUNT")]
    credit_line: Option<Nanos>,
    /// The advertiser is told when the balance comes to or below each of these.
    #[arg(long, value_parser = amount, value_name = "AMOUNT,…", value_delimiter = ',', allow_hyphen_values = true)]
    low_balance: Vec<Nanos>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Args)]
pub(super) struct AmountArgs {
    /// Whose account.
    advertiser: u64,
    /// How much.
    #[arg(value_parser = amount)]
    amount: Nanos,
    /// The currency; that of the account if not given.
    #[arg(long, value_parser = currency)]
    currency: Option<Currency>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Args)]
pub(super) struct OnlyArgs {
    /// Whose account.
    advertiser: u64,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Args)]
pub(super) struct BudgetArgs {
    /// Whose account.
    advertiser: u64,
    /// The most for each day.
    #[arg(long, value_parser = amount, value_name = "AMOUNT", required_unless_present = "none")]
    daily: Option<Nanos>,
    /// No limit for a day.
    #[arg(long, conflicts_with = "daily")]
    none: bool,
    /// The advertiser is told when the balance comes to or below each of these; never if not given.
    #[arg(long, value_parser = amount, value_name = "AMOUNT,…", value_delimiter = ',', allow_hyphen_values = true)]
    low_balance: Vec<Nanos>,
    /// The currency; that of the account if not given.
    #[arg(long, value_parser = currency)]
    currency: Option<Currency>,
    #[command(flatten)]
    sending: Sending,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// Whose account.
    advertiser: u64,
    #[command(flatten)]
    at: ListArgs,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn account(command: &AccountCommand) -> Result<(), Failure> {
    match command {
        AccountCommand::Open(args) => open(args),
        AccountCommand::TopUp(args) => move_money(args, Action::TopUp),
        AccountCommand::Withdraw(args) => move_money(args, Action::Withdraw),
        AccountCommand::CreditLine(args) => move_money(args, Action::CreditLine),
        AccountCommand::Freeze(args) => freeze(args, true),
        AccountCommand::Unfreeze(args) => freeze(args, false),
        AccountCommand::Budget(args) => budget(args),
        AccountCommand::Show(args) => show(&books_of(&args.at.data_dir)?, args.advertiser, args.at.json),
        AccountCommand::List(args) => list(&books_of(&args.data_dir)?, args.json),
    }
}

fn each(amounts: &[Nanos], currency: Option<Currency>) -> Result<Vec<Money>, Failure> {
    amounts.iter().map(|amount| money(*amount, currency)).collect()
}

fn open(args: &OpenArgs) -> Result<(), Failure> {
    let own = |amount: Nanos| money(amount, Some(args.currency));
    let open = OpenAccount {
        balance: Some(own(args.balance)?),
        time_zone: args.time_zone.clone(),
        daily_budget: args.daily_budget.map(own).transpose()?,
        credit_line: args.credit_line.map(own).transpose()?,
        low_balance: each(&args.low_balance, Some(args.currency))?,
        brought_forward: false,
    };
    args.sending.submit(args.advertiser, Action::Open(open))
}

fn move_money(args: &AmountArgs, action: fn(Money) -> Action) -> Result<(), Failure> {
    args.sending.submit(args.advertiser, action(money(args.amount, args.currency)?))
}

fn freeze(args: &OnlyArgs, frozen: bool) -> Result<(), Failure> {
    args.sending.submit(args.advertiser, Action::Freeze(Freeze { frozen }))
}

fn budget(args: &BudgetArgs) -> Result<(), Failure> {
    let budget = AccountBudget {
        daily_budget: args.daily.map(|amount| money(amount, args.currency)).transpose()?,
        low_balance: each(&args.low_balance, args.currency)?,
    };
    args.sending.submit(args.advertiser, Action::Budget(budget))
}
