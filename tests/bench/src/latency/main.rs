//! How long it takes from a line to its charge: writes lines of a log to a file that a job follows, at a given
//! rate, and watches `charges`. `tests/bench-latency.sh` builds and calls it.
//!
//! The schedule never waits for the job: a line is due at its time whatever became of those before, and its
//! latency counts from there. So a job that stands still for a second is charged with that second for every
//! line of it.
#![allow(clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

mod reader;
mod schedule;
mod writer;

use clap::Parser;
use schedule::Schedule;
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// Lines that are watched each second, at most.
const WATCHED: u64 = 2_000;

/// Measures the latency from a line to its charge.
#[derive(Parser)]
struct Args {
    /// The generated log; it must have as many lines as are due in all.
    #[arg(long)]
    log: PathBuf,
    /// The file that the job follows.
    #[arg(long)]
    to: PathBuf,
    /// The data directory of the job.
    #[arg(long)]
    data_dir: PathBuf,
    /// Lines a second.
    #[arg(long)]
    rate: u64,
    /// Seconds that count.
    #[arg(long, default_value_t = 30)]
    seconds: u64,
    /// Seconds before that.
    #[arg(long, default_value_t = 5)]
    warm_up: u64,
}

/// When each watched line that has no charge yet was due, by its guid.
type Watched = Arc<Mutex<HashMap<u128, Instant>>>;

fn main() {
    let args = Args::parse();
    let watched = Watched::default();
    let mut reader = reader::Reader::open(&args.data_dir, watched.clone());
    let schedule = Schedule::begin(args.rate, args.warm_up, args.seconds);
    let writing = std::thread::spawn(move || {
        let every = args.rate.div_ceil(WATCHED);
        writer::Writer::open(&args.log, &args.to, watched, every).write_all(&schedule)
    });
    reader.watch(|| writing.is_finished());
    let written = writing.join().unwrap();
    let mut latencies = reader.latencies_from(schedule.counts_from());
    latencies.sort_unstable();
    println!("{}", report(&args.rate, &latencies, &written));
}

fn report(rate: &u64, latencies: &[Duration], written: &writer::Written) -> serde_json::Value {
    let ms = |duration: Duration| (duration.as_secs_f64() * 1e6).round() / 1e3;
    let at = |share: f64| {
        let place = (latencies.len() as f64 * share).ceil() as usize;
        latencies.get(place.saturating_sub(1)).copied().map(ms)
    };
    serde_json::json!({
        "rate": rate, "charges": latencies.len(),
        "p50_ms": at(0.5), "p99_ms": at(0.99), "p999_ms": at(0.999), "max_ms": at(1.0),
        "writer_late_ms": ms(written.latest),
    })
}
