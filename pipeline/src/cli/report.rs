//! `weir report`, and how a run ends.

use super::Failure;
use super::output::{grouped, line};
use super::session::books_of;
use crate::books::check::Money;
use crate::summary::{AdvertiserBooks, Books, Summary};
use clap::Args;
use std::path::PathBuf;
use weir_proto::Nanos;

#[derive(Args)]
#[command(after_help = "Examples:
  weir report --data-dir weir-data
  weir report --data-dir weir-data --top 3 --json")]
pub(super) struct ReportArgs {
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// How many advertisers to show, those charged most first.
    #[arg(long, default_value_t = 10)]
    top: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn report(args: &ReportArgs) -> Result<(), Failure> {
    let books = Books::read(&books_of(&args.data_dir)?)?;
    let (summary, top) = (books.summary(), books.top(args.top));
    if args.json {
        let mut object = serde_json::to_value(&summary)?;
        object["top"] = serde_json::to_value(&top)?;
        return line(&object.to_string());
    }
    line(&text(&summary, &top))
}

/// The report for people.
pub(super) fn text(summary: &Summary, top: &[AdvertiserBooks]) -> String {
    let mut out = String::new();
    let mut row = |name: &str, count: u64| out.push_str(&format!("  {name:<30}{:>14}\n", grouped(count)));
    row("events", summary.events);
    row("charged", summary.charged);
    summary.refused.iter().for_each(|(reason, n)| row(&format!("refused {reason}"), *n));
    summary.dropped.iter().for_each(|(reason, n)| row(&format!("dropped {reason}"), *n));
    row("dropped malformed", summary.malformed);
    let mut out = format!("Events\n{out}");
    summary.currencies.iter().for_each(|(currency, sums)| out.push_str(&money(currency, sums)));
    if !top.is_empty() {
        out.push_str("\nTop advertisers\n");
        out.push_str(&format!(
            "  {:>12} {:>12} {:>10} {:>24} {:>24} currency\n",
            "advertiser", "charges", "refused", "charged", "balance"
        ));
        for b in top {
            out.push_str(&format!(
                "  {:>12} {:>12} {:>10} {:>24} {:>24} {}\n",
                b.advertiser_id,
                grouped(b.charges),
                grouped(b.refused),
                b.charged_nanos.to_string(),
                b.balance_nanos.to_string(),
                b.currency
            ));
        }
    }
    out.push_str("\nConservation\n");
    if summary.conserved {
        out.push_str("  events = malformed + dropped + charged + refused: difference 0\n");
        out.push_str(&format!(
            "  opening + deposited − withdrawn − charged + credited = closing for each of {} accounts: \
             difference 0",
            grouped(summary.accounts)
        ));
    } else {
        out.push_str("  THE BOOKS DO NOT AGREE (events in flight are a difference, while a job runs and after it was stopped):\n");
        let shown = summary.differences.iter().take(20).map(|d| format!("  {d}"));
        out.push_str(&shown.collect::<Vec<_>>().join("\n"));
    }
    out
}

/// The sums of one currency; what did not occur at all is left out.
fn money(currency: &str, sums: &Money) -> String {
    let rows = [
        ("opening", sums.opening_nanos, true),
        ("deposited", sums.deposited_nanos, false),
        ("withdrawn", sums.withdrawn_nanos, false),
        ("charged", sums.charged_nanos, true),
        ("credited", sums.credited_nanos, false),
        ("closing", sums.closing_nanos, true),
    ];
    let shown = rows.iter().filter(|(_, amount, is_always_shown)| *is_always_shown || *amount != Nanos::ZERO);
    let lines = shown.map(|(name, amount, _)| format!("  {name:<12}{:>32}\n", amount.to_string()));
    format!("\nMoney ({currency})\n{}", lines.collect::<String>())
}
