//! Switches: optional work rests and goes on again at once, by hand and by its breaker, and nothing is lost by it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::{
    Ad, Comparison, Dataset, Job, LongRun, Mood, Postgres, Scratch, Sink, Weir, accounts_csv, ask, ask_json,
    clicks, cuts, metric, now_ms, tap, wait_for,
};

const QUICK: &str = "timeout = \"500ms\"\nmax_attempts = 1000\nbackoff = \"50ms\"\nbackoff_max = \"400ms\"\n";
/// Of events and commands: what `weir tap charges` shows.
const OUTCOMES: &str = "SELECT count(*) FROM weir.entries WHERE kind <> 'brought_forward'";

#[test]
fn delivering_rests_and_goes_on_when_it_is_told_to() {
    let sink = Sink::start(Mood::Accepts);
    // Limits that would pause the source soon.
    let mut run = Run::new("switch-deliver", &sink.section("slow_at = 50\npause_at = 100\n"));
    run.append(clicks(0..100));
    run.job.start();
    run.job.settle();
    wait_for("what is charged to arrive", || sink.taken().len() == 100);
    let dir = run.job.data_dir().to_owned();
    assert_eq!(run.state("deliver"), Some(1.0));

    let said = ask(&dir, &["switch", "set", "deliver", "off", "--reason", "they move house"]).ok();
    assert_eq!(said.stdout, "Switch deliver is set to off, and off now\n");
    assert_eq!(run.state("deliver"), Some(0.0));
    run.append(clicks(100..300));
    run.job.settle();
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(sink.taken().len(), 100, "nothing is delivered, and all is charged");
    assert_eq!(metric(run.job.metrics_port(), "weir_source_pressure"), Some(0.0));

    run.job.kill9();
    run.job.start();
    run.append(clicks(300..400));
    run.job.settle();
    let listed = listed(&dir, "deliver");
    assert_eq!((&listed["setting"], &listed["state"]), (&"off".into(), &"off".into()));
    assert!(listed["why"].as_str().unwrap().ends_with(": they move house"), "{listed}");
    assert_eq!(sink.taken().len(), 100, "it is off after a restart, too");

    let told = Instant::now();
    let set: Value = ask_json(&dir, &["switch", "set", "deliver", "on"]);
    assert_eq!((&set["setting"], &set["state"]), (&"on".into(), &"on".into()));
    wait_for("deliveries", || sink.taken().len() > 100);
    // It takes a second at most; the machine may have much else to do.
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    wait_for("the rest", || sink.taken().len() == 400);
    run.job.stop("TERM");

    // Without a job, too.
    ask(&dir, &["switch", "set", "deliver", "off"]).ok();
    assert_eq!(self::listed(&dir, "deliver")["state"], "off");
    ask(&dir, &["switch", "set", "deliver", "auto"]).ok();
    run.append(clicks(400..410));
    run.job.start();
    run.job.settle();
    wait_for("all", || sink.taken().len() == 410);
    run.job.stop("TERM");
    assert_eq!(flips(&dir), ["off", "on", "off", "auto"]);
    let charges = tap("charges", &dir).lines().count();
    assert_eq!((charges, sink.taken().len()), (410, 410));
}

#[test]
fn a_breaker_opens_and_closes_by_itself() {
    let sink = Sink::start(Mood::Fails(503));
    let mut run = Run::new("switch-breaker", &sink.section(QUICK));
    run.append(clicks(0..200));
    run.job.start();
    wait_for("the breaker to open", || run.state("deliver") == Some(0.0));
    let dir = run.job.data_dir().to_owned();
    let why = listed(&dir, "deliver")["why"].as_str().unwrap().to_owned();
    assert!(why.starts_with("auto: breaker open since ") && why.contains("503"), "{why}");
    // While it is open only trials are made, and none of them is news.
    let before = sink.requests().len();
    std::thread::sleep(Duration::from_secs(5));
    let tries = sink.requests().len() - before;
    assert!((1..=4).contains(&tries), "{tries} requests in 5 s");
    run.job.settle();
    assert_eq!(flips(&dir), ["opened"]);

    run.job.kill9();
    run.job.start();
    wait_for("a trial after the restart", || sink.requests().len() > before + tries);
    sink.set(Mood::Accepts);
    wait_for("everything to arrive", || sink.taken().len() == 200);
    wait_for("the breaker to close", || run.state("deliver") == Some(1.0));
    assert_eq!(listed(&dir, "deliver")["why"], "auto: breaker closed");
    assert_eq!(flips(&dir), ["opened", "closed"]);
    let done = run.job.stop("TERM");
    assert_eq!(done.stderr.matches("switch deliver: on again by itself").count(), 1, "{}", done.stderr);
}

#[test]
fn the_ledger_rests_and_catches_up() {
    let server = Postgres::started();
    let ledger = format!("\n[ledger]\nurl = \"{}\"\nbatch = 100\n", server.url("postgres"));
    let mut run = Run::new("switch-ledger", &ledger);
    run.append(clicks(0..50));
    run.job.start();
    let all_of = |count| move |server: &Postgres| server.number(OUTCOMES) == Some(count);
    wait_for("entries", || all_of(50)(&server));
    let dir = run.job.data_dir().to_owned();
    ask(&dir, &["switch", "set", "ledger", "off"]).ok();
    let port = run.job.metrics_port();
    wait_for("the end of the connection", || metric(port, "weir_ledger_connected") == Some(0.0));
    run.append(clicks(50..150));
    run.job.settle();
    wait_for("the lag", || metric(port, "weir_ledger_lag_records") == Some(100.0));
    ask(&dir, &["switch", "set", "ledger", "auto"]).ok();
    wait_for("the rest", || all_of(150)(&server));

    server.stop();
    run.append(clicks(150..200));
    wait_for("the breaker to open", || run.state("ledger") == Some(0.0));
    assert!(listed(&dir, "ledger")["why"].as_str().unwrap().contains("cannot be reached"));
    server.start();
    wait_for("all", || all_of(200)(&server));
    wait_for("the breaker to close", || run.state("ledger") == Some(1.0));
    run.job.stop("TERM");
    assert_eq!(flips(&dir), ["off", "auto", "opened", "closed"]);
}

