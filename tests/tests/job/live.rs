//! What can be seen of a job while it runs: `/metrics`, and taps that follow it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use weir_tests::{Ad, LongRun, Scratch, Weir, accounts_csv, assert_sound, now_ms, tap, weir};

const GOOD: usize = 500;
const MALFORMED: usize = 3;

/// What each stage and partition has to tell.
const PER_STAGE: [&str; 4] =
    ["weir_records_in_total", "weir_records_out_total", "weir_lag_records", "weir_minimal_successful_offset"];

#[test]
fn metrics_tell_what_each_stage_did() {
    let (_scratch, mut job) = running_job("metrics");
    let text = http_get(job.metrics_port(), "/metrics");
    assert_prometheus(&text);
    for name in PER_STAGE {
        let all = [name, "{", "stage=\"deduct\"", "partition=\"3\""];
        assert_eq!(those(&text, &all).count(), 1, "{name} by stage and partition in:\n{text}");
    }
    for parts in [["weir_batch_duration_seconds_bucket", "le=\"+Inf\""], ["weir_rocksdb_", "_bytes"]] {
        assert!(those(&text, &parts).any(|s| value(s) > 0.0), "{parts:?} in:\n{text}");
    }
    let lines = (GOOD + MALFORMED) as f64;
    assert_sum(&text, &["weir_records_in_total", "stage=\"collect\""], lines);
    assert_sum(&text, &["weir_dropped_total", "stage=\"collect\"", "reason=\"malformed\""], MALFORMED as f64);
    assert_sum(&text, &["weir_outcomes_total", "outcome=\"charged\""], GOOD as f64);
    job.stop("TERM");
}

#[test]
fn a_tap_follows_a_running_job() {
    let scratch = Scratch::new("tap-follows");
    let log = scratch.write("front.log", "");
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &plenty());
    job.start();
    let first = clicks(0..100);
    std::fs::write(&log, first.concat()).unwrap();
    job.expect(&first);
    job.settle();
    let follower =
        Weir::start(weir().args(["tap", "charges", "--from", "start", "--data-dir"]).arg(job.data_dir()));
    let more = clicks(100..300);
    let mut appended = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
    appended.write_all(more.concat().as_bytes()).unwrap();
    job.expect(&more);
    wait_for("the tap to print 300 lines", || follower.printed().lines().count() >= 300);
    job.settle();
    job.stop("TERM");
    let (input, taps) = job.result();
    assert_sound(&input, &taps);
    let followed = follower.kill9().stdout;
    let followed: BTreeSet<String> = followed.lines().map(str::to_owned).collect();
    let afterwards = std::io::BufRead::lines(tap("charges", job.data_dir()));
    let afterwards: BTreeSet<String> = afterwards.map(Result::unwrap).collect();
    assert_eq!(followed, afterwards);
}

#[test]
fn every_topic_can_be_tapped_and_no_other() {
    let (_scratch, mut job) = running_job("topics");
    for (topic, least) in [
        ("raw", GOOD),
        ("clean", GOOD),
        ("judged", GOOD),
        ("charges", GOOD),
        ("dropped", MALFORMED),
        ("notices", 0),
    ] {
        let lines = std::io::BufRead::lines(tap(topic, job.data_dir())).map(Result::unwrap);
        let parsed = lines.map(|line| serde_json::from_str::<serde_json::Value>(&line).unwrap());
        let records = parsed.filter(serde_json::Value::is_object).count();
        assert!(records >= least, "{topic} has {records} records");
    }
    let mut command = weir();
    command.args(["tap", "chargse", "--until", "end", "--data-dir"]).arg(job.data_dir());
    Weir::start(&mut command).wait().refused(&[1, 2], &["chargse", "charges"]);
    job.stop("TERM");
}

/// A job that has done its work and waits for more.
fn running_job(name: &str) -> (Scratch, LongRun) {
    let scratch = Scratch::new(name);
    let log = scratch.write("front.log", "");
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &plenty());
    let mut lines = clicks(0..GOOD as u32);
    lines.extend(std::iter::repeat_n("no event\n".to_owned(), MALFORMED));
    job.start();
    std::fs::write(&log, lines.concat()).unwrap();
    job.expect(&lines);
    job.settle();
    (scratch, job)
}

fn plenty() -> String {
    accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)])
}

fn clicks(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| Ad::click(n, now_ms()).line()).collect()
}

fn http_get(port: u16, path: &str) -> String {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    write!(stream, "GET {path} HTTP/1.0\r\nHost: 127.0.0.1\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.lines().next().unwrap().contains("200"), "{head}");
    assert!(head.to_lowercase().contains("content-type: text/plain"), "{head}");
    body.to_owned()
}

fn samples(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// Each metric is described, is ours, and has a number; counters end in `_total`.
fn assert_prometheus(text: &str) {
    let mut described = BTreeSet::new();
    for line in text.lines().filter(|line| line.starts_with("# TYPE ")) {
        let words: Vec<&str> = line.split(' ').collect();
        described.insert(words[2]);
        assert!(words[3] != "counter" || words[2].ends_with("_total"), "{line}");
        assert!(text.contains(&format!("# HELP {} ", words[2])), "no help for {}", words[2]);
    }
    for sample in samples(text) {
        let (name, _) = sample.split_once(['{', ' ']).unwrap();
        let suffix = ["_bucket", "_sum", "_count"].iter().find_map(|s| name.strip_suffix(s));
        let known = described.contains(name) || suffix.is_some_and(|n| described.contains(n));
        assert!(known && name.starts_with("weir_"), "{sample}");
        assert!(value(sample).is_finite(), "{sample}");
    }
}

fn value(sample: &str) -> f64 {
    let (_, number) = sample.rsplit_once(' ').unwrap();
    number.parse().unwrap()
}

/// The samples that contain all of `parts`.
fn those<'a>(text: &'a str, parts: &[&str]) -> impl Iterator<Item = &'a str> {
    samples(text).filter(move |sample| parts.iter().all(|part| sample.contains(part)))
}

#[track_caller]
fn assert_sum(text: &str, parts: &[&str], expected: f64) {
    let sum: f64 = those(text, parts).map(value).sum();
    assert!((sum - expected).abs() < 0.5, "{parts:?}: {sum}, not {expected}, in:\n{text}");
}

fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
