//! Damaged files: each is found and named and never used; what can be made anew of what is whole, is.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};
use std::time::Duration;

use weir_tests::{
    Ad, Comparison, Dataset, Done, Input, Job, LongRun, Scratch, Taps, accounts_csv, ask, ask_json,
    assert_same_charges, assert_same_dropped, assert_sound, copy_tree, cuts, flip, minutes_of, start_ask,
};

const OPTIONS: [&str; 10] =
    ["--events", "20000", "--rate", "60", "--users", "2000", "--advertisers", "50", "--seed", "71"];
/// 2026-03-10T08:00:00Z.
const T: i64 = 1_773_129_600_000;

/// A finished job with two partitions, to be copied and damaged.
struct Whole {
    scratch: Scratch,
    data_dir: PathBuf,
    cuts: Vec<String>,
}

impl Whole {
    fn new(name: &str) -> Self {
        let scratch = Scratch::new(name);
        let dataset = Dataset::generate(&scratch, &OPTIONS);
        let job = Job::new(&dataset, scratch.path("whole")).partitions(2);
        job.run();
        let (data_dir, cuts) = (job.data_dir.clone(), cuts(&job.data_dir));
        assert!(cuts.len() > 5, "{cuts:?}");
        Self { scratch, data_dir, cuts }
    }

    /// A copy with one bit of a file flipped, and the path of that file in it.
    fn damaged(&self, name: &str, file: &Path) -> (PathBuf, PathBuf) {
        let copy = self.scratch.path(name);
        copy_tree(&self.data_dir, &copy);
        let file = copy.join(file);
        flip(&file);
        (copy, file)
    }

    /// The checkpoint of a task at a cut.
    fn checkpoint(&self, cut: usize, task: &str) -> PathBuf {
        PathBuf::from(format!("checkpoints/1/{}/{task}", minutes_of(&self.cuts[cut])))
    }

    /// The largest file of a checkpoint with this extension.
    fn file_of(&self, checkpoint: &Path, extension: &str) -> PathBuf {
        let files = std::fs::read_dir(self.data_dir.join(checkpoint)).unwrap().map(|e| e.unwrap().path());
        let files = files.filter(|p| p.extension().is_some_and(|e| e == extension));
        let largest = files.max_by_key(|p| (p.metadata().unwrap().len(), p.clone())).unwrap();
        checkpoint.join(largest.file_name().unwrap())
    }
}

#[test]
fn a_damaged_checkpoint_is_named_and_not_begun_from() {
    let whole = Whole::new("corrupt-checkpoint");
    let checkpoint = whole.checkpoint(3, "deduct-1");
    let files = [whole.file_of(&checkpoint, "sst"), checkpoint.join("CURRENT"), checkpoint.join("weir.json")];
    for (n, file) in files.iter().enumerate() {
        let (copy, file) = whole.damaged(&format!("copy-{n}"), file);
        let (minute, newest) = (&whole.cuts[3], whole.cuts.last().unwrap());
        let before = std::fs::read(copy.join("control.log")).unwrap();
        names(&ask(&copy, &["replay", "--from", minute]), &file);
        names(&ask(&copy, &["rewind", "--to", minute, "--apply"]), &file);
        assert_eq!(before, std::fs::read(copy.join("control.log")).unwrap(), "no generation has begun");
        assert!(!copy.join("state/2").exists(), "no generation has stores");
        let verified = ask(&copy, &["checkpoints", "verify"]);
        assert_eq!(verified.code, Some(3), "{verified:?}");
        assert!(verified.stdout.contains(file.to_str().unwrap()), "{file:?} in {}", verified.stdout);
        ask(&copy, &["checkpoints", "verify", newest]).ok();
        let listed = ask(&copy, &["checkpoints"]).ok();
        assert!(listed.stdout.contains(newest), "what is whole is listed: {}", listed.stdout);
        let other: Comparison =
            ask_json(&copy, &["replay", "--from", &whole.cuts[1], "--to", &whole.cuts[2]]);
        assert_eq!(other.result, "identical", "others can be used");
        ask(&copy, &["rewind", "--to", &whole.cuts[4], "--apply"]).ok();
    }
    ask(&whole.data_dir, &["checkpoints", "verify"]).ok();
}

#[test]
fn a_damaged_log_is_named_and_not_replayed() {
    let whole = Whole::new("corrupt-log");
    for topic in ["raw", "clean", "judged", "charges"] {
        let segment =
            std::fs::read_dir(whole.data_dir.join("log").join(topic)).unwrap().next().unwrap().unwrap();
        let file = PathBuf::from("log").join(topic).join(segment.file_name());
        let (copy, file) = whole.damaged(&format!("copy-{topic}"), &file);
        let rules = whole.scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 2\n");
        let rules = rules.to_str().unwrap();
        names(&ask(&copy, &["replay", "--from", &whole.cuts[0], "--rules", rules]), &file);
        names(&ask(&copy, &["rewind", "--to", &whole.cuts[0], "--rules", rules, "--apply"]), &file);
        names(&ask(&copy, &["tap", topic, "--until", "end"]), &file);
    }
}

