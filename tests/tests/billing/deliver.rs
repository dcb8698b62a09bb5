//! Delivery to the account system: at least once, whatever becomes of either side.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::Value;
use weir_tests::{
    Ad, LongRun, Mood, Scratch, Sink, Weir, accounts_csv, ask, ask_json, clicks, count, free_port, metric,
    now_ms, tap, weir,
};

/// Nanos in a unit.
const UNIT: i64 = 1_000_000_000;
const QUICK: &str = "timeout = \"500ms\"\nmax_attempts = 1000\nbackoff = \"50ms\"\nbackoff_max = \"400ms\"\n";

#[test]
fn every_outcome_arrives_as_a_tap_prints_it() {
    let mut run = Run::new("deliver", Mood::Accepts, "batch = 50\n");
    let strangers = (300..330).map(|n| Ad::click(n, now_ms()).paid_by(9).line());
    run.append(clicks(0..300).into_iter().chain(strangers).collect());
    run.job.start();
    run.job.settle();
    run.wait_for_all(330);
    assert_eq!(run.taken(), charges(run.job.data_dir()));
    let keys: Vec<_> = run.sink.requests().into_iter().map(|(_, _, key)| key).collect();
    assert!(keys.iter().all(|key| key.len() == 32), "{keys:?}");
    assert!(run.sink.requests().iter().all(|(status, records, _)| *status == 200 && *records <= 50));
    wait_for("all to be finished", || offsets(run.job.data_dir()).iter().all(Standing::is_finished));
    run.job.stop("TERM");
    assert!(offsets(run.job.data_dir()).iter().all(Standing::is_finished), "after the end, from the files");
}

#[test]
fn an_outage_and_a_kill_lose_nothing() {
    for mood in [Mood::Down, Mood::Fails(503), Mood::Hangs] {
        let mut run = Run::new("outage", mood.clone(), QUICK);
        run.append(clicks(0..200));
        run.job.start();
        run.job.settle();
        let dir = run.job.data_dir().to_owned();
        wait_for("retries", || count("retry", &dir).unwrap_or(0) > 200);
        let first = first_offsets(&dir);
        assert_none_passed(&offsets(&dir), &first);
        run.job.kill9();
        run.job.start();
        run.append(clicks(200..300));
        run.job.settle();
        wait_for("a position behind unfinished records", || {
            let all = offsets(&dir);
            assert_none_passed(&all, &first);
            all.iter().any(|s| s.minimal < s.position)
        });
        run.sink.set(Mood::Accepts);
        let everything = charges(&dir);
        wait_for("everything to arrive", || {
            // First the offsets: what they call finished must have been taken before.
            let (all, taken) = (offsets(&dir), run.sink.taken());
            for id in everything.keys().filter(|id| !taken.contains_key(*id)) {
                let (partition, offset) = place(id);
                let own = all.iter().find(|s| s.partition == partition).unwrap();
                assert!(own.minimal <= offset, "{mood:?}: {id} is not finished, but {own:?}");
            }
            taken.len() == everything.len() && all.iter().all(Standing::is_finished)
        });
        assert_eq!(run.taken(), everything);
        assert_eq!(count("dead", &dir), Some(0));
        run.job.stop("TERM");
    }
}

#[test]
fn a_wrong_record_is_found_and_waits_for_a_decision() {
    let ads: Vec<Ad> = (0..120).map(|n| Ad::click(n, now_ms())).collect();
    let mut run = Run::new("poison", Mood::Dislikes(ads[77].guid.clone()), QUICK);
    run.append(ads.iter().map(Ad::line).collect());
    run.job.start();
    run.job.settle();
    run.wait_for_all(119);
    let dir = run.job.data_dir().to_owned();
    wait_for("the dead letter", || count("dead", &dir) == Some(1));
    let list = dead(&dir, &["list", "--json"]);
    let list: Value = serde_json::from_str(&list).unwrap();
    let letter = &list["letters"][0];
    assert_eq!(letter["guid"], *ads[77].guid);
    assert_eq!((&letter["attempts"], &letter["at_stake_nanos"]), (&1.into(), &250_000_000.into()));
    assert_eq!(list["total_at_stake_nanos"], 250_000_000);
    let id = letter["id"].as_str().unwrap().to_owned();
    assert!(dead(&dir, &["show", &id]).contains("no such contract"));
    let text = dead(&dir, &["list", "--advertiser", "1"]);
    assert!(text.contains("1 dead letter, 0.250000000 at stake"), "{text}");
    assert!(dead(&dir, &["list", "--advertiser", "2"]).contains("No dead letters"));
    assert!(!run.sink.taken().contains_key(&id));

    run.sink.set(Mood::Accepts);
    dead(&dir, &["retry", "--all", "--reason", "the contract is there"]);
    run.wait_for_all(120);
    assert!(dead(&dir, &["list"]).contains("No dead letters"));
    run.job.stop("TERM");
}

