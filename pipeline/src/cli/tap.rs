//! `weir tap`.

use super::Failure;
use super::output::{unwritten, written};
use super::stop::Stop;
use crate::data_dir::DataDir;
use crate::generations::Registry;
use crate::log::TopicReader;
use crate::mask::{Mask, MaskError};
use crate::tap::{
    Cursor, Filter, Format, From, Personal, Printer, Resume, ResumeError, Row, TapError, Until, is_personal,
};
use clap::Args;
use std::io::{BufWriter, IsTerminal, Write};
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_proto::Topic;

const POLL: Duration = Duration::from_millis(200);

#[derive(Args)]
#[command(after_help = "Examples:
  weir tap charges --until end > charges.jsonl
  weir tap charges --from 2026-01-01T10:05 --until 2026-01-01T10:10 --format csv
  weir tap charges --until end --where 'advertiser_id == 36 && outcome == \"refused\"'
  weir tap dropped --until end | jq -r .reason | sort | uniq -c
  weir tap notices --follow --resume notices.position

A time means where its minute begins by the ticks of the topic, in UTC unless it names a zone. --where is an expression in CEL
(https://cel.dev) over the fields of --format jsonl, and over those of `provenance`; a field that a
record does not have is null.")]
pub(super) struct TapArgs {
    /// raw, clean, judged, charges, dropped, notices, adjustments, retry, dead or answers.
    #[arg(value_parser = topic)]
    topic: Topic,
    /// The data directory of the job; it may be running.
    #[arg(long, default_value = "weir-data")]
    data_dir: PathBuf,
    /// Where to begin in each partition: `start` (the oldest record left), `end`, an offset or a time.
    #[arg(long, default_value = "start", value_name = "POSITION")]
    from: From,
    /// Where to end: `end` (what stands there now), before an offset of each partition, or before a time.
    #[arg(long, value_name = "POSITION")]
    until: Option<Until>,
    /// Wait for new records; the default without --until and --limit.
    #[arg(long, conflicts_with = "until")]
    follow: bool,
    /// End after so many records.
    #[arg(long, value_name = "RECORDS")]
    limit: Option<u64>,
    /// The topic of this generation; the published one if not given.
    #[arg(long)]
    generation: Option<u32>,
    /// Only this partition.
    #[arg(long)]
    partition: Option<u32>,
    /// Only records for which this is true.
    #[arg(long = "where", value_name = "EXPRESSION")]
    filter: Option<String>,
    /// How records are written; the default is `table` on a terminal and else `jsonl`.
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// The same as --format jsonl.
    #[arg(long, conflicts_with = "format")]
    json: bool,
    /// Show ticks too, and among charges the balances that an accounts file brought forward.
    #[arg(long)]
    ticks: bool,
    /// Show users, addresses and unreadable lines as they are; needs to read the mask key.
    #[arg(long)]
    unmasked: bool,
    /// Keep the position in this file, and go on where it says. After a kill what was written last may
    /// come again; nothing is left out.
    #[arg(long, value_name = "FILE")]
    resume: Option<PathBuf>,
}

fn topic(name: &str) -> Result<Topic, String> {
    Topic::from_name(name).ok_or_else(|| {
        "there are the topics raw, clean, judged, charges, dropped, notices, adjustments, retry, dead and answers"
            .to_owned()
    })
}

pub(super) fn tap(args: &TapArgs) -> Result<(), Failure> {
    let dir = DataDir::open(&args.data_dir)?;
    let filter = args.filter.as_ref().map(|source| Filter::new(args.topic, source)).transpose();
    let filter = filter.map_err(Failure::usage)?;
    let stop = args.resume.is_some().then(Stop::catch).transpose()?;
    let topic = args.topic.of(generation(args, &dir)?);
    let reader = TopicReader::open(&dir.log(), topic)?;
    let resume = args.resume.as_ref().map(|path| Resume::open(path, topic, &args.data_dir)).transpose();
    let resume = resume.map_err(refused)?;
    let cursors = cursors(args, dir.partitions(), &reader, resume.as_ref())?;
    let personal = personal(&args.data_dir, args.unmasked, is_personal(args.topic))?;
    let out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
    let printer = written(Printer::new(format(args), args.topic, args.ticks, out))?;
    let left = args.limit.unwrap_or(u64::MAX);
    Tap { args, reader, cursors, filter, personal, printer, resume, stop, left }.run()
}

/// The one asked for, or the one that makes the topic's records in the published line.
fn generation(args: &TapArgs, dir: &DataDir) -> Result<u32, Failure> {
    let registry = Registry::open(dir)?;
    let known = registry.all().iter().any(|(g, _)| Some(g.id) == args.generation);
    match args.generation {
        Some(id) if !known => {
            Err(Failure::usage(format!("there is no generation {id}: `weir generation list` shows them")))
        }
        Some(id) => Ok(id),
        None => Ok(registry.writes(registry.published(), args.topic)),
    }
}

fn cursors(
    args: &TapArgs,
    partitions: u32,
    reader: &TopicReader,
    resume: Option<&Resume>,
) -> Result<Vec<Cursor>, Failure> {
    let wanted = match args.partition {
        Some(p) if p >= partitions => {
            return Err(Failure::usage(format!("there are {partitions} partitions, counted from 0")));
        }
        Some(p) => p..p + 1,
        None => 0..reader.partitions(),
    };
    // --limit alone ends where the topic ends, too.
    let until = args.until.or((args.limit.is_some() && !args.follow).then_some(Until::End));
    let mut cursors = Vec::new();
    for partition in wanted {
        let resume = resume.map(|r| r.next(partition, reader.offsets(partition))).transpose();
        let resume = resume.map_err(refused)?.flatten();
        cursors.push(Cursor::new(reader, partition, (args.from, until), resume)?);
    }
    Ok(cursors)
}

/// How users and addresses are shown, where they are shown at all.
pub(super) fn personal(data_dir: &Path, unmasked: bool, shows_any: bool) -> Result<Personal, Failure> {
    match Mask::load(data_dir) {
        Ok(_) if unmasked => Ok(Personal::Plain),
        Ok(mask) => Ok(Personal::Masked(mask)),
        Err(error @ MaskError::Unreadable { .. }) if unmasked => {
            let what_to_do = "--unmasked is for those who may read it: leave it off, or ask whoever runs the job. \
                              If there is no key yet, the next start of the job makes one";
            Err(Failure::Said(format!("{error}. {what_to_do}"), 1))
        }
        Err(error @ MaskError::Unreadable { .. }) => {
            if shows_any {
                tracing::warn!("{error}. Users are masked with a key for this command alone");
            }
            Ok(Personal::Masked(Mask::ephemeral()?))
        }
        Err(error) => Err(error.into()),
    }
}

fn format(args: &TapArgs) -> Format {
    match args.format {
        Some(format) => format,
        None if !args.json && std::io::stdout().is_terminal() => Format::Table,
        None => Format::Jsonl,
    }
}

/// A tap under way.
struct Tap<'a, W: Write> {
    args: &'a TapArgs,
    reader: TopicReader,
    cursors: Vec<Cursor>,
    filter: Option<Filter>,
    personal: Personal,
    printer: Printer<W>,
    resume: Option<Resume>,
    stop: Option<Stop>,
    /// Records that may still be shown.
    left: u64,
}

