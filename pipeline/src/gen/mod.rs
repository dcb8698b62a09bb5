//! `weir gen`: a reproducible ad log to try Weir on, with the accounts that pay for it.
//!
//! Everything is drawn from a seed, so the same options give byte-identical files.

mod agents;
mod args;
mod line;
mod output;
mod random;
#[cfg(test)]
mod tests;
mod traffic;
mod visits;

use std::io;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub use args::GenArgs;
use line::Origin;
use output::{Accounts, EventFiles, progress_bar};
use traffic::{Arrival, Traffic};

const LINES_PER_PROGRESS: u64 = 1_024;
/// With --follow, lines are written in batches of at least this much time.
const FOLLOW_PAUSE: Duration = Duration::from_millis(50);

/// Why a log could not be generated.
#[derive(Debug, thiserror::Error)]
pub enum GenError {
    /// An option is out of range or does not fit the others.
    #[error("{problem}")]
    InvalidOption {
        /// What is wrong and what to pass instead.
        problem: String,
    },
    /// A file of an earlier run is in the way.
    #[error(
        "{path} already exists. Pass --force to replace the files of the earlier run, or another directory as --out."
    )]
    AlreadyExists {
        /// The file that would be lost.
        path: PathBuf,
    },
    /// The operating system refused to work on a file.
    #[error(
        "Could not {action} {path}: {source}. Check that the directory is writable and has free space, then run weir gen again."
    )]
    Io {
        /// What was tried, as a verb.
        action: &'static str,
        /// The file or directory it was tried on.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl GenError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Counts of what a run wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GenReport {
    /// All lines.
    pub lines: u64,
    /// Size of all event files.
    pub bytes: u64,
    /// Lines that cannot be parsed.
    pub malformed: u64,
    /// Lines that repeat an earlier line.
    pub duplicates: u64,
    /// Well-formed lines with a robot's user agent, duplicates not counted.
    pub bots: u64,
    /// Well-formed lines of floods and bursts, duplicates not counted.
    pub fraud: u64,
    /// Well-formed clicks, duplicates not counted.
    pub clicks: u64,
    /// Well-formed impressions, duplicates not counted.
    pub impressions: u64,
    /// Advertisers that visitors, not robots or frauds, give something to pay for.
    pub advertisers_with_demand: u64,
    /// Advertisers whose balance is 30 to 80 % of what visitors cost them.
    pub dry_by_balance: u64,
    /// Advertisers whose daily budget is 30 to 80 % of what visitors cost them.
    pub dry_by_daily_budget: u64,
}

impl GenReport {
    fn add(&mut self, arrival: &Arrival, bytes: usize) {
        self.lines += 1;
        self.bytes += bytes as u64;
        if arrival.is_repeat {
            self.duplicates += 1;
        } else if arrival.event.flaw.is_some() {
            self.malformed += 1;
        } else {
            self.bots += u64::from(arrival.event.origin == Origin::Robot);
            self.fraud += u64::from(arrival.event.origin == Origin::Fraudster);
            self.clicks += u64::from(arrival.event.ad.bills_clicks());
            self.impressions += u64::from(!arrival.event.ad.bills_clicks());
        }
    }

    /// The counts as one line of JSON, without a newline.
    pub fn to_json(&self) -> String {
        let counts = [
            ("lines", self.lines),
            ("bytes", self.bytes),
            ("malformed", self.malformed),
            ("duplicates", self.duplicates),
            ("bots", self.bots),
            ("fraud", self.fraud),
            ("clicks", self.clicks),
            ("impressions", self.impressions),
            ("advertisers_with_demand", self.advertisers_with_demand),
            ("dry_by_balance", self.dry_by_balance),
            ("dry_by_daily_budget", self.dry_by_daily_budget),
        ];
        let members = counts.map(|(name, count)| format!("\"{name}\":{count}"));
        format!("{{{}}}", members.join(","))
    }
}

/// Writes the event files and accounts.csv that `args` ask for.
///
/// Without `follow`, accounts.csv appears last, so its presence means that the log is complete.
pub fn generate(args: &GenArgs) -> Result<GenReport, GenError> {
    args.validate()?;
    let mut files = EventFiles::create(args)?;
    let mut report = GenReport::default();
    let mut accounts = Accounts::new(args);
    if args.follow {
        // A job that reads growing files needs the accounts before the first event.
        Traffic::new(args, args.start_ms).for_each(|arrival| accounts.add(&arrival));
        accounts.write(wall_clock_ms(), &mut report)?;
        write_events(args, wall_clock_ms(), &mut files, &mut report, |_| ())?;
        files.finish()?;
    } else {
        write_events(args, args.start_ms, &mut files, &mut report, |arrival| {
            accounts.add(arrival);
        })?;
        files.finish()?;
        accounts.write(args.start_ms, &mut report)?;
    }
    Ok(report)
}

fn write_events(
    args: &GenArgs,
    start_ms: u64,
    files: &mut EventFiles,
    report: &mut GenReport,
    mut observe: impl FnMut(&Arrival),
) -> Result<(), GenError> {
    let started = Instant::now();
    let progress = progress_bar(args.events);
    let mut line = Vec::new();
    for arrival in Traffic::new(args, start_ms) {
        if args.follow {
            wait_for(started + Duration::from_micros(arrival.at_us), files)?;
        }
        line.clear();
        arrival.event.write_line(&mut line).map_err(GenError::io("write to", &args.out))?;
        files.append(arrival.server, &line)?;
        report.add(&arrival, line.len());
        observe(&arrival);
        if report.lines.is_multiple_of(LINES_PER_PROGRESS) {
            progress.set_position(report.lines);
        }
    }
    progress.finish_and_clear();
    Ok(())
}

fn wait_for(due: Instant, files: &mut EventFiles) -> Result<(), GenError> {
    let ahead = due.saturating_duration_since(Instant::now());
    if !ahead.is_zero() {
        files.flush()?;
        thread::sleep(ahead.max(FOLLOW_PAUSE));
    }
    Ok(())
}

fn wall_clock_ms() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or_default().as_millis() as u64
}
