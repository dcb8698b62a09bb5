//! Statements and reconciliations against sums that the test makes of the charges themselves.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;
use weir_tests::{Ad, Dataset, Done, Job, Nanos, Postgres, Scratch, Weir, accounts_csv, records, tap, weir};

const DAY_MS: u64 = 86_400_000;
/// 2026-03-10T23:59:30Z, half a minute before midnight.
const T: i64 = 1_773_187_170_000;

/// What a record of `charges` says, as far as it matters here.
#[derive(Deserialize)]
struct Charge {
    advertiser_id: u64,
    campaign_id: u64,
    kind: String,
    billing: String,
    outcome: String,
    amount_nanos: Nanos,
    event_time_ms: u64,
    currency: String,
}

/// Count, amount, refused count and refused amount.
type Row = (u64, i128, u64, i128);
/// Of an advertiser, by day since the epoch, campaign, kind, billing model and currency.
type Books = BTreeMap<(u64, u64, String, String, String), Row>;

/// The books by advertiser, added up charge by charge.
fn books(data_dir: &Path) -> BTreeMap<u64, Books> {
    let mut all = BTreeMap::<u64, Books>::new();
    for c in records::<Charge>(tap("charges", data_dir)) {
        let key = (c.event_time_ms / DAY_MS, c.campaign_id, c.kind, c.billing, c.currency);
        let row = all.entry(c.advertiser_id).or_default().entry(key).or_default();
        match c.outcome.as_str() {
            "charged" => (row.0, row.1) = (row.0 + 1, row.1 + c.amount_nanos.0),
            _ => (row.2, row.3) = (row.2 + 1, row.3 + c.amount_nanos.0),
        }
    }
    all
}

fn run(data_dir: &Path, args: &[&str]) -> Done {
    let mut command = weir();
    Weir::start(command.args(args).arg("--data-dir").arg(data_dir)).wait()
}

fn statement(data_dir: &Path, advertiser: u64, args: &[&str]) -> Value {
    let id = advertiser.to_string();
    let done = run(data_dir, &[&["statement", &id, "--json"], args].concat()).ok();
    serde_json::from_str(&done.stdout).unwrap()
}

fn nanos(value: &Value) -> i128 {
    serde_json::from_value::<Nanos>(value.clone()).unwrap().0
}

/// Days since the epoch of a date of these tests, all of which are in 2026.
fn day_of(date: &str) -> u64 {
    let days_before = [0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334];
    let (month, day): (usize, u64) = (date[5..7].parse().unwrap(), date[8..].parse().unwrap());
    assert!(date.starts_with("2026-"), "{date}");
    20_454 + days_before[month - 1] + day - 1
}

fn date_of(day: u64) -> String {
    let dates = (1..=12).flat_map(|month| (1..=31).map(move |day| format!("2026-{month:02}-{day:02}")));
    dates.into_iter().find(|date| day_of(date) == day).unwrap()
}

fn lines_of(statement: &Value) -> Books {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let lines = statement["lines"].as_array().unwrap().iter();
    lines
        .map(|l| {
            let key = (
                day_of(l["day"].as_str().unwrap()),
                l["campaign_id"].as_u64().unwrap(),
                text(&l["kind"]),
                text(&l["billing"]),
                text(&l["currency"]),
            );
            let count = |name: &str| l[name].as_u64().unwrap();
            let amount = |name: &str| nanos(&l[name]);
            let row = (
                count("count"),
                amount("amount_nanos"),
                count("refused_count"),
                amount("refused_amount_nanos"),
            );
            (key, row)
        })
        .collect()
}

/// A finished job over generated traffic.
fn generated(scratch: &Scratch) -> PathBuf {
    let dataset = Dataset::generate(scratch, &["--events", "40000", "--advertisers", "40"]);
    let job = Job::new(&dataset, scratch.path("data"));
    job.run();
    job.data_dir
}

