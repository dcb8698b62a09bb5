//! What the disk does by itself: the same bytes in the same batches, written to a file and fsynced.

use crate::events::Events;
use crate::usage::cpu_s;
use serde_json::Value;
use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_bench::latencies::percentiles;

/// The file begins again when it is so long.
const LONGEST: u64 = 1 << 30;
/// Batches that are made before it begins.
const BATCHES: usize = 64;

#[derive(clap::Args)]
pub struct Args {
    /// A directory on the disk.
    #[arg(long)]
    dir: PathBuf,
    /// The log whose events are written.
    #[arg(long)]
    log: PathBuf,
    /// As lines of the log, not as messages of gRPC.
    #[arg(long)]
    lines: bool,
    /// Events a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Batches that are fsynced together.
    #[arg(long, default_value_t = 1)]
    together: usize,
    #[arg(long, default_value_t = 5)]
    seconds: u64,
}

pub fn run(args: &Args) -> Value {
    let batches = if args.lines { lines(&args.log, args.batch) } else { messages(&args.log, args.batch) };
    let path = args.dir.join("floor");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).open(&path).unwrap();
    let (begun, own_s) = (Instant::now(), cpu_s("self"));
    let (mut written, mut took) = (0, Vec::new());
    while begun.elapsed() < Duration::from_secs(args.seconds) {
        let together = (0..args.together).map(|n| &batches[(took.len() + n) % batches.len()]);
        let at = Instant::now();
        written += write(&mut file, together);
        took.push(at.elapsed());
    }
    let (elapsed, own_s) = (begun.elapsed().as_secs_f64(), cpu_s("self") - own_s);
    std::fs::remove_file(&path).unwrap();
    let events = took.len() * args.together * args.batch;
    serde_json::json!({
        "batch": args.batch, "together": args.together, "events_per_s": (events as f64 / elapsed).round(),
        "bytes_per_event": written / events as u64, "mb_per_s": (written as f64 / elapsed / 1e6).round(),
        "cores": (own_s / elapsed * 100.0).round() / 100.0, "write": percentiles(&mut took),
    })
}

fn write<'a>(file: &mut File, batches: impl Iterator<Item = &'a Vec<u8>>) -> u64 {
    if file.stream_position().unwrap() > LONGEST {
        file.set_len(0).unwrap();
        file.rewind().unwrap();
    }
    let mut written = 0;
    for batch in batches {
        file.write_all(batch).unwrap();
        written += batch.len() as u64;
    }
    file.sync_data().unwrap();
    written
}

fn lines(log: &Path, batch: usize) -> Vec<Vec<u8>> {
    let mut log = BufReader::new(File::open(log).unwrap());
    let mut next = || {
        let mut lines = Vec::new();
        for _ in 0..batch {
            log.read_until(b'\n', &mut lines).unwrap();
        }
        lines
    };
    (0..BATCHES).map(|_| next()).collect()
}

fn messages(log: &Path, batch: usize) -> Vec<Vec<u8>> {
    let mut events = Events::of(log);
    (0..BATCHES).map(|_| events.request(0, batch, |_, _| ()).to_vec()).collect()
}
