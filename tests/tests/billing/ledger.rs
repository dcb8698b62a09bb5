//! The ledger database: every outcome stands in it once, whatever becomes of either side.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use weir_tests::{
    Ad, Dataset, Job, LongRun, Mood, Postgres, Rng, Scratch, Sink, Weir, accounts_csv, ask_json, clicks,
    count, metric, now_ms, tap, wait_for, weir,
};

const OWNER: &str = "postgres";
/// Of events and commands: what `weir tap charges` shows.
const OUTCOMES: &str = "SELECT count(*) FROM weir.entries WHERE kind <> 'brought_forward'";

#[test]
fn every_outcome_stands_in_it_once_with_its_postings() {
    let server = Postgres::started();
    let mut run = Run::new("ledger", &server.url(OWNER));
    let strangers = (300..330).map(|n| Ad::click(n, now_ms()).paid_by(9).line());
    run.append(clicks(0..300).into_iter().chain(strangers).collect());
    run.job.start();
    run.job.settle();
    run.wait_for_entries(&server, 330);
    assert_same(&server, run.job.data_dir());
    assert_eq!(
        server.sql("SELECT count(*), sum(amount) FROM weir.refused WHERE advertiser_id = 9"),
        "30|7.500000000"
    );
    let brought = "SELECT id, balance_after, day FROM weir.entries WHERE kind = 'brought_forward'";
    assert!(server.sql(brought).ends_with("|1000000.000000000|1970-01-01"), "{}", server.sql(brought));
    assert_eq!(server.sql("SELECT count(*) FROM weir.postings"), "602");
    let statement =
        "SELECT currency, sum(charged_count), sum(charged), sum(net) FROM weir.statement GROUP BY 1";
    assert_eq!(server.sql(statement), "USD|300|75.000000000|999925.000000000");
    let port = run.job.metrics_port();
    assert_eq!(metric(port, "weir_ledger_entries_total"), Some(331.0));
    assert_eq!(
        (metric(port, "weir_ledger_lag_records"), metric(port, "weir_ledger_connected")),
        (Some(0.0), Some(1.0))
    );

    the_database_guards_itself(&server);

    // Another start writes nothing twice; another data directory must not write here at all.
    run.job.stop("TERM");
    run.job.start();
    run.append(clicks(330..340));
    run.job.settle();
    run.wait_for_entries(&server, 340);
    run.job.stop("TERM");
    assert_same(&server, run.job.data_dir());
    assert_balances(&server, run.job.data_dir());
    drop(run);
    let mut other = Run::new("other", &server.url(OWNER));
    other.append(clicks(0..10));
    other.job.start();
    other.job.settle();
    let done = other.job.stop("TERM");
    assert!(done.stderr.contains("belongs to the data directory"), "{}", done.stderr);
    assert_eq!(server.number(OUTCOMES), Some(340));
}

/// Nobody changes what stands there, and what is added has to balance.
fn the_database_guards_itself(server: &Postgres) {
    for table in ["entries", "postings"] {
        for statement in
            ["UPDATE weir.TABLE SET amount = 1", "DELETE FROM weir.TABLE", "TRUNCATE weir.TABLE CASCADE"]
        {
            let statement = statement.replace("TABLE", table);
            for role in ["weir_writer", "weir_reader"] {
                let said = server.refusal(&format!("SET ROLE {role}; {statement}"));
                assert!(said.contains("42501") && said.contains("permission denied"), "{role}: {said}");
            }
            let said = server.refusal(&statement);
            assert!(said.contains("append-only"), "{said}");
        }
    }
    let columns = "kind, outcome, billing, guid, advertiser_id, amount, currency, event_time, day";
    let again = |changes: &str| {
        format!(
            "SET ROLE weir_writer; INSERT INTO weir.entries (id, {columns}) SELECT 'charges/9/0/0', {changes} \
             FROM weir.entries WHERE outcome = 'charged' AND kind = 'click' LIMIT 1"
        )
    };
    for duplicate in
        [columns.to_owned(), columns.replace("kind", "'impression'").replace("amount", "amount + 1")]
    {
        let said = server.refusal(&again(&duplicate));
        assert!(said.contains("23505") && said.contains("entries_event_once"), "{said}");
    }
    let other = again(&columns.replace("guid", "'another'"));
    let post = |account: &str, amount: &str, currency: &str| {
        format!("; INSERT INTO weir.postings VALUES ('charges/9/0/0', '{account}', {amount}, '{currency}')")
    };
    let revenue = post("revenue", "-0.25", "USD");
    for unbalanced in [
        String::new(),
        post("advertiser:1", "0.25", "USD"),
        post("advertiser:1", "0.24", "USD") + &revenue,
        post("advertiser:1", "0.25", "EUR") + &revenue,
        post("advertiser:1", "0.5", "USD") + &post("revenue", "-0.5", "USD"),
    ] {
        let said = server.refusal(&format!("{other}{unbalanced}"));
        assert!(said.contains("23514") && said.contains("not balanced"), "{unbalanced}: {said}");
    }
    let extra = "INSERT INTO weir.postings SELECT id, 'cash', 1, currency FROM weir.entries WHERE kind = 'click' LIMIT 1";
    for extra in [extra, "INSERT INTO weir.postings VALUES ('charges/9/0/0', 'cash', 1, 'USD')"] {
        assert!(server.refusal(extra).contains("together with their entry"));
    }
    assert_eq!(server.sql("SELECT count(*), count(DISTINCT id) FROM weir.entries"), "331|331");
}

