//! Generations of a group: any worker begins, publishes and drops them, and all of them follow, also those that die meanwhile.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;
use weir_tests::{
    LongRun, ask, ask_json, assert_same_where_certain, assert_sound, count, cuts, generations, start_ask,
};

use super::group::Group;
use super::{Kafka, PATIENCE, assert_audited, embedded, wait_until};

const WORKERS: usize = 3;

#[test]
fn a_group_goes_over_to_other_rules_and_back_while_workers_die() {
    let Some(kafka) = Kafka::of("kafka-generations") else { return };
    let expected = embedded();
    let mut group = Group::begin(&kafka, WORKERS);
    let rules = group.scratch.write("new.toml", "[anti_fraud]\nmax_user_ad_minute = 1\n");
    let rules = rules.to_str().unwrap().to_owned();
    let (mut share, mut rewinding) = (0, None);
    group.bill(|workers| {
        match share {
            2 => {
                let cut = any_cut(workers[1].data_dir());
                let words = ["rewind", "--to", &cut, "--rules", &rules, "--apply", "--json"];
                rewinding = Some(start_ask(workers[1].data_dir(), &words));
            }
            3 => restart(&mut workers[2]),
            4 => restart(&mut workers[0]),
            _ => {}
        }
        share += 1;
    });
    let said = rewinding.unwrap().wait_at_most(PATIENCE).ok().stdout;
    let said: Value = serde_json::from_str(&said).unwrap();
    assert!(said["published_at"].is_string(), "{said}");
    assert_ne!(said["difference"]["by_advertiser"], serde_json::json!({}), "{said}");
    group.assert_published(2);
    let dir = group.data_dir().to_owned();
    assert!(count("adjustments", &dir) > Some(0), "{said}");
    let report: Value = ask_json(&dir, &["report"]);
    assert_eq!(report["conserved"], true, "{report}");
    assert_audited(&dir);

    // What was posted is taken back, and what was charged by the new rules becomes what it would have been.
    ask(group.workers[2].data_dir(), &["generation", "promote", "1"]).ok();
    group.assert_published(3);
    // A candidate that is dropped is gone for all.
    let cut = any_cut(&dir);
    let said: Value = ask_json(&dir, &["rewind", "--to", &cut, "--stage", "anti-fraud"]);
    assert_eq!(said["difference"]["by_advertiser"], serde_json::json!({}), "{said}");
    ask(group.workers[1].data_dir(), &["generation", "drop", "4"]).ok();
    wait_until("all workers to have dropped it", || {
        group.workers.iter().all(|worker| stands(worker, 4, "dropped"))
    });
    group.wait_until_gathered();
    assert_audited(&dir);
    let from = any_cut(&dir);
    assert_eq!(ask_json::<Value>(&dir, &["replay", "--from", &from])["result"], "identical");
    let report: Value = ask_json(&dir, &["report"]);
    assert_eq!(
        (&report["conserved"], &report["events"]),
        (&Value::Bool(true), &group.traffic.lines.len().into()),
        "{report}"
    );
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
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
    wait_until("a cut of all workers", || {
        all = cuts(dir);
        !all.is_empty()
    });
    all[all.len() / 2].clone()
}

fn stands(worker: &LongRun, id: u32, how: &str) -> bool {
    generations(worker.data_dir()).iter().any(|g| g.id == id && g.is(&[how]))
}

impl Group {
    /// Waits until all workers know that a generation is the published one, and settled.
    fn assert_published(&mut self, id: u32) {
        wait_until(&format!("generation {id} to be published"), || {
            self.workers.iter_mut().for_each(LongRun::assert_alive);
            self.workers.iter().all(|worker| stands(worker, id, "published"))
        });
    }

    /// Waits until what all workers have folded is in object storage. A promotion sends the tick that is needed for that.
    fn wait_until_gathered(&self) {
        wait_until("the books of the last minute", || {
            let report: Value = ask_json(self.data_dir(), &["report"]);
            report["events"] == self.traffic.lines.len()
        });
    }
}
