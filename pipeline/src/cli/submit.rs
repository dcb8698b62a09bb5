//! What the commands that change something have in common: how they are sent and how their answers are
//! told.

use super::Failure;
use super::output::line;
use super::session::Session;
use crate::data_dir::DataDir;
use crate::explain::refuse_rule;
use crate::source::collect::now_ms;
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{Command, Money, SubmitRequest, SubmitResponse};
use weir_proto::{AmountError, Command as Logged, Currency, Nanos, RefuseReason};

/// The outcome of what was done.
const DONE: &str = "charged";

#[derive(Args)]
pub(super) struct Sending {
    /// The key of the command: the same one with the same content again changes nothing. A new one if not
    /// given; it is printed, so that the command can be sent again.
    #[arg(long)]
    key: Option<String>,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    pub(super) data_dir: PathBuf,
    /// Print JSON.
    #[arg(long)]
    pub(super) json: bool,
}

impl Sending {
    /// The key, or a new one.
    pub(super) fn key(&self) -> Result<String, Failure> {
        self.key_or(new_key)
    }

    /// The key, or another one.
    pub(super) fn key_or(&self, other: impl FnOnce() -> Result<String, Failure>) -> Result<String, Failure> {
        self.key.clone().map_or_else(other, Ok)
    }

    /// Has one command decided and tells the answer.
    pub(super) fn submit(&self, advertiser_id: u64, action: Action) -> Result<(), Failure> {
        self.submit_as(self.key()?, advertiser_id, action)
    }

    /// The same, with a key.
    pub(super) fn submit_as(&self, key: String, advertiser_id: u64, action: Action) -> Result<(), Failure> {
        let dir = DataDir::open(&self.data_dir)?;
        let mut session = Session::open(&dir)?;
        if self.key.is_none() {
            eprintln!("The key of this command is {key}");
        }
        let command = Command { key: key.clone(), advertiser_id, time_ms: 0, action: Some(action) };
        let request = SubmitRequest { command: Some(command) };
        let response = session.ask(|mut client| async move { client.submit(request).await })?;
        session.close()?;
        tell(&key, &response, self.json)
    }
}

/// A key that nobody else has: a ULID.
pub(super) fn new_key() -> Result<String, Failure> {
    crate::ulid::new(now_ms()).map_err(|e| Failure::Said(format!("no random key: {e}"), 1))
}

/// The key of one of many: the same one whenever the same is asked for.
pub(super) fn key_of(key: &str, which: &str) -> String {
    let own = format!("{key}/{which}");
    match own.len() {
        0..=Logged::MAX_KEY => own,
        _ => blake3::hash(own.as_bytes()).to_hex().to_string(),
    }
}

/// An answer as it is printed.
#[derive(Debug, Serialize)]
pub(super) struct Told {
    /// The command's key.
    pub(super) key: String,
    /// `charged`, for everything that was done, or `refused`.
    pub(super) outcome: &'static str,
    /// Why it was refused.
    pub(super) reason: Option<String>,
    /// What was taken from the balance; negative if it was put to it.
    pub(super) amount_nanos: Nanos,
    /// The balance after it.
    pub(super) balance_after_nanos: Nanos,
    /// The currency of the account.
    pub(super) currency: Currency,
    /// It was answered before, and nothing was changed now.
    pub(super) repeated: bool,
}

impl Told {
    /// An answer as it came.
    pub(super) fn of(key: &str, response: &SubmitResponse) -> Result<Self, Failure> {
        let read = |money: &Option<Money>| {
            money.as_ref().and_then(Money::read).ok_or_else(|| {
                Failure::Said("the job's answer has an amount that cannot be read".to_owned(), 1)
            })
        };
        let ((amount, currency), (balance, _)) = (read(&response.amount)?, read(&response.balance_after)?);
        let is_done = response.outcome == DONE;
        Ok(Told {
            key: key.to_owned(),
            outcome: if is_done { "charged" } else { "refused" },
            reason: (!is_done).then(|| response.outcome.clone()),
            amount_nanos: amount,
            balance_after_nanos: balance,
            currency,
            repeated: response.repeated,
        })
    }

    /// Why it was refused, in a sentence.
    pub(super) fn refusal(&self) -> Option<String> {
        let name = self.reason.as_ref()?;
        let reason = RefuseReason::ALL.into_iter().find(|r| r.name() == name);
        let rule = reason.map_or_else(|| "by a rule of a newer version".to_owned(), refuse_rule);
        Some(format!("the command was refused ({name}): {rule}. Nothing was changed"))
    }
}

fn tell(key: &str, response: &SubmitResponse, json: bool) -> Result<(), Failure> {
    let told = Told::of(key, response)?;
    if json {
        line(&serde_json::to_string(&told)?)?;
    }
    match told.refusal() {
        Some(sentence) => Err(Failure::Said(sentence, 1)),
        None if json => Ok(()),
        None => {
            let moved = match told.amount_nanos {
                Nanos(0) => String::new(),
                Nanos(n) if n < 0 => format!("{} {} was put to the balance. ", Nanos(-n), told.currency),
                amount => format!("{amount} {} was taken from the balance. ", told.currency),
            };
            let before = if told.repeated { " It had been done before" } else { "" };
            line(&format!("{moved}The balance is {} {}.{before}", told.balance_after_nanos, told.currency))
        }
    }
}

/// For `value_parser`: an amount in units, such as 12.50.
pub(super) fn amount(text: &str) -> Result<Nanos, AmountError> {
    text.parse()
}

/// For `value_parser`: a currency.
pub(super) fn currency(text: &str) -> Result<Currency, String> {
    Currency::parse(text).ok_or_else(|| format!("{text:?} is no currency such as EUR"))
}

/// An amount for the wire.
pub(super) fn money(amount: Nanos, currency: Option<Currency>) -> Result<Money, Failure> {
    let mut money = amount.to_wire(currency.unwrap_or_default()).map_err(Failure::usage)?;
    if currency.is_none() {
        // Deduct knows that of the account.
        money.currency_code.clear();
    }
    Ok(money)
}

/// How many of them, and why some were not done.
#[derive(Debug, Default, Serialize)]
pub(super) struct Counts {
    /// Done now or before.
    pub(super) done: u64,
    /// Of those, before.
    pub(super) repeated: u64,
    /// Refused, by reason.
    pub(super) refused: std::collections::BTreeMap<String, u64>,
}

impl Counts {
    /// Counts one.
    pub(super) fn add(&mut self, response: &SubmitResponse) {
        match response.outcome.as_str() {
            DONE => {
                self.done += 1;
                self.repeated += u64::from(response.repeated);
            }
            reason => *self.refused.entry(reason.to_owned()).or_default() += 1,
        }
    }

    /// Says that some were refused, if so.
    pub(super) fn refusal(&self) -> Result<(), Failure> {
        if self.refused.is_empty() {
            return Ok(());
        }
        let each = self.refused.iter().map(|(reason, n)| format!("{n} {reason}"));
        let each = each.collect::<Vec<_>>().join(", ");
        Err(Failure::Said(format!("some were refused: {each}"), 1))
    }
}