#[test]
fn a_finite_run_does_not_wait_for_a_ledger_that_is_off() {
    let server = Postgres::stopped();
    let scratch = Scratch::new("switch-finite");
    let dataset = Dataset::generate(&scratch, &["--events", "5000", "--seed", "5"]);
    let job = Job::new(&dataset, scratch.path("data"));
    let start = || Weir::start(job.command().args(["--ledger", &server.url("postgres")]));
    let mut first = start();
    wait_for("a data directory", || job.data_dir.join("control.log").exists());
    std::thread::sleep(Duration::from_secs(2));
    assert!(first.is_alive(), "it waits for the database");
    first.kill9();
    ask(&job.data_dir, &["switch", "set", "ledger", "off"]).ok();
    let done = start().wait().ok();
    assert!(done.stderr.contains("the switch ledger is off"), "{}", done.stderr);
    ask(&job.data_dir, &["switch", "set", "ledger", "auto"]).ok();
    server.start();
    server.create();
    start().wait().ok();
    let charges = tap("charges", &job.data_dir).lines().count() as u64;
    assert_eq!(server.number(OUTCOMES), Some(charges));
}

#[test]
fn a_replay_over_flips_is_identical() {
    let sink = Sink::start(Mood::Accepts);
    let mut run = Run::new("switch-replay", &sink.section("\n[time]\nclock = \"events\"\n"));
    let begin = now_ms() / 60_000 * 60_000 - 20 * 60_000;
    let ad = |n: u32| Ad::click(n, begin + i64::from(n / 20) * 60_000 + i64::from(n % 20)).line();
    run.job.start();
    let dir = run.job.data_dir().to_owned();
    for (round, words) in
        (0..).zip([["deliver", "off"], ["mirror", "off"], ["deliver", "auto"], ["enrichment", "on"]])
    {
        run.append((round * 60..(round + 1) * 60).map(ad).collect());
        run.job.settle();
        ask(&dir, &[&["switch", "set"], &words[..]].concat()).ok();
    }
    run.append((240..300).map(ad).collect());
    run.job.settle();
    wait_for("all", || sink.taken().len() == 300);
    let assert_identical = || {
        let all = cuts(&dir);
        let found: Comparison = ask_json(&dir, &["replay", "--from", &all[0]]);
        assert_eq!((found.result.as_str(), found.money_difference_nanos.0), ("identical", 0));
    };
    assert_identical();
    run.job.stop("TERM");
    assert_identical();
    assert_eq!(flips(&dir).len(), 4);
}

#[test]
fn what_is_no_switch_is_refused() {
    let scratch = Scratch::new("switch-wrong");
    let dataset = Dataset::generate(&scratch, &["--events", "100", "--seed", "5"]);
    let job = Job::new(&dataset, scratch.path("data"));
    job.run();
    let dir = &job.data_dir;
    ask(dir, &["switch", "set", "deduct", "off"]).refused(&[2], &["there is no switch", "ledger, deliver"]);
    ask(dir, &["switch", "set", "ledger", "half"]).refused(&[2], &["on, off and auto"]);
    assert!(flips(dir).is_empty());
    let text = ask(dir, &["switch", "list"]).ok().stdout;
    for said in ["ledger", "deliver", "mirror", "enrichment", "nothing is lost", "auto: breaker closed"] {
        assert!(text.contains(said), "no {said:?} in {text}");
    }
}

/// A job with something optional.
struct Run {
    job: LongRun,
    log: PathBuf,
    _scratch: Scratch,
}

impl Run {
    fn new(name: &str, sections: &str) -> Self {
        let scratch = Scratch::new(name);
        let log = scratch.write("front.log", "");
        let plenty = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
        let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &plenty);
        job.configure(sections);
        job.open_control();
        Run { job, log, _scratch: scratch }
    }

    fn append(&mut self, lines: Vec<String>) {
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.log).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
        self.job.expect(&lines);
    }

    /// What the metrics say of a switch.
    fn state(&self, switch: &str) -> Option<f64> {
        metric(self.job.metrics_port(), &format!("weir_switch_state{{switch=\"{switch}\"}}"))
    }
}

/// A switch, as it is listed.
fn listed(dir: &Path, name: &str) -> Value {
    let all: Vec<Value> = ask_json(dir, &["switch", "list"]);
    assert_eq!(all.len(), 4);
    all.into_iter().find(|switch| switch["name"] == name).unwrap()
}

/// The changes of switches in the control log, in order.
fn flips(dir: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(dir.join("control.log")).unwrap();
    let entries = text.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let change = |entry: Value| {
        let change = entry["entry"]["switch"]["change"].clone();
        change["set"].as_str().or(change.as_str()).map(ToOwned::to_owned)
    };
    entries.filter_map(change).collect()
}
