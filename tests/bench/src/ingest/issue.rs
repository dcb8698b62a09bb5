//! Credentials for impressions, as whoever retrieves ads has them issued.

use crate::events::event_of;
use crate::wire;
use serde_json::Value;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;
use weir_proto::rpc::IssueRequest;
use weir_proto::rpc::credentials_client::CredentialsClient;

/// Requests under way.
const AT_ONCE: usize = 64;

#[derive(clap::Args)]
pub struct Args {
    /// Where the job takes events in over gRPC.
    #[arg(long)]
    to: String,
    /// The log whose ads of the billing model cpm they are for.
    #[arg(long)]
    log: PathBuf,
    /// How many.
    #[arg(long)]
    count: usize,
    /// The file that they are written to.
    #[arg(long)]
    out: PathBuf,
}

pub fn run(args: &Args) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let begun = Instant::now();
    runtime.block_on(issue(args));
    let per_s = (args.count as f64 / begun.elapsed().as_secs_f64()).round();
    serde_json::json!({ "credentials": args.count, "issued_per_s": per_s })
}

async fn issue(args: &Args) {
    let text = std::fs::read_to_string(&args.log).unwrap();
    let requests: Arc<Vec<_>> = Arc::new(text.lines().filter_map(request).collect());
    let client = CredentialsClient::new(wire::connect(&args.to).await);
    let (done, mut issued) = tokio::sync::mpsc::channel(AT_ONCE);
    for first in 0..AT_ONCE {
        let (mut client, requests, done, count) =
            (client.clone(), requests.clone(), done.clone(), args.count);
        tokio::spawn(async move {
            for number in (first..count).step_by(AT_ONCE) {
                let request = for_user(&requests[number % requests.len()], number);
                done.send(client.issue(request).await.unwrap().into_inner().token).await.unwrap();
            }
        });
    }
    drop(done);
    let mut out = BufWriter::new(File::create(&args.out).unwrap());
    while let Some(token) = issued.recv().await {
        writeln!(out, "{token}").unwrap();
    }
    out.flush().unwrap();
}

fn for_user(request: &IssueRequest, number: usize) -> IssueRequest {
    IssueRequest { user_id: format!("u{number:07}"), ..request.clone() }
}

fn request(line: &str) -> Option<IssueRequest> {
    let event = event_of(line);
    (event.billing == "cpm").then(|| IssueRequest {
        advertiser_id: event.advertiser_id,
        campaign_id: event.campaign_id,
        ad_id: event.ad_id,
        billing: event.billing,
        bid_micros: event.bid_micros.unwrap_or_default(),
        slot: event.slot,
        ..IssueRequest::default()
    })
}
