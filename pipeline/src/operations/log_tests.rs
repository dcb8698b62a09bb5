//! The audit log: what is in it, and what damage to it comes to.

use super::*;
use crate::auth::Role;
use crate::operations::paired;
use serde_json::json;

fn refused(text: &str) -> JobError {
    JobError::Refused(text.to_owned())
}

fn three_actions(path: PathBuf) -> OperatorLog {
    let log = OperatorLog::new(path);
    let address = Some("10.0.0.7:4711".parse().unwrap());
    let ops = Caller { name: "ops".to_owned(), role: Role::Operator, address };
    let answer = |n: &u32| json!({ "generation": n });
    log.record(&ops, "rewind", json!({ "to_minute": 7 }), || Ok::<_, JobError>(2), answer).unwrap();
    let no = || Err::<u32, _>(refused("there is no generation 9"));
    log.record(&Caller::local(), "promote", json!({ "generation": 9 }), no, answer).unwrap_err();
    log
}

#[test]
fn who_has_done_what_is_told_with_what_came_of_it() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("operator.log");
    three_actions(path.clone());
    // The next process goes on counting.
    let log = OperatorLog::new(path);
    let mut seen = 0;
    let work = || {
        // What is about to be done stands there before it is done.
        seen = paired(log.read()?).len();
        Ok::<_, JobError>(())
    };
    log.record(&Caller::local(), "drop", json!({}), work, |()| Value::Null).unwrap();
    assert_eq!(seen, 3);
    let all = paired(log.read().unwrap());
    let told: Vec<_> = all
        .iter()
        .map(|o| {
            (o.begun.id, o.begun.who.as_str(), o.begun.address.as_deref(), o.begun.action.as_str(), o.outcome)
        })
        .collect();
    let from = Some("10.0.0.7:4711");
    let wanted = [
        (1, "ops", from, "rewind", "done"),
        (2, "local", None, "promote", "refused"),
        (3, "local", None, "drop", "done"),
    ];
    assert_eq!(told, wanted);
    assert_eq!(
        (&all[0].answer, &all[0].begun.arguments),
        (&json!({ "generation": 2 }), &json!({ "to_minute": 7 }))
    );
    assert_eq!(all[1].error.as_deref(), Some("there is no generation 9"));
}

#[test]
fn a_torn_tail_is_cut_and_a_flipped_bit_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("operator.log");
    three_actions(path.clone());
    let whole = std::fs::read(&path).unwrap();
    let second = whole.iter().enumerate().filter(|(_, b)| **b == b'\n').nth(2).unwrap().0 + 1;
    for end in second..whole.len() {
        std::fs::write(&path, &whole[..end]).unwrap();
        let log = OperatorLog::new(path.clone());
        let all = paired(log.read().unwrap());
        assert_eq!((all.len(), all[1].outcome), (2, "unknown"), "{end}");
        log.record(&Caller::local(), "drop", json!({}), || Ok::<_, JobError>(()), |()| Value::Null).unwrap();
        assert_eq!(paired(log.read().unwrap())[2].begun.id, 3);
    }
    for bit in 0..8 * whole.len() {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &damaged).unwrap();
        let log = OperatorLog::new(path.clone());
        let error = log.read().unwrap_err().to_string();
        assert!(error.contains("operator.log line") && error.contains("is damaged"), "{bit}: {error}");
        let mut done = false;
        let work = || {
            done = true;
            Ok::<_, JobError>(())
        };
        log.record(&Caller::local(), "drop", json!({}), work, |()| Value::Null).unwrap_err();
        assert!(!done, "without a record nothing is done");
    }
}

#[test]
fn what_cannot_be_written_down_is_not_done() {
    let dir = tempfile::tempdir().unwrap();
    let log = OperatorLog::new(dir.path().join("gone").join("operator.log"));
    let mut done = false;
    let work = || {
        done = true;
        Ok::<_, JobError>(())
    };
    log.record(&Caller::local(), "drop", json!({}), work, |()| Value::Null).unwrap_err();
    assert!(!done);
}

#[test]
fn actions_side_by_side_are_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let log = OperatorLog::new(dir.path().join("operator.log"));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                for _ in 0..20 {
                    let work = || Ok::<_, JobError>(());
                    log.record(&Caller::local(), "submit", json!({}), work, |()| Value::Null).unwrap();
                }
            });
        }
    });
    let all = paired(log.read().unwrap());
    assert!(all.iter().all(|o| o.outcome == "done"));
    let mut ids: Vec<_> = all.iter().map(|o| o.begun.id).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=160).collect::<Vec<_>>());
}
