//! What the workers of a group have decided about generations, in object storage: who writes the next decision first has
//! decided. Each worker copies them to the control log of its own directory, in order, and goes by that.
//!
//! A decision is `{"format": 1, "crc32c": …, "decision": {"entry": …, "cut": …, "rules": …}}`, the checksum over the decision
//! as compact JSON. Whoever begins a generation says with what: another worker has neither the cut nor the rules.
//!
//! A promotion counts only if it stands there before its minute begins, with some room for clocks that differ: otherwise
//! others may have read beyond the tick at which it was to be. All tell that by the storage's clock, so all tell the same.

use super::{Cut, Entry};
use crate::error::JobError;
use crate::rule_set::RuleSet;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use std::sync::Arc;
use weir_state::depot::Depot;
use weir_state::sum_of_json;

const FORMAT: u32 = 1;
/// How long before its minute a promotion must stand there.
const IN_TIME_MS: u64 = 20_000;

/// What was decided.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Decision {
    /// As it stands in the control log.
    pub(super) entry: Entry,
    /// What a generation was begun from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) cut: Option<Cut>,
    /// Its rules.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rules: Option<RuleSet>,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    format: u32,
    crc32c: u32,
    decision: Decision,
}

/// The decisions of a group.
pub(super) struct Decisions(pub(super) Arc<Depot>);

impl Decisions {
    /// The how-manieth one, if it was made.
    pub(super) fn get(&self, number: u64) -> Result<Option<Decision>, JobError> {
        let Some(decided) = self.0.decision(number)? else { return Ok(None) };
        let sealed: Option<Sealed> = serde_json::from_slice(&decided.text).ok();
        let whole = sealed.filter(|s| s.format == FORMAT && s.crc32c == sum_of_json(&s.decision));
        let in_time = |decision| if_in_time(decision, decided.at_ms);
        whole.map(|s| Some(in_time(s.decision))).ok_or_else(|| JobError::Control {
            path: PathBuf::from(format!("decisions/{number:010}.json in object storage")),
            problem: "is damaged, or was written by another version of weir. Restore it from a backup"
                .to_owned(),
        })
    }

    /// Makes it; whether nobody has made another one before.
    pub(super) fn put(&self, number: u64, decision: &Decision) -> Result<bool, JobError> {
        let sealed = Sealed { format: FORMAT, crc32c: sum_of_json(decision), decision: decision.clone() };
        // Plain data can always be written as JSON.
        Ok(self.0.decide(number, serde_json::to_vec(&sealed).unwrap_or_default())?)
    }
}

fn if_in_time(decision: Decision, at_ms: u64) -> Decision {
    match decision.entry {
        Entry::Promoted { generation, at } if at_ms + IN_TIME_MS > at.start_ms() => {
            Decision { entry: Entry::TooLate { generation }, ..decision }
        }
        _ => decision,
    }
}

