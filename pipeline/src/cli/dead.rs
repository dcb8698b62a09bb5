//! `weir dead`.

use super::Failure;
use super::output::{age, grouped, line, time};
use super::place::Where;
use super::session::Session;
use super::table::Table;
use crate::data_dir::DataDir;
use crate::deliver::{DeadLetter, dead_letters, message_of};
use crate::log::{BesideLog, Log};
use crate::source::collect::now_ms;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_proto::rpc::DecideDeadRequest;
use weir_proto::{Fate, MessageId, Nanos};

/// Ids asked for at a time.
const AT_A_TIME: usize = 10_000;
/// The most of a reason that a table shows, in characters.
const REASON: usize = 60;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir dead list --advertiser 36
  weir dead show charges/1/3/120
  weir dead retry --all --reason 'the account system knows advertiser 36 now'
  weir dead discard charges/1/3/120 --reason 'settled by hand, ticket 4711'

A record is a dead letter once the account system has called it wrong (4xx), or has not taken it in
`max_attempts` tries. Nothing more is done about it until you decide.")]
pub(super) enum DeadCommand {
    /// Print the dead letters with the money at stake.
    List(ListArgs),
    /// Print all that is known of one.
    Show(ShowArgs),
    /// Have them delivered after all, counting attempts anew.
    Retry(DecideArgs),
    /// Give them up: they are not delivered.
    Discard(DecideArgs),
}

#[derive(Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    at: Where,
    /// Only those of this advertiser.
    #[arg(long, value_name = "ID")]
    advertiser: Option<u64>,
    /// Those that were decided about, too.
    #[arg(long)]
    all: bool,
}

#[derive(Args)]
pub(super) struct ShowArgs {
    /// Its id, such as charges/1/3/120.
    #[arg(value_parser = id)]
    id: MessageId,
    #[command(flatten)]
    at: Where,
}

#[derive(Args)]
pub(super) struct DecideArgs {
    /// Their ids, such as charges/1/3/120.
    #[arg(value_parser = id, required_unless_present = "all", conflicts_with = "all", value_name = "ID")]
    ids: Vec<MessageId>,
    /// All that there are.
    #[arg(long)]
    all: bool,
    /// With --all: only those of this advertiser.
    #[arg(long, requires = "all", value_name = "ID")]
    advertiser: Option<u64>,
    /// Why: it is kept with the decision.
    #[arg(long, default_value = "")]
    reason: String,
    #[command(flatten)]
    at: Where,
}

fn id(text: &str) -> Result<MessageId, String> {
    MessageId::parse(text)
        .ok_or_else(|| "an id looks like charges/1/3/120; `weir dead list` shows them".to_owned())
}

pub(super) fn dead(command: &DeadCommand) -> Result<(), Failure> {
    match command {
        DeadCommand::List(args) => list(args),
        DeadCommand::Show(args) => show(args),
        DeadCommand::Retry(args) => decide(args, false),
        DeadCommand::Discard(args) => decide(args, true),
    }
}

fn read(dir: &DataDir) -> Result<BTreeMap<MessageId, DeadLetter>, Failure> {
    let log: Arc<dyn Log> = Arc::new(BesideLog::open(dir.topics()));
    Ok(dead_letters(&log, dir.partitions())?)
}

fn is_open(letter: &DeadLetter) -> bool {
    letter.state == Fate::Dead.name()
}

fn is_of(letter: &DeadLetter, advertiser: Option<u64>) -> bool {
    advertiser.is_none_or(|id| letter.advertiser_id == id)
}

