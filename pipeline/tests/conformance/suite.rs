//! What every log promises, whatever it is made of.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_pipeline::error::JobError;
use weir_pipeline::input::{Line, LineReader, Start};
use weir_pipeline::log::{LiveLog, LogError, NewBatch};
use weir_proto::{
    Batch, BatchBuilder, Minute, Producer, Provenance, Record, StageId, TaskId, Topic, TopicId,
};
use weir_state::Mark;

/// How long anything may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// Records of a batch.
const COUNT: u32 = 100;

pub const PARTITIONS: u32 = 3;
pub const TOPIC: TopicId = TopicId { topic: Topic::Judged, generation: 1 };

/// A log that can be closed, cut off in the middle of what it does, and opened again.
pub trait Place {
    /// Opens the log that is there. Topics are to be added.
    fn open(&self) -> Arc<dyn LiveLog>;

    /// Lets go of old records of a topic's first partition, which has so many; which of them may then be the oldest one.
    fn let_go(&self, log: &dyn LiveLog, _records: u64) -> RangeInclusive<u64> {
        log.trim(TOPIC, &[30_000, 0, 0]).unwrap();
        // Where it is cut in files, some of what may go stays.
        1..=30_000
    }
}

/// The promise of a log that lets go of records.
pub const TRIMS: &str = "what is trimmed is gone, and the rest keeps its offsets";

