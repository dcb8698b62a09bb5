//! Traffic for a job that runs: generated lines that a thread appends to growing files, a share at a time.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Duration;

use crate::ad::Ad;
use crate::job::Dataset;
use crate::scratch::Scratch;

/// A share is written in so many pieces.
const PIECES: usize = 24;
/// The rest between two of them.
const REST: Duration = Duration::from_millis(25);
/// Advertisers from here on have no account in the beginning.
const LATE: u64 = 9_000_000;
/// Lines of each late advertiser in each share.
const LATE_LINES: u32 = 5;

/// Lines and the files that they are appended to.
pub struct Feed {
    files: Vec<(PathBuf, Vec<String>)>,
    shares: usize,
}

/// What a feed is made of.
pub struct Traffic {
    /// What is fed.
    pub feed: Feed,
    /// All lines that will have been written.
    pub lines: Vec<String>,
    /// The accounts that stand in the beginning.
    pub accounts: String,
    /// Lines that open accounts, to be added one by one.
    pub late_accounts: Vec<String>,
}

impl Traffic {
    /// Traffic in so many shares, some of it of advertisers whose accounts come late. They share no user,
    /// address or ad with anybody.
    #[track_caller]
    pub fn generate(scratch: &Scratch, options: &[&str], shares: usize, late: u64) -> Self {
        let dataset = Dataset::generate(scratch, options);
        let mut files = Vec::new();
        for (number, path) in dataset.files.iter().enumerate() {
            let text = std::fs::read_to_string(path).unwrap();
            let mut lines: Vec<String> = text.split_inclusive('\n').map(str::to_owned).collect();
            if number == 0 {
                lines = with_late(&lines, shares, late);
            }
            files.push((scratch.write(&format!("front-{number}.log"), ""), lines));
        }
        let lines = files.iter().flat_map(|(_, lines)| lines.iter().cloned()).collect();
        let accounts = std::fs::read_to_string(&dataset.accounts).unwrap();
        let late_accounts = (LATE..LATE + late).map(|id| format!("{id},1000000000000,1000000000000\n"));
        Self { feed: Feed { files, shares }, lines, accounts, late_accounts: late_accounts.collect() }
    }

    /// Whether an advertiser's account comes late.
    pub fn is_late(advertiser: u64) -> bool {
        advertiser >= LATE
    }
}

impl Feed {
    /// The growing files.
    pub fn files(&self) -> Vec<PathBuf> {
        self.files.iter().map(|(path, _)| path.clone()).collect()
    }

    /// The last share.
    pub fn write_last(&self) -> JoinHandle<()> {
        self.write(self.shares - 1)
    }

    /// Starts to append a share, counted from 0, of every file.
    pub fn write(&self, share: usize) -> JoinHandle<()> {
        let mut pieces = Vec::new();
        for piece in 0..PIECES {
            for (path, lines) in &self.files {
                let part = |n: usize| lines.len() * n / (self.shares * PIECES);
                let at = share * PIECES + piece;
                pieces.push((path.clone(), lines[part(at)..part(at + 1)].concat()));
            }
        }
        std::thread::spawn(move || {
            for (path, text) in pieces {
                let mut file = OpenOptions::new().append(true).open(path).unwrap();
                file.write_all(text.as_bytes()).unwrap();
                std::thread::sleep(REST);
            }
        })
    }
}

/// Adds some clicks for each late advertiser to the beginning of each share.
fn with_late(lines: &[String], shares: usize, late: u64) -> Vec<String> {
    let mut all = Vec::new();
    let mut n = 0;
    for share in 0..shares {
        let part = |n: usize| lines.len() * n / shares;
        let lines = &lines[part(share)..part(share + 1)];
        let time = time_of(&lines[0]);
        for _ in 0..LATE_LINES {
            for advertiser in LATE..LATE + late {
                all.push(Ad::click(n, time).paid_by(advertiser).line());
                n += 1;
            }
        }
        all.extend_from_slice(lines);
    }
    all
}

fn time_of(line: &str) -> i64 {
    let (_, rest) = line.split_once("\"event_time_ms\":").unwrap();
    rest.split(',').next().unwrap().parse().unwrap()
}