#[test]
fn a_decision_outlives_the_job() {
    let ads: Vec<Ad> = (0..20).map(|n| Ad::click(n, now_ms())).collect();
    let mut run = Run::new("decision", Mood::Fails(500), "max_attempts = 2\nbackoff = \"20ms\"\n");
    run.append(ads.iter().map(Ad::line).collect());
    run.job.start();
    run.job.settle();
    let dir = run.job.data_dir().to_owned();
    wait_for("dead letters after two attempts", || count("dead", &dir) == Some(20));
    let all = charges(&dir);
    let discarded = all.keys().next().unwrap();
    dead(&dir, &["discard", discarded, "--reason", "settled by hand"]);
    run.job.kill9();
    // Without a job, the command does it by itself.
    let said = dead(&dir, &["retry", "--all", "--json"]);
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((said["ids"].as_array().unwrap().len(), &said["state"]), (19, &"retried".into()));
    let mut again = weir();
    again.args(["dead", "retry", discarded, "--data-dir"]).arg(&dir);
    Weir::start(&mut again).wait().refused(&[2], &[discarded, "weir dead list"]);
    run.sink.set(Mood::Accepts);
    run.job.start();
    run.wait_for_all(19);
    assert!(!run.sink.taken().contains_key(discarded));
    let list = dead(&dir, &["list", "--all"]);
    assert!(
        list.contains("discarded") && list.contains("retried") && list.contains("0 dead letters"),
        "{list}"
    );
    run.job.stop("TERM");
}

#[test]
fn a_dead_sink_pauses_the_source_and_nothing_else() {
    let limits = format!("slow_at = 50\npause_at = 100\n{QUICK}");
    let mut run = Run::new("pressure", Mood::Hangs, &limits);
    run.append(clicks(0..300));
    run.job.start();
    run.job.settle();
    let port = run.job.metrics_port();
    wait_for("the source to be paused", || metric(port, "weir_source_pressure") == Some(2.0));
    assert!(metric(port, "weir_deliver_unfinished_records").unwrap() >= 300.0);
    std::thread::sleep(Duration::from_millis(500));
    run.append(clicks(300..500));
    std::thread::sleep(Duration::from_secs(2));
    assert_eq!(count("charges", run.job.data_dir()), Some(300), "nothing is taken in");
    assert!(metric(port, "weir_retries_total").unwrap() > 0.0);
    run.sink.set(Mood::Accepts);
    run.job.settle();
    run.wait_for_all(500);
    wait_for("the source to be free", || metric(port, "weir_source_pressure") == Some(0.0));
    let done = run.job.stop("TERM");
    for said in ["source is paused", "full speed"] {
        // Said once for each change; what is taken in at once afterwards may be another one.
        assert!((1..=2).contains(&done.stderr.matches(said).count()), "{said} in {}", done.stderr);
    }
}

