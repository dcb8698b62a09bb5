//! Around every durable step the process crashes, the step fails, or time passes; then the job goes on, and what
//! was billed is the same, record by record, as if nothing had happened.
//!
//! `tests/failpoints.sh` builds the binary that this needs and runs it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    Ad, Done, Failpoint, Fault, Generation, Mood, Scratch, Side, Sink, Weir, accounts_csv, ask_json,
    ask_with, checkout, copy_tree, cuts, free_port, records, steps, tap, weir,
};

/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
const MINUTE: i64 = 60_000;
const WORKERS: usize = 3;

/// What a job does while a step of it is disturbed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Deed {
    /// A finite run from nothing to its end.
    Run,
    /// The same goes on with more input behind a torn tail of `raw`.
    GoOn,
    /// A command is taken in.
    Command,
    /// What is published is delivered.
    Deliver,
    /// A rewind with other rules is begun, caught up and published.
    Rewind,
    /// A candidate is dropped.
    Drop,
}

/// Where each step is disturbed, and how often it is passed before: every step of the list has a row.
const ROWS: &[(&str, Deed, &[u32])] = &[
    ("settings.write", Deed::Run, &[0]),
    ("mask_key.write", Deed::Run, &[0]),
    ("rules.write", Deed::Run, &[0]),
    ("rules.write", Deed::Rewind, &[0]),
    ("operator_log.append", Deed::Command, &[0, 1]),
    ("operator_log.append", Deed::Rewind, &[0, 1]),
    ("operator_log.append", Deed::Drop, &[0]),
    ("control_log.append", Deed::Run, &[0]),
    ("control_log.append", Deed::Rewind, &[0, 1, 2, 3]),
    ("control_log.append", Deed::Drop, &[0]),
    ("segment.create", Deed::Run, &[0, 4]),
    ("segment.create", Deed::Rewind, &[0, 2]),
    ("segment.cut", Deed::GoOn, &[0]),
    ("journal.write", Deed::Run, &[0, 3, 9]),
    ("journal.write", Deed::Command, &[0, 1]),
    ("journal.write", Deed::Rewind, &[1]),
    ("journal.fsync", Deed::Run, &[0, 3, 9]),
    ("journal.fsync", Deed::Command, &[0, 1]),
    ("journal.seal", Deed::Run, &[0, 4]),
    ("topic.remove", Deed::Drop, &[0, 1]),
    ("collect.plan", Deed::Run, &[0, 2]),
    ("collect.plan", Deed::GoOn, &[0]),
    ("collect.commit", Deed::Run, &[0, 2]),
    ("collect.commit", Deed::GoOn, &[0]),
    ("accounts.commit", Deed::Run, &[0]),
    ("commands.commit", Deed::Command, &[0]),
    ("task.commit", Deed::Run, &[0, 5, 13]),
    ("task.commit", Deed::Rewind, &[0, 5]),
    ("deliver.commit", Deed::Deliver, &[0, 1]),
    ("store.flush", Deed::Run, &[0, 4]),
    ("checkpoint.copy", Deed::Run, &[0, 7]),
    ("checkpoint.manifest", Deed::Run, &[0, 7]),
    ("checkpoint.rename", Deed::Run, &[0, 7]),
    ("checkpoint.remove", Deed::Run, &[0, 1]),
    ("restore.link", Deed::Rewind, &[0, 2]),
    ("restore.rename", Deed::Rewind, &[0, 2]),
    ("cut.write", Deed::Rewind, &[0]),
    ("generation.rename", Deed::Rewind, &[0]),
    ("generation.remove", Deed::Drop, &[0]),
    ("adjustments.post", Deed::Rewind, &[0]),
];

#[test]
fn the_table_of_the_docs_is_the_list_of_the_code() {
    let docs = std::fs::read_to_string(checkout("tests/README.md")).unwrap();
    let rows =
        docs.lines().filter_map(|line| line.strip_prefix("| `")?.strip_suffix(" |")?.split_once("` | "));
    let rows: Vec<_> = rows.map(|(step, what)| (step.to_owned(), what.to_owned())).collect();
    assert_eq!(rows, steps(), "the table in tests/README.md, and state/src/failpoints.rs");
    for (step, _) in steps() {
        assert!(ROWS.iter().any(|(name, ..)| *name == step), "{step} is never disturbed");
    }
}