/// Whether two workers have decided the same. Each begins the first generation by itself.
pub(super) fn is_same(one: &Entry, other: &Entry) -> bool {
    match (one, other) {
        (Entry::Begun(one), Entry::Begun(other)) if one.id == 1 => (other.id, other.rules) == (1, one.rules),
        _ => one == other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::{DataDir, DataDirLock};
    use crate::generations::{Generation, Registry, Standing};
    use std::path::Path;
    use weir_operators::Rules;
    use weir_proto::{Minute, StageId};

    fn depot() -> Arc<Depot> {
        Arc::new(Depot::open("memory:///", &Default::default()).unwrap())
    }

    fn rule_set(max: u16) -> RuleSet {
        let rules = Rules { max_user_ad_minute: max, ..Rules::default() };
        RuleSet { rules, networks: Vec::new() }
    }

    fn generation(id: u32, rules: &RuleSet) -> Generation {
        Generation {
            id,
            base: 1,
            recorded: 1,
            cut: Minute(7),
            from: StageId::AntiFraud,
            rules: rules.fingerprint(),
            paused: false,
            begun_ms: u64::from(id),
            reason: String::new(),
        }
    }

    /// A worker that has begun the first generation, or knows of it.
    fn worker(root: &Path, number: u16, depot: &Arc<Depot>) -> (Registry, DataDir, DataDirLock) {
        let (dir, lock) =
            DataDir::lock(&root.join(format!("worker-{number}")), 2, None, Some(number)).unwrap();
        let registry = Registry::open(&dir).unwrap().share(depot.clone()).unwrap();
        let first = rule_set(1);
        first.save(&dir.rules()).unwrap();
        if registry.get(1).is_none() {
            registry.decide(&Entry::Begun(generation(1, &first))).unwrap();
        }
        (registry, dir, lock)
    }

    #[test]
    fn who_decides_first_has_decided_and_all_others_follow() {
        let folder = tempfile::tempdir().unwrap();
        let depot = depot();
        let (one, dir, _lock) = worker(folder.path(), 1, &depot);
        let (two, other_dir, other_lock) = worker(folder.path(), 2, &depot);
        let other_rules = rule_set(2);
        other_rules.save(&dir.rules()).unwrap();
        one.begin(&generation(2, &other_rules), &Cut::default()).unwrap();
        // The other one does not know of that yet.
        let dropped = Entry::Dropped { generation: 1 };
        assert!(matches!(two.decide(&dropped), Err(JobError::Overtaken)));
        assert!(two.get(2).is_none());
        let mut seen = Vec::new();
        let see = |entry: &Entry| {
            seen.push(entry.clone());
            Ok(())
        };
        two.take_in(see).unwrap();
        assert_eq!(seen, [Entry::Begun(generation(2, &other_rules))]);
        two.take_in(|_| panic!("it comes once")).unwrap();
        // The cut and the rules came along.
        assert_eq!(other_dir.read_cut(2).unwrap(), Cut::default());
        RuleSet::load(&other_dir.rules(), other_rules.fingerprint(), &Rules::default()).unwrap();
        two.decide(&Entry::Dropped { generation: 2 }).unwrap();
        one.take_in(|_| Ok(())).unwrap();
        assert_eq!(one.get(2).unwrap().1, Standing::Dropped);
        // Who starts again, and who comes new, knows all of it.
        drop((two, other_lock));
        for number in [2, 3] {
            let (registry, _dir, _lock) = worker(folder.path(), number, &depot);
            assert_eq!((registry.next_id(), registry.get(2).unwrap().1), (3, Standing::Dropped));
        }
    }

    #[test]
    fn a_promotion_that_is_decided_too_late_is_none_for_all() {
        let folder = tempfile::tempdir().unwrap();
        let depot = depot();
        let (one, _dir, _lock) = worker(folder.path(), 1, &depot);
        let (two, ..) = worker(folder.path(), 2, &depot);
        one.begin(&generation(2, &rule_set(1)), &Cut::default()).unwrap();
        two.take_in(|_| Ok(())).unwrap();
        let soon = Minute::of_ms(crate::source::collect::now_ms() + IN_TIME_MS / 2);
        let late = two.decide(&Entry::Promoted { generation: 2, at: soon }).unwrap_err().to_string();
        assert!(late.contains("promote it again"), "{late}");
        let mut seen = Vec::new();
        let see = |entry: &Entry| {
            seen.push(entry.clone());
            Ok(())
        };
        one.take_in(see).unwrap();
        assert_eq!(seen, [Entry::TooLate { generation: 2 }]);
        for registry in [&one, &two] {
            assert_eq!((registry.published(), registry.get(2).unwrap().1), (1, Standing::Candidate));
        }
        let at = Minute(soon.0 + 2);
        one.decide(&Entry::Promoted { generation: 2, at }).unwrap();
        two.take_in(|_| Ok(())).unwrap();
        assert_eq!((two.published(), two.promoted_at(2)), (2, Some(at)));
    }

    #[test]
    fn decisions_of_another_group_and_damaged_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let first = depot();
        let (registry, dir, lock) = worker(folder.path(), 1, &first);
        registry.begin(&generation(2, &rule_set(1)), &Cut::default()).unwrap();
        drop((registry, lock));
        let other = depot();
        let (registry, ..) = worker(folder.path(), 2, &other);
        registry.decide(&Entry::Dropped { generation: 1 }).unwrap();
        let refused = Registry::open(&dir).unwrap().share(other.clone()).err().unwrap().to_string();
        assert!(refused.contains("`checkpoints.remote` names"), "{refused}");
        assert!(other.decide(3, b"{}".to_vec()).unwrap());
        let damaged = registry.take_in(|_| Ok(())).unwrap_err().to_string();
        assert!(damaged.contains("decisions/0000000003.json") && damaged.contains("damaged"), "{damaged}");
    }

    #[test]
    fn a_worker_that_was_alone_until_now_brings_its_decisions_along() {
        let folder = tempfile::tempdir().unwrap();
        let (dir, _lock) = DataDir::lock(&folder.path().join("worker-1"), 2, None, Some(1)).unwrap();
        let first = rule_set(1);
        first.save(&dir.rules()).unwrap();
        Registry::open(&dir).unwrap().decide(&Entry::Begun(generation(1, &first))).unwrap();
        let depot = depot();
        Registry::open(&dir).unwrap().share(depot.clone()).unwrap();
        let (registry, ..) = worker(folder.path(), 2, &depot);
        assert_eq!(registry.get(1).unwrap().0.rules, first.fingerprint());
    }
}
