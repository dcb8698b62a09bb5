//! Events at a rate. The schedule never waits for the job: an event is due at its time whatever became of those
//! before, and its latencies, to the acknowledgement and to the charge, count from there. What is due is looked at
//! every millisecond and sent as one batch, on one stream after the other.

use crate::events::Events;
use crate::usage::Meter;
use crate::wire;
use bytes::Bytes;
use serde_json::Value;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio_stream::wrappers::UnboundedReceiverStream;
use weir_bench::latencies::{ms, percentiles};
use weir_bench::schedule::Schedule;
use weir_bench::watch::{Reader, Watched};

/// Events that are watched each second, at most.
const WATCHED: u64 = 2_000;
/// The rest between two looks.
const REST: Duration = Duration::from_millis(1);
/// Events of a batch, at most.
const BATCH: u64 = 1_000;

#[derive(clap::Args)]
pub struct Args {
    /// Where the job takes events in over gRPC.
    #[arg(long)]
    to: String,
    /// The process of the job.
    #[arg(long)]
    job: u32,
    /// Its data directory.
    #[arg(long)]
    data_dir: PathBuf,
    /// The log whose events are sent.
    #[arg(long)]
    log: PathBuf,
    /// Events a second.
    #[arg(long)]
    rate: u64,
    /// Streams, each on a connection of its own.
    #[arg(long, default_value_t = 4)]
    streams: usize,
    /// An advertiser whose events are not watched.
    #[arg(long)]
    but: Option<u64>,
    /// Seconds that count.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
}

/// A stream, as who keeps the schedule sees it.
struct Sender {
    requests: UnboundedSender<Bytes>,
    due: UnboundedSender<Instant>,
}

pub fn run(args: &Args) -> Value {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let watched = Watched::default();
    let mut reader = Reader::open(&args.data_dir, watched.clone());
    let events = Events::of(&args.log);
    let (senders, streams): (Vec<_>, Vec<_>) = (0..args.streams)
        .map(|_| {
            let (sender, requests, due) = sender();
            (sender, runtime.spawn(drive(args.to.clone(), requests, due)))
        })
        .unzip();
    let schedule = Schedule::begin(args.rate, args.warm_up, args.seconds);
    let (but, every, job) = (args.but, args.rate.div_ceil(WATCHED), args.job);
    let sending = std::thread::spawn(move || {
        let pace = Pace { events, watched, every, but, schedule };
        pace.send_all(&senders, job)
    });
    reader.watch(|| sending.is_finished());
    let (latest, used) = sending.join().unwrap();
    let counts = |acknowledged: &(Instant, Duration)| acknowledged.0 >= schedule.counts_from();
    let mut took: Vec<_> = streams
        .into_iter()
        .flat_map(|stream| runtime.block_on(stream).unwrap())
        .filter(counts)
        .map(|(_, took)| took)
        .collect();
    let mut said = serde_json::json!({
        "rate": args.rate, "sender_late_ms": ms(latest), "acknowledgement": percentiles(&mut took),
        "charge": percentiles(&mut reader.latencies_from(schedule.counts_from())),
    });
    said.as_object_mut().unwrap().extend(used.as_object().unwrap().clone());
    said
}

fn sender() -> (Sender, UnboundedReceiver<Bytes>, UnboundedReceiver<Instant>) {
    let (requests, waiting) = unbounded_channel();
    let (due, dues) = unbounded_channel();
    (Sender { requests, due }, waiting, dues)
}

/// Sends what comes; for each batch when its first event was due and how long its acknowledgement took.
async fn drive(
    address: String,
    mut requests: UnboundedReceiver<Bytes>,
    mut due: UnboundedReceiver<Instant>,
) -> Vec<(Instant, Duration)> {
    let (to, waiting) = unbounded_channel();
    // The stream is answered with its first request only.
    let Some(first) = requests.recv().await else { return Vec::new() };
    to.send(first).unwrap();
    tokio::spawn(async move {
        while let Some(request) = requests.recv().await {
            to.send(request).unwrap();
        }
    });
    let mut answers = wire::stream(&address, UnboundedReceiverStream::new(waiting)).await;
    let mut took = Vec::new();
    while let Some(answer) = answers.message().await.unwrap() {
        wire::accepted(&answer);
        let due = due.recv().await.unwrap();
        took.push((due, due.elapsed()));
    }
    took
}

struct Pace {
    events: Events,
    watched: Watched,
    /// One event in so many is watched.
    every: u64,
    but: Option<u64>,
    schedule: Schedule,
}

impl Pace {
    /// Until the last event is sent: how late one was at worst, which is part of the latencies and no fault of the
    /// job's, and what was used while it counted.
    fn send_all(mut self, senders: &[Sender], job: u32) -> (Duration, Value) {
        let (mut sent, mut batches, mut latest, mut meter) = (0, 0, Duration::ZERO, None);
        while sent < self.schedule.lines() {
            let now = Instant::now();
            let due = self.schedule.due_by(now).min(sent + BATCH);
            if now >= self.schedule.counts_from() {
                meter.get_or_insert_with(|| Meter::begin(job));
            }
            if due > sent {
                let sender = &senders[batches % senders.len()];
                let request = self.request(sent..due);
                sender.due.send(self.schedule.due(sent)).unwrap();
                sender.requests.send(request).unwrap();
                latest = latest.max(self.schedule.due(sent).elapsed());
                (sent, batches) = (due, batches + 1);
            }
            if due < sent + BATCH {
                std::thread::sleep(REST);
            }
        }
        (latest, meter.unwrap().end())
    }

    /// Those that are watched are so before they are sent.
    fn request(&mut self, numbers: std::ops::Range<u64>) -> Bytes {
        let (count, mut number) = ((numbers.end - numbers.start) as usize, numbers.start);
        let Pace { events, watched, every, but, schedule } = self;
        events.request(0, count, |guid, advertiser| {
            if number.is_multiple_of(*every) && *but != Some(advertiser) {
                watched.lock().unwrap().insert(guid, schedule.due(number));
            }
            number += 1;
        })
    }
}