#[test]
fn a_second_outcome_of_an_event_is_set_aside() {
    let server = Postgres::started();
    let mut run = Run::new("conflict", &server.url(OWNER));
    run.append(clicks(0..10));
    run.job.start();
    run.wait_for_entries(&server, 10);
    let ad = Ad::click(10, now_ms());
    server.sql(&format!(
        "INSERT INTO weir.entries (id, kind, outcome, guid, advertiser_id, amount, currency, event_time, day) \
         VALUES ('charges/9/0/0', 'click', 'charged', '{}', 1, 0, 'USD', now(), now())",
        ad.guid
    ));
    run.append(vec![ad.line()]);
    run.append(clicks(11..20));
    run.wait_for_entries(&server, 20);
    let conflict = server.sql("SELECT guid, outcome, amount FROM weir.conflicts");
    assert_eq!(conflict, format!("{}|charged|0.250000000", ad.guid));
    assert_eq!(server.sql("SELECT balance FROM weir.balance"), "999995.250000000");
    assert_eq!(metric(run.job.metrics_port(), "weir_ledger_conflicts_total"), Some(1.0));
    let done = run.job.stop("TERM");
    assert!(done.stderr.contains("1 outcomes are of events that have another one"), "{}", done.stderr);
}

#[test]
fn neither_side_loses_or_doubles_anything_when_it_is_killed() {
    let server = Postgres::started();
    let mut run = Run::new("kills", &server.url(OWNER));
    let mut rng = Rng::new(20_260_101);
    run.job.start();
    for round in 0..12 {
        run.append(clicks(round * 400..(round + 1) * 400));
        std::thread::sleep(Duration::from_millis(700).mul_f64(rng.share()));
        match round % 4 {
            0 => run.job.kill9(),
            1 => server.kill9(),
            2 => server.stop(),
            _ => {
                server.kill9();
                run.job.kill9();
            }
        }
        std::thread::sleep(Duration::from_millis(500).mul_f64(rng.share()));
        if round % 4 != 0 {
            server.start();
        }
        if round % 4 == 0 || round % 4 == 3 {
            run.job.start();
        }
    }
    run.job.settle();
    run.wait_for_entries(&server, 4_800);
    assert_same(&server, run.job.data_dir());
    assert_eq!(server.sql("SELECT count(*) FROM weir.conflicts"), "0");
    run.job.stop("TERM");
}