fn total<'a>(letters: impl Iterator<Item = &'a DeadLetter>) -> Nanos {
    letters.map(|letter| letter.at_stake_nanos).sum()
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let mut all: Vec<_> = read(&DataDir::open(&args.at.data_dir)?)?.into_values().collect();
    all.retain(|letter| (args.all || is_open(letter)) && is_of(letter, args.advertiser));
    let at_stake = total(all.iter().filter(|letter| is_open(letter)));
    if args.at.json {
        return line(&json!({ "letters": all, "total_at_stake_nanos": at_stake }).to_string());
    }
    let mut header = vec!["<id", "advertiser", "at stake", "attempts", "age"];
    header.extend(args.all.then_some("<state"));
    header.push("<reason");
    let (mut table, now) = (Table::new(&header), now_ms());
    for letter in &all {
        let amount = letter.at_stake_nanos;
        let (age, reason) = (age(now, letter.died_ms), short(&letter.reason));
        let mut cells: Vec<&dyn std::fmt::Display> =
            vec![&letter.id, &letter.advertiser_id, &amount, &letter.attempts, &age];
        if args.all {
            cells.push(&letter.state);
        }
        cells.push(&reason);
        table.row(&cells);
    }
    if all.is_empty() {
        return line("No dead letters");
    }
    table.print()?;
    let open = all.iter().filter(|letter| is_open(letter)).count() as u64;
    line(&format!("\n{}, {at_stake} at stake", counted(open)))
}

fn counted(letters: u64) -> String {
    format!("{} dead letter{}", grouped(letters), if letters == 1 { "" } else { "s" })
}

fn short(reason: &str) -> String {
    match reason.char_indices().nth(REASON) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

fn unknown(id: &MessageId) -> Failure {
    Failure::usage(format!("there is no dead letter {id}: `weir dead list` shows those there are"))
}

fn show(args: &ShowArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let Some(letter) = read(&dir)?.remove(&args.id) else { return Err(unknown(&args.id)) };
    let message = message_of(&dir, &args.id)?;
    if args.at.json {
        let mut value = serde_json::to_value(&letter)?;
        value["message"] = message.unwrap_or(Value::Null);
        return line(&value.to_string());
    }
    let mut rows = vec![
        ("id", letter.id.clone()),
        ("state", letter.state.to_owned()),
        ("advertiser", letter.advertiser_id.to_string()),
        ("guid", letter.guid.clone()),
        ("at stake", letter.at_stake_nanos.to_string()),
        ("attempts", letter.attempts.to_string()),
        ("given up", time(letter.died_ms)),
        ("reason", letter.reason.clone()),
    ];
    rows.extend(letter.decided_ms.map(|ms| ("decided", time(ms))));
    rows.extend(letter.decision.map(|text| ("decision", text)));
    rows.extend(message.map(|message| ("message", message.to_string())));
    rows.iter().try_for_each(|(name, value)| line(&format!("{name:<10}  {value}")))
}

fn decide(args: &DecideArgs, discard: bool) -> Result<(), Failure> {
    let dir = DataDir::open(&args.at.data_dir)?;
    let mut open = read(&dir)?;
    open.retain(|_, letter| is_open(letter) && is_of(letter, args.advertiser));
    if !args.all {
        if let Some(id) = args.ids.iter().find(|id| !open.contains_key(*id)) {
            return Err(unknown(id));
        }
        open.retain(|id, _| args.ids.contains(id));
    }
    let mut decided = Vec::new();
    if !open.is_empty() {
        let mut session = Session::open(&dir)?;
        let ids: Vec<String> = open.values().map(|letter| letter.id.clone()).collect();
        for ids in ids.chunks(AT_A_TIME) {
            let request = DecideDeadRequest { ids: ids.to_vec(), discard, reason: args.reason.clone() };
            decided.extend(session.ask(|mut client| async move { client.decide_dead(request).await })?.ids);
        }
        session.close()?;
    }
    said(args.at.json, &decided, &open, discard)
}

fn said(
    as_json: bool,
    decided: &[String],
    letters: &BTreeMap<MessageId, DeadLetter>,
    discard: bool,
) -> Result<(), Failure> {
    let at_stake = total(letters.values().filter(|letter| decided.contains(&letter.id)));
    let fate = if discard { Fate::Discarded } else { Fate::Retried };
    if as_json {
        return line(
            &json!({ "state": fate.name(), "ids": decided, "at_stake_nanos": at_stake }).to_string(),
        );
    }
    let letters = counted(decided.len() as u64);
    match discard {
        true => line(&format!("{letters} discarded, {at_stake} at stake")),
        false => line(&format!("{letters} put back to be delivered, {at_stake} at stake")),
    }
}
