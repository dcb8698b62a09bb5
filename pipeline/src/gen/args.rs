//! The options of `weir gen` and the rules they must keep.

use std::path::PathBuf;

use super::GenError;

/// A ULID holds the time in 48 bits.
const LAST_ULID_MS: f64 = ((1_u64 << 48) - 1) as f64;
const MOST_ADVERTISERS: u32 = 10_000_000;
const MOST_FILES: u16 = 256;
const MOST_DISORDER_S: f64 = 3_600.0;

/// Options of `weir gen`: what traffic to write, how much of it, and where.
#[derive(Clone, Debug, clap::Args)]
pub struct GenArgs {
    /// Directory that receives events-0.ndjson, events-1.ndjson, … and accounts.csv.
    ///
    /// It is created when it does not exist.
    #[arg(long, value_name = "DIR")]
    pub out: PathBuf,

    /// Number of lines to write, duplicates and malformed lines included.
    #[arg(long, value_name = "LINES", default_value_t = 100_000)]
    pub events: u64,

    /// Seed of all randomness: the same options and seed give byte-identical files.
    #[arg(long, default_value_t = 42)]
    pub seed: u64,

    /// Number of users; a few of them are much busier than the rest.
    #[arg(long, value_name = "COUNT", default_value_t = 1_000_000)]
    pub users: u32,

    /// Number of advertisers; advertiser 1 gets about 14 % of the traffic.
    #[arg(long, value_name = "COUNT", default_value_t = 20_000)]
    pub advertisers: u32,

    /// Share of visits (0 to 1) that advertiser 1 gets; all others then get the same.
    ///
    /// Without it a few of the others are much busier than the rest, too.
    #[arg(long, value_name = "SHARE")]
    pub hot_share: Option<f64>,

    /// Share of lines (0 to 1) that repeat an earlier line of the same file, byte for byte, up to
    /// 10 minutes of event time later.
    #[arg(long, value_name = "SHARE", default_value_t = 0.02)]
    pub duplicate_rate: f64,

    /// Share of lines (0 to 1) in click floods and in bursts on one ad from one user or one ip.
    #[arg(long, value_name = "SHARE", default_value_t = 0.05)]
    pub fraud_rate: f64,

    /// Share of lines (0 to 1) whose user agent names a robot.
    #[arg(long, value_name = "SHARE", default_value_t = 0.03)]
    pub bot_rate: f64,

    /// Share of lines (0 to 1) that are truncated, lack the guid, have a text as bid or are no JSON.
    #[arg(long, value_name = "SHARE", default_value_t = 0.001)]
    pub malformed_rate: f64,

    /// Lines per second of event time; with --follow also per second of real time.
    #[arg(long, value_name = "EVENTS_PER_SECOND", default_value_t = 5_000.0)]
    pub rate: f64,

    /// How late a line may be written after its event time, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 5.0)]
    pub disorder: f64,

    /// Number of event files, one per front-end server; a user stays with one server.
    #[arg(long, value_name = "COUNT", default_value_t = 2)]
    pub files: u16,

    /// Event time at which the log starts, in milliseconds since 1970-01-01T00:00:00Z.
    ///
    /// The default is 2026-01-01T10:00:00Z.
    #[arg(long, value_name = "MS", default_value_t = 1_767_261_600_000)]
    pub start_ms: u64,

    /// Append in real time at --rate until --events lines are written; event times are the wall
    /// clock.
    ///
    /// accounts.csv is then written before the first event instead of after the last one.
    #[arg(long, conflicts_with = "start_ms")]
    pub follow: bool,

    /// Replace the event files and accounts.csv that an earlier run left in DIR.
    #[arg(long)]
    pub force: bool,
}

impl GenArgs {
    /// Checks that every option is in range and that the options fit together.
    pub fn validate(&self) -> Result<(), GenError> {
        at_least_one("--events", self.events)?;
        at_least_one("--users", self.users.into())?;
        between("--advertisers", self.advertisers, MOST_ADVERTISERS)?;
        between("--files", self.files, MOST_FILES)?;
        self.validate_shares()?;
        self.validate_hot_share()?;
        self.validate_times()
    }

    fn validate_shares(&self) -> Result<(), GenError> {
        let shares = [
            ("--duplicate-rate", self.duplicate_rate),
            ("--fraud-rate", self.fraud_rate),
            ("--bot-rate", self.bot_rate),
            ("--malformed-rate", self.malformed_rate),
        ];
        for (option, share) in shares {
            if !(0.0..1.0).contains(&share) {
                return invalid(format!(
                    "{option} is {share}, but it is a share of all lines: pass a number from 0 to below 1."
                ));
            }
        }
        let sum: f64 = shares.iter().map(|(_, share)| share).sum();
        if sum >= 1.0 {
            return invalid(format!(
                "--duplicate-rate, --fraud-rate, --bot-rate and --malformed-rate add up to {sum}, which leaves no ordinary traffic: lower them so that their sum is below 1."
            ));
        }
        if 2.0 * self.duplicate_rate + self.malformed_rate > 1.0 {
            return invalid(format!(
                "--duplicate-rate is {}, but a line is repeated at most once: pass at most half of the share of well-formed lines.",
                self.duplicate_rate
            ));
        }
        Ok(())
    }

    fn validate_hot_share(&self) -> Result<(), GenError> {
        match self.hot_share {
            Some(share) if !(0.0..=1.0).contains(&share) => invalid(format!(
                "--hot-share is {share}, but it is a share of all visits: pass a number from 0 to 1."
            )),
            _ => Ok(()),
        }
    }

    fn validate_times(&self) -> Result<(), GenError> {
        if !(self.rate.is_finite() && self.rate > 0.0) {
            return invalid(format!(
                "--rate is {}, but the lines are spaced by it: pass a number of events per second above 0.",
                self.rate
            ));
        }
        if !(0.0..=MOST_DISORDER_S).contains(&self.disorder) {
            return invalid(format!(
                "--disorder is {}: pass a number of seconds from 0 to {MOST_DISORDER_S}.",
                self.disorder
            ));
        }
        if self.start_ms < self.disorder_ms() {
            return invalid(format!(
                "--start-ms is {}, so that --disorder would reach back before 1970: pass at least {}.",
                self.start_ms,
                self.disorder_ms()
            ));
        }
        let last_ms = self.start_ms as f64 + self.events as f64 / self.rate * 1e3;
        if last_ms >= LAST_ULID_MS {
            return invalid(format!(
                "The log would end at {last_ms:.0} ms, after the last time a ULID can hold ({LAST_ULID_MS} ms): lower --start-ms or --events, or raise --rate."
            ));
        }
        Ok(())
    }

    pub(super) fn disorder_ms(&self) -> u64 {
        (self.disorder * 1e3) as u64
    }

    /// Time from the start of the log to line `index`, in microseconds.
    pub(super) fn offset_us(&self, index: u64) -> u64 {
        (index as f64 / self.rate * 1e6) as u64
    }
}

fn at_least_one(option: &str, count: u64) -> Result<(), GenError> {
    match count {
        0 => invalid(format!("{option} is 0: pass 1 or more.")),
        _ => Ok(()),
    }
}

fn between<T: Copy + Into<u64>>(option: &str, count: T, most: T) -> Result<(), GenError> {
    let (count, most) = (count.into(), most.into());
    match (1..=most).contains(&count) {
        true => Ok(()),
        false => invalid(format!("{option} is {count}: pass a number from 1 to {most}.")),
    }
}

fn invalid(problem: String) -> Result<(), GenError> {
    Err(GenError::InvalidOption { problem })
}
