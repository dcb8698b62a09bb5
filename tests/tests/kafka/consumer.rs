//! What a consumer finds in `charges` that is Kafka's own and knows nothing of Weir but the header of its records.

use std::collections::HashMap;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;
use weir_tests::{Rng, SESSION, ask, records};

use super::{Fed, Kafka, kill_at_random};

/// What it prints of a record: where it stands, the header, and the value; bytes as in `\x1F`.
const PROPERTIES: [&str; 5] = [
    "print.partition=true",
    "print.offset=true",
    "print.headers=true",
    "headers.deserializer=org.apache.kafka.common.serialization.BytesDeserializer",
    "value.deserializer=org.apache.kafka.common.serialization.BytesDeserializer",
];

/// A record as it stands in Kafka.
struct Found {
    partition: u32,
    offset: u64,
    /// The header `weir`.
    header: Vec<u8>,
    value: String,
}

/// Where a record stands and comes from, as a tap tells it.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
struct Place {
    partition: u32,
    offset: u64,
    input_partition: u16,
    generation: u32,
    position: u64,
    index: u32,
}

#[derive(Deserialize)]
struct Line {
    provenance: Place,
}

impl Found {
    fn of(line: &str) -> Self {
        let fields: Vec<&str> = line.split('\t').collect();
        let &[partition, offset, header, value] = fields.as_slice() else {
            panic!("the consumer printed {line:?}");
        };
        let header = bytes(header.strip_prefix("weir:").unwrap());
        assert_eq!(header.len(), 28, "{line}");
        Self {
            partition: partition.strip_prefix("Partition:").unwrap().parse().unwrap(),
            offset: offset.strip_prefix("Offset:").unwrap().parse().unwrap(),
            header,
            value: value.to_owned(),
        }
    }

    /// The task that made it.
    fn producer(&self) -> &[u8] {
        &self.header[1..8]
    }

    /// That, and its running number.
    fn identity(&self) -> &[u8] {
        &self.header[1..16]
    }

    fn number(&self) -> u64 {
        u64::from_le_bytes(self.header[8..16].try_into().unwrap())
    }

    fn place(&self) -> Place {
        let header = &self.header;
        Place {
            partition: self.partition,
            offset: self.offset,
            input_partition: u16::from_le_bytes(header[2..4].try_into().unwrap()),
            generation: u32::from_le_bytes(header[4..8].try_into().unwrap()),
            position: u64::from_le_bytes(header[16..24].try_into().unwrap()),
            index: u32::from_le_bytes(header[24..].try_into().unwrap()),
        }
    }
}

/// Bytes as Kafka prints them, of which all but printable ASCII without the backslash is escaped.
fn bytes(text: &str) -> Vec<u8> {
    let mut parts = text.split("\\x");
    let mut bytes = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (code, plain) = part.split_at(2);
        bytes.push(u8::from_str_radix(code, 16).unwrap());
        bytes.extend_from_slice(plain.as_bytes());
    }
    bytes
}

/// All that stands in `charges`, each partition in order.
fn consume(kafka: &Kafka) -> Vec<Found> {
    let topic = format!("{}.charges", kafka.prefix);
    let ends = kafka.tool("GetOffsetShell", &["--topic", &topic]);
    let end = |line: &str| line.rsplit_once(':').unwrap().1.parse::<usize>().unwrap();
    let all: usize = ends.lines().map(end).sum();
    let most = all.to_string();
    let mut args = vec!["--topic", topic.as_str(), "--from-beginning", "--max-messages", most.as_str()];
    // For less than that it waits in vain.
    args.extend(["--timeout-ms", "120000"]);
    args.extend(PROPERTIES.iter().flat_map(|property| ["--formatter-property", *property]));
    let printed = kafka.tool("consumer.ConsoleConsumer", &args);
    let found: Vec<Found> = printed.lines().map(Found::of).collect();
    assert!(all > 0 && found.len() == all, "{} records of {all}", found.len());
    found
}

/// The records that stand there for the first time, and those that only repeat one of them.
fn tell_apart(found: &[Found]) -> (Vec<&Found>, Vec<&Found>) {
    let mut known: HashMap<(u32, &[u8]), &Found> = HashMap::new();
    let (mut first, mut repeats) = (Vec::new(), Vec::new());
    for record in found {
        let before = *known.entry((record.partition, record.identity())).or_insert(record);
        if before.offset == record.offset {
            first.push(record);
        } else {
            let is_same = before.header == record.header && before.value == record.value;
            assert!(is_same, "{:?} is another record than {:?}", record.place(), before.place());
            repeats.push(record);
        }
    }
    (first, repeats)
}

/// Fails unless each task has numbered these records without a gap, and a tap shows the same ones.
#[track_caller]
fn assert_complete(found: &[&Found], data_dir: &Path) {
    let mut next: HashMap<(u32, &[u8]), u64> = HashMap::new();
    for record in found {
        let next = next.entry((record.partition, record.producer())).or_default();
        assert_eq!(record.number(), *next, "the running number of {:?}", record.place());
        *next += 1;
    }
    let words = ["tap", "charges", "--from", "start", "--until", "end", "--ticks", "--format", "jsonl"];
    let lines: Vec<Line> = records(ask(data_dir, &words).ok().stdout.as_bytes());
    let mut shown: Vec<Place> = lines.into_iter().map(|line| line.provenance).collect();
    let mut places: Vec<Place> = found.iter().map(|record| record.place()).collect();
    shown.sort_unstable();
    places.sort_unstable();
    let difference = places.iter().zip(&shown).find(|(found, shown)| found != shown);
    assert_eq!(difference, None, "the consumer finds one, a tap shows the other");
    assert_eq!(places.len(), shown.len(), "records that only one of them has");
}

#[test]
fn after_kills_of_the_job_a_consumer_finds_no_record_twice() {
    let Some(kafka) = Kafka::of("kafka-consumer") else { return };
    let mut fed = Fed::begin("kafka-consumer", &kafka.section(), 7);
    let mut rng = Rng::new(17);
    fed.run(|job, _| kill_at_random(job, &mut rng));
    let found = consume(&kafka);
    let (first, repeats) = tell_apart(&found);
    let places: Vec<Place> = repeats.iter().map(|record| record.place()).collect();
    assert!(places.is_empty(), "{} records stand there twice, such as {:?}", places.len(), places[0]);
    assert_complete(&first, fed.job.data_dir());
}

#[test]
fn what_a_paused_worker_repeats_a_consumer_can_tell() {
    let Some(kafka) = Kafka::of("kafka-repeats") else { return };
    let mut group = kafka.group(2);
    let mut rng = Rng::new(29);
    let mut share = 0;
    group.bill(|workers| {
        // In between, each gets back what it had.
        if share % 2 == 1 {
            let worker = &workers[share / 2 % 2];
            std::thread::sleep(Duration::from_millis(400).mul_f64(rng.share()));
            worker.signal("STOP");
            std::thread::sleep(SESSION + Duration::from_secs(3));
            worker.signal("CONT");
        }
        share += 1;
    });
    group.stop();
    let found = consume(&kafka);
    let (first, repeats) = tell_apart(&found);
    eprintln!("{} of {} records are repeats", repeats.len(), found.len());
    assert_complete(&first, group.data_dir());
}
