//! A finite run from end to end: every line accounted for, every charge exact.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use serde_json::Value;
use weir_tests::{Dataset, Done, Input, Job, Scratch, Summary, Weir, run_soundly, weir};

/// 40 s before midnight, 2026-01-01T23:59:20Z.
const BEFORE_MIDNIGHT: &str = "1767311960000";

#[test]
fn generated_traffic_is_billed_as_the_rules_say() {
    let scratch = Scratch::new("finite");
    let options = ["--events", "200000", "--seed", "7", "--rate", "1500"];
    let dataset = Dataset::generate(&scratch, &options);
    let input = Input::read(&dataset);
    let taps = run_soundly(&Job::new(&dataset, scratch.path("data")), &input);
    for reason in ["malformed", "bot", "flood", "user_ad_rate", "user_click_rate", "duplicate"] {
        let found = taps.dropped.iter().any(|d| d.reason == reason);
        assert!(found, "this traffic has nothing that is dropped as {reason}");
    }
    for reason in ["insufficient_balance", "daily_budget"] {
        let is = |r: &Option<String>| r.as_deref() == Some(reason);
        let found = taps.charges.iter().any(|c| is(&c.reason));
        assert!(found, "this traffic has nothing that is refused for {reason}");
    }
}

#[test]
fn a_run_across_midnight_keeps_a_budget_for_each_day() {
    let scratch = Scratch::new("midnight");
    let options = ["--events", "60000", "--rate", "750", "--start-ms", BEFORE_MIDNIGHT];
    let dataset = Dataset::generate(&scratch, &options);
    let input = Input::read(&dataset);
    let taps = run_soundly(&Job::new(&dataset, scratch.path("data")), &input);
    let day = |c: &weir_tests::Charge| c.event_time_ms / 86_400_000;
    let (first, last) = (taps.charges.iter().map(day).min(), taps.charges.iter().map(day).max());
    assert_ne!(first, last, "the charges are of two days");
}

#[test]
fn a_finished_job_goes_on_with_a_new_file() {
    let scratch = Scratch::new("more");
    let mut dataset = Dataset::generate(&scratch, &["--events", "20000", "--files", "2"]);
    let second = dataset.files.pop().unwrap();
    let first = Job::new(&dataset, scratch.path("data")).run();
    dataset.files.push(second);
    let job = Job::new(&dataset, scratch.path("data"));
    run_soundly(&job, &Input::read(&dataset));
    assert!(job.run().events > first.events);
}

#[test]
fn a_finished_job_ends_at_once_with_the_same_summary() {
    let scratch = Scratch::new("finished");
    let dataset = Dataset::generate(&scratch, &["--events", "50000", "--files", "3"]);
    let input = Input::read(&dataset);
    let job = Job::new(&dataset, scratch.path("data"));
    let before = run_soundly(&job, &input);
    let first = job.run();
    assert_eq!(first, job.run());
    let after = run_soundly(&job, &input);
    assert_eq!(before.charges, after.charges, "nothing is charged anew");
}

#[test]
fn the_summary_tells_the_speed_and_the_time_of_each_stage() {
    let scratch = Scratch::new("summary");
    let dataset = Dataset::generate(&scratch, &["--events", "20000"]);
    let done = Job::new(&dataset, scratch.path("data")).start().wait().ok();
    let summary: Value = serde_json::from_str(&done.stdout).unwrap();
    for field in ["elapsed_s", "events_per_s"] {
        let positive = summary[field].as_f64().is_some_and(|x| x > 0.0);
        assert!(positive, "{field} is {}", summary[field]);
    }
    let stages = summary["stages"].as_array().unwrap();
    assert!(stages.len() >= 3, "{stages:?}");
    for stage in stages {
        assert!(stage["stage"].is_string() && stage["cpu_s"].is_number(), "{stage}");
        // Nobody sent a command.
        assert_eq!(stage["records"].as_u64().unwrap() > 0, stage["stage"] != "commands", "{stage}");
    }
}

#[test]
fn the_report_shows_where_the_money_went() {
    let scratch = Scratch::new("report");
    let dataset = Dataset::generate(&scratch, &["--events", "100000"]);
    let job = Job::new(&dataset, scratch.path("data"));
    let summary = job.run();
    let text = report(&job, &["--top", "5"]).stdout;
    for reason in reasons(&summary) {
        assert!(text.contains(&reason), "no {reason} in the report:\n{text}");
    }
    assert!(text.to_lowercase().contains("conservation"), "{text}");
    let json: Value = serde_json::from_str(&report(&job, &["--json"]).stdout).unwrap();
    assert!(json.is_object(), "{json}");
}

fn report(job: &Job<'_>, options: &[&str]) -> Done {
    let mut command = weir();
    command.arg("report").arg("--data-dir").arg(&job.data_dir).args(options);
    Weir::start(&mut command).wait().ok()
}

fn reasons(summary: &Summary) -> Vec<String> {
    summary.dropped.keys().chain(summary.refused.keys()).cloned().collect()
}
