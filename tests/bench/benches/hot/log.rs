//! The log: batches of a turn over sixteen partitions, on files.

use crate::RAW;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use std::time::Duration;
use tempfile::TempDir;
use weir_bench::traffic::{PARTITIONS, TURN, batch_of};
use weir_pipeline::log::{Codec, EmbeddedLog, LiveLog, Log, LogOptions, LogPlace, NewBatch, TopicReader};
use weir_proto::{Buffer, Producer, Provenance, StageId, Topic, TopicId};

const CODECS: [&str; 2] = ["lz4", "none"];
const RECORDS: usize = TURN / PARTITIONS;

fn topic() -> TopicId {
    Topic::Raw.of(1)
}

fn open(dir: &TempDir, codec: &str) -> EmbeddedLog {
    let codec = if codec == "lz4" { Codec::Lz4 } else { Codec::None };
    let log =
        EmbeddedLog::empty(dir.path(), PARTITIONS as u32, LogOptions { codec, ..LogOptions::default() });
    log.add(topic()).unwrap();
    log
}

/// A turn's batches, one for each partition.
fn batches() -> Vec<Buffer> {
    RAW[..TURN].chunks_exact(RECORDS).map(batch_of).collect()
}

/// The ticket of the last one.
fn append(log: &EmbeddedLog, batches: Vec<Buffer>) -> u64 {
    let producer = Producer { stage: StageId::Collect, partition: 0, generation: 1 };
    let appended = batches.into_iter().enumerate().map(|(partition, bytes)| {
        let last = Provenance { position: RECORDS as u64 - 1, index: 0 };
        let batch = NewBatch { producer, first_seq: 0, count: RECORDS as u32, last, bytes };
        log.append(topic(), partition as u32, batch).unwrap().ticket
    });
    appended.last().unwrap_or_default()
}

fn wait_for(log: &EmbeddedLog, ticket: u64) {
    while !log.is_durable(topic(), ticket) {
        std::thread::sleep(Duration::from_micros(20));
    }
}

/// Frames are made of a turn's batches and queued; writing them is the log's own thread's.
#[divan::bench(args = CODECS, sample_size = 1)]
fn log_seal(bencher: Bencher<'_, '_>, codec: &str) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, codec);
    let last = std::cell::Cell::new(0);
    let inputs = || {
        wait_for(&log, last.get());
        batches()
    };
    let bench = bencher.with_inputs(inputs).counter(ItemsCount::new(TURN)).counter(bytes());
    bench.bench_local_values(|batches| last.set(append(&log, batches)));
}

/// The same until all of it is on disk.
#[divan::bench(args = CODECS, sample_size = 1)]
fn log_append(bencher: Bencher<'_, '_>, codec: &str) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, codec);
    let bench = bencher.with_inputs(batches).counter(ItemsCount::new(TURN)).counter(bytes());
    bench.bench_local_values(|batches| wait_for(&log, append(&log, batches)));
}

/// A turn's frames are read from their file and opened.
#[divan::bench(args = CODECS)]
fn log_read(bencher: Bencher<'_, '_>, codec: &str) {
    let dir = tempfile::tempdir().unwrap();
    let log = open(&dir, codec);
    wait_for(&log, append(&log, batches()));
    let reader = TopicReader::open(&LogPlace::from(dir.path()), topic()).unwrap();
    let read = |partition| reader.read(partition, 0, RECORDS as u64, None).unwrap();
    let bench = bencher.counter(ItemsCount::new(TURN)).counter(bytes());
    bench.bench_local(|| (0..PARTITIONS as u32).map(read).collect::<Vec<_>>());
}

fn bytes() -> BytesCount {
    BytesCount::new(batches().iter().map(|batch| batch.len()).sum::<usize>())
}
