//! Rewinds with other rules: what is posted, what the books say afterwards, and the way back.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::Value;
use weir_tests::{
    Ad, Adjustment, Bursts, Changes, Comparison, Dataset, Job, Line, LongRun, Scratch, accounts_csv, ask,
    ask_json, cuts, generations, money, records, tap, tree,
};

/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;
const MINUTE: i64 = 60_000;

#[test]
fn what_is_posted_is_what_was_reported_and_the_books_are_those_of_the_new_rules() {
    let scratch = Scratch::new("rewind-rules-1");
    let bursts = Bursts::new(61);
    let job = bursts.run(&scratch, 1);
    let rules = bursts.rules(&scratch);
    let reported = reported(&job, &bursts.cut(), &rules);
    rewind(&job, &bursts.cut(), &rules);
    assert_eq!(posted(&job), [money(&reported)]);
    let new = bursts.job_with_new_rules(&scratch);
    assert_eq!(books(&job), books(&new));
    let all = generations(&job);
    let line = Line::all(&job, &all).remove(&2).unwrap();
    assert_eq!(line.taps().charges, weir_tests::Taps::read(&new).charges, "with the balance after each");
    let reasons: Vec<String> = adjustments(&job).into_iter().map(|a| a.reason).collect();
    assert!(reasons.iter().all(|r| r.contains("generation 2")), "{:?}", reasons.first());
}

#[test]
fn with_many_partitions_what_is_posted_is_what_was_reported() {
    let scratch = Scratch::new("rewind-rules-4");
    let bursts = Bursts::new(62);
    let job = bursts.run(&scratch, 4);
    let rules = bursts.rules(&scratch);
    let replayed = reported(&job, &bursts.cut(), &rules);
    let newest = cuts(&job).pop().unwrap();
    rewind(&job, &bursts.cut(), &rules);
    // Some records of the last minutes stand behind the tick at which a replay ends.
    let line = Line::all(&job, &generations(&job)).remove(&1).unwrap();
    let compared = line.taps_until(&newest).charges;
    let mut posted = posted(&job).remove(0);
    posted.retain(|guid, _| compared.iter().any(|c| c.guid == *guid));
    assert_eq!(posted, money(&replayed));
    assert_eq!(report(&job)["conserved"], true);
}

/// The end of a finite run stands behind its last tick, in all partitions but one.
#[test]
fn a_rewind_of_a_finite_run_reports_what_it_posts_to_the_very_end() {
    let scratch = Scratch::new("rewind-end");
    let options =
        ["--events", "60000", "--rate", "100", "--users", "2000", "--advertisers", "50", "--seed", "5"];
    let dataset = Dataset::generate(&scratch, &options);
    let job = Job::new(&dataset, scratch.path("data")).partitions(4);
    job.run();
    let rules = scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 2\n");
    let cut = &cuts(&job.data_dir)[5];
    let replayed = reported(&job.data_dir, cut, &rules);
    let said = rewind(&job.data_dir, cut, &rules);
    let posted = posted(&job.data_dir);
    let net: i128 = posted.iter().flat_map(BTreeMap::values).map(|(before, after)| after - before).sum();
    assert_eq!(i128::from(said["difference"]["total"]["net_nanos"].as_i64().unwrap()), net, "{said}");
    assert_eq!(posted, [money(&replayed)]);
}

#[test]
fn switching_back_takes_back_what_was_posted() {
    for partitions in [1, 4] {
        let scratch = Scratch::new("switch-back");
        let bursts = Bursts::new(63);
        let job = bursts.run(&scratch, partitions);
        let before = books(&job);
        rewind(&job, &bursts.cut(), &bursts.rules(&scratch));
        let there = posted(&job);
        assert!(there.len() == 1 && there[0].len() > 100, "{}", there[0].len());
        ask(&job, &["generation", "promote", "1"]).ok();
        assert_eq!(books(&job), before, "{partitions} partitions");
        let back: BTreeMap<_, _> = there[0].iter().map(|(guid, (b, a))| (guid.clone(), (*a, *b))).collect();
        assert_eq!(posted(&job), [there[0].clone(), back], "{partitions} partitions");
    }
}