#[test]
fn a_statement_adds_up_the_charges() {
    let scratch = Scratch::new("statement");
    let data = generated(&scratch);
    let books = books(&data);
    assert!(books.len() >= 40, "{}", books.len());
    let refused: u64 = books.values().flat_map(|b| b.values()).map(|row| row.2).sum();
    assert!(refused > 0, "an account of them runs dry");
    for (advertiser, expected) in &books {
        let found = statement(&data, *advertiser, &[]);
        assert_eq!(lines_of(&found), *expected, "{advertiser}");
        let sum = |of: fn(&Row) -> i128| expected.values().map(of).sum::<i128>();
        let totals = &found["totals"][0];
        assert_eq!(nanos(&totals["charges"]["amount_nanos"]), sum(|row| row.1));
        assert_eq!(nanos(&totals["refused"]["amount_nanos"]), sum(|row| row.3));
        let balance = &found["balance"];
        let moved = nanos(&balance["opening_nanos"]) - nanos(&balance["closing_nanos"]);
        assert_eq!(moved, sum(|row| row.1));
        assert_eq!(
            (&balance["closing_nanos"], nanos(&balance["on_its_way_nanos"])),
            (&balance["now_nanos"], 0)
        );
    }
    let csv = run(&data, &["statement", "1", "--csv"]).ok().stdout;
    assert_eq!(csv.lines().count(), books[&1].len() + 1);
    assert!(csv.starts_with("advertiser_id,campaign_id,day,kind,billing,count,amount,"), "{csv}");
    run(&data, &["statement", "4711"]).refused(&[1], &["advertiser 4711 is not known"]);
    run(&data, &["statement", "1", "--from", "2026-1-1"]).refused(&[2], &["is not a day"]);
}

#[test]
fn a_statement_over_some_days_begins_with_what_was_left() {
    let scratch = Scratch::new("statement-days");
    let times = [T, T + 1, T + 30_000, T + 30_001, T + 30_002];
    let ads: Vec<Ad> = (0..).zip(times).map(|(n, t)| Ad::click(n, t).priced(1_000)).collect();
    let lines: Vec<String> = ads.iter().map(Ad::line).collect();
    let dataset = Dataset::of(&scratch, &lines, &accounts_csv(&[(1, 2_000, 10_000)]));
    let job = Job::new(&dataset, scratch.path("data"));
    job.run();
    let of = |args: &[&str]| {
        let found = statement(&job.data_dir, 1, args);
        let totals = &found["totals"][0];
        let counts = ["charges", "refused"].map(|name| totals[name]["count"].as_u64().unwrap());
        let balance =
            ["opening_nanos", "closing_nanos", "now_nanos"].map(|name| nanos(&found["balance"][name]));
        (counts, balance.map(|amount| amount / 1_000_000))
    };
    assert_eq!(of(&[]), ([4, 1], [10, 6, 6]));
    assert_eq!(of(&["--to", "2026-03-10"]), ([2, 0], [10, 8, 6]));
    assert_eq!(of(&["--from", "2026-03-11"]), ([2, 1], [8, 6, 6]));
    assert_eq!(of(&["--from", "2026-03-11", "--to", "2026-03-11"]), ([2, 1], [8, 6, 6]));
}

/// A partner's file of all that was charged, after `change` of each count and amount.
fn partner(books: &BTreeMap<u64, Books>, change: impl Fn(u64, u64, i128) -> Option<(u64, i128)>) -> String {
    let mut csv = "advertiser_id,campaign_id,day,kind,count,amount\n".to_owned();
    for (advertiser, rows) in books {
        for ((day, campaign, kind, ..), row) in rows.iter().filter(|(_, row)| row.0 > 0) {
            let Some((count, nanos)) = change(*campaign, row.0, row.1) else { continue };
            let amount = format!("{}.{:09}", nanos / 1_000_000_000, nanos % 1_000_000_000);
            csv += &format!("{advertiser},{campaign},{},{kind},{count},{amount}\n", date_of(*day));
        }
    }
    csv
}