impl<W: Write> Tap<'_, W> {
    fn run(mut self) -> Result<(), Failure> {
        loop {
            for at in 0..self.cursors.len() {
                while !self.is_over() && self.stretch(at).map_err(failure)? {
                    if self.resume.is_some() {
                        self.hand_over()?;
                    }
                }
            }
            self.hand_over()?;
            let ends = self.args.until.is_some() || (self.args.limit.is_some() && !self.args.follow);
            if ends || self.is_over() {
                return Ok(());
            }
            std::thread::sleep(POLL);
            self.reader.refresh()?;
        }
    }

    fn is_over(&self) -> bool {
        self.left == 0 || self.stop.as_ref().is_some_and(Stop::is_asked_for)
    }

    /// Shows the next records of a partition; whether there may be more of them.
    fn stretch(&mut self, at: usize) -> Result<bool, TapError> {
        let Tap { args, reader, cursors, filter, personal, printer, left, .. } = self;
        cursors[at].advance(reader, |found| {
            if found.is_internal() && !args.ticks {
                return Ok(ControlFlow::Continue(()));
            }
            let row = Row::new(args.topic, &found, personal);
            if let Some(filter) = filter
                && !filter.accepts(&row.value())?
            {
                return Ok(ControlFlow::Continue(()));
            }
            printer.print(&row).map_err(TapError::Output)?;
            *left -= 1;
            Ok(if *left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// First the records, then the position behind them.
    fn hand_over(&mut self) -> Result<(), Failure> {
        written(self.printer.flush())?;
        if let Some(resume) = &mut self.resume {
            resume.save(self.cursors.iter().map(|c| (c.partition(), c.position())))?;
        }
        Ok(())
    }
}

fn failure(error: TapError) -> Failure {
    match error {
        TapError::Output(e) => unwritten(e),
        TapError::Filter(e) => Failure::usage(e),
        other => other.into(),
    }
}

fn refused(error: ResumeError) -> Failure {
    match error {
        ResumeError::OtherTap { .. } | ResumeError::Damaged { .. } => Failure::usage(error),
        other => other.into(),
    }
}
