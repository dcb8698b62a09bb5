//! A data directory that an earlier version has written opens in this one, and its job goes on.
//!
//! `tests/fixtures/data-dir-<format>.tar.gz` holds such a directory, packed with the system's `tar`, and beside it
//! what was to be seen of it then. It is made by
//!
//! ```sh
//! cargo test --release -p weir-tests --test damage -- --ignored
//! ```
//!
//! and made anew only by whoever changes a format on purpose: old fixtures stay, and are opened or refused.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use weir_tests::{
    Ad, Comparison, LongRun, Mood, Scratch, Sink, accounts_csv, ask, ask_json, checkout, count, cuts,
    wait_for,
};

/// The format of the directory in the fixture, as its `weir.json` has it.
const FORMAT: u32 = 3;
/// Those of earlier fixtures, which are refused.
const REFUSED: [u32; 1] = [2];
/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
const BEFORE: u32 = 240;
const AFTER: u32 = 120;
const WHAT_TO_DO: &str = "this version does not go on with a data directory of the version before. Write what \
    brings it over; or refuse it with a clear message: raise FORMAT in pipeline/src/data_dir.rs, let this test \
    expect the refusal, and make another fixture as the head of this file says";

#[test]
fn a_directory_of_an_earlier_version_goes_on() {
    let scratch = Scratch::new("upgrade");
    unpack(FORMAT, &scratch);
    let seen: Value = serde_json::from_slice(&std::fs::read(scratch.path("seen.json")).unwrap()).unwrap();
    let log = scratch.write("later.log", lines(BEFORE..BEFORE + AFTER).concat());
    let mut job = job(&scratch, &log);
    let dir = job.data_dir().to_owned();
    assert_eq!(seen, Seen::of(&dir), "before the job goes on: {WHAT_TO_DO}");
    ask(&dir, &["checkpoints", "verify"]).ok();
    ask(&dir, &["audit"]).ok();
    job.start();
    job.wait_until_taken((BEFORE + AFTER) as usize);
    wait_for(&format!("the job to go on ({WHAT_TO_DO})"), || lag(&dir) == 0);
    job.stop("TERM");
    let after = Seen::of(&dir);
    let charges = |seen: &Value| seen["charges"].as_array().unwrap().clone();
    let (old, new) = (charges(&seen), charges(&after));
    let (first, later) = new.split_at(old.len());
    assert_eq!(first, old, "what was charged stays");
    let paid: i64 = later.iter().map(|charge| charge["amount_nanos"].as_i64().unwrap()).sum();
    assert_eq!((later.len() as u32, paid), (AFTER, i64::from(AFTER) * 250_000_000), "{later:?}");
    let closing = |seen: &Value| seen["report"]["closing_nanos"].as_i64().unwrap();
    assert_eq!(closing(&after), closing(&seen) - paid, "the balances");
    assert_eq!((&after["report"]["conserved"], &after["dead"]), (&true.into(), &seen["dead"]));
    assert_eq!(after["account"], seen["account"]);
    ask(&dir, &["audit"]).ok();
    ask(&dir, &["checkpoints", "verify"]).ok();
    let replayed: Comparison = ask_json(&dir, &["replay", "--from", &cuts(&dir)[1]]);
    assert_eq!(replayed.result, "identical", "old checkpoints can be begun from");
    let answer = ask(&dir, &["account", "top-up", "9", "5.00", "--key", "invoice", "--json"]).ok();
    assert!(answer.stdout.contains("\"repeated\":true"), "a command of then is known: {}", answer.stdout);
}

/// A newer format is refused in words, and so is one that is no longer read.
#[test]
fn another_format_is_refused() {
    let scratch = Scratch::new("upgrade-refuses");
    let data = scratch.path("data");
    std::fs::create_dir(&data).unwrap();
    for text in ["{\"format\":1,\"partitions\":4}", "{\"format\":99,\"anything\":1}"] {
        std::fs::write(data.join("weir.json"), text).unwrap();
        is_refused(&data);
    }
    for format in REFUSED {
        std::fs::remove_dir_all(&data).unwrap();
        unpack(format, &scratch);
        is_refused(&data);
    }
}

