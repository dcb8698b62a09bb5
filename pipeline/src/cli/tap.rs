//! `weir tap`.

use super::Failure;
use super::output::{unwritten, written};
use super::stop::Stop;
use crate::data_dir::DataDir;
use crate::mask::{Mask, MaskError};
use crate::tap::{
    Format, From, Personal, Printer, Resume, ResumeError, TapError, Tapping, Until, Wanted, is_personal,
};
use clap::Args;
use std::io::{BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};
use weir_proto::Topic;
use weir_proto::rpc::TapRequest;

#[derive(Args)]
#[command(after_help = "Examples:
  weir tap charges --until end > charges.jsonl
  weir tap charges --from 2026-01-01T10:05 --until 2026-01-01T10:10 --format csv
  weir tap charges --until end --where 'advertiser_id == 36 && outcome == \"refused\"'
  weir tap dropped --until end | jq -r .reason | sort | uniq -c
  weir tap notices --follow --resume notices.position
  weir tap dropped --control https://weir.example.com:9465 --limit 10

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
    /// Ask the running job at this control address instead, which may be on another machine.
    #[arg(long, value_name = "URL", conflicts_with_all = ["data_dir", "resume"])]
    control: Option<String>,
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
    if let Some(address) = &args.control {
        return super::tap_remote::tap(args, address);
    }
    let dir = DataDir::open(&args.data_dir)?;
    let stop = args.resume.is_some().then(Stop::catch).transpose()?;
    let wanted = args.wanted();
    let topic = wanted.topic_in(&dir).map_err(failure)?;
    let resume = args.resume.as_ref().map(|path| Resume::open(path, topic, &args.data_dir)).transpose();
    let resume = resume.map_err(|e| failure(e.into()))?;
    let personal = personal(&args.data_dir, args.unmasked, is_personal(args.topic))?;
    let tapping = Tapping::open(&dir, wanted, topic, personal, resume.as_ref()).map_err(failure)?;
    Tap { tapping, printer: args.printer()?, resume, stop }.run()
}

impl TapArgs {
    fn wanted(&self) -> Wanted {
        Wanted {
            topic: self.topic,
            from: self.from,
            until: self.until,
            follow: self.follow,
            limit: self.limit,
            generation: self.generation,
            partition: self.partition,
            filter: self.filter.clone(),
            ticks: self.ticks,
        }
    }

    /// The same for a running job.
    pub(super) fn request(&self) -> TapRequest {
        TapRequest {
            topic: self.topic.to_string(),
            from: self.from.to_string(),
            until: self.until.map_or(String::new(), |until| until.to_string()),
            follow: self.follow,
            limit: self.limit,
            generation: self.generation.unwrap_or(0),
            partition: self.partition,
            r#where: self.filter.clone().unwrap_or_default(),
            ticks: self.ticks,
            unmasked: self.unmasked,
        }
    }

    /// Writes to stdout as asked.
    pub(super) fn printer(&self) -> Result<Printer<impl Write>, Failure> {
        let out = BufWriter::with_capacity(1 << 20, std::io::stdout().lock());
        written(Printer::new(self.format(), self.topic, self.ticks, out))
    }

    fn format(&self) -> Format {
        match self.format {
            Some(format) => format,
            None if !self.json && std::io::stdout().is_terminal() => Format::Table,
            None => Format::Jsonl,
        }
    }
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

/// A tap under way.
struct Tap<W: Write> {
    tapping: Tapping,
    printer: Printer<W>,
    resume: Option<Resume>,
    stop: Option<Stop>,
}

impl<W: Write> Tap<W> {
    fn run(mut self) -> Result<(), Failure> {
        loop {
            for at in 0..self.tapping.partitions() {
                while !self.is_over() && self.stretch(at).map_err(failure)? {
                    if self.resume.is_some() {
                        self.hand_over()?;
                    }
                }
            }
            self.hand_over()?;
            if self.tapping.ends() || self.is_over() {
                return Ok(());
            }
            self.tapping.refresh().map_err(failure)?;
        }
    }

    fn is_over(&self) -> bool {
        self.tapping.is_full() || self.stop.as_ref().is_some_and(Stop::is_asked_for)
    }

    /// Shows the next records of a partition; whether there may be more of them.
    fn stretch(&mut self, at: usize) -> Result<bool, TapError> {
        let Tap { tapping, printer, .. } = self;
        tapping.stretch(at, |row| printer.print(row).map_err(TapError::Output))
    }

    /// First the records, then the position behind them.
    fn hand_over(&mut self) -> Result<(), Failure> {
        written(self.printer.flush())?;
        if let Some(resume) = &mut self.resume {
            resume.save(self.tapping.positions())?;
        }
        Ok(())
    }
}

fn failure(error: TapError) -> Failure {
    match error {
        TapError::Output(e) => unwritten(e),
        TapError::Filter(_)
        | TapError::NotThere(_)
        | TapError::Resume(ResumeError::OtherTap { .. } | ResumeError::Damaged { .. }) => {
            Failure::usage(error)
        }
        other => other.into(),
    }
}
