//! What Weir refuses to start with, and what it says then.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use weir_tests::{
    Ad, Dataset, Done, Input, Job, LongRun, Scratch, Weir, accounts_csv, assert_sound, checkout, now_ms,
    run_soundly, weir,
};

const HEADER: &str = "advertiser_id,daily_budget_micros,balance_micros\n";

#[test]
fn a_malformed_accounts_file_is_refused_by_its_line() {
    let rows = [
        ("a text for a number", "2,1000,plenty"),
        ("a negative balance", "2,1000,-5"),
        ("a negative budget", "2,-1000,5"),
        ("a missing column", "2,1000"),
        ("a broken amount", "2,1000,10.5"),
        ("an amount beyond 64 bits", "2,1000,99999999999999999999"),
        ("an advertiser named twice", "1,1000,1000"),
    ];
    let scratch = Scratch::new("accounts");
    for (at, (what, row)) in rows.iter().enumerate() {
        let csv = format!("{HEADER}1,1000,1000\n{row}\n");
        let mut dataset = Dataset::of(&scratch, &[Ad::click(0, 1_773_129_600_000).line()], &csv);
        let data_dir = scratch.path(&format!("data-{at}"));
        let refused = Job::new(&dataset, data_dir.clone()).partitions(1).start().wait();
        eprintln!("{what}: {}", refused.stderr);
        refused.refused(&[1, 2], &["accounts.csv", "line 3"]);
        let fixed = accounts_csv(&[(1, 1_000_000, 1_000_000)]);
        dataset.accounts = scratch.write("fixed.csv", &fixed);
        let input = Input::read(&dataset);
        let taps = run_soundly(&Job::new(&dataset, data_dir).partitions(1), &input);
        assert_eq!(taps.charges.len(), 1, "{what}: nothing stays in the way of the next start");
    }
}

#[test]
fn a_missing_input_is_refused_by_its_name() {
    let scratch = Scratch::new("missing");
    let mut dataset = Dataset::of(&scratch, &[], &accounts_csv(&[(1, 1, 1)]));
    dataset.files.push(scratch.path("nowhere.ndjson"));
    let done = Job::new(&dataset, scratch.path("data")).start().wait();
    done.refused(&[1, 2], &["nowhere.ndjson"]);
}

#[test]
fn a_data_directory_in_use_is_refused_and_its_owner_not_disturbed() {
    let scratch = Scratch::new("in-use");
    let log = scratch.write("front.log", "");
    let csv = accounts_csv(&[(1, 1_000_000_000, 1_000_000_000)]);
    let mut owner = LongRun::new(&scratch, std::slice::from_ref(&log), &csv);
    let lines: Vec<String> = (0..100).map(|n| Ad::click(n, now_ms()).line()).collect();
    owner.start();
    std::fs::write(&log, lines.concat()).unwrap();
    owner.expect(&lines);
    owner.settle();
    let dataset = Dataset { files: vec![log], accounts: scratch.path("accounts.csv") };
    let data_dir = owner.data_dir().to_owned();
    let second = Job::new(&dataset, data_dir.clone()).partitions(4).start().wait();
    second.refused(&[1, 2], &["in use", data_dir.to_str().unwrap()]);
    owner.settle();
    owner.stop("TERM");
    let (input, taps) = owner.result();
    assert_sound(&input, &taps);
}

#[test]
fn a_wrong_configuration_is_refused_by_its_line() {
    let scratch = Scratch::new("config");
    let good = config(&scratch, "");
    check(&scratch, &good).ok();
    let partitions = good.lines().position(|l| l.starts_with("partitions")).unwrap() + 1;
    let line = format!(":{}:", good.lines().count() + 2);
    let wrong = [
        (
            good.replace("partitions = 4", "partitions = 0"),
            vec!["partitions".into(), format!(":{partitions}:")],
        ),
        (
            good.replace("partitions = 4", "partitions = \"four\""),
            vec!["partitions".into(), format!(":{partitions}:")],
        ),
        (
            good.replace("partitions = 4", "partitoins = 4"),
            vec!["partitoins".into(), format!(":{partitions}:")],
        ),
        (format!("{good}[time]\nallowed_latness = \"1h\"\n"), vec!["allowed_latness".into(), line.clone()]),
        (format!("{good}[time]\n= 4\n"), vec![line]),
        (good.replace("accounts.csv", "no-such.csv"), vec!["no-such.csv".into()]),
    ];
    for (text, phrases) in wrong {
        let phrases: Vec<&str> = phrases.iter().map(String::as_str).collect();
        check(&scratch, &text).refused(&[1, 2], &phrases);
        let path = scratch.write("weir.toml", &text);
        run_config(&path).refused(&[2], &phrases);
    }
}

#[test]
fn the_example_configuration_is_accepted() {
    let mut command = weir();
    Weir::start(command.args(["config", "check"]).arg(checkout("deploy/weir.example.toml"))).wait().ok();
}

#[test]
fn a_contradiction_in_the_configuration_names_both_sides() {
    let scratch = Scratch::new("contradiction");
    let contradiction = "[time]\nallowed_lateness = \"4d\"\ndedup_retention = \"1d\"\n";
    let text = config(&scratch, contradiction);
    let phrases = ["allowed_lateness", "dedup_retention"];
    check(&scratch, &text).refused(&[1, 2], &phrases);
    let path = scratch.write("weir.toml", &text);
    run_config(&path).refused(&[2], &phrases);
}

#[test]
fn a_wrong_command_line_is_refused() {
    let scratch = Scratch::new("usage");
    let config = scratch.write("weir.toml", config(&scratch, ""));
    let both = ["--config", config.to_str().unwrap(), "--input", "x", "--until-end"];
    for arguments in [&["run"][..], &["run", "--frobnicate"], &["tap"], &[&["run"], &both[..]].concat()] {
        Weir::start(weir().args(arguments)).wait().refused(&[2], &[]);
    }
}

#[test]
fn a_tap_of_nothing_says_so() {
    let scratch = Scratch::new("no-data");
    let missing = scratch.path("no-such-dir");
    let mut command = weir();
    command.args(["tap", "charges", "--until", "end", "--data-dir"]).arg(&missing);
    Weir::start(&mut command).wait().refused(&[1, 2], &["no-such-dir"]);
    assert!(!missing.exists(), "a reader creates nothing");
}

fn config(scratch: &Scratch, end: &str) -> String {
    scratch.write("front.log", "");
    let job = LongRun::new(scratch, &[scratch.path("front.log")], HEADER);
    job.configure(end);
    std::fs::read_to_string(job.config()).unwrap()
}

fn check(scratch: &Scratch, text: &str) -> Done {
    let path = scratch.write("checked.toml", text);
    let mut command = weir();
    Weir::start(command.args(["config", "check"]).arg(path)).wait()
}

/// Runs a configuration that should not start.
fn run_config(path: &std::path::Path) -> Done {
    let mut command = weir();
    let mut started = Weir::start(command.args(["run", "--config"]).arg(path));
    let deadline = Instant::now() + Duration::from_secs(20);
    while started.is_alive() {
        assert!(Instant::now() < deadline, "it runs with {path:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
    started.wait()
}
