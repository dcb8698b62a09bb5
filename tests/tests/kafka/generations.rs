//! Generations of a group: any worker begins, publishes and drops them, and all of them follow, also those that die meanwhile.

use std::path::Path;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use weir_tests::{
    Group, Line, LongRun, ask, ask_json, assert_same_where_certain, assert_sound, count, cuts, generations,
    start_ask, wait_at_most,
};

use super::{Kafka, assert_audited};

const WORKERS: usize = 3;
/// Minutes are those of the clock on the wall, and a generation takes over two of them ahead.
const MINUTES: Duration = Duration::from_secs(300);

#[test]
fn a_group_goes_over_to_other_rules_and_back_while_workers_die() {
    let Some(kafka) = Kafka::of("kafka-generations") else { return };
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap().as_millis().to_string();
    let mut group = kafka.group_of(WORKERS, "wall", &["--rate", "200", "--start-ms", &now]);
    let rules = group.scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 1\n");
    let rules = rules.to_str().unwrap().to_owned();
    let (mut share, mut rewinding) = (0, None);
    group.bill(|workers| {
        match share {
            1 => {
                let cut = any_cut(workers[1].data_dir());
                let words = ["rewind", "--to", &cut, "--rules", &rules, "--apply", "--json"];
                rewinding = Some(start_ask(workers[1].data_dir(), &words));
            }
            2 => restart(&mut workers[2]),
            // It may lead.
            3 => restart(&mut workers[0]),
            _ => std::thread::sleep(Duration::from_secs(5)),
        }
        share += 1;
    });
    let said = rewinding.unwrap().wait_at_most(MINUTES).ok().stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["published_at"].is_string(), "{said}");
    assert_published(&mut group, 2);
    let dir = group.data_dir().to_owned();
    assert!(count("adjustments", &dir) > Some(0), "{said}");
    assert_books_of_all(&group);
    assert_audited(&dir);

    // What was posted is taken back, and what was charged by the new rules becomes what it would have been.
    ask(group.workers[2].data_dir(), &["generation", "promote", "1"]).ok();
    assert_published(&mut group, 3);
    // A candidate that is dropped is gone for all.
    let said: Value = ask_json(&dir, &["rewind", "--to", &any_cut(&dir), "--stage", "anti-fraud"]);
    assert_eq!(said["difference"]["by_advertiser"], serde_json::json!({}), "{said}");
    ask(group.workers[1].data_dir(), &["generation", "drop", "4"]).ok();
    wait_long("all workers to have dropped it", || {
        group.workers.iter().all(|worker| stands(worker, 4, "dropped"))
    });
    assert_books_of_all(&group);
    assert_audited(&dir);
    assert_eq!(ask_json::<Value>(&dir, &["replay", "--from", &any_cut(&dir)])["result"], "identical");
    let expected = group.alone("wall");
    // What counts is what each generation has handed on in its time.
    let (all, input) = (generations(&dir), group.input());
    let taps = Line::all(&dir, &all)[&3].taps();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

#[track_caller]
fn wait_long(what: &str, is_so: impl FnMut() -> bool) {
    wait_at_most(MINUTES, what, is_so);
}

/// Ends a worker with `kill -9`, and starts it again before others get its partitions.
fn restart(worker: &mut LongRun) {
    std::thread::sleep(Duration::from_millis(700));
    worker.kill9();
    std::thread::sleep(Duration::from_millis(300));
    worker.start();
}

/// A minute that can be gone back to.
fn any_cut(dir: &Path) -> String {
    let mut all = Vec::new();
    wait_long("a cut of all workers", || {
        all = cuts(dir);
        !all.is_empty()
    });
    all[all.len() / 2].clone()
}

fn stands(worker: &LongRun, id: u32, how: &str) -> bool {
    generations(worker.data_dir()).iter().any(|g| g.id == id && g.is(&[how]))
}

/// Waits until all workers know that a generation is the published one, and settled.
fn assert_published(group: &mut Group, id: u32) {
    wait_long(&format!("generation {id} to be published"), || {
        group.workers.iter_mut().for_each(LongRun::assert_alive);
        group.workers.iter().all(|worker| stands(worker, id, "published"))
    });
}

/// Once the minute of the last event is in object storage the books hold all of them.
fn assert_books_of_all(group: &Group) {
    let mut report = Value::Null;
    wait_long("the books of the last minute", || {
        report = ask_json(group.data_dir(), &["report"]);
        report["events"] == group.traffic.lines.len()
    });
    assert_eq!(report["conserved"], true, "{report}");
}
