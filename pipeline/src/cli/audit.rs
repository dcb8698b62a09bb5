//! `weir audit`.

use super::minutes::minute;
use super::output::{grouped, line};
use super::progress::records_spinner;
use super::table::Table;
use super::{Failure, beside, whole};
use crate::audit::{Audit, Auditor, Place, Problem, SegmentError, Subject};
use crate::error::JobError;
use crate::generations::{Cuts, Registry};
use clap::Args;
use std::path::PathBuf;

#[derive(Args)]
#[command(after_help = "Examples:
  weir audit --data-dir weir-data
  weir audit --from 10:05 --to 10:20
  weir audit --json | jq '.minutes[] | select(.difference != 0)'

It reads everything that is kept and decides nothing anew (`weir replay` does that): checksums, running numbers
and provenance of every record, one outcome for every event, every balance, and the checkpoints. While a job runs
it goes up to the newest complete cut. Exit code 3: something does not hold.")]
pub(super) struct AuditArgs {
    /// Begin at the cut of this minute; the oldest there is if not given.
    #[arg(long, value_name = "MINUTE")]
    from: Option<String>,
    /// End at the cut of this minute; where the log ends, or at the newest cut of a running job, if not given.
    #[arg(long, value_name = "MINUTE")]
    to: Option<String>,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Threads; 0 is one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn audit(args: &AuditArgs) -> Result<(), Failure> {
    beside::give_way();
    let minutes: Vec<&str> = args.from.iter().chain(&args.to).map(String::as_str).collect();
    let dir = whole::with_minutes(&args.data_dir, &minutes)?;
    let registry = Registry::open(&dir)?;
    let (from, to) = {
        let cuts = Cuts::of(&dir, &registry, registry.published());
        let parse = |text: &Option<String>| text.as_ref().map(|t| minute(t, &cuts)).transpose();
        (parse(&args.from)?, parse(&args.to)?)
    };
    let auditor =
        Auditor::open(&dir, registry, (from, to), beside::threads(args.threads)).map_err(refused)?;
    let spinner = records_spinner("auditing");
    let found = auditor.run(&mut |n| spinner.inc(n))?;
    spinner.finish_and_clear();
    if args.json {
        line(&serde_json::to_string(&found)?)?;
    } else {
        print(&found)?;
    }
    if found.ok { Ok(()) } else { Err(Failure::Different) }
}

fn refused(error: SegmentError) -> Failure {
    match error {
        SegmentError::Empty(..) | SegmentError::Job(JobError::NoCut { .. }) => Failure::usage(error),
        other => other.into(),
    }
}

fn print(audit: &Audit) -> Result<(), Failure> {
    let from = audit.from.map_or("the start of the log".to_owned(), |m| m.to_string());
    let to = audit.to.map_or("its end".to_owned(), |m| m.to_string());
    line(&format!("Audit from {from} to {to}\n"))?;
    let mut table = Table::new(&["<check", "checked", "<", "problems", "<result"]);
    for (subject, check) in &audit.checks {
        let (name, counted) = subject.names();
        let result = check.problems.first().map_or("ok".to_owned(), said);
        let problems = check.problems.len() as u64;
        table.row(&[&name, &grouped(check.checked), &counted, &grouped(problems), &result]);
    }
    table.print()?;
    if let Some(sum) = audit.minutes.last() {
        line(&format!(
            "\naccepted {} = charged {} + refused {} + dropped {} + parked {} + in flight {}: difference {}{}",
            grouped(sum.accepted),
            grouped(sum.charged),
            grouped(sum.refused),
            grouped(sum.dropped),
            grouped(sum.parked),
            grouped(sum.in_flight),
            sum.difference,
            match sum.in_flight_before {
                0 => String::new(),
                n => format!(" ({} were on the way at the beginning)", grouped(n)),
            }
        ))?;
        let differing = audit.minutes.iter().filter(|row| row.difference != 0).count();
        line(&format!("per minute: {} sums, {differing} of them differ", audit.minutes.len()))?;
    }
    if !audit.not_summed.is_empty() {
        line(&format!(
            "{} minutes have no sum of their own: a worker was away with what it had taken in",
            audit.not_summed.len()
        ))?;
    }
    if audit.checks[&Subject::Conservation].problems.is_empty() {
        for (currency, m) in &audit.money {
            line(&format!(
                "opening {} + deposited {} − charged {} = balance {} {currency} in {} accounts",
                m.opening_nanos,
                m.deposited_nanos,
                m.charged_nanos,
                m.closing_nanos,
                grouped(m.accounts)
            ))?;
        }
    }
    let verdict = if audit.ok { "everything holds" } else { "SOMETHING DOES NOT HOLD" };
    line(&format!("\n{verdict}"))
}

fn said(problem: &Problem) -> String {
    let mut out = String::new();
    if let Some(Place { topic, partition, offset, guid }) = &problem.place {
        out += &format!("{topic} partition {partition} offset {offset}");
        out += &guid.as_ref().map_or(String::new(), |guid| format!(" ({guid})"));
        out += ": ";
    }
    out += &problem.problem;
    if let Some(task) = &problem.task {
        out += &format!(" [{task}");
        out += &problem.minute.map_or(String::new(), |m| format!(", {m}"));
        out += "]";
    } else if let Some(minute) = problem.minute {
        out += &format!(" [{minute}]");
    }
    out
}