#[test]
fn a_database_that_is_away_holds_nothing_up() {
    let server = Postgres::stopped();
    let mut run = Run::new("away", &server.url(OWNER));
    run.append(clicks(0..500));
    run.job.start();
    run.job.settle();
    let port = run.job.metrics_port();
    assert_eq!(metric(port, "weir_ledger_connected"), Some(0.0));
    wait_for("the lag to be seen", || metric(port, "weir_ledger_lag_records") >= Some(500.0));
    run.job.kill9();
    run.job.start();
    run.append(clicks(500..900));
    run.job.settle();
    let done = run.job.stop("TERM");
    assert_eq!(done.stderr.matches("cannot be reached").count(), 1, "said once: {}", done.stderr);
    assert!(done.stderr.contains("The job goes on"), "{}", done.stderr);
    run.job.start();
    run.append(clicks(900..1_000));
    run.job.settle();
    server.start();
    // A server without the database is still none.
    std::thread::sleep(Duration::from_secs(1));
    server.create();
    run.wait_for_entries(&server, 1_000);
    assert_same(&server, run.job.data_dir());
    let done = run.job.stop("TERM");
    assert_balances(&server, run.job.data_dir());
    assert_eq!(done.stderr.matches("catching up").count(), 1, "{}", done.stderr);
}

#[test]
fn what_is_not_written_stays_in_the_log() {
    let server = Postgres::stopped();
    let mut run = Run::new("kept", &server.url(OWNER));
    run.job.set_partitions(1);
    run.job.configure(
        "[log]\nsegment_mb = 1\n[time]\nclock = \"events\"\n[checkpoints]\nevery_minute_for = \"1m\"\n\
         every_hour_for = \"1h\"\n",
    );
    // 250 clicks a minute for four hours, of which all but the last is let go of.
    let begin = now_ms() - 4 * 3_600_000;
    run.append((0..60_000).map(|n| Ad::click(n, begin + i64::from(n) * 240).line()).collect());
    run.job.start();
    run.job.settle();
    let dir = run.job.data_dir().to_owned();
    wait_for("the log to be trimmed", || count("raw", &dir) < Some(60_000));
    assert_eq!(count("charges", &dir), Some(60_000));
    // Nor is it forgotten at the next start, before the database was ever reached.
    run.job.kill9();
    run.job.start();
    server.start();
    server.create();
    run.wait_for_entries(&server, 60_000);
    run.job.stop("TERM");
    assert_balances(&server, &dir);
}

#[test]
fn a_finite_run_ends_when_all_is_in_the_database() {
    let server = Postgres::started();
    let scratch = Scratch::new("finite");
    let dataset = Dataset::generate(&scratch, &["--events", "20000", "--seed", "5"]);
    let job = Job::new(&dataset, scratch.path("data"));
    server.stop();
    let mut weir = start_finite(&job, &server);
    std::thread::sleep(Duration::from_secs(3));
    assert!(weir.is_alive(), "it ended although the database was away");
    weir.kill9();
    let weir = start_finite(&job, &server);
    server.start();
    weir.wait().ok();
    let all = tap("charges", &job.data_dir).lines().count();
    assert!(all > 10_000, "{all}");
    assert_same(&server, &job.data_dir);
    assert_balances(&server, &job.data_dir);
    let weir = start_finite(&job, &server);
    weir.wait().ok();
    assert_eq!(server.number(OUTCOMES), Some(all as u64));
    let mut wrong = job.command();
    wrong.args(["--ledger", "postgres://no-database"]);
    Weir::start(&mut wrong).wait().refused(&[2], &["names no database"]);
}

fn start_finite(job: &Job<'_>, server: &Postgres) -> Weir {
    let mut command = job.command();
    Weir::start(command.args(["--ledger", &server.url(OWNER)]))
}

#[test]
fn what_is_wrong_with_the_database_is_told_and_the_job_goes_on() {
    let server = Postgres::started();
    server.sql("CREATE USER stranger");
    let mut run = Run::new("wrong", &server.url("stranger"));
    run.append(clicks(0..50));
    run.job.start();
    run.job.settle();
    let done = run.job.stop("TERM");
    for said in ["permission denied", "CREATE ROLE weir_writer", "The job goes on"] {
        assert!(done.stderr.contains(said), "no {said:?} in {}", done.stderr);
    }
    // An administrator does what it says.
    server.sql("CREATE ROLE weir_writer; CREATE ROLE weir_reader; GRANT weir_writer TO stranger");
    server.sql("GRANT CREATE ON DATABASE weir TO stranger");
    run.job.start();
    run.wait_for_entries(&server, 50);
    run.job.stop("TERM");

    server.sql("INSERT INTO weir.schema_history VALUES (99, 'later', '2030-01-01T00:00:00Z', '1')");
    run.job.start();
    run.append(clicks(50..60));
    run.job.settle();
    let done = run.job.stop("TERM");
    for said in ["schema version 99", "newer", "The job goes on"] {
        assert!(done.stderr.contains(said), "no {said:?} in {}", done.stderr);
    }
    server.sql("DELETE FROM weir.schema_history WHERE version = 99");
    run.job.start();
    run.wait_for_entries(&server, 60);
    assert_same(&server, run.job.data_dir());
    run.job.stop("TERM");
    assert_balances(&server, run.job.data_dir());

    let config = std::fs::read_to_string(run.job.config()).unwrap();
    std::fs::write(run.job.config(), config.replace("postgres://stranger@", "mysql://stranger@")).unwrap();
    for words in [&["config", "check"][..], &["run", "--config"]] {
        let mut command = weir();
        command.args(words).arg(run.job.config());
        Weir::start(&mut command).wait().refused(&[2], &["ledger.url", "postgres://user@host:port/database"]);
    }
}