#[test]
fn going_on_after_a_rewind_bills_by_the_new_rules() {
    let scratch = Scratch::new("rewind-go-on");
    let log = scratch.write("front.log", lines(0..600).concat());
    let rich = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(&scratch, std::slice::from_ref(&log), &rich);
    job.configure("\n[time]\nclock = \"events\"\n");
    job.start();
    job.expect(&lines(0..600));
    job.settle();
    job.stop("TERM");
    let rules = scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 2\n");
    rewind(job.data_dir(), &cuts(job.data_dir())[2], &rules);
    let burst = (0..5).map(|n| Ad { user: "one".into(), ad_id: 7, ..Ad::click(9_000 + n, T + 30 * MINUTE) });
    append(&log, &burst.map(|ad| ad.line()).collect::<String>());
    job.start();
    let report = job.finish(605);
    assert_eq!(report["dropped"], serde_json::json!({ "user_ad_rate": 3 }), "{report}");
    assert_eq!((&report["charged"], &report["conserved"]), (&602.into(), &true.into()), "{report}");
}

#[test]
fn a_rewind_to_the_newest_cut_reports_no_change_that_there_is_not() {
    let scratch = Scratch::new("rewind-newest");
    let (mut job, _log) = running(&scratch);
    let newest = cuts(job.data_dir()).pop().unwrap();
    let said: Value = ask_json(job.data_dir(), &["rewind", "--to", &newest]);
    assert_eq!(said["difference"]["total"]["net_nanos"], 0, "{said}");
    job.stop("TERM");
}

#[test]
fn a_rewind_of_post_process_alone_leaves_no_task_behind() {
    let scratch = Scratch::new("rewind-post-process");
    let (mut job, log) = running(&scratch);
    let cut = cuts(job.data_dir()).remove(1);
    ask(job.data_dir(), &["rewind", "--to", &cut, "--stage", "post-process", "--apply"]).ok();
    append(&log, &lines(600..900).concat());
    job.wait_until_taken(900);
    weir_tests::wait_for("all tasks to have read all", || {
        generations(job.data_dir()).iter().all(|g| g.lag == 0)
    });
    job.stop("TERM");
}

#[test]
fn while_a_candidate_pauses_it_nothing_is_taken_in() {
    let scratch = Scratch::new("rewind-pause");
    let (mut job, log) = running(&scratch);
    let cut = cuts(job.data_dir()).remove(1);
    for end in ["drop", "promote"] {
        let said: Value = ask_json(job.data_dir(), &["rewind", "--to", &cut, "--pause"]);
        let taken = weir_tests::count("raw", job.data_dir()).unwrap();
        append(&log, &lines(taken as u32..taken as u32 + 50).concat());
        job.stop("TERM");
        job.start();
        job.wait_until_up();
        std::thread::sleep(std::time::Duration::from_millis(1_500));
        assert_eq!(
            weir_tests::count("raw", job.data_dir()),
            Some(taken),
            "it is paused, after a restart too"
        );
        ask(job.data_dir(), &["generation", end, &said["generation"].to_string()]).ok();
        job.wait_until_taken(taken + 50);
    }
    job.finish(700);
}

#[test]
fn a_dropped_candidate_leaves_no_trace_and_what_cannot_be_promoted_is_refused() {
    let scratch = Scratch::new("rewind-drop");
    let bursts = Bursts::new(64);
    let job = bursts.run(&scratch, 4);
    let before = traces(&job);
    let rules = bursts.rules(&scratch);
    let said: Value = ask_json(&job, &["rewind", "--to", &bursts.cut(), "--rules", rules.to_str().unwrap()]);
    assert_eq!(said["generation"], 2);
    ask(&job, &["rewind", "--to", &bursts.cut(), "--stage", "deduct"]).ok();
    assert!(traces(&job).len() > before.len(), "candidates have files");
    for id in ["2", "3"] {
        ask(&job, &["generation", "drop", id]).ok();
    }
    assert_eq!(traces(&job), before);
    ask(&job, &["generation", "promote", "2"]).refused(&[2], &["generation 2 is dropped", "candidate"]);
    ask(&job, &["generation", "drop", "2"]).refused(&[2], &["generation 2 is dropped"]);
    ask(&job, &["generation", "promote", "77"]).refused(&[2], &["no generation 77", "weir generation list"]);
    ask(&job, &["generation", "drop", "77"]).refused(&[2], &["no generation 77", "weir generation list"]);
    ask(&job, &["generation", "promote", "1"]).refused(&[2], &["generation 1 is published"]);
    ask(&job, &["generation", "drop", "1"]).refused(&[2], &["generation 1 is published"]);
    let no_cut = ask(&job, &["rewind", "--to", "2026-03-10T12:00Z"]);
    no_cut.refused(&[2], &["no complete cut", "weir checkpoints"]);
    assert_eq!(generations(&job).iter().filter(|g| g.is(&["dropped"])).count(), 2);
    assert_eq!(report(&job)["conserved"], true);
}