#[test]
fn whatever_happens_around_a_durable_step_what_is_billed_is_the_same() {
    if std::env::var_os("WEIR_FAILPOINTS").is_none() {
        let said = "skipped: tests/failpoints.sh builds the binary with failpoints and runs this test\n";
        return std::io::stderr().write_all(said.as_bytes()).unwrap();
    }
    let scratch = Scratch::new("failpoints");
    let world = World::make(&scratch);
    let mut cases = Vec::new();
    for (step, deed, passes) in ROWS {
        for passes in passes.iter().copied() {
            for side in [Side::Before, Side::After] {
                for fault in [Fault::Crash, Fault::Error, Fault::Delay] {
                    cases.push((*deed, Failpoint { step, side, fault, passes }));
                }
            }
        }
    }
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..WORKERS {
            scope.spawn(|| {
                while let Some((deed, failpoint)) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if let Err(what) = world.try_out(*deed, failpoint) {
                        wrong.lock().unwrap().push(format!("{deed:?} {failpoint:?}: {what}"));
                    }
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    eprintln!("{} cases of {} steps", cases.len(), steps().len());
    assert!(wrong.is_empty(), "{} of {} went wrong:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

/// What there is to see of a job.
#[derive(Debug, PartialEq, Eq)]
struct Results {
    report: Value,
    topics: [Vec<Value>; 3],
}

impl Results {
    fn of(dir: &Path) -> Self {
        let topics = ["charges", "adjustments", "dropped"].map(|topic| {
            let mut records: Vec<Value> = records(tap(topic, dir));
            // The time of a command is that at which it came.
            let commands = records.iter_mut().filter(|record| record["kind"] == "top_up");
            commands.for_each(|record| record["event_time_ms"] = Value::Null);
            records
        });
        Results { report: ask_json(dir, &["report"]), topics }
    }
}

/// Where a deed begins, and what comes of it when nothing disturbs it.
struct Undisturbed {
    deed: Deed,
    begin: PathBuf,
    results: Results,
}

struct World {
    home: TempDir,
    events: PathBuf,
    more: PathBuf,
    accounts: PathBuf,
    rules: PathBuf,
    cut: String,
    known: Vec<Undisturbed>,
    made: AtomicUsize,
}

impl World {
    fn make(scratch: &Scratch) -> Self {
        let home = tempfile::Builder::new().prefix("weir-failpoints-").tempdir_in("/dev/shm");
        let mut world = World {
            home: home.unwrap_or_else(|_| tempfile::tempdir_in(scratch.path("")).unwrap()),
            events: scratch.write("events.ndjson", lines(0..240).concat() + &late(240..260).concat()),
            more: scratch.write("more.ndjson", late(300..330).concat()),
            accounts: scratch.write(
                "accounts.csv",
                accounts_csv(&[(1, 9_000_000_000, 9_000_000_000), (2, 9_000_000_000, 12_000_000)]),
            ),
            rules: scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 2\n"),
            cut: String::new(),
            known: Vec::new(),
            made: AtomicUsize::new(0),
        };
        let nothing = world.home.path().join("nothing");
        std::fs::create_dir(&nothing).unwrap();
        let finished = world.learn(Deed::Run, nothing);
        world.cut = cuts(&finished)[1].clone();
        let torn = world.copy(&finished);
        let segment = std::fs::read_dir(torn.join("log/raw")).unwrap().next().unwrap().unwrap().path();
        let mut segment = std::fs::OpenOptions::new().append(true).open(segment).unwrap();
        segment.write_all(b"WFR1 what is left of a write").unwrap();
        world.learn(Deed::GoOn, torn);
        world.learn(Deed::Command, finished.clone());
        world.learn(Deed::Deliver, finished.clone());
        world.learn(Deed::Rewind, finished.clone());
        let candidate = world.copy(&finished);
        ask_with(&candidate, &["rewind", "--to", &world.cut, "--stage", "deduct"], None).ok();
        world.learn(Deed::Drop, candidate);
        world
    }

    fn copy(&self, from: &Path) -> PathBuf {
        let number = self.made.fetch_add(1, Ordering::Relaxed);
        let to = self.home.path().join(format!("data-{number}"));
        copy_tree(from, &to);
        to
    }

    /// Does a deed once in peace.
    fn learn(&mut self, deed: Deed, begin: PathBuf) -> PathBuf {
        let dir = self.copy(&begin);
        let (done, sink) = self.attempt(deed, &dir, None);
        assert!(deed == Deed::Deliver || done.code == Some(0), "{done:?}");
        self.complete(deed, &dir, sink);
        self.known.push(Undisturbed { deed, begin, results: Results::of(&dir) });
        dir
    }

    /// Does it with a failpoint, then brings it to its end, and compares.
    fn try_out(&self, deed: Deed, failpoint: &Failpoint) -> Result<(), String> {
        let known = self.known.iter().find(|k| k.deed == deed).unwrap();
        let dir = self.copy(&known.begin);
        let (done, sink) = self.attempt(deed, &dir, Some(failpoint));
        if !failpoint.was_reached(&done.stderr) {
            return Err(format!("it is not reached: {done:?}"));
        }
        let ended = match failpoint.fault {
            Fault::Crash => done.code.is_none(),
            Fault::Error => done.code.is_some(),
            Fault::Delay => done.code == Some(0),
        };
        if !ended || done.stderr.contains("panicked") {
            return Err(format!("it ends otherwise than it should: {done:?}"));
        }
        self.complete(deed, &dir, sink);
        let audit = ask_with(&dir, &["audit"], None);
        if audit.code != Some(0) {
            return Err(format!("the audit: {audit:?}"));
        }
        let results = Results::of(&dir);
        if results != known.results {
            return Err(format!("the results differ:\n{results:?}\n{:?}", known.results));
        }
        std::fs::remove_dir_all(&dir).map_err(|e| e.to_string())
    }

    fn attempt(&self, deed: Deed, dir: &Path, failpoint: Option<&Failpoint>) -> (Done, Option<Sink>) {
        let text = |path: &'_ Path| path.to_str().unwrap().to_owned();
        let (rules, ask) = (text(&self.rules), |words: &[&str]| (ask_with(dir, words, failpoint), None));
        match deed {
            Deed::Run => (self.run(dir, &self.events, failpoint), None),
            Deed::GoOn => (self.run(dir, &self.more, failpoint), None),
            Deed::Command => ask(&["account", "top-up", "1", "5.00", "--key", "invoice"]),
            Deed::Rewind => ask(&["rewind", "--to", &self.cut, "--rules", &rules, "--apply"]),
            Deed::Drop => ask(&["generation", "drop", "2"]),
            Deed::Deliver => {
                let sink = Sink::start(Mood::Accepts);
                let done = self.deliver(dir, &sink, failpoint);
                (done, Some(sink))
            }
        }
    }

    /// What a person does after the trouble: starts it again, and looks whether there is something left to do.
    fn complete(&self, deed: Deed, dir: &Path, sink: Option<Sink>) {
        match deed {
            Deed::Run | Deed::GoOn | Deed::Command => _ = self.attempt(deed, dir, None).0.ok(),
            Deed::Deliver => {
                let sink = sink.unwrap();
                self.deliver(dir, &sink, None).ok();
                let charges = weir_tests::count("charges", dir).unwrap();
                assert_eq!(sink.taken().len(), charges, "each is delivered, under one id");
            }
            Deed::Rewind => {
                self.run(dir, &self.events, None).ok();
                match standing(dir, 2).as_deref() {
                    None => _ = self.attempt(deed, dir, None).0.ok(),
                    Some("candidate") => _ = ask_with(dir, &["generation", "promote", "2"], None).ok(),
                    Some(_) => {}
                }
                assert_eq!(standing(dir, 2).as_deref(), Some("published"));
            }
            Deed::Drop => {
                if standing(dir, 2).as_deref() == Some("candidate") {
                    self.attempt(deed, dir, None).0.ok();
                }
                self.run(dir, &self.events, None).ok();
                for gone in ["state/2", "checkpoints/2", "log/charges.2", "log/answers.2", "log/notices.2"] {
                    assert!(!dir.join(gone).exists(), "{gone} is left");
                }
            }
        }
    }

    fn run(&self, dir: &Path, input: &Path, failpoint: Option<&Failpoint>) -> Done {
        let (input, accounts) = (input.to_str().unwrap(), self.accounts.to_str().unwrap());
        let words = ["run", "--until-end", "--partitions", "1", "--threads", "2", "--input", input];
        ask_with(dir, &[&words[..], &["--accounts", accounts]].concat(), failpoint)
    }

    /// Runs the long-running job until all is delivered, or until it ends by itself.
    fn deliver(&self, dir: &Path, sink: &Sink, failpoint: Option<&Failpoint>) -> Done {
        let config = dir.with_extension("toml");
        let text = format!(
            "data_dir = {dir:?}\npartitions = 1\n\n[accounts]\nfile = {:?}\n\n[time]\nclock = \"events\"\n\n\
             [listen]\nmetrics = \"127.0.0.1:{}\"\ncontrol = \"off\"\n{}",
            self.accounts,
            free_port(),
            sink.section("batch = 50\nbackoff = \"10ms\"\nbackoff_max = \"20ms\"\n"),
        );
        std::fs::write(&config, text).unwrap();
        let mut command = weir();
        command.arg("run").arg("--config").arg(&config);
        if let Some(failpoint) = failpoint {
            failpoint.arm(&mut command);
        }
        let mut job = Weir::start(&mut command);
        let expected = weir_tests::count("charges", dir).unwrap();
        while job.is_alive() && sink.taken().len() < expected && job.age() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(20));
        }
        // The last answer is committed a moment later.
        std::thread::sleep(Duration::from_millis(400));
        if job.is_alive() {
            job.signal("TERM");
        }
        job.wait()
    }
}

fn standing(dir: &Path, id: u32) -> Option<String> {
    let all: Vec<Generation> = ask_json(dir, &["generation", "list"]);
    all.into_iter().find(|g| g.id == id).map(|g| g.standing)
}

/// Four minutes; of each five clicks four are of one user on one ad, and the second advertiser runs out of money.
fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    let click = |n: u32| Ad::click(n, T + i64::from(n) * 1_000).paid_by(u64::from(1 + n % 2));
    let ad = |n: u32| match n % 5 {
        1..4 => Ad { user: click(n / 5 * 5).user, ad_id: click(n / 5 * 5).ad_id, ..click(n) },
        _ => click(n),
    };
    numbers.map(|n| ad(n).line()).collect()
}

/// So much later that the first minutes are let go of.
fn late(numbers: std::ops::Range<u32>) -> Vec<String> {
    let click = |n: u32| Ad::click(n, T + 90 * MINUTE + i64::from(n) * 1_000);
    numbers.map(|n| click(n).line()).collect()
}