#[test]
fn a_partners_counts_are_compared_line_by_line() {
    let scratch = Scratch::new("reconcile");
    let data = generated(&scratch);
    let books = books(&data);
    let reconcile = |csv: &str, args: &[&str]| {
        let file = scratch.write("partner.csv", csv);
        let file = file.to_str().unwrap();
        let done = run(&data, &[&["reconcile", "--json", "--file", file], args].concat());
        assert!([Some(0), Some(3)].contains(&done.code), "{}", done.stderr);
        let report: Value = serde_json::from_str(&done.stdout).unwrap();
        let number = |name: &str| report["file"][name].as_u64().unwrap();
        (done.code.unwrap(), number("different"), number("above"))
    };
    let lines = books.values().flat_map(|b| b.values()).filter(|row| row.0 > 0).count() as u64;
    let same = partner(&books, |_, count, nanos| Some((count, nanos)));
    assert_eq!(reconcile(&same, &["--threshold", "0"]), (0, 0, 0));
    let five = partner(&books, |_, count, nanos| Some((count, nanos - nanos / 20)));
    assert_eq!(reconcile(&five, &[]), (0, lines, 0));
    assert_eq!(reconcile(&five, &["--threshold", "4.99%"]), (3, lines, lines));
    let twenty = partner(&books, |_, count, nanos| Some((count, nanos + nanos / 5)));
    assert_eq!(reconcile(&twenty, &[]), (3, lines, lines));
    let (day, missing, ..) = books[&1].keys().next().unwrap();
    let of_it = books[&1].keys().filter(|key| key.1 == *missing).count() as u64;
    let without = partner(&books, |campaign, count, nanos| (campaign != *missing).then_some((count, nanos)));
    assert_eq!(reconcile(&without, &[]), (3, of_it, of_it));
    assert_eq!(reconcile(&without, &["--advertiser", "2"]), (0, 0, 0));
    // What the partner alone has counted is above every threshold.
    let stranger = format!("{same}1,99,{},click,1,0.5\n", date_of(*day));
    assert_eq!(reconcile(&stranger, &["--threshold", "1000%"]), (3, 1, 1));
    let own = run(&data, &["statement", "1", "--csv"]).ok().stdout;
    assert_eq!(reconcile(&own, &["--advertiser", "1"]), (0, 0, 0));

    let wrong = scratch.write("wrong.csv", format!("{same}1,2,2026-13-01,click,1,1\n"));
    let line = format!("line {}", same.lines().count() + 1);
    run(&data, &["reconcile", "--file", wrong.to_str().unwrap()]).refused(&[2], &[&line, "is not a day"]);
}

#[test]
fn the_ledger_database_agrees_exactly_or_not_at_all() {
    let scratch = Scratch::new("reconcile-database");
    let server = Postgres::started();
    let url = server.url("postgres");
    let dataset = Dataset::generate(&scratch, &["--events", "5000", "--advertisers", "40"]);
    let job = Job::new(&dataset, scratch.path("data"));
    Weir::start(job.command().args(["--ledger", &url])).wait().ok();
    let reconcile = |args: &[&str]| {
        let done = run(&job.data_dir, &[&["reconcile", "--json", "--database", &url], args].concat());
        let report: Value = serde_json::from_str(&done.stdout).unwrap_or_else(|e| panic!("{e}: {done:?}"));
        (done.code.unwrap(), report["database"]["above"].as_u64().unwrap())
    };
    let all: BTreeMap<u64, Books> = books(&job.data_dir);
    let file = scratch.write("partner.csv", partner(&all, |_, count, nanos| Some((count, nanos))));
    assert_eq!(reconcile(&["--file", file.to_str().unwrap()]), (0, 0));
    // A nano too much on one advertiser's day.
    server.sql(
        "INSERT INTO weir.entries (id, kind, outcome, guid, advertiser_id, campaign_id, amount, currency, event_time, \
         day) VALUES ('x', 'click', 'charged', 'x', 1, 7, 0.000000001, 'USD', now(), '2026-01-01'); \
         INSERT INTO weir.postings VALUES ('x', 'advertiser:1', 0.000000001, 'USD'), ('x', 'revenue', -0.000000001, \
         'USD')",
    );
    assert_eq!(reconcile(&["--threshold", "1000%"]), (3, 1));
    assert_eq!(reconcile(&["--advertiser", "2"]), (0, 0));
    assert_eq!(reconcile(&["--to", "2025-12-31"]), (0, 0));
    let wrong = run(&job.data_dir, &["reconcile", "--database", "http://db/weir"]);
    wrong.refused(&[2], &["--database", "postgres://"]);
}