/// A lower stage goes back behind the minute from which the stages above it run anew, and then all of them
/// to a minute in between.
#[test]
fn rewinds_to_minutes_between_other_rewinds_change_nothing() {
    let scratch = Scratch::new("rewind-between");
    let options =
        ["--events", "30000", "--rate", "60", "--users", "2000", "--advertisers", "50", "--seed", "65"];
    let dataset = Dataset::generate(&scratch, &options);
    let job = Job::new(&dataset, scratch.path("data")).partitions(4);
    job.run();
    let (before, all) = (books(&job.data_dir), cuts(&job.data_dir));
    for (to, stage) in [(&all[6], "deduct"), (&all[3], "post-process"), (&all[5], "deduct")] {
        ask(&job.data_dir, &["rewind", "--to", to, "--stage", stage, "--apply"]).ok();
        assert_eq!(books(&job.data_dir), before, "{stage} from {to}");
    }
}

/// A job that has billed 600 lines of some minutes and runs on.
fn running(scratch: &Scratch) -> (LongRun, PathBuf) {
    let log = scratch.write("front.log", lines(0..600).concat());
    let rich = accounts_csv(&[(1, 1_000_000_000_000, 1_000_000_000_000)]);
    let mut job = LongRun::new(scratch, std::slice::from_ref(&log), &rich);
    job.open_control();
    job.configure("\n[time]\nclock = \"events\"\n");
    job.start();
    job.expect(&lines(0..600));
    job.settle();
    (job, log)
}

/// Harmless clicks, a hundred a minute.
fn lines(numbers: std::ops::Range<u32>) -> Vec<String> {
    numbers.map(|n| Ad::click(n, T + i64::from(n) * MINUTE / 100).line()).collect()
}

fn append(path: &Path, text: &str) {
    use std::io::Write;
    let mut file = std::fs::OpenOptions::new().append(true).open(path).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

fn reported(data_dir: &Path, from: &str, rules: &Path) -> Changes {
    let rules = rules.to_str().unwrap();
    let done = ask(data_dir, &["replay", "--from", from, "--rules", rules, "--changes", "--json"]);
    assert_eq!(done.code, Some(3), "{done:?}");
    serde_json::from_str::<Comparison>(&done.stdout).unwrap().changes()
}

#[track_caller]
fn rewind(data_dir: &Path, to: &str, rules: &Path) -> Value {
    ask_json(data_dir, &["rewind", "--to", to, "--rules", rules.to_str().unwrap(), "--apply"])
}

fn adjustments(data_dir: &Path) -> Vec<Adjustment> {
    records(tap("adjustments", data_dir))
}

/// What was posted, by the generation for which it was, each guid once.
#[track_caller]
fn posted(data_dir: &Path) -> Vec<BTreeMap<String, (i128, i128)>> {
    let mut all: BTreeMap<u32, BTreeMap<String, (i128, i128)>> = BTreeMap::new();
    for a in adjustments(data_dir) {
        assert_eq!(a.amount_nanos.0, a.after_nanos.0 - a.before_nanos.0, "{a:?}");
        let kind = match (a.before_nanos.0, a.after_nanos.0) {
            (0, _) => "charge",
            (_, 0) => "reversal",
            _ => "change",
        };
        assert_eq!(a.adjustment, kind, "{a:?}");
        let own = all.entry(a.provenance.generation).or_default();
        let twice = own.insert(a.guid.clone(), (a.before_nanos.0, a.after_nanos.0));
        assert_eq!(twice, None, "posted twice: {a:?}");
    }
    all.into_values().collect()
}

fn report(data_dir: &Path) -> Value {
    ask_json(data_dir, &["report", "--top", "1000"])
}

/// What the books say of every advertiser and every reason.
fn books(data_dir: &Path) -> Value {
    let report = report(data_dir);
    assert_eq!(report["conserved"], true, "{report}");
    report
}

/// The topics, stores and checkpoints there are, and what a drop must leave as it was.
fn traces(data_dir: &Path) -> Vec<PathBuf> {
    let files = ["log", "state", "checkpoints"].iter().flat_map(|name| tree(&data_dir.join(name)));
    let files = files.map(|(path, _)| path.parent().unwrap().to_owned());
    let mut all: Vec<PathBuf> =
        files.filter(|path| !path.ends_with("state/2") && !path.ends_with("state/3")).collect();
    all.dedup();
    all
}
