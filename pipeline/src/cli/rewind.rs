//! `weir rewind`.

use super::Failure;
use super::minutes::minute_before;
use super::output::line;
use super::progress::{minutes_bar, records_spinner};
use super::replay::{difference, folding_stage, rules};
use super::session::Session;
use super::whole;
use crate::data_dir::DataDir;
use crate::generations::{Cuts, Difference, Registry, Sides};
use crate::log::BesideLog;
use clap::Args;
use serde_json::json;
use std::path::PathBuf;
use std::sync::Arc;
use weir_proto::rpc::{self, PromoteRequest, RewindRequest};
use weir_proto::{Minute, StageId};

#[derive(Args)]
#[command(after_help = "Examples:
  weir rewind --to 10:05                            # shows what it would do to the money
  weir rewind --to 10:05 --rules fixed.toml --apply # ... and does it
  weir rewind --to 10:05 --stage deduct --pause     # nothing is taken in until it is promoted or dropped
  weir generation promote 2                         # later

The generation runs beside the published one and follows its recorded order. When it is published, the
difference between the ledger and its outcomes is posted to `adjustments`; nothing is edited.")]
pub(super) struct RewindArgs {
    /// The minute to go back to: 2026-01-01T10:05Z, or 10:05 for the last one.
    #[arg(long, value_name = "MINUTE")]
    to: String,
    /// The first stage to run anew.
    #[arg(long, default_value = "anti-brush", value_parser = folding_stage)]
    stage: StageId,
    /// Take the rules from this configuration file instead of those in force.
    #[arg(long, value_name = "FILE")]
    rules: Option<PathBuf>,
    /// Take nothing in until the generation is promoted or dropped.
    #[arg(long)]
    pause: bool,
    /// Publish it when it has caught up.
    #[arg(long)]
    apply: bool,
    /// Begin it and do not wait.
    #[arg(long, conflicts_with = "apply")]
    detach: bool,
    /// Why: it is kept with the generation.
    #[arg(long, default_value = "rewind")]
    reason: String,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn rewind(args: &RewindArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let to = minute_before(&args.to, || newest(&dir))?;
    let set = args.rules.as_ref().map(|path| rules(path)).transpose()?;
    let request = RewindRequest {
        to_minute: to.0,
        from_stage: args.stage.name().to_owned(),
        rules: set.map(|set| serde_json::to_string(&set)).transpose()?.unwrap_or_default(),
        pause: args.pause,
        reason: args.reason.clone(),
        back_to: 0,
    };
    let mut session = Session::open(&dir)?;
    let begun = session.ask(|mut client| async move { client.rewind(request).await })?;
    if args.detach {
        session.close()?;
        return said(args.json, &begun, None, None);
    }
    let done = finish(&mut session, &dir, &begun, args.apply)?;
    session.close()?;
    said(args.json, &begun, Some(&done.0), done.1)
}

/// The newest minute that can be gone back to.
fn newest(dir: &DataDir) -> Result<Minute, Failure> {
    if dir.worker().is_some() {
        return Ok(whole::complete(dir)?.last().copied().unwrap_or_default());
    }
    let registry = Registry::open(dir)?;
    Ok(Cuts::of(dir, &registry, registry.published()).newest()?.unwrap_or_default())
}

/// Waits until a generation has caught up, compares, and publishes it if wanted.
pub(super) fn finish(
    session: &mut Session,
    dir: &DataDir,
    begun: &rpc::Generation,
    apply: bool,
) -> Result<(Difference, Option<Minute>), Failure> {
    catch_up(session, begun)?;
    let found = compare(session, dir, begun.id)?;
    let at = if apply { Some(promote(session, begun.id)?) } else { None };
    Ok((found, at))
}

fn catch_up(session: &mut Session, begun: &rpc::Generation) -> Result<(), Failure> {
    let bar = minutes_bar("catching up");
    session.wait(begun.id, |g, all| {
        bar.set_length(u64::from(all.minute.saturating_sub(g.cut_minute)));
        bar.set_position(u64::from(g.minute.saturating_sub(g.cut_minute)));
        bar.set_message(Minute(g.minute).to_string());
        g.caught_up
    })?;
    bar.finish_and_clear();
    Ok(())
}

/// What it would do to the money, up to the minute that it has come to.
fn compare(session: &mut Session, dir: &DataDir, id: u32) -> Result<Difference, Failure> {
    let all = session.generations()?;
    let until = all.generations.iter().find(|g| g.id == id).map_or(0, |g| g.minute);
    let registry = Registry::open(dir)?;
    let log = Arc::new(BesideLog::open(dir.topics()));
    let Some(sides) = Sides::of(&registry, log, id, Minute(until)) else { return Ok(Difference::default()) };
    let spinner = records_spinner("comparing");
    let found = sides.compare(dir.partitions(), &mut |n| spinner.set_position(n))?;
    spinner.finish_and_clear();
    Ok(found)
}

/// Publishes a generation and waits until all is settled.
pub(super) fn promote(session: &mut Session, id: u32) -> Result<Minute, Failure> {
    let request = PromoteRequest { generation: id };
    let at = session.ask(|mut client| async move { client.promote(request).await })?.at_minute;
    let bar = minutes_bar("taking over");
    session.wait(id, |g, _| {
        bar.set_message(format!("at the tick of {}", Minute(g.promoted_minute)));
        g.standing == "published"
    })?;
    bar.finish_and_clear();
    Ok(Minute(at))
}

/// Says what was done.
pub(super) fn said(
    as_json: bool,
    begun: &rpc::Generation,
    found: Option<&Difference>,
    published_at: Option<Minute>,
) -> Result<(), Failure> {
    if as_json {
        let published = published_at.map(|m| m.to_string());
        return line(
            &json!({
                "generation": begun.id, "cut": Minute(begun.cut_minute).to_string(),
                "from_stage": begun.from_stage, "difference": found, "published_at": published,
            })
            .to_string(),
        );
    }
    line(&format!(
        "Generation {} from {}, of {} down",
        begun.id,
        Minute(begun.cut_minute),
        begun.from_stage
    ))?;
    if let Some(found) = found {
        if found.total == Default::default() {
            line(&format!("No charge comes out differently ({} compared)", found.compared))?;
        } else {
            difference(found, false)?;
        }
    }
    match published_at {
        Some(at) => line(&format!("Published at the tick of {at}")),
        None => line(&format!(
            "It runs beside the published one: `weir generation promote {0}` publishes it, `drop {0}` gives it up",
            begun.id
        )),
    }
}
