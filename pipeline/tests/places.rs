//! A topic that is made anew is read in the recorded order, whatever the timing: random histories against
//! the rule of places, applied to whole lists.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;
use weir_pipeline::generations::Cut;
use weir_pipeline::input::{Anew, Line, LineReader, Start};
use weir_pipeline::log::{EmbeddedLog, LiveLog, Log, LogOptions, NewBatch};
use weir_proto::{BatchBuilder, Minute, Producer, Provenance, Record, StageId, TaskId, Topic, TopicId};
use weir_state::{CheckpointDir, Manifest, Mark};

/// Upstream tasks, and partitions.
const TASKS: u16 = 3;
const HISTORIES: u64 = 300;
/// A position behind all others of the first generation.
const LAST: u64 = 1_000;

/// A record as a reader gets it: its place and its name.
type Read = (u64, String);
/// Records with their places.
type List = Vec<(u64, Made)>;

#[derive(Clone, Debug)]
struct Made {
    task: TaskId,
    seq: u64,
    at: Provenance,
    name: String,
    /// It is a tick of this minute.
    tick: Option<Minute>,
}

impl Made {
    fn bytes(&self) -> Vec<u8> {
        self.tick
            .map_or_else(|| self.name.clone().into_bytes(), |minute| Record::encode_tick(minute).to_vec())
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n.max(1)
    }
}

fn upstream(partition: u16) -> TaskId {
    TaskId { stage: StageId::AntiBrush, partition }
}

const OUTSIDE: TaskId = TaskId { stage: StageId::Accounts, partition: 0 };
const READER: TaskId = TaskId { stage: StageId::AntiFraud, partition: 0 };

/// What a task makes from a running number on: some places as before, some left out, some new.
fn make(random: &mut Random, task: TaskId, before: &[Made], generation: u32) -> Vec<Made> {
    let from = before.len() as u64;
    let (mut at, last) = (before.last().map_or(Provenance::default(), |m| m.at), from + 2 + random.below(7));
    let mut minute = before.iter().rev().find_map(|m| m.tick).unwrap_or(Minute(0));
    let far = LAST * u64::from(generation);
    (from..=last)
        .map(|seq| {
            at = match random.below(4) {
                // In the end each comes as far as was recorded, as it does with a tick.
                _ if seq == last && at.position < far => Provenance { position: far, index: 0 },
                0 => Provenance { index: at.index + 1, ..at },
                n => Provenance { position: at.position + n, index: 0 },
            };
            let tick = (random.below(4) == 0).then(|| Minute(minute.0 + 1));
            minute = tick.unwrap_or(minute);
            let name = match tick {
                Some(_) => tick_name(minute, seq),
                None => format!("{task} {seq} of {generation}"),
            };
            Made { task, seq, at, name, tick }
        })
        .collect()
}

fn tick_name(minute: Minute, seq: u64) -> String {
    format!("tick {} as {seq}", minute.0)
}

/// All lists mixed, each in its own order.
fn mix(random: &mut Random, mut lists: Vec<Vec<Made>>) -> Vec<Made> {
    let mut mixed = Vec::new();
    while let Some(at) = Some(random.below(lists.len() as u64) as usize).filter(|_| !lists.is_empty()) {
        match lists[at].is_empty() {
            true => drop(lists.swap_remove(at)),
            false => mixed.push(lists[at].remove(0)),
        }
    }
    mixed
}

/// The rule: at each recorded record of a task, its new ones up to and including that provenance, but none
/// behind its tick of the same minute, where a tick is recorded; then the generation's own topic, without
/// those.
fn rule(recorded: &[(u64, Made)], mut new: BTreeMap<TaskId, VecDeque<Made>>, own: &[Made], end: u64) -> List {
    let (mut out, mut ticks) = (Vec::new(), BTreeMap::new());
    for (place, old) in recorded {
        if old.task.stage.is_source() {
            out.push((*place, old.clone()));
            continue;
        }
        let (content, tick) = (new.entry(old.task).or_default(), ticks.entry(old.task).or_insert(Minute(0)));
        while old.tick.is_none_or(|minute| *tick < minute)
            && let Some(made) = content.pop_front_if(|m| m.at <= old.at)
        {
            *tick = made.tick.unwrap_or(*tick);
            out.push((*place, made));
        }
    }
    for (offset, made) in own.iter().enumerate() {
        let left = new.get(&made.task).is_some_and(|left| left.iter().any(|m| m.seq == made.seq));
        if made.task.stage.is_source() || left {
            out.push((end + offset as u64, made.clone()));
        }
    }
    out
}

struct World {
    log: Arc<EmbeddedLog>,
    written: BTreeMap<TopicId, usize>,
    _dir: tempfile::TempDir,
}

