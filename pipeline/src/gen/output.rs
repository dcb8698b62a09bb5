//! What a run leaves: event files that appear whole, the money of the advertisers, and progress.

use std::fs::{self, File};
use std::io::{self, BufWriter, IsTerminal, Write};
use std::path::{Path, PathBuf};

use indicatif::{ProgressBar, ProgressStyle};

use super::line::Origin;
use super::random::hash;
use super::traffic::Arrival;
use super::{GenArgs, GenError, GenReport};

const ACCOUNTS: &str = "accounts.csv";
const BUFFER_BYTES: usize = 256 * 1024;
/// One advertiser in this many runs dry.
const DRY_EVERY: u64 = 20;
const SPARE_MICROS: u64 = 100_000_000;
const DAY_MS: u64 = 86_400_000;

/// The open event files. Until `finish` they have hidden names, unless readers are to follow them.
pub(super) struct EventFiles {
    writers: Vec<(BufWriter<File>, PathBuf)>,
    hidden: Vec<(PathBuf, PathBuf)>,
}

impl EventFiles {
    pub fn create(args: &GenArgs) -> Result<Self, GenError> {
        fs::create_dir_all(&args.out).map_err(GenError::io("create", &args.out))?;
        clear(&args.out, args.force)?;
        let mut files = Self { writers: Vec::new(), hidden: Vec::new() };
        for server in 0..args.files {
            let name = format!("events-{server}.ndjson");
            let path = args.out.join(&name);
            let open_path = match args.follow {
                true => path,
                false => {
                    let hidden = hidden(&args.out, &name);
                    files.hidden.push((hidden.clone(), path));
                    hidden
                }
            };
            let file = File::create(&open_path).map_err(GenError::io("create", &open_path))?;
            let writer = BufWriter::with_capacity(BUFFER_BYTES, file);
            files.writers.push((writer, open_path));
        }
        Ok(files)
    }

    pub fn append(&mut self, server: usize, line: &[u8]) -> Result<(), GenError> {
        let (writer, path) = &mut self.writers[server];
        writer.write_all(line).map_err(GenError::io("write to", path))
    }

    pub fn flush(&mut self) -> Result<(), GenError> {
        for (writer, path) in &mut self.writers {
            writer.flush().map_err(GenError::io("write to", path))?;
        }
        Ok(())
    }

    /// Completes the files and gives them their names.
    pub fn finish(mut self) -> Result<(), GenError> {
        self.flush()?;
        for (hidden, path) in std::mem::take(&mut self.hidden) {
            fs::rename(&hidden, &path).map_err(GenError::io("create", &path))?;
        }
        Ok(())
    }
}

impl Drop for EventFiles {
    fn drop(&mut self) {
        for (hidden, _) in &self.hidden {
            // A failed run is reported already; a left-over hidden file is overwritten by the next.
            let _ = fs::remove_file(hidden);
        }
    }
}

fn hidden(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!(".{name}.partial"))
}

/// Removes the files of an earlier run, or refuses to go on when it may not.
fn clear(dir: &Path, force: bool) -> Result<(), GenError> {
    for entry in fs::read_dir(dir).map_err(GenError::io("list", dir))? {
        let path = entry.map_err(GenError::io("list", dir))?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_events = name.starts_with("events-") && name.ends_with(".ndjson");
        if !is_events && name != ACCOUNTS {
            continue;
        }
        if !force {
            return Err(GenError::AlreadyExists { path });
        }
        fs::remove_file(&path).map_err(GenError::io("remove", &path))?;
    }
    Ok(())
}

/// What every advertiser needs, added up over the log.
pub(super) struct Accounts<'a> {
    args: &'a GenArgs,
    all_nanos: Vec<u64>,
    /// Without robots, frauds and repeats.
    billable_nanos: Vec<u64>,
}

impl<'a> Accounts<'a> {
    pub fn new(args: &'a GenArgs) -> Self {
        let advertisers = args.advertisers as usize;
        Self { args, all_nanos: vec![0; advertisers], billable_nanos: vec![0; advertisers] }
    }

    pub fn add(&mut self, arrival: &Arrival) {
        let event = &arrival.event;
        if event.flaw.is_some() {
            return;
        }
        let advertiser = event.ad.advertiser as usize;
        self.all_nanos[advertiser] += event.ad.cost_nanos();
        if event.origin == Origin::Visitor && !arrival.is_repeat {
            self.billable_nanos[advertiser] += event.ad.cost_nanos();
        }
    }

    /// Writes accounts.csv for a log that starts at `start_ms`.
    pub fn write(&self, start_ms: u64, report: &mut GenReport) -> Result<(), GenError> {
        let partial = hidden(&self.args.out, ACCOUNTS);
        let path = self.args.out.join(ACCOUNTS);
        let mut table = String::from("advertiser_id,daily_budget_micros,balance_micros\n");
        let by_balance_only = self.crosses_midnight(start_ms);
        for advertiser in 0..self.args.advertisers {
            let (budget, balance) = self.money(advertiser, by_balance_only, report);
            table += &format!("{},{budget},{balance}\n", advertiser + 1);
        }
        fs::write(&partial, table).map_err(GenError::io("write to", &partial))?;
        fs::rename(&partial, &path).map_err(GenError::io("create", &path))
    }

    fn money(&self, advertiser: u32, by_balance_only: bool, report: &mut GenReport) -> (u64, u64) {
        let index = advertiser as usize;
        let plenty = self.all_nanos[index] / 1_000 * 2 + SPARE_MICROS;
        let demand = self.billable_nanos[index] / 1_000;
        report.advertisers_with_demand += u64::from(demand > 0);
        let id = u64::from(advertiser);
        // 1 to 19, so that advertiser 1, at index 0, never runs dry.
        let dry_place = 1 + hash(self.args.seed, "dry") % (DRY_EVERY - 1);
        if demand == 0 || id % DRY_EVERY != dry_place {
            return (plenty, plenty);
        }
        let share_percent = 30 + hash(id ^ self.args.seed, "share") % 51;
        let part = demand * share_percent / 100;
        if by_balance_only || (id / DRY_EVERY).is_multiple_of(2) {
            report.dry_by_balance += 1;
            (plenty, part)
        } else {
            report.dry_by_daily_budget += 1;
            (part, plenty)
        }
    }

    /// A daily budget starts afresh at midnight, so no share of it would hold for such a log.
    fn crosses_midnight(&self, start_ms: u64) -> bool {
        let end_ms = start_ms + self.args.offset_us(self.args.events) / 1_000;
        start_ms.saturating_sub(self.args.disorder_ms()) / DAY_MS != end_ms / DAY_MS
    }
}

/// A bar on standard error, or nothing when no one is watching.
pub(super) fn progress_bar(lines: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{wide_bar} {human_pos}/{human_len} lines, {eta} left");
    ProgressBar::new(lines).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
