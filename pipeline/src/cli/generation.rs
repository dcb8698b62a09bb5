//! `weir generation`.

use super::output::{grouped, line};
use super::place::Where;
use super::progress::minutes_bar;
use super::session::{self, Session};
use super::table::Table;
use super::{Failure, rewind};
use crate::data_dir::DataDir;
use crate::generations::{Registry, Standing};
use crate::rule_set::RuleSet;
use clap::{Args, Subcommand};
use serde_json::{Value, json};
use weir_operators::Rules;
use weir_proto::Minute;
use weir_proto::rpc::{DropRequest, Generation, RewindRequest};

#[derive(Subcommand)]
#[command(after_help = "Examples:
  weir generation list
  weir generation promote 2
  weir generation promote 1     # switches back to the one before
  weir generation drop 3
  weir generation rules 2       # as they are to stand in the configuration")]
pub(super) enum GenerationCommand {
    /// Print the generations that there are.
    List(Where),
    /// Publish a candidate at the next tick; or go back to one that was published before.
    Promote(Which),
    /// Give up a candidate.
    Drop(Which),
    /// Print the rules of a generation.
    Rules(Which),
}

#[derive(Args)]
pub(super) struct Which {
    /// The generation's number.
    id: u32,
    #[command(flatten)]
    at: Where,
}

pub(super) fn generation(command: &GenerationCommand) -> Result<(), Failure> {
    match command {
        GenerationCommand::List(at) => list(at),
        GenerationCommand::Promote(which) => promote(which),
        GenerationCommand::Drop(which) => drop_candidate(which),
        GenerationCommand::Rules(which) => rules(which),
    }
}

fn list(at: &Where) -> Result<(), Failure> {
    let dir = DataDir::open(&at.data_dir)?;
    let all = match session::running(&dir)? {
        Some(mut session) => session.generations()?.generations,
        None => read(&dir)?,
    };
    if at.json {
        return line(&Value::from(all.iter().map(as_json).collect::<Vec<_>>()).to_string());
    }
    let mut table = Table::new(&[
        "id",
        "<standing",
        "<from",
        "<stage",
        "base",
        "<has come to",
        "lag",
        "<rules",
        "<reason",
    ]);
    for g in &all {
        table.row(&[
            &g.id,
            &g.standing,
            &time(g.cut_minute),
            &g.from_stage,
            &g.base,
            &time(g.minute),
            &grouped(g.lag),
            &format!("{:016x}", g.rules),
            &g.reason,
        ]);
    }
    table.print()
}

fn time(minute: u32) -> String {
    if minute == 0 { "-".to_owned() } else { Minute(minute).to_string() }
}

fn as_json(g: &Generation) -> Value {
    let time = |minute: u32| (minute > 0).then(|| Minute(minute).to_string());
    json!({
        "id": g.id, "standing": g.standing, "base": g.base, "recorded": g.recorded, "cut": time(g.cut_minute),
        "from_stage": g.from_stage, "rules": format!("{:016x}", g.rules), "paused": g.paused,
        "begun_ms": g.begun_ms, "reason": g.reason, "minute": time(g.minute), "lag": g.lag,
        "caught_up": g.caught_up, "promoted_at": time(g.promoted_minute),
    })
}

/// From the files, while no job runs.
fn read(dir: &DataDir) -> Result<Vec<Generation>, Failure> {
    let registry = Registry::open(dir)?;
    let checkpoints = dir.checkpoints();
    let mut all = Vec::new();
    for (g, standing) in registry.all() {
        let newest = checkpoints.minutes(g.id)?.last().copied().unwrap_or_default();
        all.push(Generation {
            id: g.id,
            base: g.base,
            recorded: g.recorded,
            cut_minute: g.cut.0,
            from_stage: g.from.name().to_owned(),
            rules: g.rules,
            paused: g.paused,
            begun_ms: g.begun_ms,
            reason: g.reason,
            standing: standing.name().to_owned(),
            minute: newest.0,
            lag: 0,
            caught_up: false,
            promoted_minute: registry.promoted_at(g.id).map_or(0, |m| m.0),
        });
    }
    Ok(all)
}

fn promote(which: &Which) -> Result<(), Failure> {
    let dir = DataDir::open(&which.at.data_dir)?;
    let former = matches!(Registry::open(&dir)?.get(which.id), Some((_, Standing::Superseded)));
    let mut session = Session::open(&dir)?;
    if !former {
        let at = wait_and_promote(&mut session, which.id)?;
        session.close()?;
        return published(which.at.json, which.id, at);
    }
    let request = RewindRequest {
        back_to: which.id,
        reason: format!("back to generation {}", which.id),
        ..RewindRequest::default()
    };
    let begun = session.ask(|mut client| async move { client.rewind(request).await })?;
    let (found, at) = rewind::finish(&mut session, &dir, &begun, true)?;
    session.close()?;
    rewind::said(which.at.json, &begun, Some(&found), at)
}

fn wait_and_promote(session: &mut Session, id: u32) -> Result<Minute, Failure> {
    // What is no candidate is refused with the reason.
    let all = session.generations()?.generations;
    if all.iter().any(|g| g.id == id && g.standing == "candidate") {
        let bar = minutes_bar("catching up");
        session.wait(id, |g, _| {
            bar.set_message(Minute(g.minute).to_string());
            g.caught_up || g.standing != "candidate"
        })?;
        bar.finish_and_clear();
    }
    rewind::promote(session, id)
}

fn published(as_json: bool, id: u32, at: Minute) -> Result<(), Failure> {
    match as_json {
        true => line(&json!({ "generation": id, "published_at": at.to_string() }).to_string()),
        false => line(&format!("Generation {id} is published from the tick of {at} on")),
    }
}

fn drop_candidate(which: &Which) -> Result<(), Failure> {
    let dir = DataDir::open(&which.at.data_dir)?;
    let mut session = Session::open(&dir)?;
    let request = DropRequest { generation: which.id };
    session.ask(|mut client| async move { client.drop(request).await })?;
    session.close()?;
    match which.at.json {
        true => line(&json!({ "generation": which.id, "dropped": true }).to_string()),
        false => line(&format!("Generation {} is dropped", which.id)),
    }
}

fn rules(which: &Which) -> Result<(), Failure> {
    let dir = DataDir::open(&which.at.data_dir)?;
    let registry = Registry::open(&dir)?;
    let Some((g, _)) = registry.get(which.id) else {
        return Err(Failure::usage(format!("there is no generation {}", which.id)));
    };
    let set = RuleSet::load(&dir.rules(), g.rules, &Rules::default())?;
    match which.at.json {
        true => line(&serde_json::to_string(&set)?),
        false => line(set.as_config().trim_end()),
    }
}