#[track_caller]
fn is_refused(data: &Path) {
    let said = [data.join("weir.json").display().to_string(), format!("reads {FORMAT}")];
    let phrases: Vec<&str> = said.iter().map(String::as_str).chain(["use the version that made"]).collect();
    ask(data, &["report"]).refused(&[1], &phrases);
}

#[test]
#[ignore = "makes the fixture"]
fn make_the_fixture() {
    let scratch = Scratch::new("upgrade-fixture");
    let log = scratch.write("front.log", lines(0..BEFORE).concat());
    let sink = Sink::start(Mood::Dislikes(Ad::click(7, time(7)).guid));
    let mut job = job(&scratch, &log);
    job.configure(
        &sink.section("batch = 50\nbackoff = \"10ms\"\nbackoff_max = \"20ms\"\nmax_attempts = 3\n"),
    );
    job.start();
    job.wait_until_taken(BEFORE as usize);
    let dir = job.data_dir().to_owned();
    wait_for("a dead letter", || count("dead", &dir).unwrap_or(0) > 0 && lag(&dir) == 0);
    for words in [
        &["account", "open", "9", "--balance", "1000", "--currency", "EUR"][..],
        &["account", "top-up", "9", "5.00", "--key", "invoice"],
        &["campaign", "set", "9", "77", "--billing", "cpc", "--daily-budget", "3"],
    ] {
        ask(&dir, words).ok();
    }
    job.stop("TERM");
    ask(&dir, &["rewind", "--to", &cuts(&dir)[1], "--apply"]).ok();
    ask(&dir, &["rewind", "--to", &cuts(&dir)[1], "--stage", "deduct"]).ok();
    ask(&dir, &["generation", "drop", "3"]).ok();
    let seen = serde_json::to_vec(&Seen::of(&dir)).unwrap();
    scratch.write("seen.json", seen);
    // What RocksDB tells people is of no use here.
    let fixture = fixture(FORMAT);
    let packed = ["-czf", fixture.to_str().unwrap(), "--exclude=LOG", "--exclude=LOG.old.*"];
    std::fs::create_dir_all(fixture.parent().unwrap()).unwrap();
    tar(&[&packed[..], &["-C", scratch.path("").to_str().unwrap(), "data", "seen.json"]].concat());
    let bytes = std::fs::metadata(&fixture).unwrap().len();
    assert!(bytes < 300_000, "{bytes} bytes are too many for a repository");
}

/// What is to be seen of a data directory.
struct Seen;

impl Seen {
    fn of(dir: &Path) -> Value {
        let charges = weir_tests::tap("charges", dir);
        serde_json::json!({
            "charges": weir_tests::records::<Value>(charges),
            "report": ask_json::<Value>(dir, &["report"]),
            "account": ask_json::<Value>(dir, &["account", "show", "9"]),
            "dead": ask_json::<Value>(dir, &["dead", "list"]),
            "generations": ask_json::<Value>(dir, &["generation", "list"]),
        })
    }
}

fn job(scratch: &Scratch, log: &PathBuf) -> LongRun {
    let plenty = 1_000_000_000_000;
    let csv = accounts_csv(&[(1, plenty, plenty), (2, plenty, plenty), (3, plenty, plenty)]);
    let mut job = LongRun::new(scratch, std::slice::from_ref(log), &csv);
    job.open_control();
    job.set_partitions(1);
    job.configure("\n[time]\nclock = \"events\"\n");
    job
}

fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| Ad::click(n, time(n)).paid_by(u64::from(1 + n % 3)).line()).collect()
}

fn time(n: u32) -> i64 {
    T + i64::from(n) * 1_000
}

fn lag(dir: &Path) -> u64 {
    let rows: Vec<Value> = ask_json(dir, &["offsets"]);
    let folding = rows.iter().filter(|row| row["stage"] != "deliver");
    folding.map(|row| row["lag"].as_u64().unwrap_or(0)).sum()
}

fn fixture(format: u32) -> PathBuf {
    checkout(&format!("tests/fixtures/data-dir-{format}.tar.gz"))
}

fn unpack(format: u32, scratch: &Scratch) {
    tar(&["-xzf", fixture(format).to_str().unwrap(), "-C", scratch.path("").to_str().unwrap()]);
}

#[track_caller]
fn tar(words: &[&str]) {
    let done = Command::new("tar").args(words).output().unwrap();
    assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
}
