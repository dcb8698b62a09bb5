//! `weir token`.

use super::Failure;
use super::output::line;
use super::table::Table;
use crate::auth::{AuthError, NewToken, Role, add_token, read_tokens};
use clap::{Args, Subcommand};
use jiff::Timestamp;
use serde_json::json;
use std::path::PathBuf;

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir token new --name ads-eu --role collector --file tokens.toml > ads-eu.token
  weir token new --name grafana --role analyst --expires 2027-01-01T00:00:00Z
  weir token list --file tokens.toml

The file has no token in it, only what tokens are checked by; a running job reads it again within a second. To
take a token back, remove its section.")]
pub(super) enum TokenCommand {
    /// Make a token. It is printed to stdout, once: nothing keeps it.
    New(NewArgs),
    /// Print whose tokens there are.
    List(ListArgs),
}

#[derive(Args)]
pub(super) struct NewArgs {
    /// Whose it is: letters, digits, `-`, `_`, `.`, `@`.
    #[arg(long)]
    name: String,
    /// What it is for: collector hands events in, analyst looks, operator does everything.
    #[arg(long, value_enum)]
    role: Role,
    /// From when on it is not valid any more, such as 2027-01-01T00:00:00Z.
    #[arg(long, value_name = "TIME")]
    expires: Option<Timestamp>,
    /// The file to add it to, that of [auth] tokens; without it what to add is printed to stderr.
    #[arg(long)]
    file: Option<PathBuf>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
pub(super) struct ListArgs {
    /// The file of [auth] tokens.
    #[arg(long, default_value = "tokens.toml")]
    file: PathBuf,
    /// Print an array of JSON objects.
    #[arg(long)]
    json: bool,
}

pub(super) fn token(command: &TokenCommand) -> Result<(), Failure> {
    match command {
        TokenCommand::New(args) => new(args),
        TokenCommand::List(args) => list(args),
    }
}

fn new(args: &NewArgs) -> Result<(), Failure> {
    let made = NewToken::make(&args.name, args.role, args.expires).map_err(refused)?;
    match &args.file {
        Some(file) => add_token(file, &made.section).map_err(refused)?,
        None if args.json => {}
        None => eprintln!("Add this to the file of [auth] tokens:\n\n{}", made.section),
    }
    if args.json {
        let (name, role) = (&args.name, args.role);
        let object = json!({ "name": name, "role": role, "token": made.token, "section": made.section });
        return line(&object.to_string());
    }
    line(&made.token)
}

fn list(args: &ListArgs) -> Result<(), Failure> {
    let entries = read_tokens(&args.file).map_err(refused)?;
    let now = Timestamp::now();
    let is_valid = |expires: Option<Timestamp>| expires.is_none_or(|end| now < end);
    if args.json {
        let rows = entries.iter().map(|entry| {
            json!({
                "name": entry.name, "role": entry.role, "valid": is_valid(entry.expires),
                "expires": entry.expires.map(|end| end.to_string()),
            })
        });
        return line(&serde_json::Value::Array(rows.collect()).to_string());
    }
    let mut table = Table::new(&["<name", "<role", "<expires", "<valid"]);
    for entry in &entries {
        let expires = entry.expires.map_or("never".to_owned(), |end| end.to_string());
        let valid = if is_valid(entry.expires) { "yes" } else { "no" };
        table.row(&[&entry.name, &entry.role.name(), &expires, &valid]);
    }
    table.print()
}

fn refused(error: AuthError) -> Failure {
    match error {
        AuthError::Wrong { .. } => Failure::usage(error),
        other => other.into(),
    }
}