impl World {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let options = LogOptions { sync_interval: Duration::ZERO, ..LogOptions::default() };
        let log = EmbeddedLog::empty(dir.path(), u32::from(TASKS), options);
        (1..=4).for_each(|g| log.add(Topic::Clean.of(g)).unwrap());
        World { log: Arc::new(log), written: BTreeMap::new(), _dir: dir }
    }

    /// Appends some more of what is to stand in a topic.
    fn write(&mut self, generation: u32, all: &[Made], count: usize) {
        let topic = Topic::Clean.of(generation);
        let written = self.written.entry(topic).or_default();
        for made in all.iter().skip(*written).take(count) {
            let mut batch = BatchBuilder::default();
            batch.push(made.at, &[&made.bytes()]);
            let producer = made.task.in_generation(if made.task == OUTSIDE { 1 } else { generation });
            let batch =
                NewBatch { producer, first_seq: made.seq, count: 1, last: made.at, bytes: batch.take() };
            let ticket = self.log.append(topic, 0, batch).unwrap().ticket;
            while !self.log.is_durable(topic, ticket) {
                std::thread::yield_now();
            }
            *written += 1;
        }
    }
}

fn manifest(task: Producer, start: Start, next_seq: u64) -> Manifest {
    let mut next_seqs = vec![0; usize::from(TASKS)];
    next_seqs[0] = next_seq;
    Manifest {
        format: 0,
        task,
        minute: Minute(1),
        previous: Minute(0),
        position: start.position,
        index: 0,
        marks: start.marks,
        digests: Vec::new(),
        ends: Vec::new(),
        next_seqs: vec![(Topic::Clean, next_seqs)],
        rules: 0,
        files: Vec::new(),
    }
}

/// Reads until nothing comes, saving and opening again now and then as a task does; where it stood after
/// each record.
struct Session {
    reader: LineReader,
    line: Arc<Line>,
    log: Arc<EmbeddedLog>,
    read: Vec<Read>,
    stood: Vec<Start>,
    limit: Arc<AtomicU64>,
}

impl Session {
    fn open(log: &Arc<EmbeddedLog>, line: &Arc<Line>, start: Start, limit: u64) -> Self {
        let limit = Arc::new(AtomicU64::new(limit));
        let reader = LineReader::open(log.clone(), line.clone(), 0, start).limited(limit.clone());
        Session { reader, line: line.clone(), log: log.clone(), read: Vec::new(), stood: Vec::new(), limit }
    }

    fn stands(&self) -> Start {
        Start { position: self.reader.position(), marks: self.reader.marks().to_vec() }
    }

    fn go_on(&mut self, random: &mut Random, most: u64) {
        for _ in 0..most {
            let Some((place, head)) = self.reader.advance().unwrap() else { return };
            let bytes = self.reader.bytes();
            let name = Record::tick_of(bytes).map(|minute| tick_name(minute, head.seq));
            self.read.push((place, name.unwrap_or_else(|| String::from_utf8(bytes.to_vec()).unwrap())));
            self.stood.push(self.stands());
            if random.below(4) == 0 {
                let reader = LineReader::open(self.log.clone(), self.line.clone(), 0, self.stands());
                self.reader = reader.limited(self.limit.clone());
            }
        }
    }
}

/// Of the records at the place where it stands, a reader may have seen some.
fn had_seen(start: &Start, made: &Made) -> bool {
    made.task != OUTSIDE && made.seq < seen(start, made.task)
}

fn seen(start: &Start, task: TaskId) -> u64 {
    start.marks.iter().find(|m: &&Mark| m.producer.task() == task).map_or(0, |m| m.next_seq)
}

/// A generation over a recorded line, begun where a reader of it stood.
struct Begun {
    line: Arc<Line>,
    ends: Arc<OnceLock<Vec<u64>>>,
    start: Start,
    /// What its tasks make.
    own: Vec<Made>,
    /// What its reader is to read of each task.
    content: BTreeMap<TaskId, Vec<Made>>,
    /// Up to which running number that is what was made before.
    kept: BTreeMap<TaskId, u64>,
}

