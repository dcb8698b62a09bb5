//! As many events as are acknowledged. Each stream has a connection of its own and a window of batches under way:
//! whenever one is acknowledged the next is sent, so that a latency here is that of a queue as long as the window.

use crate::events::Events;
use crate::usage::Meter;
use crate::wire;
use serde_json::Value;
use std::collections::VecDeque;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use weir_bench::latencies::percentiles;

#[derive(clap::Args)]
pub struct Args {
    /// Where the job takes events in over gRPC.
    #[arg(long)]
    to: String,
    /// The process of the job.
    #[arg(long)]
    job: u32,
    /// The log whose events are sent.
    #[arg(long)]
    log: PathBuf,
    /// Streams, each on a connection of its own.
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// Events a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Batches under way on each stream.
    #[arg(long, default_value_t = 8)]
    window: usize,
    /// Seconds that count.
    #[arg(long, default_value_t = 20)]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
}

/// From when to when it counts.
#[derive(Clone, Copy)]
struct Span {
    from: Instant,
    to: Instant,
}

/// What came back on a stream.
#[derive(Default)]
struct Came {
    accepted: u64,
    accepted_in_all: u64,
    took: Vec<Duration>,
}

pub fn run(args: Args) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(flood(args))
}

async fn flood(args: Args) -> Value {
    let mut events = Events::of(&args.log);
    let from = Instant::now() + Duration::from_secs(args.warm_up);
    let span = Span { from, to: from + Duration::from_secs(args.seconds) };
    let streams: Vec<_> = (0..args.streams)
        .map(|_| tokio::spawn(drive(args.to.clone(), events.other(), args.batch, args.window, span)))
        .collect();
    tokio::time::sleep_until(span.from.into()).await;
    let meter = Meter::begin(args.job);
    tokio::time::sleep_until(span.to.into()).await;
    let used = meter.end();
    let (mut accepted, mut in_all, mut took) = (0, 0, Vec::new());
    for stream in streams {
        let mut came = stream.await.unwrap();
        accepted += came.accepted;
        in_all += came.accepted_in_all;
        took.append(&mut came.took);
    }
    let mut said = serde_json::json!({
        "batch": args.batch, "under_way": args.streams * args.window,
        "events_per_s": accepted / args.seconds, "accepted_in_all": in_all,
        "acknowledgement": percentiles(&mut took),
    });
    said.as_object_mut().unwrap().extend(used.as_object().unwrap().clone());
    said
}

async fn drive(address: String, mut events: Events, batch: usize, window: usize, span: Span) -> Came {
    let (requests, waiting) = mpsc::channel(window);
    let (mut came, mut under_way) = (Came::default(), VecDeque::new());
    let mut send = |under_way: &mut VecDeque<Instant>| {
        under_way.push_back(Instant::now());
        requests.try_send(events.request(0, batch, |_, _| ())).unwrap();
    };
    (0..window).for_each(|_| send(&mut under_way));
    let mut answers = wire::stream(&address, ReceiverStream::new(waiting)).await;
    while let Some(sent) = under_way.pop_front() {
        let accepted = wire::accepted(&answers.message().await.unwrap().unwrap());
        let now = Instant::now();
        came.accepted_in_all += accepted;
        if span.from <= now && now < span.to {
            came.accepted += accepted;
            came.took.push(now - sent);
        }
        if now < span.to {
            send(&mut under_way);
        }
    }
    came
}
