//! Replays: the same rules give the same outputs, other rules exactly the difference that they make, and
//! a replay changes nothing.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use weir_tests::{
    Ad, Bursts, Charge, Comparison, Dataset, Job, Line, LongRun, Scratch, Taps, Traffic, ask, ask_json, cuts,
    difference, generations, tree,
};

const LIVE: &str = "\n[time]\nclock = \"events\"\n";

#[test]
fn the_same_rules_give_the_same_outputs_from_every_cut_and_change_nothing() {
    let scratch = Scratch::new("replay-same");
    let options =
        ["--events", "30000", "--rate", "60", "--users", "2000", "--advertisers", "50", "--seed", "51"];
    let dataset = Dataset::generate(&scratch, &options);
    let job = Job::new(&dataset, scratch.path("data")).partitions(4);
    job.run();
    let dir = &job.data_dir;
    let (before, all) = (kept(dir), cuts(dir));
    let middle = &all[all.len() / 2];
    for from in [&all[0], &all[2], &all[4]] {
        assert_identical(dir, &["--from", from]);
        assert_identical(dir, &["--from", from, "--to", middle]);
        assert_identical(dir, &["--from", from, "--to", middle, "--stage", "deduct"]);
    }
    assert_identical(dir, &["--from", &all[1], "--stage", "anti-fraud"]);
    assert_identical(dir, &["--from", &all[1], "--stage", "post-process"]);
    assert!(before == kept(dir), "a replay changed something");
    let replays = std::fs::read_dir(dir.join("replays")).unwrap().count();
    assert_eq!(replays, 0, "replays leave nothing behind");
}

#[test]
fn a_replay_beside_a_running_job_is_identical() {
    let scratch = Scratch::new("replay-beside");
    let options =
        ["--events", "30000", "--rate", "60", "--users", "2000", "--seed", "52", "--malformed-rate", "0"];
    let traffic = Traffic::generate(&scratch, &options, 4, 0);
    let mut job = LongRun::new(&scratch, &traffic.feed.files(), &traffic.accounts);
    job.configure(LIVE);
    job.start();
    for share in 0..4 {
        let writer = traffic.feed.write(share);
        if share > 0 {
            let all = cuts(job.data_dir());
            assert_identical(job.data_dir(), &["--from", &all[all.len() / 2 - 1]]);
            assert_identical(job.data_dir(), &["--from", &all[0], "--to", &all[1]]);
        }
        writer.join().unwrap();
        job.wait_for_lines(traffic.lines.len() / 4 * (share + 1) / 2);
    }
    job.expect(&traffic.lines);
    job.settle();
    job.stop("TERM");
    let (input, taps) = job.result();
    weir_tests::assert_sound(&input, &taps);
}

#[test]
fn other_rules_make_the_difference_of_a_run_with_them() {
    let scratch = Scratch::new("replay-rules-1");
    let bursts = Bursts::new(53);
    let job = bursts.run(&scratch, 1);
    let with_new_rules = bursts.run_with_new_rules(&scratch);
    let expected = difference(&Taps::read(&job).charges, &with_new_rules.charges);
    assert!(expected.len() > 100, "the rules make a difference: {}", expected.len());
    let rules = bursts.rules(&scratch);
    let found = different(&job, &bursts.cut(), &rules);
    assert_eq!(found.changes(), expected);
    let moved: i128 = expected.values().map(|(before, after)| paid(after) - paid(before)).sum();
    assert_eq!(found.money_difference_nanos.0, moved);
}

#[test]
fn with_many_partitions_other_rules_touch_only_what_they_are_about() {
    let scratch = Scratch::new("replay-rules-4");
    let bursts = Bursts::new(54);
    let job = bursts.run(&scratch, 4);
    let found = different(&job, &bursts.cut(), &bursts.rules(&scratch)).changes();
    // With many partitions some records of the last minutes stand behind the tick at which a replay ends.
    let line = Line::all(&job, &generations(&job)).remove(&1).unwrap();
    let compared = line.taps_until(cuts(&job).last().unwrap()).charges;
    let before: BTreeSet<String> = compared.into_iter().filter(Charge::is_charged).map(|c| c.guid).collect();
    let mut vanished: BTreeMap<(String, u64), usize> = BTreeMap::new();
    for ad in &bursts.ads {
        let change = found.get(&ad.guid);
        if Bursts::is_rich(ad.advertiser) {
            assert!(change.is_none_or(|(_, after)| after.is_none()), "{ad:?}: {change:?}");
            *vanished.entry(window(ad)).or_default() += usize::from(change.is_some());
        } else if let Some((_, Some(_))) = change {
            assert!(Bursts::is_tight(ad.advertiser), "it found another balance: {ad:?}: {change:?}");
        }
    }
    for (window, ads) in &bursts.windows() {
        let rich = ads.iter().all(|ad| Bursts::is_rich(ad.advertiser));
        let charged = ads.iter().filter(|ad| before.contains(&ad.guid)).count();
        let excess = charged.saturating_sub(Bursts::NEW_LIMIT);
        assert!(!rich || vanished[window] == excess, "{window:?}: {} vanish, not {excess}", vanished[window]);
    }
    assert!(found.len() > 100, "the rules make a difference: {}", found.len());
}

fn window(ad: &Ad) -> (String, u64) {
    Bursts::window(ad)
}

fn paid(fate: &Option<(String, i128)>) -> i128 {
    fate.as_ref().map_or(0, |(_, paid)| *paid)
}

#[track_caller]
fn assert_identical(data_dir: &Path, words: &[&str]) {
    let words = [&["replay"], words].concat();
    let found: Comparison = ask_json(data_dir, &words);
    assert_eq!(found.result, "identical", "{words:?}");
    assert_eq!(found.money_difference_nanos.0, 0, "{words:?}");
    assert!(found.changes().is_empty(), "{words:?}");
}

/// What other rules change; the exit code says that they do.
#[track_caller]
fn different(data_dir: &Path, from: &str, rules: &Path) -> Comparison {
    let rules = rules.to_str().unwrap();
    let done = ask(data_dir, &["replay", "--from", from, "--rules", rules, "--changes", "--json"]);
    assert_eq!(done.code, Some(3), "{done:?}");
    let found: Comparison = serde_json::from_str(&done.stdout).unwrap();
    assert_eq!(found.result, "different");
    found
}

/// All that a replay must leave as it is.
fn kept(dir: &Path) -> Vec<BTreeMap<std::path::PathBuf, (u64, u64)>> {
    ["control.log", "log", "state", "checkpoints", "rules"].iter().map(|name| tree(&dir.join(name))).collect()
}
