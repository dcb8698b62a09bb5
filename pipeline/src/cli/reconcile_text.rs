//! How `weir reconcile` shows what it found.

use super::Failure;
use super::output::{line, written};
use super::reconcile::Report;
use super::table::Table;
use crate::books::discrepancy::{Comparison, Line};
use crate::books::share::Share;
use weir_proto::Currency;

const COLUMNS: [&str; 15] = [
    "against",
    "advertiser_id",
    "campaign_id",
    "day",
    "kind",
    "our_count",
    "their_count",
    "count_difference",
    "count_percent",
    "our_amount",
    "their_amount",
    "amount_difference",
    "amount_percent",
    "currency",
    "is_above",
];

/// Prints lines with the name of the other side.
pub(super) fn csv(report: &Report) -> Result<(), Failure> {
    let mut out = csv::Writer::from_writer(std::io::stdout().lock());
    written(out.write_record(COLUMNS).map_err(std::io::Error::from))?;
    for (name, part) in report.parts() {
        for l in &part.lines {
            let percent = |share: Option<Share>| {
                share.map_or(String::new(), |share| share.to_string().trim_end_matches('%').to_owned())
            };
            let mut cells = vec![name.to_owned()];
            cells.extend(cells_of(l, percent));
            cells.push(l.is_above.to_string());
            written(out.write_record(&cells).map_err(std::io::Error::from))?;
        }
    }
    written(out.flush())
}

/// A line's cells from the advertiser to the currency.
fn cells_of(l: &Line, share: impl Fn(Option<Share>) -> String) -> Vec<String> {
    let f = &l.found;
    let currency = f.ours.currency.or(f.theirs.currency);
    vec![
        l.key.advertiser_id.to_string(),
        l.key.campaign_id.to_string(),
        l.key.day.to_string(),
        l.key.kind.unwrap_or("").to_owned(),
        f.ours.count.to_string(),
        f.theirs.count.to_string(),
        f.count_difference.to_string(),
        share(f.count_share),
        f.ours.amount_nanos.to_string(),
        f.theirs.amount_nanos.to_string(),
        f.amount_difference_nanos.to_string(),
        share(f.amount_share),
        code(currency),
    ]
}

fn code(currency: Option<Currency>) -> String {
    currency.map_or(String::new(), |currency| currency.to_string())
}

/// Prints a comparison for people.
pub(super) fn text(name: &str, part: &Comparison) -> Result<(), Failure> {
    let share = |share: Option<Share>| share.map_or("n/a".to_owned(), |share| share.to_string());
    if !part.lines.is_empty() {
        let mut table = Table::new(&[
            "advertiser",
            "campaign",
            "<day",
            "<kind",
            "count",
            "theirs",
            "difference",
            "share",
            "amount",
            "theirs",
            "difference",
            "share",
            "<currency",
            "<",
        ]);
        for l in &part.lines {
            let mut cells = cells_of(l, share);
            let mark = match (l.found.is_other_currency(), l.is_above) {
                (true, _) => "OTHER CURRENCY",
                (_, true) => "ABOVE",
                _ => "",
            };
            cells.push(mark.to_owned());
            table.row(&cells.iter().map(|cell| cell as &dyn std::fmt::Display).collect::<Vec<_>>());
        }
        table.print()?;
        line("")?;
    }
    for total in &part.totals {
        let f = &total.found;
        line(&format!(
            "In all: {} ours, {} theirs ({}); {} {currency} ours, {} {currency} theirs ({})",
            f.ours.count,
            f.theirs.count,
            share(f.count_share),
            f.ours.amount_nanos,
            f.theirs.amount_nanos,
            share(f.amount_share),
            currency = code(total.currency),
        ))?;
    }
    line(&format!(
        "Against the {name}: {} differ, {} of them by more than {}",
        part.different, part.above, part.threshold
    ))
}
