//! `weir operations`.

use super::Failure;
use super::output::line;
use super::table::Table;
use crate::data_dir::DataDir;
use crate::operations::{Operation, OperatorLog, paired};
use clap::Args;
use jiff::Timestamp;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  weir operations --data-dir weir-data --limit 20
  weir operations --json | jq 'select(.action == \"promote\")'

An outcome `unknown` means that the job was ended before it could say what came of the action.")]
pub(super) struct OperationsArgs {
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Only the newest ones.
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

pub(super) fn operations(args: &OperationsArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let all = paired(OperatorLog::new(dir.operator_log()).read()?);
    let shown = &all[all.len().saturating_sub(args.limit.unwrap_or(usize::MAX))..];
    if args.json {
        return shown.iter().try_for_each(|operation| line(&serde_json::to_string(operation)?));
    }
    let mut table = Table::new(&["<time", "<who", "<from", "<action", "<outcome", "<with"]);
    for operation in shown {
        row(&mut table, operation);
    }
    table.print()
}

fn row(table: &mut Table, operation: &Operation) {
    let begun = &operation.begun;
    let time = i64::try_from(begun.time_ms).ok().and_then(|ms| Timestamp::from_millisecond(ms).ok());
    let with = match &operation.error {
        Some(error) => format!("{} ({error})", begun.arguments),
        None => begun.arguments.to_string(),
    };
    table.row(&[
        &time.map_or_else(|| begun.time_ms.to_string(), |time| format!("{time:.0}")),
        &begun.who,
        &begun.address.as_deref().unwrap_or("-"),
        &begun.action,
        &operation.outcome,
        &with,
    ]);
}
