//! `weir status`: asks a running job where it stands.

use super::Failure;
use super::access::connect;
use super::output::{grouped, line};
use super::session::{runtime, said};
use clap::Args;
use weir_proto::rpc::{StatusRequest, StatusResponse};

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
    let status = runtime.block_on(client.status(StatusRequest {})).map_err(said)?.into_inner();
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
    Ok(())
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
    serde_json::json!({ "tasks": tasks.collect::<Vec<_>>(), "partitions": partitions.collect::<Vec<_>>() })
}