#[test]
fn damaged_decisions_and_rules_are_named() {
    let whole = Whole::new("corrupt-control");
    let minute = &whole.cuts[3];
    ask(&whole.data_dir, &["rewind", "--to", minute, "--stage", "deduct", "--apply"]).ok();
    let rules = std::fs::read_dir(whole.data_dir.join("rules")).unwrap().next().unwrap().unwrap();
    let rules = PathBuf::from("rules").join(rules.file_name());
    for (n, file) in
        [PathBuf::from("control.log"), rules, PathBuf::from("state/2/cut.json")].iter().enumerate()
    {
        let (copy, file) = whole.damaged(&format!("copy-{n}"), file);
        names(&ask(&copy, &["replay", "--from", minute]), &file);
        names(&ask(&copy, &["rewind", "--to", minute, "--apply"]), &file);
        let dataset = Dataset {
            files: vec![
                whole.scratch.path("traffic/events-0.ndjson"),
                whole.scratch.path("traffic/events-1.ndjson"),
            ],
            accounts: whole.scratch.path("traffic/accounts.csv"),
        };
        names(&Job::new(&dataset, copy).partitions(2).start().wait(), &file);
    }
}

#[test]
fn a_store_that_is_gone_is_made_anew_from_the_newest_good_checkpoint() {
    let scratch = Scratch::new("corrupt-restore");
    let lines = lines();
    let undisturbed = billed(&scratch, "undisturbed", &lines, |_| {});
    let input = Input::of(&lines, &accounts());
    assert_sound(&input, &undisturbed);
    let gone = billed(&scratch, "gone", &lines, |dir| {
        std::fs::remove_dir_all(dir.join("state/1/deduct-0")).unwrap();
    });
    let older = billed(&scratch, "older", &lines, |dir| {
        std::fs::remove_dir_all(dir.join("state/1/deduct-0")).unwrap();
        std::fs::remove_dir_all(dir.join("state/1/anti-fraud-0")).unwrap();
        let newest = minutes_of(cuts(dir).last().unwrap());
        flip(&dir.join(format!("checkpoints/1/{newest}/deduct-0/CURRENT")));
        flip(&dir.join(format!("checkpoints/1/{newest}/anti-fraud-0/weir.json")));
    });
    for other in [gone, older] {
        assert_same_charges(&undisturbed, &other);
        assert_same_dropped(&undisturbed, &other);
    }
}

/// Before the first tick of its own a candidate has only the checkpoints of its cut to go back to.
#[test]
fn the_store_of_a_new_candidate_that_is_gone_is_made_anew_from_its_cut() {
    let whole = Whole::new("corrupt-candidate");
    let rules = whole.scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 2\n");
    let words = ["rewind", "--to", whole.cuts.last().unwrap(), "--rules", rules.to_str().unwrap()];
    let reports = [false, true].map(|gone| {
        let copy = whole.scratch.path(&format!("copy-{gone}"));
        copy_tree(&whole.data_dir, &copy);
        ask(&copy, &words).ok();
        if gone {
            std::fs::remove_dir_all(copy.join("state/2/anti-fraud-0")).unwrap();
        }
        start_ask(&copy, &["generation", "promote", "2"]).wait_at_most(Duration::from_secs(60)).ok();
        ask_json::<serde_json::Value>(&copy, &["report"])
    });
    assert_eq!(reports[0], reports[1]);
}

/// Bills the first half, does something to the data directory of the stopped job, and bills the rest.
fn billed(scratch: &Scratch, name: &str, lines: &[String], disturb: impl Fn(&Path)) -> Taps {
    let (first, rest) = lines.split_at(lines.len() / 2);
    let log = scratch.write(&format!("{name}.log"), first.concat());
    let mut job = LongRun::new(scratch, std::slice::from_ref(&log), &accounts());
    job.set_partitions(1);
    job.configure("\n[time]\nclock = \"events\"\n");
    job.start();
    job.expect(first);
    job.settle();
    job.stop("TERM");
    disturb(job.data_dir());
    std::fs::write(&log, lines.concat()).unwrap();
    job.start();
    job.expect(rest);
    job.settle();
    let report = job.finish(lines.len());
    assert_eq!(report["conserved"], true, "{report}");
    let taps = Taps::read(job.data_dir());
    std::fs::rename(job.data_dir(), scratch.path(name)).unwrap();
    taps
}

/// Clicks of some minutes, every fifth one a repeat, by advertisers who run out of money.
fn lines() -> Vec<String> {
    let click = |n: u32| Ad::click(n, T + i64::from(n) * 200).paid_by(u64::from(1 + n % 3)).line();
    (0..3_000).map(|n| click(if n % 5 == 4 { n - n % 97 % 50 } else { n })).collect()
}

fn accounts() -> String {
    accounts_csv(&[
        (1, 1_000_000_000, 150_000_000),
        (2, 100_000_000, 1_000_000_000),
        (3, 1_000_000_000, 1_000_000_000),
    ])
}

/// Fails unless it ended by saying which file is wrong.
#[track_caller]
fn names(done: &Done, file: &Path) {
    done.refused(&[1, 2], &[file.to_str().unwrap()]);
}
