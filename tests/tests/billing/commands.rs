//! Commands as people send them: what they do, what they do when they are sent twice, and what becomes of
//! them while generations take over and the job is killed.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use weir_tests::{
    Ad, Charge, LongRun, Rng, Scratch, accounts_csv, ask, ask_json, cuts, generations, now_ms, records,
    start_ask, tap, wait_for,
};

/// Nanos of a unit.
const UNIT: i64 = 1_000_000_000;
/// Whose account the file opens.
const FILED: u64 = 1;
const LONG: Duration = Duration::from_secs(60);
/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
const MINUTE: i64 = 60_000;

/// What a command prints with `--json`.
#[derive(Debug, Deserialize)]
struct Told {
    key: String,
    outcome: String,
    reason: Option<String>,
    amount_nanos: i64,
    balance_after_nanos: i64,
    currency: String,
    repeated: bool,
}

/// What was told, whether it was done (exit code 0) or refused (1).
#[track_caller]
fn tell(data_dir: &Path, words: &[&str]) -> Told {
    let done = ask(data_dir, &[words, &["--json"]].concat());
    let told: Told = serde_json::from_str(&done.stdout)
        .unwrap_or_else(|e| panic!("{words:?} printed {:?} and said {}: {e}", done.stdout, done.stderr));
    let code = if told.outcome == "charged" { 0 } else { 1 };
    assert_eq!(done.code, Some(code), "{told:?}: {}", done.stderr);
    assert_eq!(told.reason.is_none(), code == 0, "{told:?}");
    told
}

#[track_caller]
fn open(data_dir: &Path, advertiser: &str) {
    let words = ["account", "open", advertiser, "--balance", "1000.00", "--currency", "EUR"];
    assert_eq!(tell(data_dir, &words).outcome, "charged");
}