fn begin(
    random: &mut Random,
    generation: u32,
    recorded: &Arc<Line>,
    start: Start,
    made: &BTreeMap<TaskId, Vec<Made>>,
    commands: u64,
) -> Begun {
    let (mut manifests, mut lists, mut content) = (Vec::new(), Vec::new(), BTreeMap::new());
    let mut kept = BTreeMap::new();
    for task in (0..TASKS).map(upstream) {
        let before = &made[&task];
        let seen = seen(&start, task);
        let cut = seen + random.below(before.len() as u64 - seen + 1);
        let new = make(random, task, &before[..cut as usize], generation);
        manifests.push(manifest(task.in_generation(generation - 1), Start::default(), cut));
        let whole = [&before[..cut as usize], &new].concat();
        content.insert(task, whole);
        kept.insert(task, cut);
        lists.push(new);
    }
    manifests.push(manifest(READER.in_generation(generation - 1), start.clone(), 0));
    let from = commands;
    lists.push(
        (0..random.below(4))
            .map(|n| Made {
                task: OUTSIDE,
                seq: from + n,
                at: Provenance { position: from + n, index: 0 },
                name: format!("command {n} of {generation}"),
                tick: None,
            })
            .collect(),
    );
    let ends = Arc::new(OnceLock::new());
    let line = Line::Anew(Anew {
        id: Topic::Clean.of(generation),
        reader: READER.stage,
        base: recorded.clone(),
        recorded: recorded.clone(),
        cut: Arc::new(Cut::new(manifests)),
        ends: ends.clone(),
        ends_at: Arc::default(),
        writers: u32::from(TASKS),
        checkpoints: CheckpointDir::new("/nowhere".into()),
    });
    Begun { line: Arc::new(line), ends, start, own: mix(random, lists), content, kept }
}

fn history(seed: u64) {
    let mut random = Random(seed);
    let mut world = World::new();
    let mut lists: Vec<Vec<Made>> = (0..TASKS).map(|t| make(&mut random, upstream(t), &[], 1)).collect();
    let mut made: BTreeMap<TaskId, Vec<Made>> = lists.iter().map(|l| (l[0].task, l.clone())).collect();
    let commands = (0..random.below(4)).map(|n| Made {
        task: OUTSIDE,
        seq: n,
        at: Provenance { position: n, index: 0 },
        name: format!("command {n} of 1"),
        tick: None,
    });
    lists.push(commands.collect());
    let first = mix(&mut random, lists);
    world.write(1, &first, usize::MAX);
    let mut line = Arc::new(Line::First(Topic::Clean.of(1)));
    let mut expected: List = (0..).zip(first.iter().cloned()).collect();
    let mut session = Session::open(&world.log, &line, Start::default(), u64::MAX);
    session.go_on(&mut random, u64::MAX);
    assert_eq!(session.read.len(), first.len());
    let mut end = first.len() as u64;
    let from_outside = |all: &[Made]| all.iter().filter(|m| m.task == OUTSIDE).count() as u64;
    let mut commands = from_outside(&first);
    for generation in [2, 3, 4] {
        let stood = [&[Start::default()], &session.stood[..]].concat();
        let start = stood[random.below(stood.len() as u64) as usize].clone();
        let begun = begin(&mut random, generation, &line, start.clone(), &made, commands);
        let (before, mut recorded): (List, List) =
            expected.into_iter().partition(|(place, made)| start.position > *place || had_seen(&start, made));
        // It may end before the last records that stand there, but behind those that stand nowhere else.
        let stays = |made: &Made| begun.kept.get(&made.task).is_none_or(|kept| made.seq < *kept);
        let staying = recorded.iter().filter(|(_, made)| stays(made)).map(|(place, _)| place + 1);
        let least = staying.max().unwrap_or(0).max(start.position + 1).min(end);
        let ended = least + random.below(end - least + 1);
        recorded.retain(|(place, _)| *place < ended);
        let unseen = |(task, list): (&TaskId, &Vec<Made>)| {
            (*task, list.iter().skip(seen(&start, *task) as usize).cloned().collect())
        };
        let anew = rule(&recorded, begun.content.iter().map(unseen).collect(), &begun.own, ended);
        session = Session::open(&world.log, &begun.line, begun.start.clone(), random.below(ended + 1));
        let mut steps = 0;
        while session.read.len() < anew.len() {
            steps += 1;
            assert!(steps < 1_000, "history {seed}, generation {generation}: stuck at {:?}", session.read);
            let before = world.written.get(&Topic::Clean.of(generation)).copied().unwrap_or(0);
            world.write(generation, &begun.own, 1 + random.below(3) as usize);
            if random.below(5) == 0 || before == begun.own.len() {
                // Known at some time, and set but once.
                let _ = begun.ends.set(vec![ended; usize::from(TASKS)]);
            }
            // Until then it is read no further than is allowed.
            session.limit.fetch_max(random.below(ended + 1), Ordering::Relaxed);
            let most = 1 + random.below(6);
            session.go_on(&mut random, most);
            let done = session.read.len();
            let names = |list: &[(u64, Made)]| -> Vec<Read> {
                list.iter().map(|(place, made)| (*place, made.name.clone())).collect()
            };
            assert!(done <= anew.len(), "history {seed}: more is read than there is: {:?}", session.read);
            assert_eq!(session.read, names(&anew[..done]), "history {seed}, generation {generation}");
        }
        expected = [before, anew].concat();
        (line, made) = (begun.line, begun.content);
        end = ended + begun.own.len() as u64;
        commands += from_outside(&begun.own);
    }
}

#[test]
fn new_records_are_read_at_their_recorded_places() {
    (0..HISTORIES).for_each(history);
}