#[test]
fn after_a_promotion_the_balances_are_those_of_the_report() {
    let server = Postgres::started();
    let mut run = Run::new("promotion", &server.url(OWNER));
    run.job.configure("\n[time]\nclock = \"events\"\n");
    run.job.open_control();
    let begin = now_ms() / 60_000 * 60_000 - 10 * 60_000;
    let by_four_users = |n: u32| {
        let ad = Ad::click(n, begin + i64::from(n / 20) * 60_000 + i64::from(n % 20));
        Ad { user: format!("u{}", n % 4), ..ad }.line()
    };
    run.append((0..100).map(by_four_users).collect());
    run.job.start();
    run.job.settle();
    run.wait_for_entries(&server, 100);
    let dir = run.job.data_dir().to_owned();
    let cuts: Value = ask_json(&dir, &["checkpoints"]);
    let config = std::fs::read_to_string(run.job.config()).unwrap();
    let rules = run.log.with_file_name("rules.toml");
    std::fs::write(&rules, config + "\n[anti_fraud]\nmax_user_clicks_minute = 2\n").unwrap();
    let (cut, rules) = (cuts[1]["minute"].as_str().unwrap(), rules.to_str().unwrap());
    let mut rewind = weir();
    rewind.args(["rewind", "--to", cut, "--rules", rules, "--apply", "--data-dir"]).arg(&dir);
    Weir::start(&mut rewind).wait().ok();
    run.append((100..140).map(by_four_users).collect());
    let of = |what: &str| server.number(&format!("SELECT count(*) FROM weir.entries WHERE {what}"));
    wait_for("the new generation's charges", || of("id LIKE 'charges/2/%'") == Some(16));
    wait_for("adjustments", || of("kind = 'adjustment'") > Some(0));
    wait_for("all", || metric(run.job.metrics_port(), "weir_ledger_lag_records") == Some(0.0));
    assert_eq!(
        (of("id LIKE 'charges/1/%' AND kind = 'click'"), of("currency <> 'USD'")),
        (Some(100), Some(0))
    );
    assert_eq!(of("corrects IS NOT NULL AND corrects NOT IN (SELECT id FROM weir.entries)"), Some(0));
    assert_eq!(server.sql("SELECT count(*) FROM weir.conflicts"), "0");
    run.job.stop("TERM");
    assert_balances(&server, &dir);
}

/// What the account system could not collect moves nothing, and stands there all the same.
#[test]
fn arrears_stand_in_the_ledger() {
    let server = Postgres::started();
    let mut run = Run::new("arrears", &server.url(OWNER));
    let sink = Sink::start(Mood::Says("insufficient_funds"));
    run.job.configure(&sink.section(""));
    run.job.open_control();
    run.append(clicks(0..1));
    run.job.start();
    let of = |what: &str| server.number(&format!("SELECT count(*) FROM weir.entries WHERE {what}"));
    wait_for("the arrears", || of("kind = 'arrears' AND amount = 0 AND original IS NOT NULL") == Some(1));
    run.append(clicks(1..2));
    wait_for("their arrears, too", || of("kind = 'arrears'") == Some(2));
    assert_eq!(server.sql("SELECT balance FROM weir.balance"), "999999.500000000");
    let dir = run.job.data_dir().to_owned();
    // The account says so at once.
    let account: Value = ask_json(&dir, &["account", "show", "1"]);
    assert_eq!(
        (&account["arrears_nanos"], &account["balance_nanos"]),
        (&500_000_000.into(), &999_999_500_000_000_u64.into())
    );
    run.job.stop("TERM");
    assert_balances(&server, &dir);
}