#[test]
fn after_a_promotion_the_sums_are_those_of_the_ledger() {
    let mut run = Run::new("promotion", Mood::Accepts, "\n[time]\nclock = \"events\"\n");
    let begin = now_ms() / 60_000 * 60_000 - 10 * 60_000;
    let by_four_users = |n: u32| {
        let ad = Ad::click(n, begin + i64::from(n / 20) * 60_000 + i64::from(n % 20));
        Ad { user: format!("u{}", n % 4), ..ad }.line()
    };
    run.append((0..100).map(by_four_users).collect());
    run.job.start();
    run.job.settle();
    run.wait_for_all(100);
    let dir = run.job.data_dir().to_owned();
    let cuts: Value = serde_json::from_str(&ok(&dir, &["checkpoints", "--json"])).unwrap();
    let config = std::fs::read_to_string(run.job.config()).unwrap();
    let rules = run.log.with_file_name("rules.toml");
    std::fs::write(&rules, config + "\n[anti_fraud]\nmax_user_clicks_minute = 2\n").unwrap();
    let (cut, rules) = (cuts[1]["minute"].as_str().unwrap(), rules.to_str().unwrap());
    ok(&dir, &["rewind", "--to", cut, "--rules", rules, "--apply"]);
    run.append((100..140).map(by_four_users).collect());
    let of = |taken: &BTreeMap<String, Value>, topic: &str| {
        taken.keys().filter(|id| id.starts_with(topic)).count()
    };
    wait_for("the new generation's charges", || of(&run.sink.taken(), "charges/2/") == 16);
    wait_for("all to be finished", || offsets(&dir).iter().all(Standing::is_finished));
    run.job.stop("TERM");
    let taken = run.sink.taken();
    assert_eq!((of(&taken, "charges/1/"), taken.len()), (100, 116 + of(&taken, "adjustments/1/")));
    assert!(of(&taken, "adjustments/1/") > 0);
    let amounts = taken.values().filter(|r| r["adjustment"].is_string() || r["outcome"] == "charged");
    let sum: i64 = amounts.map(|r| r["amount_nanos"].as_i64().unwrap()).sum();
    let report: Value = serde_json::from_str(&ok(&dir, &["report", "--json"])).unwrap();
    assert_eq!(report["charged_nanos"], sum, "{report}");
}

/// A job with a sink.
struct Run {
    sink: Sink,
    job: LongRun,
    log: PathBuf,
    _scratch: Scratch,
}

impl Run {
    fn new(name: &str, mood: Mood, options: &str) -> Self {
        let scratch = Scratch::new(name);
        let log = scratch.write("front.log", "");
        let plenty = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
        let (sink, job) = (Sink::start(mood), LongRun::new(&scratch, std::slice::from_ref(&log), &plenty));
        let config = std::fs::read_to_string(job.config()).unwrap();
        let control = format!("control = \"127.0.0.1:{}\"", free_port());
        std::fs::write(job.config(), config.replace("control = \"off\"", &control)).unwrap();
        job.configure(&sink.section(options));
        Run { sink, job, log, _scratch: scratch }
    }

    fn append(&mut self, lines: Vec<String>) {
        let mut file = std::fs::OpenOptions::new().append(true).open(&self.log).unwrap();
        file.write_all(lines.concat().as_bytes()).unwrap();
        self.job.expect(&lines);
    }

    /// What the account system has taken, as a tap prints it: amount and scale are looked at here.
    fn taken(&self) -> BTreeMap<String, Value> {
        let mut taken = self.sink.taken();
        for (id, message) in &mut taken {
            let (amount, scale) = (message["amount"].take(), message["scale"].take());
            let charged = match message["outcome"].as_str() {
                Some("charged") => message["amount_nanos"].clone(),
                _ => 0.into(),
            };
            assert_eq!((amount, scale), (charged, 9.into()), "{id}");
            message.as_object_mut().unwrap().retain(|name, _| name != "amount" && name != "scale");
        }
        taken
    }

    #[track_caller]
    fn wait_for_all(&self, records: usize) {
        wait_for(&format!("{records} records"), || self.sink.taken().len() >= records);
        assert_eq!(self.sink.taken().len(), records);
    }
}

