//! `weir status`: asks a running job where it stands.

use super::access::connect;
use super::output::{grouped, line, time};
use super::session::{runtime, said};
use super::{Failure, peers};
use clap::Args;
use weir_proto::rpc::{IngestStatus, StatusRequest, StatusResponse};

/// So many takeovers are shown.
const TAKEOVERS: usize = 10;

#[derive(Args)]
#[command(after_help = "Example:\n  weir status --control http://127.0.0.1:9465 --json")]
pub(super) struct StatusArgs {
    /// The control address of the job.
    #[arg(long, default_value = "http://127.0.0.1:9465")]
    control: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

pub(super) fn status(args: &StatusArgs) -> Result<(), Failure> {
    let runtime = runtime()?;
    let mut client = connect(&runtime, &args.control)?;
    let mut status = runtime.block_on(client.status(StatusRequest {})).map_err(said)?.into_inner();
    peers::add_others(&runtime, &mut status);
    if args.json {
        return line(&json(&status).to_string());
    }
    line(&format!(
        "{:<14}{:>10}{:>16}{:>12}  last tick (minutes since the epoch)",
        "stage", "partition", "position", "lag"
    ))?;
    for t in &status.tasks {
        line(&format!(
            "{:<14}{:>10}{:>16}{:>12}  {}",
            t.stage,
            t.partition,
            grouped(t.position),
            grouped(t.lag),
            t.last_tick_minute
        ))?;
    }
    for worker in &status.workers {
        let partitions: Vec<_> = worker.partitions.iter().map(u32::to_string).collect();
        line(&format!(
            "worker {:<7}{}  partitions {}",
            worker.worker,
            worker.address,
            if partitions.is_empty() { "none".to_owned() } else { partitions.join(" ") }
        ))?;
    }
    for takeover in status.takeovers.iter().rev().take(TAKEOVERS).rev() {
        let partitions: Vec<_> = takeover.partitions.iter().map(u32::to_string).collect();
        line(&format!(
            "{}  worker {} took over partitions {} in {:.1} s, {} records behind",
            time(takeover.at_ms),
            takeover.worker,
            partitions.join(" "),
            takeover.took_ms as f64 / 1e3,
            grouped(takeover.behind)
        ))?;
    }
    status.ingest.iter().try_for_each(ingest)
}

fn ingest(i: &IngestStatus) -> Result<(), Failure> {
    let mib = |bytes: u64| grouped(bytes >> 20);
    let [accepted, duplicate, refused] = [i.accepted, i.duplicate, i.refused].map(grouped);
    line(&format!("ingest        {accepted} accepted, {duplicate} duplicate, {refused} refused"))?;
    let access = match i.access_limited {
        0 => "free".to_owned(),
        requests => format!("{} requests limited", grouped(requests)),
    };
    line(&format!("  access      {access}"))?;
    line(&format!(
        "  system      {}; {} requests slowed, {} refused, {} clicks not recorded",
        i.system_level,
        grouped(i.system_slowed),
        grouped(i.system_refused),
        grouped(i.unrecorded_clicks)
    ))?;
    line(&format!(
        "              {} records ({} MiB) to be collected, spool {} of {} MiB, memory {} of {} MiB",
        grouped(i.backlog_records),
        mib(i.backlog_bytes),
        mib(i.spool_bytes),
        mib(i.spool_limit_bytes),
        mib(i.memory_bytes),
        mib(i.memory_limit_bytes)
    ))?;
    let retry = if i.retry_level.is_empty() { "the job is being opened again" } else { &i.retry_level };
    line(&format!("  retry       {retry}; {} outcomes undelivered", grouped(i.retry_unfinished)))
}

fn json(status: &StatusResponse) -> serde_json::Value {
    let tasks = status.tasks.iter().map(|t| {
        serde_json::json!({
            "stage": t.stage, "partition": t.partition, "generation": t.generation, "position": t.position,
            "minimal_successful_offset": t.minimal_successful_offset, "lag": t.lag,
            "last_tick_minute": t.last_tick_minute,
        })
    });
    let partitions = status.partitions.iter().map(|p| {
        serde_json::json!({ "topic": p.topic, "partition": p.partition, "high_watermark": p.high_watermark })
    });
    let workers = status
        .workers
        .iter()
        .map(|w| serde_json::json!({ "worker": w.worker, "address": w.address, "partitions": w.partitions }));
    let ingest = status.ingest.as_ref().map(|i| {
        serde_json::json!({
            "accepted": i.accepted, "duplicate": i.duplicate, "refused": i.refused,
            "unrecorded_clicks": i.unrecorded_clicks,
            "access": { "limited_requests": i.access_limited },
            "system": {
                "level": i.system_level, "slowed_requests": i.system_slowed, "refused_requests": i.system_refused,
                "backlog_records": i.backlog_records, "backlog_bytes": i.backlog_bytes,
                "spool_bytes": i.spool_bytes, "spool_limit_bytes": i.spool_limit_bytes,
                "memory_bytes": i.memory_bytes, "memory_limit_bytes": i.memory_limit_bytes,
            },
            "retry": { "level": i.retry_level, "unfinished_records": i.retry_unfinished },
        })
    });
    let takeovers = status.takeovers.iter().map(|t| {
        serde_json::json!({
            "worker": t.worker, "partitions": t.partitions, "at_ms": t.at_ms, "behind": t.behind, "took_ms": t.took_ms,
        })
    });
    serde_json::json!({
        "tasks": tasks.collect::<Vec<_>>(), "partitions": partitions.collect::<Vec<_>>(), "ingest": ingest,
        "workers": workers.collect::<Vec<_>>(), "takeovers": takeovers.collect::<Vec<_>>()
    })
}
