//! Several workers share the partitions of a job, and die, stand still and come back as they please.

use std::collections::BTreeSet;

use serde_json::Value;
use weir_tests::{
    Group, PARTITIONS, Troubles, ask, ask_json, assert_same_where_certain, assert_sound, cuts, records,
};

use super::{Kafka, assert_audited, embedded, wait_until};

const WORKERS: usize = 3;

#[test]
fn three_workers_bill_what_one_job_bills() {
    let Some(kafka) = Kafka::of("kafka-group") else { return };
    let expected = embedded();
    let mut group = kafka.group(WORKERS);
    group.assert_status();
    group.bill(|_| {});
    assert_all_answer(&group);
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

#[test]
fn workers_that_die_and_stand_still_lose_and_double_nothing() {
    let Some(kafka) = Kafka::of("kafka-troubles") else { return };
    let expected = embedded();
    let mut group = kafka.group(WORKERS);
    let mut troubles = Troubles::seeded(23);
    group.bill(|workers| troubles.make(workers));
    assert!(troubles.made >= 20);
    assert_audited(group.data_dir());
    let told_of = told_of(&group);
    // Each came to a worker at the start, and some to others since.
    assert_eq!(BTreeSet::from_iter(&told_of).len(), PARTITIONS, "{told_of:?}");
    assert!(told_of.len() > PARTITIONS, "{told_of:?}");
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

/// The partitions that workers told of in `notices`, in the order of that topic's partitions.
fn told_of(group: &Group) -> Vec<u64> {
    let words =
        ["tap", "notices", "--until", "end", "--format", "jsonl", "--where", "notice == \"takeover\""];
    let told: Vec<Value> = records(ask(group.data_dir(), &words).ok().stdout.as_bytes());
    let number = |of: &Value, field: &str| of[field].as_u64().unwrap();
    for takeover in &told {
        let (worker, provenance) = (number(takeover, "worker"), &takeover["provenance"]);
        assert_eq!(
            (&provenance["stage"], number(provenance, "input_partition")),
            (&"takeovers".into(), worker)
        );
        assert!(worker < group.workers.len() as u64, "{takeover}");
    }
    told.iter().map(|takeover| number(takeover, "taken_partition")).collect()
}

/// Each worker answers for all of them, as of the newest minute that all have uploaded.
fn assert_all_answer(group: &Group) {
    let [first, last] = [0, WORKERS - 1].map(|worker| group.workers[worker].data_dir());
    let all_of = |words: &[&str]| -> Value {
        let mut answers = [Value::Null, Value::Null];
        wait_until(&format!("the same answer to {words:?}"), || {
            answers = [first, last].map(|worker| ask_json(worker, words));
            answers[0] == answers[1]
        });
        let [answer, _] = answers;
        answer
    };
    let of_stage = |stage| all_of(&["offsets", "--stage", stage]).as_array().unwrap().len();
    assert_eq!((of_stage("deduct"), of_stage("collect")), (PARTITIONS, WORKERS));
    let accounts = group.traffic.accounts.lines().count() - 1;
    let report = all_of(&["report"]);
    assert!(report["charged"].as_u64() > Some(0), "{report}");
    assert_eq!(report["accounts"], accounts, "{report}");
    assert_eq!(all_of(&["account", "list"]).as_array().unwrap().len(), accounts);
    let audit = all_of(&["audit"]);
    assert_eq!(audit["ok"], true, "{audit}");
    let sums = audit["minutes"].as_array().unwrap();
    assert!(sums.last().is_some_and(|sum| sum["accepted"].as_u64() > Some(0)), "{audit}");
    let to = audit["to"].as_str().unwrap();
    let minutes = cuts(last);
    let from = minutes.iter().rev().filter(|minute| minute.as_str() < to).nth(2).unwrap();
    let cut = all_of(&["checkpoints", "show", from]);
    let folding = cut["tasks"].as_array().unwrap().iter().filter(|task| task["stage"] != "collect");
    assert_eq!(folding.count(), 4 * PARTITIONS, "{cut}");
    assert_eq!(all_of(&["audit", "--from", from, "--to", to])["ok"], true);
    assert_eq!(ask_json::<Value>(last, &["replay", "--from", from, "--to", to])["result"], "identical");
    // A line that the first worker has taken in.
    let line: Value = serde_json::from_str(&group.traffic.lines[0]).unwrap();
    for worker in [first, last] {
        // Each masks users with a key of its own.
        let story: Value = ask_json(worker, &["explain", line["guid"].as_str().unwrap()]);
        let copy = &story["copies"][0];
        assert_eq!(copy["line"]["bytes"], group.traffic.lines[0].trim_end().len(), "{story}");
        let steps = copy["lives"][0]["steps"].as_array().unwrap();
        let decision = steps.last().unwrap()["decision"].as_str().unwrap();
        assert!(["charged", "refused", "dropped"].contains(&decision), "{story}");
    }
}
