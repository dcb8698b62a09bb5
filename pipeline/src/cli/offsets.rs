//! `weir offsets`.

use super::output::{grouped, line};
use super::table::Table;
use super::{Failure, peers, session};
use crate::data_dir::DataDir;
use crate::deliver;
use crate::error::JobError;
use crate::flow;
use crate::generations::{Registry, Standing};
use crate::input::{LineReader, Start};
use crate::log::{BesideLog, Log};
use clap::Args;
use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;
use weir_proto::rpc::StatusRequest;
use weir_proto::{Minute, Producer, StageId};
use weir_state::{Shared, Store};

#[derive(Args)]
#[command(after_help = "Examples:
  weir offsets --data-dir weir-data
  weir offsets --stage deduct --json | jq '.[] | select(.lag > 0)'")]
pub(super) struct OffsetsArgs {
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Only this stage.
    #[arg(long)]
    stage: Option<String>,
    /// Print an array of JSON objects.
    #[arg(long)]
    json: bool,
}

/// Where a task stands.
#[derive(Serialize)]
struct Row {
    stage: &'static str,
    partition: u16,
    generation: u32,
    /// The next input offset.
    position: u64,
    /// The offset behind the newest durable record of its input.
    end: Option<u64>,
    lag: u64,
    minimal_successful_offset: u64,
    /// The minute of its newest checkpoint.
    checkpoint: Option<String>,
}

pub(super) fn offsets(args: &OffsetsArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let mut rows = match session::running(&dir)? {
        Some(mut session) => asked(&mut session)?,
        None => read(&dir)?,
    };
    if let Some(stage) = &args.stage {
        if StageId::from_name(stage).is_none() {
            let names: Vec<_> = StageId::ALL.iter().map(|s| s.name()).collect();
            return Err(Failure::usage(format!("there is no stage {stage}: there are {}", names.join(", "))));
        }
        rows.retain(|row| row.stage == stage);
    }
    if args.json {
        return line(&serde_json::to_string(&rows)?);
    }
    let mut table = Table::new(&[
        "<stage",
        "partition",
        "generation",
        "position",
        "end",
        "lag",
        "minimal successful",
        "<last checkpoint",
    ]);
    for row in &rows {
        table.row(&[
            &row.stage,
            &row.partition,
            &row.generation,
            &grouped(row.position),
            &row.end.map_or("-".to_owned(), grouped),
            &grouped(row.lag),
            &grouped(row.minimal_successful_offset),
            &row.checkpoint.as_deref().unwrap_or("-"),
        ]);
    }
    table.print()
}

fn asked(session: &mut session::Session) -> Result<Vec<Row>, Failure> {
    let mut status = session.ask(|mut client| async move { client.status(StatusRequest {}).await })?;
    peers::add_others(session.runtime(), &mut status);
    let mut rows = Vec::new();
    for task in status.tasks {
        let Some(stage) = StageId::from_name(&task.stage) else { continue };
        rows.push(Row {
            stage: stage.name(),
            partition: task.partition as u16,
            generation: task.generation,
            position: task.position,
            end: task.end,
            lag: task.lag,
            minimal_successful_offset: task.minimal_successful_offset,
            checkpoint: (task.checkpoint_minute > 0).then(|| Minute(task.checkpoint_minute).to_string()),
        });
    }
    rows.sort_by_key(|r| (StageId::from_name(r.stage), r.generation, r.partition));
    Ok(rows)
}

fn read(dir: &DataDir) -> Result<Vec<Row>, Failure> {
    let registry = Registry::open(dir)?;
    let published = registry.published();
    let log: Arc<dyn Log> = Arc::new(BesideLog::open(dir.topics()));
    let stores = Shared::new(8 << 20);
    let mut rows = Vec::new();
    for stage in StageId::ALL {
        let mut generations = vec![if stage.folds() { registry.runs(published, stage) } else { 1 }];
        let candidates = registry.all().into_iter().filter(|(_, s)| *s == Standing::Candidate);
        generations.extend(candidates.filter(|(g, _)| stage.folds() && stage >= g.from).map(|(g, _)| g.id));
        for generation in generations {
            for task in dir.tasks_of(stage) {
                rows.extend(row(dir, &registry, &log, &stores, task.in_generation(generation))?);
            }
        }
    }
    Ok(rows)
}

fn row(
    dir: &DataDir,
    registry: &Registry,
    log: &Arc<dyn Log>,
    stores: &Shared,
    task: Producer,
) -> Result<Option<Row>, JobError> {
    let path = dir.store(task);
    if !path.exists() {
        return Ok(None);
    }
    let store = Store::open_read_only(&path, stores)?;
    let Some(meta) = store.meta()? else { return Ok(None) };
    if task.stage == StageId::Deliver {
        return delivery(&store, &**log, task);
    }
    let end = flow::FLOW.iter().find(|s| s.id == task.stage).map(|stage| {
        let line = registry.line(task.generation, stage.reads);
        let start = Start { position: meta.position, marks: meta.marks.clone() };
        LineReader::open(log.clone(), line, u32::from(task.partition), start).end()
    });
    let checkpoints = dir.checkpoints();
    let minutes = checkpoints.minutes(task.generation)?;
    let newest = minutes.into_iter().rev().find(|m| checkpoints.is_complete(&[task], *m));
    Ok(Some(Row {
        stage: task.stage.name(),
        partition: task.partition,
        generation: task.generation,
        position: meta.position,
        end,
        lag: end.map_or(0, |end| end.saturating_sub(meta.position)),
        minimal_successful_offset: meta.position,
        checkpoint: newest.map(|m| m.to_string()),
    }))
}

fn delivery(store: &Store, log: &dyn Log, task: Producer) -> Result<Option<Row>, JobError> {
    let standing = deliver::standing(store, log, u32::from(task.partition))?;
    Ok(standing.map(|(position, end, minimal_successful_offset)| Row {
        stage: task.stage.name(),
        partition: task.partition,
        generation: task.generation,
        position,
        end: Some(end),
        lag: end.saturating_sub(position),
        minimal_successful_offset,
        checkpoint: None,
    }))
}
