//! `weir checkpoints`.

use super::minutes::minute;
use super::output::{grouped, line};
use super::table::Table;
use super::{Failure, output, whole};
use crate::data_dir::DataDir;
use crate::generations::{CutInfo, Cuts, Registry};
use clap::{Args, Subcommand};
use serde_json::json;
use std::path::PathBuf;
use weir_proto::{Minute, Producer};

#[derive(Args)]
#[command(after_help = "Examples:
  weir checkpoints
  weir checkpoints show 10:05              # where in the log 10:05 is
  weir checkpoints verify 2026-01-01T10:05Z")]
pub(super) struct CheckpointsArgs {
    #[command(subcommand)]
    command: Option<CheckpointsCommand>,
    /// The data directory of the job; it may be running.
    #[arg(long, global = true, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Of the line of this generation; the published one if not given.
    #[arg(long, global = true)]
    generation: Option<u32>,
    /// Print JSON.
    #[arg(long, global = true)]
    json: bool,
}

#[derive(Subcommand)]
enum CheckpointsCommand {
    /// Print the cuts that there are; the default.
    List,
    /// Print the offset of each stage and partition at a minute.
    Show {
        /// Such as 2026-01-01T10:05Z, or 10:05 for the last one.
        minute: String,
    },
    /// Check every file of the cut of a minute, or of all cuts, against its checksum.
    Verify {
        /// Such as 2026-01-01T10:05Z, or 10:05 for the last one; all if not given.
        minute: Option<String>,
    },
}

pub(super) fn checkpoints(args: &CheckpointsArgs) -> Result<(), Failure> {
    let dir = match &args.command {
        Some(CheckpointsCommand::Show { minute }) => whole::with_minutes(&args.data_dir, &[minute])?,
        _ => DataDir::open(&args.data_dir)?,
    };
    if dir.worker().is_some() && matches!(args.command, None | Some(CheckpointsCommand::List)) {
        return list_of_group(&whole::complete(&dir)?, args.json);
    }
    let registry = Registry::open(&dir)?;
    let cuts = Cuts::of(&dir, &registry, args.generation.unwrap_or(registry.published()));
    match &args.command {
        None | Some(CheckpointsCommand::List) => list(&cuts, args.json),
        Some(CheckpointsCommand::Show { minute: at }) => show(&cuts, at, args.json),
        Some(CheckpointsCommand::Verify { minute: at }) => {
            let all = match (at, args.generation) {
                (None, None) => everything(&dir, &registry)?,
                (None, Some(_)) => of_cuts(&cuts, cuts.minutes()?),
                (Some(at), _) => of_cuts(&cuts, [cuts.at(minute(at, &cuts)?)?.minute()]),
            };
            verify(&dir, &all, args.json)
        }
    }
}

fn list(cuts: &Cuts<'_>, json: bool) -> Result<(), Failure> {
    let mut infos: Vec<CutInfo> = Vec::new();
    for minute in cuts.minutes()? {
        infos.push(cuts.info(minute)?);
    }
    if json {
        return line(&serde_json::to_string(&infos)?);
    }
    let mut table = Table::new(&["<minute", "<complete", "bytes", "<generations", "<missing"]);
    for info in &infos {
        let generations: Vec<String> = info.generations.iter().map(u32::to_string).collect();
        let missing = match info.missing.len() {
            0..=4 => info.missing.join(" "),
            n => format!("{} … ({n} tasks)", info.missing[..3].join(" ")),
        };
        let complete = if info.complete { "yes" } else { "no" };
        table.row(&[&info.minute, &complete, &grouped(info.bytes), &generations.join(" "), &missing]);
    }
    table.print()
}

/// Where workers bring their checkpoints to, no cut is listed before it is complete.
fn list_of_group(minutes: &[Minute], json: bool) -> Result<(), Failure> {
    if json {
        let rows: Vec<_> =
            minutes.iter().map(|m| json!({ "minute": m.to_string(), "complete": true })).collect();
        return line(&serde_json::to_string(&rows)?);
    }
    let mut table = Table::new(&["<minute"]);
    minutes.iter().for_each(|minute| table.row(&[minute]));
    table.print()
}

fn show(cuts: &Cuts<'_>, text: &str, json: bool) -> Result<(), Failure> {
    let cut = cuts.at(minute(text, cuts)?)?;
    let tasks = cut.manifests().iter().map(|m| {
        json!({
            "stage": m.task.stage.name(), "partition": m.task.partition, "generation": m.task.generation,
            "offset": m.position, "ends": m.ends.iter().map(|(t, e)| (t.name(), e)).collect::<std::collections::BTreeMap<_, _>>(),
            "digests": m.digests.iter().map(|(t, d)| (t.name(), d)).collect::<std::collections::BTreeMap<_, _>>(),
        })
    });
    if json {
        let tasks: Vec<_> = tasks.collect();
        return line(&json!({ "minute": cut.minute().to_string(), "tasks": tasks }).to_string());
    }
    output::line(&format!(
        "Cut of {}: every stage has processed its input below these offsets",
        cut.minute()
    ))?;
    let mut table = Table::new(&["<stage", "partition", "generation", "offset"]);
    for m in cut.manifests() {
        table.row(&[&m.task.stage, &m.task.partition, &m.task.generation, &grouped(m.position)]);
    }
    table.print()
}

/// The checkpoints of the cuts of some minutes.
fn of_cuts(cuts: &Cuts<'_>, minutes: impl IntoIterator<Item = Minute>) -> Vec<(Producer, Minute)> {
    let of = |minute: Minute| cuts.tasks(minute).into_iter().map(move |task| (task, minute));
    minutes.into_iter().flat_map(of).collect()
}

/// Every checkpoint that there is, in the published line or not: all may be gone back to.
fn everything(dir: &DataDir, registry: &Registry) -> Result<Vec<(Producer, Minute)>, Failure> {
    let (checkpoints, mut all) = (dir.checkpoints(), Vec::new());
    for (generation, _) in registry.all() {
        for minute in checkpoints.minutes(generation.id)? {
            let tasks = dir.cut_tasks().into_iter().map(|task| task.in_generation(generation.id));
            all.extend(tasks.map(|task| (task, minute)).filter(|(t, m)| checkpoints.path(*t, *m).exists()));
        }
    }
    Ok(all)
}

fn verify(dir: &DataDir, all: &[(Producer, Minute)], json: bool) -> Result<(), Failure> {
    let checkpoints = dir.checkpoints();
    let (mut checked, mut damaged) = (0u64, Vec::new());
    for (task, minute) in all {
        let found = checkpoints.manifest(*task, *minute);
        match found.and_then(|m| m.map_or(Ok(()), |m| checkpoints.verify(&m))) {
            Ok(()) => checked += 1,
            Err(error) => damaged.push(error.to_string()),
        }
    }
    if json {
        line(&json!({ "checked": checked, "damaged": damaged }).to_string())?;
    } else {
        line(&format!("{checked} checkpoints are whole, {} are damaged", damaged.len()))?;
        damaged.iter().try_for_each(|text| line(text))?;
    }
    match damaged.len() {
        0 => Ok(()),
        n => Err(Failure::Said(format!("{n} checkpoints are damaged and will not be used"), 3)),
    }
}
