//! The source of commands across crashes and a change of generation: every command that was taken in stands
//! in `judged`, at a place of its own.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use weir_pipeline::data_dir::{DataDir, DataDirLock};
use weir_pipeline::generations::{Cut, Entry, Generation, Registry};
use weir_pipeline::input::Scan;
use weir_pipeline::log::{EmbeddedLog, LiveLog, Log, LogOptions, NewBatch};
use weir_pipeline::scheduler::{Need, Work};
use weir_pipeline::source::accounts::AccountsProgress;
use weir_pipeline::source::begin_at_end;
use weir_pipeline::source::commands::CommandsTask;
use weir_pipeline::source::mailbox::Submission;
use weir_proto::{BatchBuilder, Command, Minute, Producer, Provenance, Record, StageId, Topic, rpc};
use weir_state::{Shared, Store, TaskMeta};

const PARTITIONS: u32 = 4;

struct Source {
    log: Arc<EmbeddedLog>,
    task: CommandsTask,
    registry: Arc<Registry>,
    _lock: DataDirLock,
}

impl Source {
    fn open(dir: &Path, generation: u32) -> Self {
        let log = Arc::new(EmbeddedLog::open(&dir.join("log"), PARTITIONS, LogOptions::default()).unwrap());
        log.add(Topic::Judged.of(2)).unwrap();
        let store = Store::open(&dir.join("store"), &Shared::new(1 << 20)).unwrap();
        let accounts = AccountsProgress { loaded: true.into(), ..AccountsProgress::default() };
        let task = Producer { stage: StageId::Commands, partition: 0, generation };
        let (data_dir, lock) = DataDir::lock(&dir.join("data"), PARTITIONS, None, None).unwrap();
        let registry = Arc::new(Registry::open(&data_dir).unwrap());
        let task =
            CommandsTask::open(PARTITIONS, store, log.clone(), task, registry.clone(), Arc::new(accounts));
        Source { log, task: task.unwrap(), registry, _lock: lock }
    }

    /// Puts commands of two advertisers in and appends them, durably.
    fn append(&mut self, keys: &[&str]) -> Vec<Receiver<()>> {
        let all = (0..).zip(keys).map(|(nth, key)| {
            let (taken, done) = channel();
            let key = (*key).to_owned();
            let command = rpc::Command { key, advertiser_id: 36 + nth % 2, ..rpc::Command::default() };
            self.task.mailbox().put(Submission { command, taken });
            done
        });
        let waiting = all.collect();
        assert_eq!(self.task.need(), Need::Turn(u64::MAX));
        self.task.work(Need::Turn(u64::MAX)).unwrap();
        while self.task.need() != Need::Commit {
            std::thread::sleep(Duration::from_millis(1));
        }
        waiting
    }

    /// Decides that another generation reads from now on, and that of what stands in some partitions now it is the last.
    fn promote(&self, keeps: impl Fn(u32, u64) -> u64) {
        let generation = Generation {
            id: 2,
            base: 1,
            recorded: 1,
            cut: Minute(7),
            from: StageId::AntiFraud,
            rules: 0,
            paused: false,
            begun_ms: 0,
            reason: String::new(),
        };
        self.registry.begin(&generation, &Cut::default()).unwrap();
        self.registry.decide(&Entry::Promoted { generation: 2, at: Minute(9) }).unwrap();
        let end = |p| keeps(p, self.log.high_watermark(Topic::Judged.of(1), p));
        let ends = vec![(Topic::Judged, (0..PARTITIONS).map(end).collect())];
        self.registry.decide(&Entry::Ended { generation: 2, ends }).unwrap();
    }

    fn commit(&mut self) {
        self.task.work(Need::Commit).unwrap();
    }

