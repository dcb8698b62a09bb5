//! `weir reply`.

use super::Failure;
use super::output::{grouped, line};
use super::progress::count_bar;
use super::session::Session;
use super::submit::{Counts, Sending, currency};
use crate::data_dir::DataDir;
use clap::{Args, ValueEnum};
use serde::Deserialize;
use serde_json::json;
use std::path::{Path, PathBuf};
use weir_proto::rpc::command::Action;
use weir_proto::rpc::{self, Command, reply};
use weir_proto::{Currency, MessageId};

#[derive(Args)]
#[command(after_help = "Examples:
  weir reply charges/1/3/120 --status accepted --amount 544880 --scale 6 --currency EUR
  weir reply charges/1/3/121 --status reverse --amount 25 --scale 2 --currency EUR --reason 'chargeback'
  weir reply --file replies.jsonl

--amount is a whole number of 10^-scale units: 544880 with --scale 6 is 0.54488. It must be that of the
message. A file has one JSON object a line, with message_id, status, amount, scale, currency and reason.
The same reply again changes nothing.")]
pub(super) struct ReplyArgs {
    /// The id under which the charge was sent, such as charges/1/3/120.
    #[arg(required_unless_present = "file", conflicts_with = "file", value_parser = id)]
    message_id: Option<String>,
    /// What the account system says of it.
    #[arg(long, value_enum, required_unless_present = "file", conflicts_with = "file")]
    status: Option<Status>,
    /// The amount as it came back.
    #[arg(long, required_unless_present = "file", conflicts_with = "file", allow_hyphen_values = true)]
    amount: Option<i64>,
    /// How many decimals it has.
    #[arg(long, required_unless_present = "file", conflicts_with = "file")]
    scale: Option<u32>,
    /// Its currency.
    #[arg(long, required_unless_present = "file", conflicts_with = "file", value_parser = currency)]
    currency: Option<Currency>,
    /// What the account system says beyond that.
    #[arg(long, default_value = "", conflicts_with = "file")]
    reason: String,
    /// Many replies, as JSON Lines.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
    #[command(flatten)]
    sending: Sending,
}

/// What the account system says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// It was collected.
    Accepted,
    /// There were no funds: it becomes arrears.
    #[serde(alias = "insufficient-funds")]
    InsufficientFunds,
    /// It failed, and is sent again.
    Failed,
    /// It has to be put back.
    Reverse,
}

impl Status {
    fn name(self) -> &'static str {
        match self {
            Status::Accepted => "accepted",
            Status::InsufficientFunds => "insufficient_funds",
            Status::Failed => "failed",
            Status::Reverse => "reverse",
        }
    }

    fn code(self) -> i32 {
        let status = match self {
            Status::Accepted => reply::Status::Accepted,
            Status::InsufficientFunds => reply::Status::InsufficientFunds,
            Status::Failed => reply::Status::Failed,
            Status::Reverse => reply::Status::Reverse,
        };
        status.into()
    }
}

fn id(text: &str) -> Result<String, &'static str> {
    match MessageId::parse(text) {
        Some(_) => Ok(text.to_owned()),
        None => Err("an id looks like charges/1/3/120"),
    }
}

/// A reply in a file.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    message_id: String,
    status: Status,
    amount: i64,
    scale: u32,
    currency: Currency,
    #[serde(default)]
    reason: String,
}

impl Line {
    /// A message has one reply of each kind: so it is done once, whoever hands it in again.
    fn key(&self) -> String {
        format!("reply/{}/{}", self.message_id, self.status.name())
    }

    /// Its account is found by its message.
    fn command(self) -> Command {
        Command { key: self.key(), advertiser_id: 0, time_ms: 0, action: Some(self.action()) }
    }

    fn action(self) -> Action {
        Action::Reply(rpc::Reply {
            status: self.status.code(),
            message_id: self.message_id,
            amount: self.amount,
            scale: self.scale,
            currency_code: self.currency.to_string(),
            reason: self.reason,
            original: None,
        })
    }
}

pub(super) fn reply(args: &ReplyArgs) -> Result<(), Failure> {
    if let Some(file) = &args.file {
        return all(args, file);
    }
    let (Some(message_id), Some(status), Some(amount), Some(scale), Some(currency)) =
        (args.message_id.clone(), args.status, args.amount, args.scale, args.currency)
    else {
        return Err(Failure::usage("a reply needs its message, --status, --amount, --scale and --currency"));
    };
    let one = Line { message_id, status, amount, scale, currency, reason: args.reason.clone() };
    let key = args.sending.key_or(|| Ok(one.key()))?;
    // The job finds out from its log whose message it is.
    args.sending.submit_as(key, 0, one.action())
}

fn read(file: &Path) -> Result<Vec<Line>, Failure> {
    let text = std::fs::read_to_string(file)
        .map_err(|e| Failure::usage(format!("{} cannot be read: {e}", file.display())))?;
    parse(&text).map_err(|problem| Failure::usage(format!("{} {problem}", file.display())))
}

/// The replies of a file, or what is wrong with which line.
fn parse(text: &str) -> Result<Vec<Line>, String> {
    let lines = (1..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let line: Line = serde_json::from_str(line).map_err(|e| format!("line {at}: {e}"))?;
            id(&line.message_id).map_err(|e| format!("line {at}: {e}"))?;
            Ok(line)
        })
        .collect()
}

/// The commands of a file of replies.
pub(crate) fn commands(text: &str) -> Result<Vec<Command>, String> {
    Ok(parse(text)?.into_iter().map(Line::command).collect())
}

fn all(args: &ReplyArgs, file: &Path) -> Result<(), Failure> {
    let lines = read(file)?;
    let dir = DataDir::open(&args.sending.data_dir)?;
    let mut session = Session::open(&dir)?;
    let (bar, mut counts, count) = (count_bar("handing in", lines.len()), Counts::default(), lines.len());
    session.submit_all(lines.into_iter().map(Line::command), |_, response| {
        bar.inc(1);
        counts.add(response);
        Ok(())
    })?;
    bar.finish_and_clear();
    session.close()?;
    if args.sending.json {
        let said = json!({
            "replies": count, "done": counts.done, "repeated": counts.repeated, "refused": counts.refused,
        });
        line(&said.to_string())?;
    } else {
        let (done, count) = (grouped(counts.done), grouped(count as u64));
        line(&format!(
            "{done} of {count} replies are taken in, {} of them before",
            grouped(counts.repeated)
        ))?;
    }
    counts.refusal()
}
