//! The books and the ledger database after another generation was published: the one holds its outcomes, the
//! other those of both with the adjustments in between, and they come to the same.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::Path;

use serde_json::Value;
use weir_tests::{
    Ad, LongRun, Postgres, Scratch, Weir, accounts_csv, ask_json, metric, now_ms, wait_for, weir,
};

const OWNER: &str = "postgres";

fn json(dir: &Path, args: &[&str]) -> Value {
    let mut command = weir();
    let done = Weir::start(command.args(args).args(["--json", "--data-dir"]).arg(dir)).wait().ok();
    serde_json::from_str(&done.stdout).unwrap()
}

#[test]
fn adjustments_are_in_the_books_already() {
    let server = Postgres::started();
    let scratch = Scratch::new("reconcile-promotion");
    let log = scratch.write("front.log", "");
    let plenty = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &plenty);
    job.configure(&format!("\n[ledger]\nurl = \"{}\"\n\n[time]\nclock = \"events\"\n", server.url(OWNER)));
    job.open_control();
    let begin = now_ms() / 60_000 * 60_000 - 10 * 60_000;
    let by_four_users = |n: u32| {
        let ad = Ad::click(n, begin + i64::from(n / 20) * 60_000 + i64::from(n % 20));
        Ad { user: format!("u{}", n % 4), ..ad }.line()
    };
    let append = |job: &mut LongRun, events: std::ops::Range<u32>| {
        let lines: Vec<String> = events.map(by_four_users).collect();
        let mut file = std::fs::OpenOptions::new().append(true).open(&log).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
        job.expect(&lines);
    };
    append(&mut job, 0..100);
    job.start();
    job.settle();
    let entries = |what: &str| server.number(&format!("SELECT count(*) FROM weir.entries WHERE {what}"));
    wait_for("the charges", || entries("kind = 'click'") == Some(100));

    // Half of each user's clicks of a minute were too many, by the rules that hold from now on.
    let dir = job.data_dir().to_owned();
    let cuts: Value = ask_json(&dir, &["checkpoints"]);
    let config = std::fs::read_to_string(job.config()).unwrap();
    let rules = scratch.write("rules.toml", config + "\n[anti_fraud]\nmax_user_clicks_minute = 2\n");
    let mut rewind = weir();
    rewind.args(["rewind", "--to", cuts[1]["minute"].as_str().unwrap(), "--rules"]).arg(rules);
    Weir::start(rewind.args(["--apply", "--data-dir"]).arg(&dir)).wait().ok();
    append(&mut job, 100..140);
    wait_for("the new generation's charges", || entries("id LIKE 'charges/2/%'") == Some(16));
    wait_for("adjustments", || entries("kind = 'adjustment'") > Some(0));
    wait_for("all", || metric(job.metrics_port(), "weir_ledger_lag_records") == Some(0.0));
    job.stop("TERM");

    let report = json(&dir, &["reconcile", "--database", &server.url(OWNER)]);
    assert_eq!((report["agrees"].as_bool(), report["database"]["different"].as_u64()), (Some(true), Some(0)));
    let statement = json(&dir, &["statement", "1"]);
    let charges = &statement["totals"][0]["charges"];
    let posted = &statement["adjustments"][0];
    let count = |value: &Value| value["count"].as_u64().unwrap();
    assert_eq!((posted["adjustment"].as_str(), posted["generation"].as_u64()), (Some("reversal"), Some(2)));
    // 100 of the one generation, 16 of the other, and some of them taken back.
    assert_eq!(count(charges), 116 - count(posted));
    let amounts = [charges, posted].map(|value| value["amount_nanos"].as_i64().unwrap());
    let balance = |name: &str| statement["balance"][name].as_i64().unwrap();
    assert_eq!(balance("opening_nanos") - balance("now_nanos"), amounts[0], "reversed {}", amounts[1]);
}