/// A known bug of other systems: 1000 on the account, one impression at 2, sent as 2000 thousandths; the
/// failed reply echoes 2000, which is put back as units: 2998.
#[test]
fn no_reply_puts_back_what_it_echoes() {
    let mut run = Run::new("replies", Mood::Says("failed"), QUICK);
    let impression = Ad::impression(7, now_ms()).paid_by(9).priced(2_000_000_000_u64);
    run.job.start();
    wait_for("the job", || run.job.data_dir().join("control.address").exists());
    let open = ["account", "open", "9", "--balance", "1000", "--currency", "USD"];
    let opened: Value = ask_json(run.job.data_dir(), &open);
    assert_eq!(opened["balance_after_nanos"], UNIT * 1000, "{opened}");
    run.append(vec![impression.line()]);
    run.job.settle();
    let dir = run.job.data_dir().to_owned();
    let ends_at = |units: i64| {
        // What changes nothing is answered with the balance of now.
        let key = format!("look-{units}-{}", now_ms());
        let told: Value = ask_json(&dir, &["account", "unfreeze", "9", "--key", &key]);
        assert_eq!(told["balance_after_nanos"], UNIT * units, "{told}");
    };
    wait_for("some failed replies", || count("retry", &dir).unwrap_or(0) > 5);
    ends_at(998);
    run.sink.set(Mood::Says("insufficient_funds"));
    wait_for("the arrears", || count("notices", &dir).unwrap_or(0) > 0);
    wait_for("all to be finished", || offsets(&dir).iter().all(Standing::is_finished));
    ends_at(998);
    let id = run.sink.taken().into_iter().find(|(_, r)| r["guid"] == impression.guid.as_str()).unwrap().0;
    let reverse = |amount: &str, scale: &str| {
        let words = ["reply", &id, "--status", "reverse", "--amount", amount, "--scale", scale];
        let key = format!("{amount}/{scale}/{}", now_ms());
        ask(&dir, &[&words[..], &["--currency", "USD", "--key", &key]].concat())
    };
    for (amount, scale) in [("2000", "0"), ("2", "3"), ("2000", "4")] {
        reverse(amount, scale).refused(&[1], &["amount"]);
        ends_at(998);
    }
    reverse("2000", "3").ok();
    ends_at(1000);
    reverse("2", "0").refused(&[1], &["refunded"]);
    ends_at(1000);
    run.job.stop("TERM");
}

/// Where the task that delivers a partition stands.
#[derive(Debug)]
struct Standing {
    partition: u64,
    position: u64,
    end: u64,
    minimal: u64,
}

impl Standing {
    fn is_finished(&self) -> bool {
        self.position == self.end && self.minimal == self.end
    }
}

fn offsets(dir: &Path) -> Vec<Standing> {
    let mut command = weir();
    command.args(["offsets", "--stage", "deliver", "--json", "--data-dir"]).arg(dir);
    let rows: Vec<Value> = serde_json::from_str(&Weir::start(&mut command).wait().ok().stdout).unwrap();
    assert_eq!(rows.len(), 4);
    let number = |row: &Value, name: &str| row[name].as_u64().unwrap();
    let standing = |row: &Value| Standing {
        partition: number(row, "partition"),
        position: number(row, "position"),
        end: number(row, "end"),
        minimal: number(row, "minimal_successful_offset"),
    };
    rows.iter().map(standing).collect()
}

/// While nothing was taken, no minimal successful offset is behind the first charge.
#[track_caller]
fn assert_none_passed(all: &[Standing], first: &BTreeMap<u64, u64>) {
    for standing in all {
        let first = first.get(&standing.partition).copied().unwrap_or(u64::MAX);
        assert!(standing.minimal <= first, "{standing:?}, the first charge at {first}");
    }
}

fn first_offsets(dir: &Path) -> BTreeMap<u64, u64> {
    let mut first = BTreeMap::new();
    for id in charges(dir).keys() {
        let (partition, offset) = place(id);
        let lowest = first.entry(partition).or_insert(offset);
        *lowest = offset.min(*lowest);
    }
    first
}

fn place(id: &str) -> (u64, u64) {
    let mut numbers = id.split('/').skip(2).map(|n| n.parse().unwrap());
    (numbers.next().unwrap(), numbers.next().unwrap())
}

/// What is to arrive: the lines of a tap with their ids.
fn charges(dir: &Path) -> BTreeMap<String, Value> {
    let lines = tap("charges", dir).lines();
    let with_id = |line: std::io::Result<String>| {
        let mut value: Value = serde_json::from_str(&line.unwrap()).unwrap();
        let place = &value["provenance"];
        let id = format!("charges/{}/{}/{}", place["generation"], place["partition"], place["offset"]);
        value["id"] = id.clone().into();
        (id, value)
    };
    lines.map(with_id).collect()
}

#[track_caller]
fn dead(dir: &Path, args: &[&str]) -> String {
    let said = ok(dir, &[&["dead"], args].concat());
    eprintln!("weir dead {}:\n{said}", args.join(" "));
    said
}

/// What a command about a data directory prints.
#[track_caller]
fn ok(dir: &Path, args: &[&str]) -> String {
    let mut command = weir();
    Weir::start(command.args(args).arg("--data-dir").arg(dir)).wait().ok().stdout
}

#[track_caller]
fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(50));
    }
}