/// A job of which nothing comes in but commands and a few lines.
fn job(scratch: &Scratch, lines: &[String]) -> LongRun {
    let log = scratch.write("front.log", lines.concat());
    let accounts = accounts_csv(&[(FILED, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(scratch, std::slice::from_ref(&log), &accounts);
    job.open_control();
    job.configure("\n[time]\nclock = \"events\"\n");
    job.expect(lines);
    job
}

/// Clicks of some minutes, so that there are cuts to go back to.
fn clicks() -> Vec<String> {
    (0..60).map(|n| Ad::click(n, T + i64::from(n) * MINUTE / 10).line()).collect()
}

#[test]
fn money_is_moved_as_the_commands_say() {
    let scratch = Scratch::new("commands-money");
    let mut job = job(&scratch, &[Ad::click(1, now_ms()).line()]);
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    open(&dir, "36");
    let told = tell(&dir, &["account", "top-up", "36", "250.5", "--currency", "EUR"]);
    assert_eq!((told.outcome.as_str(), told.currency.as_str()), ("charged", "EUR"));
    assert_eq!((told.amount_nanos, told.balance_after_nanos), (-250_500_000_000, 1_250_500_000_000));
    let told = tell(&dir, &["account", "withdraw", "36", "0.000000001", "--currency", "EUR"]);
    assert_eq!((told.amount_nanos, told.balance_after_nanos), (1, 1_250_499_999_999));
    let told = tell(&dir, &["account", "withdraw", "36", "5000", "--currency", "EUR"]);
    assert_eq!(told.reason.as_deref(), Some("insufficient_balance"));
    let told = tell(&dir, &["account", "top-up", "36", "1", "--currency", "USD"]);
    assert_eq!(told.reason.as_deref(), Some("other_currency"));
    let told = tell(&dir, &["account", "top-up", "37", "1", "--currency", "EUR"]);
    assert_eq!(told.reason.as_deref(), Some("unknown_account"));
    let words = ["account", "open", "36", "--balance", "1", "--currency", "EUR"];
    assert_eq!(tell(&dir, &words).reason.as_deref(), Some("account_exists"));
    let done = ask(&dir, &["account", "withdraw", "36", "5000", "--currency", "EUR"]);
    done.refused(&[1], &["insufficient_balance", "balance"]);
    job.stop("TERM");
}

#[test]
fn without_a_job_it_is_the_same() {
    let scratch = Scratch::new("commands-stopped");
    let mut job = job(&scratch, &[Ad::click(1, now_ms()).line()]);
    job.start();
    job.settle();
    job.stop("TERM");
    let dir = job.data_dir().to_owned();
    open(&dir, "36");
    let words = ["account", "top-up", "36", "1", "--currency", "EUR", "--key", "k"];
    assert_eq!(tell(&dir, &words).key, "k");
    job.start();
    job.wait_until_up();
    let told = tell(&dir, &words);
    assert!(told.repeated && told.balance_after_nanos == 1_001 * UNIT, "{told:?}");
    job.stop("TERM");
}

#[test]
fn a_key_is_done_once() {
    let scratch = Scratch::new("commands-keys");
    let mut job = job(&scratch, &[Ad::click(1, now_ms()).line()]);
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    open(&dir, "36");
    let top_up =
        |amount: &str| tell(&dir, &["account", "top-up", "36", amount, "--currency", "EUR", "--key", "k"]);
    let first = top_up("10");
    assert!(!first.repeated && first.balance_after_nanos == 1_010 * UNIT, "{first:?}");
    let second = top_up("10.000");
    assert!(second.repeated && second.outcome == "charged", "{second:?}");
    assert_eq!((second.amount_nanos, second.balance_after_nanos), (-10 * UNIT, 1_010 * UNIT));
    assert_eq!(top_up("11").reason.as_deref(), Some("other_content"));
    // Keys are those of an advertiser.
    open(&dir, "37");
    let words = ["account", "top-up", "37", "11", "--currency", "EUR", "--key", "k"];
    assert_eq!(tell(&dir, &words).balance_after_nanos, 1_011 * UNIT);
    job.kill9();
    job.start();
    job.wait_until_up();
    assert!(top_up("10").repeated);
    job.stop("TERM");
}

#[test]
fn what_makes_no_sense_is_refused_at_once() {
    let scratch = Scratch::new("commands-invalid");
    let mut job = job(&scratch, &[Ad::click(1, now_ms()).line()]);
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    let long = "k".repeat(201);
    let wrong: [(&[&str], &str); 10] = [
        (&["account", "top-up", "36", "0", "--currency", "EUR"], "more than 0"),
        (&["account", "top-up", "36", "1", "--currency", "eur"], "no currency"),
        (&["account", "top-up", "36", "1.0000000001", "--currency", "EUR"], "not an amount"),
        (&["account", "top-up", "0", "1", "--currency", "EUR"], "advertiser"),
        (&["account", "freeze", "36", "--key", &long], "1 to 200 bytes"),
        (
            &["account", "open", "9", "--balance", "1", "--currency", "EUR", "--time-zone", "Mars/Phobos"],
            "time zone",
        ),
        (&["campaign", "set", "36", "0"], "campaign"),
        (&["campaign", "set", "36", "7", "--billing", "cpd", "--price", "5"], "starts"),
        (&["campaign", "set", "36", "7", "--basis-points", "10001"], "10000"),
        (
            &["campaign", "set", "36", "7", "--starts", "2026-03-02", "--ends", "2026-03-01"],
            "ends before it starts",
        ),
    ];
    for (words, phrase) in wrong {
        ask(&dir, words).refused(&[2], &[phrase]);
    }
    let words = [
        "reply",
        "charges/1/0/99999",
        "--status",
        "accepted",
        "--amount",
        "1",
        "--scale",
        "0",
        "--currency",
        "EUR",
    ];
    ask(&dir, &words).refused(&[2], &["no message charges/1/0/99999"]);
    let judged: Vec<Value> = records(tap("judged", &dir));
    let is_own = |r: &Value| !r["key"].is_null() && r["key"] != "accounts-file";
    assert!(!judged.iter().any(is_own), "nothing of it was taken in: {judged:?}");
    job.stop("TERM");
}

/// What stands in `judged` and `answers` of commands: how often each key.
fn taken_in(data_dir: &Path) -> (BTreeMap<String, usize>, BTreeMap<String, usize>) {
    let counted = |topic: &str| {
        let mut counts = BTreeMap::new();
        for record in records::<Value>(tap(topic, data_dir)) {
            if let Some(key) = record["key"].as_str() {
                *counts.entry(key.to_owned()).or_default() += 1;
            }
        }
        counts
    };
    (counted("judged"), counted("answers"))
}

/// What moved money under a key.
fn moved(data_dir: &Path, key: &str) -> Vec<Charge> {
    let all: Vec<Charge> = records(tap("charges", data_dir));
    all.into_iter().filter(|c| c.guid == key && c.is_charged()).collect()
}

#[test]
fn commands_under_kills_are_done_once_each() {
    let scratch = Scratch::new("commands-kills");
    let mut job = job(&scratch, &clicks());
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    open(&dir, "36");
    let mut rng = Rng::new(7);
    let (mut keys, mut unanswered) = (Vec::new(), 0);
    for round in 0..8 {
        let key = format!("round-{round}");
        let words = ["account", "top-up", "36", "10", "--currency", "EUR", "--key", &key];
        let asking = start_ask(&dir, &words);
        std::thread::sleep(Duration::from_millis(150).mul_f64(rng.share()));
        job.kill9();
        let done = asking.wait_at_most(LONG);
        assert!(!done.stderr.contains("panicked"), "{}", done.stderr);
        unanswered += usize::from(done.code != Some(0));
        job.start();
        job.wait_until_up();
        // Whatever became of it: sent again it is done, once.
        assert_eq!(tell(&dir, &words).outcome, "charged");
        keys.push(key);
    }
    let (judged, answers) = taken_in(&dir);
    assert!(keys.iter().all(|key| answers.get(key) == judged.get(key)), "{judged:?}: {answers:?}");
    eprintln!("{unanswered} of {} commands were interrupted", keys.len());
    for key in &keys {
        assert_eq!(moved(&dir, key).len(), 1, "{key} was done so often");
    }
    let told = tell(&dir, &["account", "top-up", "36", "1", "--currency", "EUR"]);
    assert_eq!(told.balance_after_nanos, (1_001 + 80) * UNIT);
    job.stop("TERM");
}

#[test]
fn commands_while_generations_take_over_are_done_once_each() {
    let scratch = Scratch::new("commands-promotions");
    let mut job = job(&scratch, &clicks());
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    open(&dir, "36");
    wait_for("cuts", || cuts(&dir).len() > 2);
    let mut sent = 0;
    for round in 0..3 {
        let to = cuts(&dir)[round % 2].clone();
        let stage = ["deduct", "anti-fraud", "post-process"][round];
        let mut rewinding = start_ask(&dir, &["rewind", "--to", &to, "--stage", stage, "--apply"]);
        while rewinding.is_alive() {
            let key = format!("key-{sent}");
            let words = ["account", "top-up", "36", "1", "--currency", "EUR", "--key", &key];
            assert_eq!(tell(&dir, &words).outcome, "charged");
            sent += 1;
        }
        rewinding.wait_at_most(LONG).ok();
    }
    assert_eq!(generations(&dir).iter().filter(|g| g.is(&["published"])).count(), 1);
    assert!(sent > 3, "too little was sent: {sent}");
    let told = tell(&dir, &["account", "top-up", "36", "1", "--currency", "EUR", "--key", "key-0"]);
    assert!(told.repeated, "{told:?}");
    let told = tell(&dir, &["account", "top-up", "36", "1", "--currency", "EUR"]);
    assert_eq!(told.balance_after_nanos, (1_001 + sent) * UNIT);
    let report: Value = ask_json(&dir, &["report"]);
    assert_eq!(report["conserved"], true, "{report}");
    job.stop("TERM");
}

#[test]
fn a_charge_is_given_back_once() {
    let scratch = Scratch::new("commands-refund");
    let mut job = job(&scratch, &clicks());
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    let charges: Vec<Charge> = records(tap("charges", &dir));
    let first = charges.iter().find(|c| c.is_charged()).unwrap();
    let advertiser = FILED.to_string();
    let refund = |more: &[&str]| {
        tell(&dir, &[&["refund", &advertiser, &first.guid, "--reason", "a test"], more].concat())
    };
    let told = refund(&["--key", "r"]);
    assert_eq!(told.outcome, "charged");
    assert_eq!(i128::from(-told.amount_nanos), first.amount_nanos.0);
    assert!(refund(&["--key", "r"]).repeated);
    assert_eq!(refund(&[]).reason.as_deref(), Some("already_refunded"));
    let words = ["refund", &advertiser, "no-such-guid", "--reason", "a test"];
    assert_eq!(tell(&dir, &words).reason.as_deref(), Some("unknown_guid"));
    job.stop("TERM");
}

#[test]
fn charges_are_given_back_by_an_expression() {
    let scratch = Scratch::new("commands-refund-all");
    let mut job = job(&scratch, &clicks());
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    let charged = records::<Charge>(tap("charges", &dir)).iter().filter(|c| c.is_charged()).count();
    let advertiser = FILED.to_string();
    let words = ["refund", &advertiser, "--where", "kind == \"click\"", "--from", "start", "--until", "end"];
    let words = [&words[..], &["--reason", "a test"]].concat();
    let foretold: Value = ask_json(&dir, &[&words[..], &["--dry-run"]].concat());
    assert_eq!(foretold["count"], charged, "{foretold}");
    let answers = records::<Value>(tap("answers", &dir));
    assert!(answers.iter().all(|a| a["key"] == "accounts-file"), "a dry run does nothing");
    let keyed = [&words[..], &["--key", "all"]].concat();
    let first: Value = ask_json(&dir, &keyed);
    assert_eq!((&first["refunded"], &first["matched"]), (&charged.into(), &charged.into()), "{first}");
    assert_eq!(first["refunded_nanos"], foretold["total_nanos"]);
    let second: Value = ask_json(&dir, &keyed);
    assert_eq!(second["repeated"], charged, "{second}");
    let done = ask(&dir, &[&words[..], &["--json"]].concat());
    done.refused(&[1], &["already_refunded"]);
    job.stop("TERM");
}

#[test]
fn replies_are_handed_in() {
    let scratch = Scratch::new("commands-replies");
    let mut job = job(&scratch, &clicks());
    job.start();
    job.settle();
    let dir = job.data_dir().to_owned();
    let charged: Vec<Value> = records::<Value>(tap("charges", &dir));
    let charged: Vec<&Value> = charged.iter().filter(|c| c["outcome"] == "charged").collect();
    let id = |charge: &Value| {
        let place = &charge["provenance"];
        format!("charges/1/{}/{}", place["partition"], place["offset"])
    };
    let line = |charge: &Value, status: &str| {
        format!(
            "{{\"message_id\":\"{}\",\"status\":\"{status}\",\"amount\":{},\"scale\":9,\"currency\":\"USD\"}}\n",
            id(charge),
            charge["amount_nanos"]
        )
    };
    let file =
        scratch.write("replies.jsonl", charged.iter().map(|c| line(c, "accepted")).collect::<String>());
    let words = ["reply", "--file", file.to_str().unwrap()];
    let said: Value = ask_json(&dir, &words);
    assert_eq!((&said["done"], &said["repeated"]), (&charged.len().into(), &0.into()), "{said}");
    let said: Value = ask_json(&dir, &words);
    assert_eq!(said["repeated"], charged.len(), "{said}");
    let amount = charged[0]["amount_nanos"].to_string();
    let one = |amount: &str| {
        let words = ["--amount", amount, "--scale", "9", "--currency", "USD", "--key", amount];
        tell(&dir, &[&["reply", &id(charged[0]), "--status", "reverse"], &words[..]].concat())
    };
    assert_eq!(one("1").reason.as_deref(), Some("other_amount"));
    let told = one(&amount);
    assert_eq!((told.outcome.as_str(), told.amount_nanos.to_string()), ("charged", format!("-{amount}")));
    let broken = scratch.write("broken.jsonl", line(charged[0], "accepted") + "{\"message_id\":7}\n");
    ask(&dir, &["reply", "--file", broken.to_str().unwrap()]).refused(&[2], &["line 2"]);
    job.stop("TERM");
}