    /// Appends a command to each partition under the name of the source.
    fn forge(&self, key: &str) {
        let producer = Producer { stage: StageId::Commands, partition: 0, generation: 1 };
        let command = rpc::Command { key: key.to_owned(), ..rpc::Command::default() };
        for partition in 0..PARTITIONS {
            let last = Provenance { position: 100 + u64::from(partition), index: 0 };
            let mut batch = BatchBuilder::default();
            batch.push(last, &[&Command::encode(&command)]);
            let topic = Topic::Judged.of(1);
            let first_seq = self.log.high_watermark(topic, partition);
            let batch = NewBatch { producer, first_seq, count: 1, last, bytes: batch.take() };
            let appended = self.log.append(topic, partition, batch).unwrap();
            while !self.log.is_durable(topic, appended.ticket) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// Position and key of everything in `judged`, by position; no running number is missing or there twice.
    fn judged(&self, generation: u32) -> Vec<(u64, String)> {
        self.read(generation, 0..PARTITIONS, |seq, next| {
            assert_eq!(seq, next.unwrap_or(seq), "no gap, no repeat")
        })
    }

    fn judged_in_any_order(&self, generation: u32) -> Vec<(u64, String)> {
        self.read(generation, 0..PARTITIONS, |_, _| ())
    }

    fn keys_in(&self, generation: u32, partition: u32) -> Vec<String> {
        let all = self.read(generation, partition..partition + 1, |_, _| ());
        all.into_iter().map(|(_, key)| key).collect()
    }

    fn read(
        &self,
        generation: u32,
        partitions: Range<u32>,
        check: impl Fn(u64, Option<u64>),
    ) -> Vec<(u64, String)> {
        let (topic, mut all) = (Topic::Judged.of(generation), Vec::new());
        for partition in partitions {
            let mut scan = Scan::new(self.log.clone(), topic, partition, 0, 100);
            let mut next = None;
            while let Some(head) = scan.advance().unwrap() {
                check(head.seq, next);
                next = Some(head.seq + 1);
                let Record::Command(command) = Record::decode(scan.bytes()).unwrap() else { panic!() };
                all.push((head.provenance.position, command.read().unwrap().key));
            }
        }
        all.sort();
        all
    }
}

fn keys(judged: &[(u64, String)]) -> Vec<&str> {
    judged.iter().map(|(_, key)| key.as_str()).collect()
}

fn positions(judged: &[(u64, String)]) -> Vec<u64> {
    judged.iter().map(|(position, _)| *position).collect()
}

#[test]
fn who_sent_a_command_is_told_once_it_is_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(dir.path(), 1);
    let waiting = source.append(&["a", "b"]);
    assert!(waiting.iter().all(|w| w.try_recv().is_err()));
    source.commit();
    assert!(waiting.iter().all(|w| w.try_recv().is_ok()));
    assert_eq!(source.task.need(), Need::Nothing);
}

#[test]
fn what_was_appended_before_a_crash_keeps_its_place() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(dir.path(), 1);
    source.append(&["a", "b"]);
    source.commit();
    source.append(&["c", "d", "e"]);
    drop(source);
    let mut source = Source::open(dir.path(), 1);
    source.append(&["d", "f"]);
    source.commit();
    let judged = source.judged(1);
    assert_eq!(keys(&judged), ["a", "b", "c", "d", "e", "d", "f"]);
    assert_eq!(positions(&judged), [0, 1, 2, 3, 4, 5, 6]);
    drop(source);
    assert_eq!(Source::open(dir.path(), 1).judged(1), judged, "opening it again changes nothing");
}

#[test]
fn a_closed_inlet_takes_nothing_in_and_opens_in_another_generation() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(dir.path(), 1);
    source.append(&["a"]);
    let inlet = source.task.inlet();
    inlet.close();
    assert_eq!(source.task.need(), Need::Commit);
    assert!(!inlet.is_at_rest(), "what was appended is not committed yet");
    source.commit();
    let (taken, _done) = channel();
    let command = rpc::Command { key: "b".to_owned(), advertiser_id: 36, ..rpc::Command::default() };
    source.task.mailbox().put(Submission { command, taken });
    assert_eq!(source.task.need(), Need::Nothing);
    assert!(inlet.is_at_rest());
    inlet.go_on_in(2);
    source.append(&[]);
    drop(source);
    let mut source = Source::open(dir.path(), 2);
    source.append(&["c"]);
    source.commit();
    assert_eq!(keys(&source.judged(1)), ["a"]);
    assert_eq!(keys(&source.judged(2)), ["b", "c"]);
    assert_eq!(positions(&source.judged(2)), [1, 2], "it goes on counting");
}

