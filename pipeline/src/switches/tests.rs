//! Switches over a control log: each change is there once, and outlives the job.

use super::breaker::FAILURES;
use super::*;
use crate::data_dir::DataDir;
use crate::generations::ControlLog;
use weir_proto::rpc;

fn dir(folder: &tempfile::TempDir) -> DataDir {
    DataDir::lock(folder.path(), 1, None, None).unwrap().0
}

fn changes(dir: &DataDir) -> Vec<Change> {
    let entries = ControlLog::new(dir.control_log()).read().unwrap().0;
    let change = |entry| match entry {
        Entry::Switch(entry) => Some(entry.change),
        _ => None,
    };
    entries.into_iter().filter_map(change).collect()
}

/// Switches of a process with a job that begins.
fn begin(dir: &DataDir) -> (Switches, Attached) {
    let switches = Switches::default();
    let attached = switches.attach(Arc::new(Registry::open(dir).unwrap()));
    (switches, attached)
}

fn fail(switch: &Switch, times: u32) {
    for _ in 0..times {
        switch.failed("it says 503");
    }
}

#[test]
fn a_setting_counts_at_once_and_outlives_the_job() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(&folder);
    let (switches, attached) = begin(&dir);
    let ledger = switches.get(Name::Ledger);
    assert!(ledger.is_on() && ledger.lets() && ledger.admit() && !ledger.rests());
    ledger.set(Setting::Off, "me", "the database moves").unwrap();
    assert!(!ledger.is_on() && !ledger.lets() && !ledger.admit() && ledger.rests() && ledger.is_set_off());
    assert!(switches.get(Name::Deliver).is_on(), "the others are as they were");
    // What becomes of work that was under way flips nothing.
    fail(ledger, 2 * FAILURES);
    assert_eq!((changes(&dir), ledger.trips()), (vec![Change::Set(Setting::Off)], 0));
    drop((switches, attached));

    let (switches, _attached) = begin(&dir);
    let ledger = switches.get(Name::Ledger);
    assert!(!ledger.is_on());
    let shown = ledger.shown();
    assert!(
        shown.why.starts_with("set by me at 20") && shown.why.ends_with(": the database moves"),
        "{}",
        shown.why
    );
    ledger.set(Setting::On, "me", "").unwrap();
    fail(ledger, 2 * FAILURES);
    assert!(ledger.is_on() && ledger.admit(), "on whatever becomes of it");
    ledger.set(Setting::Auto, "me", "").unwrap();
    assert!(ledger.is_on());
    assert_eq!(changes(&dir), [Setting::Off, Setting::On, Setting::Auto].map(Change::Set));
}

#[test]
fn a_breaker_that_flips_is_recorded_once_for_each_flip() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(&folder);
    let (switches, attached) = begin(&dir);
    let mirror = switches.get(Name::Mirror);
    fail(mirror, 3 * FAILURES);
    assert!(!mirror.is_on() && mirror.rests() && !mirror.admit());
    assert_eq!((changes(&dir), mirror.trips()), (vec![Change::Opened], 1));
    let why = mirror.shown().why;
    assert!(why.starts_with("auto: breaker open since 20") && why.ends_with(": it says 503"), "{why}");
    drop((switches, attached));

    // Another process: a trial is due at once, and only its success is news.
    let (switches, _attached) = begin(&dir);
    let mirror = switches.get(Name::Mirror);
    assert!(!mirror.is_on() && mirror.shown().why.ends_with(": it says 503"));
    assert!(mirror.admit() && !mirror.admit());
    mirror.failed("it says 503 again");
    assert_eq!(changes(&dir), [Change::Opened]);
    mirror.set(Setting::Auto, "me", "it works again").unwrap();
    assert!(mirror.is_on() && mirror.admit(), "set anew, it begins closed");
    fail(mirror, FAILURES);
    drop(switches);
    let (switches, _attached) = begin(&dir);
    let mirror = switches.get(Name::Mirror);
    assert!(mirror.admit());
    mirror.worked();
    mirror.worked();
    assert!(mirror.is_on());
    let all = [Change::Opened, Change::Set(Setting::Auto), Change::Opened, Change::Closed];
    assert_eq!(changes(&dir), all);
}

#[test]
fn what_flips_while_there_is_no_job_is_recorded_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(&folder);
    let (switches, attached) = begin(&dir);
    let mirror = switches.get(Name::Mirror);
    drop(attached);
    fail(mirror, FAILURES);
    assert!(!mirror.is_on(), "it protects all the same");
    assert!(changes(&dir).is_empty(), "the directory belongs to nobody, or to another process");
    let refused = mirror.set(Setting::On, "me", "").unwrap_err();
    assert!(matches!(refused, JobError::Refused(_)), "{refused}");
    let attached = switches.attach(Arc::new(Registry::open(&dir).unwrap()));
    assert_eq!(changes(&dir), [Change::Opened]);
    drop(attached);
    let _attached = switches.attach(Arc::new(Registry::open(&dir).unwrap()));
    assert_eq!(changes(&dir), [Change::Opened], "it is known now");
    assert!(mirror.shown().why.ends_with(": it says 503"));
}

#[test]
fn generations_do_not_depend_on_switches() {
    let folder = tempfile::tempdir().unwrap();
    let dir = dir(&folder);
    let log = ControlLog::new(dir.control_log());
    let entry = |name: &str, change| {
        let (by, why) = ("me".to_owned(), String::new());
        Entry::Switch(SwitchEntry { name: name.to_owned(), change, at_ms: 1, by, why })
    };
    // One of a newer binary, too.
    log.append(&entry("archive", Change::Set(Setting::Off))).unwrap();
    log.append(&entry("deliver", Change::Set(Setting::Off))).unwrap();
    let registry = Registry::open(&dir).unwrap();
    assert_eq!((registry.published(), registry.all().len()), (1, 0));
    let (switches, _attached) = begin(&dir);
    let off: Vec<_> = switches.all().iter().filter(|s| !s.is_on()).map(|s| s.name()).collect();
    assert_eq!(off, [Name::Deliver]);
}

#[test]
fn what_the_service_is_asked_is_checked() {
    let folder = tempfile::tempdir().unwrap();
    let (switches, _attached) = begin(&dir(&folder));
    let request = |name: &str, setting: &str, why: &str| rpc::SetSwitchRequest {
        name: name.to_owned(),
        setting: setting.to_owned(),
        why: why.to_owned(),
    };
    for (wrong, said) in [
        (request("deduct", "off", ""), "there are ledger, deliver, mirror, enrichment"),
        (request("ledger", "Off", ""), "there are on, off and auto"),
        (request("ledger", "off", &"x".repeat(1_001)), "too long"),
    ] {
        let error = service::set(&switches, &wrong, "me").unwrap_err();
        assert!(matches!(error, JobError::Invalid(_)) && error.to_string().contains(said), "{error}");
    }
    let set = service::set(&switches, &request("ledger", "off", ""), "me").unwrap();
    assert!(!set.on && set.why.starts_with("set by me at "), "{set:?}");
    let all = service::list(&switches).switches;
    assert_eq!(all.iter().map(|s| s.on).collect::<Vec<_>>(), [false, true, true, true]);
    assert!(all.iter().all(|s| !s.about.is_empty() && !s.cost.is_empty()));
}