/// A job with a ledger.
struct Run {
    job: LongRun,
    log: PathBuf,
    _scratch: Scratch,
}

impl Run {
    fn new(name: &str, url: &str) -> Self {
        let scratch = Scratch::new(name);
        let log = scratch.write("front.log", "");
        let plenty = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
        let job = LongRun::new(&scratch, std::slice::from_ref(&log), &plenty);
        job.configure(&format!("\n[ledger]\nurl = \"{url}\"\nbatch = 100\n"));
        Run { job, log, _scratch: scratch }
    }

    fn append(&mut self, lines: Vec<String>) {
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.log).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
        self.job.expect(&lines);
    }

    #[track_caller]
    fn wait_for_entries(&self, server: &Postgres, entries: u64) {
        let count = || server.number(OUTCOMES);
        wait_for(&format!("{entries} entries"), || count() >= Some(entries));
        assert_eq!(count(), Some(entries));
    }
}

/// Every line of `weir tap charges` stands in the ledger once and as it is there, and nothing else does.
#[track_caller]
fn assert_same(server: &Postgres, dir: &Path) {
    let row = |line: std::io::Result<String>| {
        let value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let place = &value["provenance"];
        let id = format!("charges/{}/{}/{}", place["generation"], place["partition"], place["offset"]);
        let text = |name: &str| value[name].as_str().unwrap_or_default().to_owned();
        let [outcome, reason, guid] = ["outcome", "reason", "guid"].map(text);
        let number = |name: &str| value[name].to_string().trim_matches('"').to_owned();
        let [advertiser, ad, amount, balance] =
            ["advertiser_id", "ad_id", "amount_nanos", "balance_after_nanos"].map(number);
        (id, format!("{outcome}|{reason}|{guid}|{advertiser}|{ad}|{amount}|{balance}"))
    };
    let expected: BTreeMap<String, String> = tap("charges", dir).lines().map(row).collect();
    let nanos = |column: &str| format!("trim_scale({column} * 1000000000)");
    let found = server.sql(&format!(
        "SELECT id, outcome, coalesce(reason, ''), guid, advertiser_id, ad_id, {}, {} FROM weir.entries \
         WHERE kind <> 'brought_forward'",
        nanos("amount"),
        nanos("balance_after")
    ));
    let found: Vec<(String, String)> =
        found.lines().map(|line| line.split_once('|').unwrap()).map(|(a, b)| (a.into(), b.into())).collect();
    assert_eq!(found.len(), expected.len());
    assert_eq!(found.into_iter().collect::<BTreeMap<_, _>>(), expected);
}

/// The postings sum to zero, and what they come to is what `weir report` says of a job that has stopped: a running
/// one has not all of it on disk.
#[track_caller]
fn assert_balances(server: &Postgres, dir: &Path) {
    let uneven = "SELECT count(*) FROM (SELECT FROM weir.postings GROUP BY entry_id, currency HAVING sum(amount) <> 0) u";
    assert_eq!(server.sql(uneven), "0");
    assert_eq!(server.sql("SELECT coalesce(sum(debit) - sum(credit), 0) = 0 FROM weir.trial_balance"), "t");
    let report: Value = ask_json(dir, &["report", "--top", "100000"]);
    let number =
        |row: &Value, name: &str| -> i128 { row[name].to_string().trim_matches('"').parse().unwrap() };
    let balance =
        |row: &Value| (number(row, "advertiser_id").to_string(), number(row, "balance_nanos").to_string());
    let expected: BTreeMap<_, _> =
        report["top"].as_array().unwrap().iter().map(balance).filter(|(_, nanos)| nanos != "0").collect();
    let found = server.sql("SELECT advertiser_id, trim_scale(balance * 1000000000) FROM weir.balance");
    let found: BTreeMap<String, String> =
        found.lines().map(|line| line.split_once('|').unwrap()).map(|(a, b)| (a.into(), b.into())).collect();
    assert_eq!(found, expected);
}
