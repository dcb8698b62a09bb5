#![allow(clippy::unwrap_used, reason = "a failed test may panic")]

mod content;

use std::collections::HashMap;
use std::fs;
use std::path::Path;

use clap::Parser;
use serde_json::Value;

use super::{GenArgs, GenError, GenReport, generate};

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    args: GenArgs,
}

fn args(dir: &Path, options: &str) -> GenArgs {
    let out = dir.display().to_string();
    let command = ["gen", "--out", &out];
    Cli::parse_from(command.into_iter().chain(options.split_whitespace())).args
}

/// The directory goes with the log that it holds.
struct Run {
    dir: tempfile::TempDir,
    report: GenReport,
}

impl Run {
    fn new(options: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let report = generate(&args(dir.path(), options)).unwrap();
        Self { dir, report }
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.dir.path().join(name)).unwrap()
    }

    fn lines(&self) -> Vec<String> {
        let texts = [self.text("events-0.ndjson"), self.text("events-1.ndjson")];
        let lines = texts.iter().flat_map(|text| text.lines());
        lines.map(str::to_owned).collect()
    }

    /// Per advertiser: daily budget and balance.
    fn accounts(&self) -> HashMap<u64, (u64, u64)> {
        let text = self.text("accounts.csv");
        let mut rows = text.lines();
        let header = rows.next().unwrap();
        assert_eq!(header, "advertiser_id,daily_budget_micros,balance_micros");
        rows.map(|row| {
            let cells: Vec<u64> = row.split(',').map(|cell| cell.parse().unwrap()).collect();
            (cells[0], (cells[1], cells[2]))
        })
        .collect()
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_another_seed_does_not() {
    let [a, b] = [(); 2].map(|()| Run::new("--events 20000 --seed 7"));
    for name in ["events-0.ndjson", "events-1.ndjson", "accounts.csv"] {
        assert!(a.text(name) == b.text(name), "{name} differs");
    }
    assert_eq!(a.report, b.report);
    assert!(a.lines() != Run::new("--events 20000 --seed 8").lines());
}

#[test]
fn an_earlier_run_is_replaced_only_by_force() {
    let run = Run::new("--events 100 --files 3");
    let again = args(run.dir.path(), "--events 100");
    assert!(matches!(generate(&again), Err(GenError::AlreadyExists { .. })));
    generate(&args(run.dir.path(), "--events 100 --force")).unwrap();
    let mut names: Vec<_> = fs::read_dir(run.dir.path())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["accounts.csv", "events-0.ndjson", "events-1.ndjson"]);
}

#[test]
fn following_writes_at_the_rate_with_times_of_now() {
    let before = super::wall_clock_ms();
    let run = Run::new("--events 1000 --rate 5000 --disorder 0 --malformed-rate 0 --follow");
    let after = super::wall_clock_ms();
    assert!(after - before >= 150);
    for line in run.lines() {
        let event: Value = serde_json::from_str(&line).unwrap();
        let time = event["event_time_ms"].as_u64().unwrap();
        assert!((before..=after).contains(&time));
    }
}

#[test]
fn options_out_of_range_are_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let cases = [
        ("--events 0", "--events"),
        ("--users 0", "--users"),
        ("--advertisers 0", "--advertisers"),
        ("--files 0", "--files"),
        ("--files 1000", "--files"),
        ("--bot-rate 1", "--bot-rate"),
        ("--fraud-rate=-0.1", "--fraud-rate"),
        ("--malformed-rate nan", "--malformed-rate"),
        ("--fraud-rate 0.5 --bot-rate 0.5", "add up"),
        ("--duplicate-rate 0.6", "--duplicate-rate"),
        ("--hot-share 1.5", "--hot-share"),
        ("--rate 0", "--rate"),
        ("--disorder=-1", "--disorder"),
        ("--start-ms 10", "--start-ms"),
        ("--rate 0.0000000001", "--rate"),
    ];
    for (options, named) in cases {
        let error = generate(&args(dir.path(), options)).unwrap_err();
        assert!(matches!(error, GenError::InvalidOption { .. }));
        assert!(error.to_string().contains(named), "{options}: {error}");
    }
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}
