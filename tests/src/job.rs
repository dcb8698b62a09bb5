//! The finite job: its input files, its command line and its summary.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::Command;

use serde::Deserialize;

use crate::process::{Weir, weir};
use crate::scratch::Scratch;
use crate::taps::Nanos;

/// Log files and the accounts that pay for them.
pub struct Dataset {
    /// The log files, in the order in which a job names them.
    pub files: Vec<PathBuf>,
    /// The accounts file.
    pub accounts: PathBuf,
}

impl Dataset {
    /// What `weir gen` writes with these options.
    #[track_caller]
    pub fn generate(scratch: &Scratch, options: &[&str]) -> Self {
        let dir = scratch.path("traffic");
        let mut command = weir();
        command.arg("gen").arg("--out").arg(&dir).args(options);
        Weir::start(&mut command).wait().ok();
        let names = std::fs::read_dir(&dir).unwrap().map(|e| e.unwrap().path());
        let mut files: Vec<_> = names.filter(|p| p.extension().is_some_and(|e| e == "ndjson")).collect();
        files.sort();
        Self { files, accounts: dir.join("accounts.csv") }
    }

    /// One file of lines that a test wrote itself.
    pub fn of(scratch: &Scratch, lines: &[String], accounts: &str) -> Self {
        Self {
            files: vec![scratch.write("events.ndjson", lines.concat())],
            accounts: scratch.write("accounts.csv", accounts),
        }
    }
}

/// A finite run over a data set, to be started as often as needed.
pub struct Job<'a> {
    dataset: &'a Dataset,
    options: Vec<String>,
    /// Where the job keeps everything.
    pub data_dir: PathBuf,
}

impl<'a> Job<'a> {
    /// A job with default options.
    pub fn new(dataset: &'a Dataset, data_dir: PathBuf) -> Self {
        Self { dataset, options: Vec::new(), data_dir }
    }

    /// The same with another number of partitions.
    pub fn partitions(mut self, partitions: u32) -> Self {
        self.options.push(format!("--partitions={partitions}"));
        self
    }

    /// The same with another number of threads.
    pub fn threads(mut self, threads: u32) -> Self {
        self.options.push(format!("--threads={threads}"));
        self
    }

    /// The command line of the job.
    pub fn command(&self) -> Command {
        let mut command = weir();
        command.arg("run");
        for file in &self.dataset.files {
            command.arg("--input").arg(file);
        }
        command.arg("--accounts").arg(&self.dataset.accounts);
        command.arg("--data-dir").arg(&self.data_dir);
        command.args(["--until-end", "--summary", "json"]);
        command.args(&self.options);
        command
    }

    /// Starts the job.
    pub fn start(&self) -> Weir {
        Weir::start(&mut self.command())
    }

    /// Runs the job to its end.
    #[track_caller]
    pub fn run(&self) -> Summary {
        Summary::parse(&self.start().wait().ok().stdout)
    }
}

/// What `--summary json` prints, without the times.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Summary {
    /// Lines read.
    pub events: u64,
    /// Lines that are no events.
    pub malformed: u64,
    /// Events dropped for each reason, malformed lines left out.
    pub dropped: BTreeMap<String, u64>,
    /// Events charged.
    pub charged: u64,
    /// Events refused for each reason.
    pub refused: BTreeMap<String, u64>,
    /// What was charged.
    pub charged_nanos: Nanos,
    /// All balances before.
    pub opening_nanos: Nanos,
    /// All balances after.
    pub closing_nanos: Nanos,
}

impl Summary {
    /// Takes the one JSON object on standard output.
    #[track_caller]
    pub fn parse(stdout: &str) -> Self {
        let parsed = serde_json::from_str::<Self>(stdout);
        parsed.unwrap_or_else(|e| panic!("no summary ({e}): {stdout}")).without_zeros()
    }

    /// The same without the reasons that nothing was dropped or refused for.
    pub fn without_zeros(&self) -> Self {
        let mut summary = self.clone();
        summary.dropped.retain(|_, count| *count > 0);
        summary.refused.retain(|_, count| *count > 0);
        summary
    }
}
