//! How long it takes from a line to its charge: writes lines of a log to a file that a job follows, at a given
//! rate, and watches `charges`. `tests/bench-latency.sh` builds and calls it.
//!
//! The schedule never waits for the job: a line is due at its time whatever became of those before, and its
//! latency counts from there. So a job that stands still for a second is charged with that second for every
//! line of it.
#![allow(clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

mod writer;

use clap::Parser;
use std::path::PathBuf;
use weir_bench::latencies::{ms, percentiles};
use weir_bench::schedule::Schedule;
use weir_bench::watch::{Reader, Watched};

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

fn main() {
    let args = Args::parse();
    let watched = Watched::default();
    let mut reader = Reader::open(&args.data_dir, watched.clone());
    let schedule = Schedule::begin(args.rate, args.warm_up, args.seconds);
    let writing = std::thread::spawn(move || {
        let every = args.rate.div_ceil(WATCHED);
        writer::Writer::open(&args.log, &args.to, watched, every).write_all(&schedule)
    });
    reader.watch(|| writing.is_finished());
    let written = writing.join().unwrap();
    let mut report = percentiles(&mut reader.latencies_from(schedule.counts_from()));
    report.insert("rate".to_owned(), args.rate.into());
    report.insert("writer_late_ms".to_owned(), ms(written.latest).into());
    println!("{}", serde_json::Value::Object(report));
}
