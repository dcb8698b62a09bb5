//! `weir reconcile`.

use super::Failure;
use super::output::line;
use super::period::PeriodArgs;
use super::reconcile_text::{csv, text};
use super::session::books_of;
use crate::books::BooksError;
use crate::books::counts::{Scope, ours};
use crate::books::database;
use crate::books::discrepancy::{Comparison, compare};
use crate::books::partner::{self, PartnerError};
use crate::books::share::Share;
use crate::books::stores::Stores;
use crate::ledger::parse_url;
use clap::Args;
use serde::Serialize;
use std::path::{Path, PathBuf};
use tokio_postgres::Config;

#[derive(Args)]
#[command(after_help = "Examples:
  weir reconcile --file partner.csv
  weir reconcile --file partner.csv --from 2026-01-01 --to 2026-01-31 --threshold 5%
  weir reconcile --database postgres://weir@db/weir
  weir reconcile --file partner.csv --advertiser 36 --json | jq '.file.lines[] | select(.is_above)'

The file has the header advertiser_id,campaign_id,day,kind,count,amount, amounts in units such as 12.50;
`kind` may be missing, and so may `currency`; other columns are ignored, so that the output of
`weir statement --csv` will do. With `kind`, each kind that the file names is compared by itself. Without,
everything that is billed is taken together: refunds and reversals lower the amount, and are not counted.

Differences are theirs less ours. Per cent are of our figure, rounded up; where ours is zero and theirs is not
there are none, and the difference is above every threshold. What one side has and the other has not is
compared with zero: give --advertiser if the file is about some advertisers only. Days are those from the
first to the last of the file, if --from and --to do not say otherwise.

The ledger database must agree exactly, whatever the threshold: all that is billed taken together, and what was
paid in and out by kind. While a job runs, either of the two may be behind the other.

Exit code 3: something is above the threshold, or the database differs at all.")]
pub(super) struct ReconcileArgs {
    /// What someone else has counted.
    #[arg(long, value_name = "CSV", required_unless_present = "database")]
    file: Option<PathBuf>,
    /// The ledger database, such as postgres://user@host/database; the password may be in PGPASSWORD.
    #[arg(long, value_name = "URL")]
    database: Option<String>,
    /// How far a campaign's day may differ in count or amount.
    #[arg(long, default_value = "10%", value_name = "PER CENT")]
    threshold: Share,
    /// Only this advertiser; may be given several times.
    #[arg(long, value_name = "ID")]
    advertiser: Vec<u64>,
    #[command(flatten)]
    period: PeriodArgs,
    /// Show what agrees, too.
    #[arg(long)]
    all: bool,
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

/// What was compared.
#[derive(Serialize)]
pub(super) struct Report {
    /// Whether nothing is above its threshold.
    agrees: bool,
    /// With what a partner has counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<Comparison>,
    /// With the ledger database.
    #[serde(skip_serializing_if = "Option::is_none")]
    database: Option<Comparison>,
}

impl Report {
    /// Each comparison with the name of the other side.
    pub(super) fn parts(&self) -> impl Iterator<Item = (&'static str, &Comparison)> {
        let all = [("file", &self.file), ("database", &self.database)];
        all.into_iter().filter_map(|(name, part)| part.as_ref().map(|part| (name, part)))
    }
}

pub(super) fn reconcile(args: &ReconcileArgs) -> Result<(), Failure> {
    let scope = Scope {
        period: args.period.period()?,
        advertisers: args.advertiser.iter().copied().collect(),
        ..Scope::default()
    };
    let stores = Stores::open(&books_of(&args.data_dir)?)?;
    if stores.dir().is_in_use() {
        tracing::warn!("a job runs: what it is doing now may stand on one side alone");
    }
    let file = args.file.as_ref().map(|path| with_file(&stores, scope.clone(), path, args.threshold));
    let database = args.database.as_ref().map(|url| parse_url(url).map_err(|e| format!("--database {e}")));
    let database = database.transpose().map_err(Failure::usage)?;
    let database = database.map(|config| with_database(&stores, &scope, &config));
    let mut report = Report {
        agrees: true,
        file: file.transpose().map_err(refused)?,
        database: database.transpose().map_err(refused)?,
    };
    let above: u64 = report.parts().map(|(_, part)| part.above).sum();
    report.agrees = above == 0;
    show(&mut report, args)?;
    if report.agrees { Ok(()) } else { Err(Failure::Different) }
}

fn refused(error: BooksError) -> Failure {
    match error {
        BooksError::Partner(wrong @ PartnerError::Line { .. }) => Failure::usage(wrong),
        other => other.into(),
    }
}

fn with_file(
    stores: &Stores,
    mut scope: Scope,
    path: &Path,
    threshold: Share,
) -> Result<Comparison, BooksError> {
    let partner = partner::read(path)?;
    if let Some((first, last)) = partner.days() {
        scope.period.from.get_or_insert(first);
        scope.period.to.get_or_insert(last);
    }
    let theirs =
        partner.figures.into_iter().filter(|(key, _)| scope.has(key.advertiser_id, key.day)).collect();
    scope.kinds = partner.kinds;
    Ok(compare(&ours(stores, &scope)?, &theirs, threshold)?)
}

fn with_database(stores: &Stores, scope: &Scope, config: &Config) -> Result<Comparison, BooksError> {
    let (ours, theirs) = (database::ours_alike(stores, scope)?, database::theirs(config, scope)?);
    Ok(compare(&ours, &theirs, Share(0))?)
}

fn show(report: &mut Report, args: &ReconcileArgs) -> Result<(), Failure> {
    if !args.all {
        for part in [&mut report.file, &mut report.database].into_iter().flatten() {
            part.lines.retain(|line| !line.found.is_none());
        }
    }
    match (args.json, args.csv) {
        (true, _) => line(&serde_json::to_string(&report)?),
        (_, true) => csv(report),
        _ => report.parts().try_for_each(|(name, part)| text(name, part)),
    }
}
