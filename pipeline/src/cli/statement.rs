//! `weir statement`.

use super::Failure;
use super::output::{grouped, line, written};
use super::period::PeriodArgs;
use super::session::books_of;
use super::table::Table;
use crate::books::BooksError;
use crate::books::statement::{Line, Statement, statement as make};
use crate::books::stores::Stores;
use crate::books::totals::Sum;
use clap::Args;
use std::path::PathBuf;
use weir_proto::Nanos;

#[derive(Args)]
#[command(after_help = "Examples:
  weir statement 36
  weir statement 36 --from 2026-01-01 --to 2026-01-31 --csv > january.csv
  weir statement 36 --json | jq .balance

Days are those of the account's time zone, and both are included. An event belongs to the day on which it
happened. The books are those of the published generation: adjustments, which explain how it differs from the
one before, are shown and not added. --csv has the lines alone, which `weir reconcile --file` reads.
Exit code 1: nothing is known of this advertiser.")]
pub(super) struct StatementArgs {
    /// Whose.
    advertiser: u64,
    #[command(flatten)]
    period: PeriodArgs,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Print the lines as CSV, amounts with nine decimals.
    #[arg(long, conflicts_with = "json")]
    csv: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn statement(args: &StatementArgs) -> Result<(), Failure> {
    let period = args.period.period()?;
    let stores = Stores::open(&books_of(&args.data_dir)?)?;
    let found = make(&stores, args.advertiser, period).map_err(|error| match error {
        unknown @ BooksError::Unknown(_) => Failure::Said(unknown.to_string(), 1),
        other => other.into(),
    })?;
    match (args.json, args.csv) {
        (true, _) => line(&serde_json::to_string(&found)?),
        (_, true) => csv(&found),
        _ => text(&found),
    }
}

fn csv(found: &Statement) -> Result<(), Failure> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    let mut row = |cells: &[&str]| {
        let result = out.write_record(cells).map_err(std::io::Error::from);
        written(result)
    };
    row(&[
        "advertiser_id",
        "campaign_id",
        "day",
        "kind",
        "billing",
        "count",
        "amount",
        "refused_count",
        "refused_amount",
        "currency",
    ])?;
    for l in &found.lines {
        row(&[
            &found.advertiser_id.to_string(),
            &l.campaign_id.to_string(),
            &l.day.to_string(),
            l.kind,
            l.billing.unwrap_or(""),
            &l.count.to_string(),
            &l.amount_nanos.to_string(),
            &l.refused_count.to_string(),
            &l.refused_amount_nanos.to_string(),
            &l.currency.to_string(),
        ])?;
    }
    written(out.flush())
}

fn text(found: &Statement) -> Result<(), Failure> {
    line(&format!("Advertiser {}, {}\n", found.advertiser_id, found.period))?;
    match found.lines.is_empty() {
        true => line("Nothing was charged, refused or moved on these days.")?,
        false => table(&found.lines).print()?,
    }
    for totals in &found.totals {
        line(&format!("\nTotals ({})", totals.currency))?;
        let rows = [
            ("deposits", totals.deposits),
            ("withdrawals", totals.withdrawals),
            ("charges", totals.charges),
            ("refunds and reversals", totals.credits),
            ("refused", totals.refused),
        ];
        rows.iter().filter(|(_, sum)| sum.count > 0).try_for_each(|(name, sum)| {
            let Sum { count, amount_nanos } = sum;
            line(&format!("  {name:<22}{:>12}{:>30}", grouped(*count), amount_nanos.to_string()))
        })?;
    }
    balance(found)?;
    adjustments(found)?;
    line(&freshness(found))
}

fn table(lines: &[Line]) -> Table {
    let mut table = Table::new(&[
        "<day",
        "campaign",
        "<kind",
        "<billing",
        "count",
        "amount",
        "refused",
        "refused amount",
        "<currency",
    ]);
    for l in lines {
        table.row(&[
            &l.day,
            &l.campaign_id,
            &l.kind,
            &l.billing.unwrap_or("-"),
            &grouped(l.count),
            &l.amount_nanos,
            &grouped(l.refused_count),
            &l.refused_amount_nanos,
            &l.currency,
        ]);
    }
    table
}

fn balance(found: &Statement) -> Result<(), Failure> {
    let Some(b) = &found.balance else { return line("\nThere is no account.") };
    line(&format!("\nBalance ({})", b.currency))?;
    for (name, amount) in [("opening", b.opening_nanos), ("closing", b.closing_nanos), ("now", b.now_nanos)] {
        line(&format!("  {name:<22}{:>42}", amount.to_string()))?;
    }
    match b.on_its_way_nanos {
        Nanos::ZERO => Ok(()),
        amount => line(&format!(
            "  {:<22}{:>42}  (moved on the account, not yet in these books)",
            "on its way",
            amount.to_string()
        )),
    }
}

fn adjustments(found: &Statement) -> Result<(), Failure> {
    if found.adjustments.is_empty() {
        return Ok(());
    }
    line("\nPosted in the period for earlier statements: contained in the above")?;
    let mut table = Table::new(&["<posted", "generation", "<adjustment", "count", "amount"]);
    for a in &found.adjustments {
        table.row(&[&a.posted, &a.generation, &a.adjustment, &grouped(a.count), &a.amount_nanos]);
    }
    table.print()
}

fn freshness(found: &Statement) -> String {
    match found.job_runs {
        true => format!(
            "\nUp to the tick of {}. A job runs: what it has done since its stores were last written, at most a minute \
             ago, is not in it.",
            found.as_of
        ),
        false => format!("\nUp to the tick of {}.", found.as_of),
    }
}
