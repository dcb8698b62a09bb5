//! Bit rot: single bits flipped at random in every kind of file that Weir writes. Each flip is found before
//! what it damaged is used, and the file is named; or nothing depends on it, and every result is the same.
//!
//! | kind of file | what becomes of a flip |
//! | --- | --- |
//! | settings, decisions, rules, cuts | the checksum in the file tells; rules that no generation runs are not read |
//! | log of operations | the checksum of each entry tells whoever reads it, or is to write to it |
//! | mask key | the checksum tells whoever is to show masked users |
//! | segments | heads and batches have checksums, and so has the seal behind the last one: a flip in the seal itself changes nothing. Behind a kill there is none; then the stores know how much there was |
//! | manifests and files of checkpoints | named by `weir checkpoints verify`, and before a store is made of them |
//! | tables of stores | checksums of RocksDB; a block that nobody reads again changes nothing |
//! | MANIFEST, CURRENT | checked before RocksDB reads them; a store that folds a topic is then made anew |
//! | write-ahead logs | checksums of RocksDB; what they lost at their end is missed by the log |
//! | `ledger.json` | only the job with a ledger reads it: see the tests beside `ledger/local.rs` |
//! | `control.address` | only read while a job runs: see the tests beside `data_dir.rs` |
//! | LOG, OPTIONS, IDENTITY, `metrics.address` | nobody reads them |
//!
//! What a job with `[ingest]` writes besides is tested where it is read: the spool in `pipeline/tests/intake.rs`, the
//! keys for credentials beside `credentials/key_file.rs`. So is the file of `weir tap --resume`, beside `tap/resume.rs`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::Value;
use tempfile::TempDir;
use weir_tests::{
    Ad, Done, Flip, Kind, LongRun, Mood, Postgres, Rng, Scratch, Sink, Weir, accounts_csv, ask, ask_json,
    count, cuts, files_by_kind, flips, wait_for, weir,
};

/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
const MINUTE: i64 = 60_000;
const SEED: u64 = 20_260_310;
const WORKERS: usize = 3;

/// How many flips there are in files of each kind, of a job that was stopped and of one that was killed.
const FLIPS: [(Kind, usize, usize); 17] = [
    (Kind::Settings, 40, 0),
    (Kind::MaskKey, 40, 0),
    (Kind::ControlLog, 60, 0),
    (Kind::OperatorLog, 60, 0),
    (Kind::Address, 0, 20),
    (Kind::LedgerCopy, 20, 0),
    (Kind::Rules, 40, 0),
    (Kind::Cut, 40, 0),
    (Kind::Segment, 260, 60),
    (Kind::CheckpointManifest, 120, 0),
    (Kind::CheckpointFile, 180, 0),
    (Kind::Table, 120, 0),
    (Kind::Manifest, 80, 20),
    (Kind::WriteAhead, 0, 80),
    (Kind::Current, 30, 0),
    (Kind::Notes, 20, 0),
    (Kind::Lock, 0, 0),
];

#[test]
fn no_flipped_bit_goes_unnoticed() {
    let scratch = Scratch::new("bit-rot");
    let world = World::make(&scratch);
    let mut rng = Rng::new(SEED);
    let mut todo = Vec::new();
    for (data, of_killed) in [(&world.stopped, false), (&world.killed, true)] {
        for (kind, stopped, killed) in FLIPS {
            let wanted = if of_killed { killed } else { stopped };
            let found = flips(&data.root, &data.files, kind, wanted, &mut rng);
            assert_eq!(found.len(), wanted, "{kind:?}: there is no such file to flip a bit of");
            todo.extend(found.into_iter().map(|flip| (data, flip)));
        }
    }
    assert!(todo.len() >= 1_000, "{} flips", todo.len());
    let (next, outcomes) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for worker in 0..WORKERS {
            let (world, todo, next, outcomes) = (&world, &todo, &next, &outcomes);
            scope.spawn(move || {
                while let Some((data, flip)) = todo.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let copy = world.home.path().join(format!("copy-{worker}"));
                    flip.copy(&data.root, &data.files, &copy);
                    let outcome = world.try_out(data, flip, &copy);
                    outcomes.lock().unwrap().push((flip.clone(), outcome));
                    std::fs::remove_dir_all(&copy).unwrap();
                }
            });
        }
    });
    report(outcomes.into_inner().unwrap());
}

/// What became of a flip.
#[derive(Debug)]
enum Outcome {
    /// An error, or a finding of the audit, named the file.
    Named,
    /// Every result is as it was.
    Same,
    /// Neither.
    Wrong(String),
}

