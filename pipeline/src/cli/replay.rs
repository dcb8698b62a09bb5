//! `weir replay`.

use super::minutes::minute;
use super::output::{grouped, line};
use super::progress::{minutes_bar, records_spinner};
use super::table::Table;
use super::{Failure, beside, run, whole};
use crate::config::Config;
use crate::generations::{Cuts, Difference, Registry};
use crate::replay::{Comparison, Replay, Segment};
use clap::Args;
use std::path::PathBuf;
use std::time::Instant;
use weir_proto::StageId;

#[derive(Args)]
#[command(after_help = "Examples:
  weir replay --from 10:05                             # up to the newest cut: must say identical
  weir replay --from 10:05 --to 10:30 --rules new.toml # what other rules would do to the money
  weir replay --from 10:05 --rules new.toml --json --changes | jq '.changes[]'

Nothing is changed. Exit codes: 0 identical, 3 different, 1 failed, 2 the command or the rules are wrong.")]
pub(super) struct ReplayArgs {
    /// The minute to begin from: 2026-01-01T10:05Z, or 10:05 for the last one.
    #[arg(long, value_name = "MINUTE")]
    from: String,
    /// The minute to end at; that of the newest complete cut if not given.
    #[arg(long, value_name = "MINUTE")]
    to: Option<String>,
    /// Take the rules from this configuration file instead of those in force.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// The first stage to run anew.
    #[arg(long, default_value = "anti-brush", value_parser = folding_stage)]
    stage: StageId,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Worker threads; 0 is one for each core.
    #[arg(long, default_value_t = 0)]
    threads: usize,
    /// List each charge that comes out differently, too.
    #[arg(long)]
    changes: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// A stage that folds a topic, by its name.
pub(super) fn folding_stage(name: &str) -> Result<StageId, String> {
    let stages = crate::flow::FLOW.iter().map(|s| s.id);
    let names: Vec<_> = stages.clone().map(|s| s.name()).collect();
    stages.into_iter().find(|s| s.name() == name).ok_or_else(|| {
        format!("the stages that can run anew are {}: what was collected stays as it is", names.join(", "))
    })
}

pub(super) fn replay(args: &ReplayArgs) -> Result<(), Failure> {
    beside::give_way();
    let started = Instant::now();
    let minutes: Vec<&str> = args.to.iter().chain([&args.from]).map(String::as_str).collect();
    let dir = whole::with_minutes(&args.data_dir, &minutes)?;
    let registry = Registry::open(&dir)?;
    let cuts = Cuts::of(&dir, &registry, registry.published());
    let segment = Segment {
        from: minute(&args.from, &cuts)?,
        to: args.to.as_ref().map(|to| minute(to, &cuts)).transpose()?,
        stage: args.stage,
        rules: args.rules.as_ref().map(|path| rules(path)).transpose()?,
        threads: beside::threads(args.threads),
    };
    let replay = Replay::prepare(&dir, segment).map_err(run::refused)?;
    let bar = minutes_bar("replaying");
    replay.run(|replay| {
        let (from, now, to) = replay.minutes();
        bar.set_length(u64::from(to.0 - from.0));
        bar.set_position(u64::from(now.0.saturating_sub(from.0)));
        bar.set_message(now.to_string());
    })?;
    bar.finish_and_clear();
    let seconds = started.elapsed().as_secs_f64();
    let spinner = records_spinner("comparing");
    let comparison = replay.compare(&mut |n| spinner.set_position(n))?;
    spinner.finish_and_clear();
    print(args, &comparison, seconds)?;
    match comparison.result {
        "identical" => Ok(()),
        _ => Err(Failure::Different),
    }
}

/// The rules of a configuration file.
pub(super) fn rules(path: &std::path::Path) -> Result<crate::rule_set::RuleSet, Failure> {
    let config = Config::load(path).map_err(Failure::usage)?;
    run::rules_of(&config).map_err(run::refused)
}

fn print(args: &ReplayArgs, comparison: &Comparison, seconds: f64) -> Result<(), Failure> {
    if args.json {
        let mut object = serde_json::to_value(comparison)?;
        object["elapsed_s"] = seconds.into();
        object["money_difference_nanos"] = serde_json::to_value(comparison.difference.total.net_nanos)?;
        if args.changes {
            object["changes"] = serde_json::to_value(&comparison.difference.changes)?;
        }
        return line(&object.to_string());
    }
    line(&format!("{}: {} to {}", comparison.result, comparison.from, comparison.to))?;
    for (name, digests) in &comparison.digests {
        let sign = if digests.recorded == digests.replayed { "=" } else { "≠" };
        line(&format!("  {name:<24} {} {sign} {}", digests.recorded, digests.replayed))?;
    }
    eprintln!("{seconds:.1} s for {} records", grouped(comparison.records));
    if comparison.result != "identical" {
        difference(&comparison.difference, args.changes)?;
    }
    Ok(())
}

/// What would happen to the money, for people.
pub(super) fn difference(difference: &Difference, changes: bool) -> Result<(), Failure> {
    let mut table =
        Table::new(&["<advertiser", "appear", "vanish", "change", "refusals", "more", "less", "net"]);
    let rows = difference.by_advertiser.iter().map(|(id, t)| (id.to_string(), t));
    for (name, t) in rows.chain([("total".to_owned(), &difference.total)]) {
        table.row(&[
            &name,
            &t.appear,
            &t.vanish,
            &t.change,
            &t.refusals,
            &t.appear_nanos,
            &t.vanish_nanos,
            &t.net_nanos,
        ]);
    }
    table.print()?;
    if changes {
        let mut table = Table::new(&["<guid", "advertiser", "<before", "charged", "<after", "charged"]);
        for c in &difference.changes {
            let outcome = |side: &Option<crate::generations::Side>| match side {
                Some(side) => (side.outcome, side.charged_nanos.to_string()),
                None => ("none", "-".to_owned()),
            };
            let ((before, was), (after, is)) = (outcome(&c.before), outcome(&c.after));
            table.row(&[&c.guid, &c.advertiser_id, &before, &was, &after, &is]);
        }
        table.print()?;
    }
    Ok(())
}