/// What it is, and what checks it.
pub type Promise = (&'static str, fn(&dyn Place));

pub const PROMISES: &[Promise] = &[
    ("records stand in the order in which they were appended", order),
    ("what was acknowledged is there after a restart", durability),
    ("a backlog far above a megabyte is read from any offset on", backlog),
    ("what was appended and not committed is found and not appended again", reappend),
    ("several producers share a partition, and each can be read by itself", producers),
    ("what is appended a second time is passed over", repeats),
    (TRIMS, retention),
    ("a reader knows the topic that it has read from another one", identity),
    ("topics of generations are apart, and go alone", generations),
];

/// A task that appends.
pub fn producer(partition: u16) -> Producer {
    Producer { stage: StageId::AntiBrush, partition, generation: 1 }
}

/// A batch of so many records; the number of each is in its provenance and in its bytes.
pub fn batch(producer: Producer, first_seq: u64, count: u32) -> NewBatch {
    let mut builder = BatchBuilder::default();
    for seq in first_seq..first_seq + u64::from(count) {
        let record = Record::encode_tick(Minute(seq as u32));
        builder.push(Provenance { position: 10 * seq, index: 3 }, &[&record]);
    }
    NewBatch { producer, first_seq, count, last: builder.last(), bytes: builder.take() }
}

/// Appends a batch and waits until it is durable; the end offset behind it.
pub fn append(log: &dyn LiveLog, partition: u32, new: NewBatch) -> u64 {
    let appended = log.append(TOPIC, partition, new).unwrap();
    wait("a batch to be durable", || log.is_durable(TOPIC, appended.ticket));
    let end = log.end(TOPIC, partition, &appended);
    wait("it to be readable", || log.high_watermark(TOPIC, partition) >= end);
    end
}

pub fn wait(what: &str, mut until: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !until() {
        assert!(begun.elapsed() < PATIENCE, "waited {PATIENCE:?} for {what}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// Producer and running number of each record from an offset on, up to what is readable now.
pub fn read(
    log: &dyn LiveLog,
    topic: TopicId,
    partition: u32,
    from: u64,
    of: Option<TaskId>,
) -> Vec<(u64, u16, u64)> {
    let (mut next, end, mut found) = (from, log.high_watermark(topic, partition), Vec::new());
    let begun = Instant::now();
    while next < end {
        assert!(begun.elapsed() < PATIENCE, "reading {topic}-{partition} stands still at {next} of {end}");
        let fetched = log.read(topic, partition, next, 777, of).unwrap();
        for logged in &fetched.batches {
            for (at, record) in Batch::open(&logged.bytes).unwrap().enumerate() {
                let (record, seq) = (record.unwrap(), logged.head.first_seq + at as u64);
                let Record::Tick(minute) = Record::decode(record.bytes).unwrap() else { panic!() };
                assert_eq!(u64::from(minute.0), seq);
                assert_eq!(record.provenance, Provenance { position: 10 * seq, index: 3 });
                let offset = logged.head.base_offset + at as u64;
                if offset >= from {
                    found.push((offset, logged.head.producer.partition, seq));
                }
            }
        }
        // Whoever finds nothing takes it that there is nothing.
        assert!(
            fetched.next == end || !fetched.batches.is_empty(),
            "nothing is found between {next} and {end}"
        );
        assert!(fetched.next > next, "{} behind {next}", fetched.next);
        next = fetched.next;
    }
    found
}

fn added(place: &dyn Place) -> Arc<dyn LiveLog> {
    let log = place.open();
    log.add(TOPIC).unwrap();
    log
}

fn order(place: &dyn Place) {
    let log = added(place);
    for round in 0..20 {
        for partition in 0..PARTITIONS {
            append(&*log, partition, batch(producer(0), round * u64::from(COUNT), COUNT));
        }
    }
    for partition in 0..PARTITIONS {
        let expected: Vec<_> = (0..20 * u64::from(COUNT)).map(|n| (n, 0, n)).collect();
        assert_eq!(read(&*log, TOPIC, partition, 0, None), expected);
    }
}

fn identity(place: &dyn Place) {
    let log = added(place);
    append(&*log, 0, batch(producer(0), 0, COUNT));
    let reader = |start| LineReader::open(log.clone(), Arc::new(Line::First(TOPIC)), 0, start);
    let mut first = reader(Start::default());
    while first.advance().unwrap().is_some() {}
    let start = |change: fn(&mut Mark)| {
        let mut marks = first.marks().to_vec();
        change(&mut marks[0]);
        Start { position: first.position(), marks }
    };
    reader(start(|_| {})).check_seen(producer(1)).unwrap();
    let others: [fn(&mut Mark); 3] =
        [|mark| mark.next_seq += 1, |mark| mark.last.position += 1, |mark| mark.producer.partition += 1];
    for other in others {
        let error = reader(start(other)).check_seen(producer(1)).unwrap_err();
        assert!(matches!(error, JobError::OtherRecords { offset: 99, .. }), "{error}");
    }
}

fn durability(place: &dyn Place) {
    let mut acknowledged = 0;
    for round in 0..4 {
        let log = added(place);
        assert_eq!(read(&*log, TOPIC, 0, 0, None).len() as u64, acknowledged);
        // Of these nobody waits for the last one.
        for part in 0..5u64 {
            let first = acknowledged + part * u64::from(COUNT);
            let appended = log.append(TOPIC, 0, batch(producer(0), first, COUNT)).unwrap();
            if part == 4 && round % 2 == 0 {
                break;
            }
            wait("a batch to be durable", || log.is_durable(TOPIC, appended.ticket));
        }
        drop(log);
        let log = added(place);
        let found = read(&*log, TOPIC, 0, 0, None).len() as u64;
        let least = acknowledged + if round % 2 == 0 { 4 } else { 5 } * u64::from(COUNT);
        assert!(found >= least, "{found} records of {least} that were acknowledged");
        acknowledged = found;
    }
}

fn backlog(place: &dyn Place) {
    const MANY: u64 = 200_000;
    let log = added(place);
    let mut ticket = None;
    for first in (0..MANY).step_by(4_000) {
        ticket = Some(log.append(TOPIC, 1, batch(producer(0), first, 4_000)).unwrap().ticket);
    }
    wait("the backlog to be durable", || log.is_durable(TOPIC, ticket.unwrap()));
    drop(log);
    let log = added(place);
    assert_eq!(log.high_watermark(TOPIC, 1), MANY);
    for from in [0, 1, 3_999, 4_000, 123_456, MANY - 1] {
        let found = read(&*log, TOPIC, 1, from, None);
        assert_eq!(found.len() as u64, MANY - from);
        assert!(found.iter().zip(from..).all(|(found, n)| *found == (n, 0, n)), "from {from} on");
    }
    let heads = log.heads(TOPIC, 1, MANY / 2).unwrap();
    assert!(heads[0].base_offset <= MANY / 2 && heads[0].end() > MANY / 2);
    assert!(heads.is_sorted_by(|a, b| a.end() == b.base_offset) && heads.last().unwrap().end() == MANY);
}

fn reappend(place: &dyn Place) {
    let log = added(place);
    let committed = append(&*log, 2, batch(producer(0), 0, COUNT));
    append(&*log, 2, batch(producer(1), 0, COUNT));
    append(&*log, 2, batch(producer(0), u64::from(COUNT), COUNT));
    drop(log);
    let log = added(place);
    let heads = log.heads(TOPIC, 2, committed).unwrap();
    let own = heads.iter().filter(|head| head.producer == producer(0));
    let standing = own.map(|head| head.first_seq + u64::from(head.count)).max();
    assert_eq!(standing, Some(2 * u64::from(COUNT)));
}

fn repeats(place: &dyn Place) {
    let (count, mut log) = (u64::from(COUNT), added(place));
    for first in [0, count, 2 * count] {
        append(&*log, 0, batch(producer(0), first, COUNT));
    }
    // Whoever did not see two of them acknowledged begins anew, and others have gone on meanwhile.
    append(&*log, 0, batch(producer(1), 0, COUNT));
    drop(log);
    log = added(place);
    for first in [count, 2 * count, 3 * count] {
        append(&*log, 0, batch(producer(0), first, COUNT));
    }
    assert_eq!(read(&*log, TOPIC, 0, 0, None).len() as u64, 7 * count);
    let mut reader = LineReader::open(log, Arc::new(Line::First(TOPIC)), 0, Start::default());
    let mut found: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    while let Some((_, head)) = reader.advance().unwrap() {
        found.entry(head.producer.partition).or_default().push(head.seq);
    }
    assert_eq!(found, [(0, (0..4 * count).collect()), (1, (0..count).collect())].into());
}

fn producers(place: &dyn Place) {
    let log = added(place);
    for round in 0..10 {
        for number in 0..3 {
            let appended =
                log.append(TOPIC, 0, batch(producer(number), round * u64::from(COUNT), COUNT)).unwrap();
            wait("a batch to be durable", || log.is_durable(TOPIC, appended.ticket));
        }
    }
    wait("all to be readable", || log.high_watermark(TOPIC, 0) == 30 * u64::from(COUNT));
    let all = read(&*log, TOPIC, 0, 0, None);
    let mut by_producer: BTreeMap<u16, Vec<u64>> = BTreeMap::new();
    all.iter().for_each(|(_, number, seq)| by_producer.entry(*number).or_default().push(*seq));
    let numbers: Vec<u64> = (0..10 * u64::from(COUNT)).collect();
    assert_eq!(by_producer, (0..3).map(|number| (number, numbers.clone())).collect());
    // Much of others before its next record.
    for round in 10..60 {
        append(&*log, 0, batch(producer(0), round * u64::from(COUNT), COUNT));
    }
    append(&*log, 0, batch(producer(1), 10 * u64::from(COUNT), COUNT));
    let numbers: Vec<u64> = (0..11 * u64::from(COUNT)).collect();
    let own = read(&*log, TOPIC, 0, 0, Some(producer(1).task()));
    assert_eq!(own.iter().map(|(_, _, seq)| *seq).collect::<Vec<_>>(), numbers);
    assert!(own.iter().all(|(_, number, _)| *number == 1));
}

fn retention(place: &dyn Place) {
    const MANY: u64 = 50_000;
    let log = added(place);
    for first in (0..MANY).step_by(1_000) {
        append(&*log, 0, batch(producer(0), first, 1_000));
    }
    let oldest = place.let_go(&*log, MANY);
    drop(log);
    let log = added(place);
    let start = log.start(TOPIC, 0);
    assert!(oldest.contains(&start), "{start} is not in {oldest:?}");
    let found = read(&*log, TOPIC, 0, start, None);
    assert_eq!((found[0], found.len() as u64), ((start, 0, start), MANY - start));
    assert!(
        matches!(log.read(TOPIC, 0, start - 1, 1, None), Err(LogError::Trimmed { offset, .. }) if offset == start - 1)
    );
}

fn generations(place: &dyn Place) {
    let log = added(place);
    let second = Topic::Judged.of(2);
    assert!(
        matches!(log.append(second, 0, batch(producer(0), 0, 1)), Err(LogError::NoTopic(topic)) if topic == second)
    );
    log.add(second).unwrap();
    append(&*log, 0, batch(producer(0), 0, COUNT));
    assert_eq!(log.high_watermark(second, 0), 0);
    let appended = log.append(second, 0, batch(producer(0), 0, 7)).unwrap();
    wait("a batch to be durable", || log.is_durable(second, appended.ticket));
    wait("it to be readable", || log.high_watermark(second, 0) == 7);
    assert_eq!(log.topics(), [TOPIC, second]);
    log.remove(second).unwrap();
    assert_eq!(log.topics(), [TOPIC]);
    assert!(matches!(log.read(second, 0, 0, 1, None), Err(LogError::NoTopic(_))));
    assert_eq!(read(&*log, TOPIC, 0, 0, None).len() as u32, COUNT);
}