fn report(outcomes: Vec<(Flip, Outcome)>) {
    let mut table: BTreeMap<Kind, [usize; 2]> = BTreeMap::new();
    let mut wrong = Vec::new();
    for (flip, outcome) in outcomes {
        let row = table.entry(flip.kind).or_default();
        match outcome {
            Outcome::Named => row[0] += 1,
            Outcome::Same => row[1] += 1,
            Outcome::Wrong(what) => wrong.push(format!("{flip:?}: {what}")),
        }
    }
    for (kind, [named, same]) in table {
        eprintln!("{kind:?}: {named} named, {same} without any effect");
    }
    assert!(wrong.is_empty(), "{} flips went wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// A data directory, and what comes out when its job goes on.
struct Data {
    root: PathBuf,
    files: Vec<(Kind, PathBuf)>,
    result: Results,
}

impl Data {
    fn of(root: PathBuf, world: &Input) -> Self {
        let files = files_by_kind(&root);
        let copy = root.with_extension("copy");
        weir_tests::copy_tree(&root, &copy);
        let ran = world.go_on(&copy).ok();
        let result = Results::of(&copy, &ran).unwrap();
        std::fs::remove_dir_all(&copy).unwrap();
        Data { root, files, result }
    }
}

/// What a job is told and what it is to bill when it goes on.
struct Input {
    more: PathBuf,
    accounts: PathBuf,
}

impl Input {
    fn go_on(&self, root: &Path) -> Done {
        let mut command = weir();
        command.args(["run", "--until-end", "--partitions", "1", "--threads", "1", "--json", "--input"]);
        command.arg(&self.more).arg("--accounts").arg(&self.accounts).arg("--data-dir").arg(root);
        Weir::start(&mut command).wait()
    }
}

/// What there is to see of a job that has gone on: its summary without the times, and all charges.
#[derive(Debug, PartialEq, Eq)]
struct Results {
    summary: Value,
    charges: String,
}

impl Results {
    fn of(root: &Path, ran: &Done) -> Result<Self, Done> {
        let mut summary: Value = serde_json::from_str(&ran.stdout).unwrap();
        for name in ["elapsed_s", "events_per_s", "stages"] {
            summary.as_object_mut().unwrap().remove(name).unwrap();
        }
        let charges = ask(root, &["tap", "charges", "--until", "end", "--format", "jsonl", "--unmasked"]);
        match charges.code {
            Some(0) => Ok(Results { summary, charges: charges.stdout }),
            _ => Err(charges),
        }
    }
}

struct World {
    stopped: Data,
    killed: Data,
    input: Input,
    home: TempDir,
}

impl World {
    fn make(scratch: &Scratch) -> Self {
        let plenty = 1_000_000_000_000;
        let csv = accounts_csv(&[(1, plenty, plenty), (2, plenty, 900_000_000), (3, plenty, plenty)]);
        let log = scratch.write("front.log", lines(0..6_000).concat());
        let (sink, server) = (Sink::start(Mood::Fails(500)), Postgres::started());
        let mut job = LongRun::new(scratch, std::slice::from_ref(&log), &csv);
        job.set_partitions(1);
        job.open_control();
        job.configure(&format!(
            "\n[time]\nclock = \"events\"\n\n[log]\nsegment_mb = 1\ncompression = \"none\"\n\n\
             [ledger]\nurl = {:?}\n{}",
            server.url("postgres"),
            sink.section("batch = 100\nbackoff = \"10ms\"\nbackoff_max = \"20ms\"\nmax_attempts = 1000\n"),
        ));
        job.start();
        job.expect(&lines(0..6_000));
        job.wait_until_up();
        wait_for("some retries", || count("retry", job.data_dir()).unwrap_or(0) > 50);
        sink.set(Mood::Dislikes(Ad::click(7, T + time(7)).guid));
        job.settle();
        wait_for("a dead letter", || count("dead", job.data_dir()).unwrap_or(0) > 0);
        let dir = job.data_dir().to_owned();
        for words in [
            &["account", "open", "9", "--balance", "1000", "--currency", "EUR"][..],
            &["account", "top-up", "1", "250.00", "--key", "invoice"],
            &["campaign", "set", "1", "100001", "--billing", "cpc", "--price-cap", "0.10"],
            &["refund", "3", &Ad::click(5, T + time(5)).guid, "--reason", "so"],
        ] {
            ask(&dir, words).ok();
        }
        wait_for("the copy of the ledger", || dir.join("ledger.json").exists());
        job.stop("TERM");
        let rules = scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 2\n");
        ask(&dir, &["rewind", "--to", &cuts(&dir)[2], "--rules", rules.to_str().unwrap(), "--apply"]).ok();
        ask(&dir, &["rewind", "--to", &cuts(&dir)[4], "--stage", "deduct"]).ok();
        let config = std::fs::read_to_string(job.config()).unwrap();
        std::fs::write(job.config(), config.replace("\"none\"", "\"lz4\"")).unwrap();
        append(&log, &lines(6_000..6_400));
        job.start();
        job.wait_until_taken(6_400);
        wait_for("all to be billed", || lag(&dir) == 0);
        let home = quick_dir(scratch);
        let (stopped, killed) = (home.path().join("stopped"), home.path().join("killed"));
        job.kill9();
        weir_tests::copy_tree(&dir, &killed);
        job.start();
        append(&log, &lines(6_400..6_500));
        job.wait_until_taken(6_500);
        wait_for("all to be billed", || lag(&dir) == 0);
        job.stop("TERM");
        weir_tests::copy_tree(&dir, &stopped);
        let input = Input {
            more: scratch.write("more.ndjson", lines(7_000..7_200).concat()),
            accounts: scratch.path("accounts.csv"),
        };
        let (stopped, killed) = (Data::of(stopped, &input), Data::of(killed, &input));
        World { stopped, killed, input, home }
    }

    fn try_out(&self, data: &Data, flip: &Flip, copy: &Path) -> Outcome {
        let (file, mut named) = (copy.join(&flip.file), false);
        for words in looks(flip.kind) {
            match is_named(words[0], &ask(copy, words), &file) {
                Ok(yes) => named |= yes,
                Err(wrong) => return wrong,
            }
        }
        if matches!(
            flip.kind,
            Kind::CheckpointFile | Kind::CheckpointManifest | Kind::MaskKey | Kind::OperatorLog
        ) {
            return if named { Outcome::Named } else { Outcome::Wrong("it is not noticed".to_owned()) };
        }
        let ran = self.input.go_on(copy);
        let after = match ran.code {
            Some(0) => Results::of(copy, &ran),
            _ => Err(ran),
        };
        match after {
            Ok(results) if results == data.result => {}
            Ok(_) => return Outcome::Wrong(format!("another result (audit has named it: {named})")),
            Err(done) => match is_named("going on", &done, &file) {
                Ok(yes) => named |= yes,
                Err(wrong) => return wrong,
            },
        }
        if named { Outcome::Named } else { Outcome::Same }
    }
}

/// What is asked of a directory before its job goes on: whatever reads files of this kind.
fn looks(kind: Kind) -> &'static [&'static [&'static str]] {
    match kind {
        Kind::CheckpointFile => &[&["checkpoints", "verify"]],
        Kind::CheckpointManifest => &[&["checkpoints", "verify"], &["audit", "--json"]],
        Kind::OperatorLog => &[&["operations"]],
        Kind::MaskKey => &[&["tap", "raw", "--until", "end", "--limit", "1"]],
        Kind::Rules | Kind::LedgerCopy | Kind::Address => &[],
        _ => &[&["audit", "--json"]],
    }
}

/// Whether it failed; it must have named the file then.
fn is_named(what: &str, done: &Done, file: &Path) -> Result<bool, Outcome> {
    let said = done.stderr.clone() + &done.stdout;
    match done.code {
        Some(0) => Ok(false),
        _ if said.contains(file.to_str().unwrap()) => Ok(true),
        _ => Err(Outcome::Wrong(format!("{what} fails and does not name it: {done:?}"))),
    }
}

/// In memory where there is such a place: thousands of copies are made, and each is opened and fsynced.
fn quick_dir(scratch: &Scratch) -> TempDir {
    let memory = tempfile::Builder::new().prefix("weir-bit-rot-").tempdir_in("/dev/shm");
    memory.unwrap_or_else(|_| tempfile::tempdir_in(scratch.path("")).unwrap())
}

/// A tenth of a second apart in six minutes; each fifth one of the same user on the same ad as the one before.
fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    let click = |n: u32| Ad::click(n, T + time(n)).paid_by(u64::from(1 + n % 3));
    let ad = |n: u32| match n % 5 {
        1..4 => Ad { user: click(n / 5 * 5).user, ad_id: click(n / 5 * 5).ad_id, ..click(n) },
        _ => click(n),
    };
    numbers.map(|n| ad(n).line()).collect()
}

fn time(n: u32) -> i64 {
    i64::from(n) * MINUTE / 600
}

fn append(log: &Path, lines: &[String]) {
    let mut file = std::fs::OpenOptions::new().append(true).open(log).unwrap();
    file.write_all(lines.concat().as_bytes()).unwrap();
}

fn lag(dir: &Path) -> u64 {
    let rows: Vec<Value> = ask_json(dir, &["offsets"]);
    rows.iter().map(|row| row["lag"].as_u64().unwrap_or(0)).sum()
}