/// Commands that came behind the end of the generation before, which nobody reads there.
#[test]
fn what_came_too_late_for_one_generation_is_brought_to_the_next() {
    for killed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let mut source = Source::open(dir.path(), 1);
        source.append(&["a", "b", "c", "d", "e"]);
        source.commit();
        // The last two of one partition are read by nobody any more.
        let with_most = (0..PARTITIONS).max_by_key(|p| source.log.high_watermark(Topic::Judged.of(1), *p));
        let mut late = source.keys_in(1, with_most.unwrap());
        late.drain(..late.len() - 2);
        source.promote(|p, end| if Some(p) == with_most { end - 2 } else { end });
        let inlet = source.task.inlet();
        inlet.close();
        assert_eq!(source.task.need(), Need::Nothing);
        inlet.go_on_in(2);
        source.append(&["f"]);
        if killed {
            drop(source);
            source = Source::open(dir.path(), 2);
            source.append(&["g"]);
        }
        source.commit();
        let judged = source.judged(2);
        late.extend(if killed { vec!["f", "g"] } else { vec!["f"] }.into_iter().map(str::to_owned));
        assert_eq!(keys(&judged), late, "{judged:?}");
        drop(source);
        assert_eq!(Source::open(dir.path(), 2).judged(2), judged);
    }
}

/// What others have put there is not looked through: where a source may have something, it has said before.
#[test]
fn a_source_looks_only_where_it_has_said_that_it_appends() {
    let dir = tempfile::tempdir().unwrap();
    let mut source = Source::open(dir.path(), 1);
    source.append(&["a"]);
    source.commit();
    // Under its name in all partitions, which never happens.
    source.forge("x");
    drop(source);
    let mut source = Source::open(dir.path(), 1);
    source.append(&["b"]);
    source.commit();
    let position_of = |source: &Source, key: &str| {
        let judged = source.judged_in_any_order(1);
        judged.into_iter().find(|(_, k)| k == key).unwrap().0
    };
    assert_eq!(position_of(&source, "b"), 1, "what it has not announced is not counted");
    drop(source);
    // One that has lost its store looks everywhere.
    std::fs::rename(dir.path().join("store"), dir.path().join("lost")).unwrap();
    let mut source = Source::open(dir.path(), 1);
    source.append(&["c"]);
    source.commit();
    assert!(position_of(&source, "c") >= 100, "{:?}", source.judged_in_any_order(1));
}

#[test]
fn a_source_that_begins_at_the_end_does_not_look_at_what_stands_there() {
    let dir = tempfile::tempdir().unwrap();
    let source = Source::open(dir.path(), 1);
    source.forge("x");
    drop(source);
    std::fs::remove_dir_all(dir.path().join("store")).unwrap();
    let log = EmbeddedLog::open(&dir.path().join("log"), PARTITIONS, LogOptions::default()).unwrap();
    let store = Store::open(&dir.path().join("store"), &Shared::new(1 << 20)).unwrap();
    let task = Producer { stage: StageId::Commands, partition: 0, generation: 1 };
    let meta = TaskMeta::new(task, &[Topic::Judged], PARTITIONS as usize, 0);
    begin_at_end(&store, &log, meta).unwrap();
    drop((store, log));
    let mut source = Source::open(dir.path(), 1);
    source.append(&["a"]);
    source.commit();
    let own = source.judged_in_any_order(1).into_iter().find(|(_, key)| key == "a").unwrap();
    assert_eq!(own.0, 0);
}
