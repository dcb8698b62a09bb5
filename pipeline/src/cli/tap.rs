//! `weir tap`.

use super::Failure;
use super::output::written;
use crate::data_dir::DataDir;
use crate::log::TopicReader;
use clap::{Args, ValueEnum};
use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;
use weir_proto::Topic;

/// Records read at a time.
const STRETCH: u64 = 16_384;

#[derive(Args)]
#[command(after_help = "Examples:
  weir tap charges --data-dir weir-data --until end > charges.jsonl
  weir tap dropped --data-dir weir-data --until end | jq -r .reason | sort | uniq -c
  weir tap notices --data-dir weir-data")]
pub(super) struct TapArgs {
    /// raw, clean, judged, charges, dropped or notices.
    #[arg(value_parser = topic)]
    topic: Topic,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Where to begin in each partition: `start` (the oldest record left) or an offset.
    #[arg(long, default_value = "start", value_parser = from)]
    from: u64,
    /// Where to end: `end` is what stands there now; without it new records are waited for.
    #[arg(long, value_enum)]
    until: Option<Until>,
    /// Only this partition.
    #[arg(long)]
    partition: Option<u32>,
    /// How records are written.
    #[arg(long, value_enum, default_value_t = Format::Jsonl)]
    format: Format,
    /// Show ticks too.
    #[arg(long)]
    ticks: bool,
    /// The same as --format jsonl.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Until {
    End,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    /// One JSON object a line.
    Jsonl,
}

fn topic(name: &str) -> Result<Topic, String> {
    Topic::from_name(name)
        .ok_or_else(|| "there are the topics raw, clean, judged, charges, dropped and notices".to_owned())
}

fn from(text: &str) -> Result<u64, String> {
    match text {
        "start" => Ok(0),
        offset => offset.parse().map_err(|_| "either `start` or an offset, a whole number from 0".to_owned()),
    }
}

pub(super) fn tap(args: &TapArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let reader = TopicReader::open(&dir.log(), args.topic)?;
    let partitions: Vec<u32> = match args.partition {
        Some(p) if p >= dir.partitions() => {
            return Err(Failure::usage(format!("there are {} partitions, counted from 0", dir.partitions())));
        }
        Some(p) => vec![p],
        None => (0..reader.partitions()).collect(),
    };
    let mut next: Vec<u64> = partitions.iter().map(|p| args.from.max(reader.offsets(*p).0)).collect();
    let mut out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    loop {
        for (partition, next) in partitions.iter().zip(&mut next) {
            drain(args, &reader, *partition, next, &mut out)?;
        }
        written(out.flush())?;
        if args.until == Some(Until::End) {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(200));
        reader.refresh()?;
    }
}

fn drain(
    args: &TapArgs,
    reader: &TopicReader,
    partition: u32,
    next: &mut u64,
    out: &mut impl Write,
) -> Result<(), Failure> {
    let end = reader.offsets(partition).1;
    while *next < end {
        for batch in reader.read(partition, *next, STRETCH)? {
            let mut result = Ok(());
            crate::tap::lines(args.topic, &batch, *next, args.ticks, |_, line| {
                if result.is_ok() {
                    result = out.write_all(line.as_bytes()).and_then(|()| out.write_all(b"\n"));
                }
            })?;
            written(result)?;
            *next = batch.head.end();
        }
    }
    Ok(())
}
