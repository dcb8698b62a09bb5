//! The embedded log: what was acknowledged is there, whatever happens to the tail.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_pipeline::log::{EmbeddedLog, Log, LogError, LogOptions, NewBatch, TopicReader};
use weir_proto::{Batch, BatchBuilder, Producer, Provenance, StageId, Topic, TopicId};

const TOPIC: TopicId = TopicId { topic: Topic::Clean, generation: 1 };

/// Bytes behind what a writer that ended in peace wrote last.
const SEAL: usize = 72;

fn options() -> LogOptions {
    LogOptions {
        sync_interval: Duration::ZERO,
        segment_bytes: 4_000,
        tail_bytes: 2_000,
        ..LogOptions::default()
    }
}

fn producer() -> Producer {
    Producer { stage: StageId::AntiBrush, partition: 3, generation: 1 }
}

/// A batch of `count` records whose texts are their running numbers.
fn batch(first_seq: u64, count: u32) -> NewBatch {
    let mut builder = BatchBuilder::default();
    for seq in first_seq..first_seq + u64::from(count) {
        let provenance = Provenance { position: seq * 10, index: 0 };
        builder.push(provenance, &[format!("record number {seq}, which compresses well").as_bytes()]);
    }
    NewBatch { producer: producer(), first_seq, count, last: builder.last(), bytes: builder.take() }
}

fn append(log: &EmbeddedLog, partition: u32, new: NewBatch) -> u64 {
    let appended = log.append(TOPIC, partition, new).unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    while !log.is_durable(TOPIC, appended.ticket) {
        assert!(Instant::now() < deadline, "never durable");
        std::thread::sleep(Duration::from_micros(200));
    }
    appended.end
}

/// The running numbers that stand in a partition from an offset on.
fn numbers(log: &dyn Log, partition: u32, from: u64) -> Vec<u64> {
    let (mut next, end, mut found) = (from, log.high_watermark(TOPIC, partition), Vec::new());
    while next < end {
        for logged in log.read(TOPIC, partition, next, 5, None).unwrap().batches {
            for (i, record) in Batch::open(&logged.bytes).unwrap().enumerate() {
                let seq = logged.head.first_seq + i as u64;
                let text = String::from_utf8(record.unwrap().bytes.to_vec()).unwrap();
                assert!(text.starts_with(&format!("record number {seq},")), "{text}");
                if logged.head.base_offset + i as u64 >= next {
                    found.push(seq);
                }
            }
            next = logged.head.end();
        }
    }
    found
}

fn segments(dir: &Path) -> Vec<PathBuf> {
    let mut files: Vec<_> =
        fs::read_dir(dir.join(TOPIC.to_string())).unwrap().map(|e| e.unwrap().path()).collect();
    files.sort();
    files
}

#[test]
fn what_is_appended_is_read_from_any_offset_across_segments_and_restarts() {
    let dir = tempfile::tempdir().unwrap();
    let mut ends = [0u64; 3];
    for round in 0..6 {
        let log = EmbeddedLog::open(dir.path(), 3, options()).unwrap();
        for partition in 0..3u32 {
            let end = &mut ends[partition as usize];
            assert_eq!(log.high_watermark(TOPIC, partition), *end);
            for _ in 0..4 {
                let count = 1 + (round + partition) % 7;
                *end = append(&log, partition, batch(*end, count));
            }
            for from in 0..*end {
                assert_eq!(numbers(&log, partition, from), (from..*end).collect::<Vec<_>>());
            }
            let heads = log.heads(TOPIC, partition, 1).unwrap();
            assert_eq!(heads.last().unwrap().end(), *end);
            assert_eq!(heads[0].producer, producer());
        }
    }
    assert!(segments(dir.path()).len() > 2, "the test is about several segments");
}

#[test]
fn a_tail_cut_at_any_byte_is_cut_to_whole_batches_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let whole = LogOptions { segment_bytes: 1 << 20, ..options() };
    let log = EmbeddedLog::open(dir.path(), 1, whole).unwrap();
    let mut sizes = Vec::new();
    for i in 0..3 {
        append(&log, 0, batch(i * 4, 4));
        sizes.push(fs::metadata(&segments(dir.path())[0]).unwrap().len());
    }
    drop(log);
    let file = segments(dir.path())[0].clone();
    let bytes = fs::read(&file).unwrap();
    for cut in sizes[0]..=sizes[2] {
        for damage in [false, true] {
            let mut torn = bytes[..cut as usize].to_vec();
            if damage && cut > sizes[1] {
                // The last byte that was written is not what it should be.
                *torn.last_mut().unwrap() ^= 0x55;
            }
            fs::write(&file, &torn).unwrap();
            let log = EmbeddedLog::open(dir.path(), 1, whole).unwrap();
            let intact =
                sizes.iter().filter(|s| **s <= cut).count() as u64 - u64::from(damage && cut == sizes[2]);
            assert_eq!(numbers(&log, 0, 0), (0..4 * intact).collect::<Vec<_>>(), "cut at {cut}");
            append(&log, 0, batch(4 * intact, 2));
            assert_eq!(numbers(&log, 0, 0), (0..4 * intact + 2).collect::<Vec<_>>());
        }
    }
}

#[test]
fn damage_before_an_fsync_is_no_torn_tail() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, LogOptions { segment_bytes: 1 << 20, ..options() }).unwrap();
    let mut end = append(&log, 0, batch(0, 7));
    let first_group = fs::metadata(&segments(dir.path())[0]).unwrap().len();
    for _ in 0..5 {
        end = append(&log, 0, batch(end, 7));
    }
    drop(log);
    let segment = segments(dir.path())[0].clone();
    let bytes = fs::read(&segment).unwrap();
    let mut damaged = bytes.clone();
    damaged[first_group as usize - 1] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    let error = EmbeddedLog::open(dir.path(), 1, options()).map(|_| ()).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == segment), "{error}");
    assert_eq!(fs::read(&segment).unwrap(), damaged, "nothing is cut");
    // Nor is what a writer that ended in peace wrote last: a seal stands behind it.
    let mut damaged = bytes.clone();
    let last = damaged.len() - SEAL - 1;
    damaged[last] ^= 1;
    fs::write(&segment, &damaged).unwrap();
    let error = EmbeddedLog::open(dir.path(), 1, options()).map(|_| ()).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == segment), "{error}");
    // The newest group of one that was killed may not have come to the disk: its damage is a torn tail.
    let mut torn = bytes[..bytes.len() - SEAL].to_vec();
    let last = torn.len() - 1;
    torn[last] ^= 1;
    fs::write(&segment, &torn).unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    assert!(log.high_watermark(TOPIC, 0) < end);
    drop(log);
    assert_eq!(fs::read(&segment).unwrap(), torn, "nothing is cut before something is written");
}

#[test]
fn a_missing_segment_and_a_damaged_end_of_a_closed_one_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    let mut end = 0;
    while segments(dir.path()).len() < 4 {
        end = append(&log, 0, batch(end, 7));
    }
    drop(log);
    let all = segments(dir.path());
    let read = |path: &Path| {
        let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
        let error = log.read(TOPIC, 0, 0, u64::MAX, None).map(|_| ()).unwrap_err();
        assert!(matches!(&error, LogError::Damaged { path: named, .. } if named == path), "{error}");
        let reader = TopicReader::open(&dir.path().into(), TOPIC).unwrap();
        assert!(reader.read(0, 0, u64::MAX, None).is_err());
    };
    let bytes = fs::read(&all[1]).unwrap();
    let frame = bytes.windows(4).rposition(|w| w == b"WFR1").unwrap();
    for at in [frame, frame + 20, frame + 40] {
        let mut damaged = bytes.clone();
        damaged[at] ^= 8;
        fs::write(&all[1], &damaged).unwrap();
        read(&all[1]);
    }
    fs::remove_file(&all[1]).unwrap();
    read(&all[0]);
}

#[test]
fn damage_in_a_closed_segment_is_an_error_that_names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    let mut end = 0;
    while segments(dir.path()).len() < 3 {
        end = append(&log, 0, batch(end, 7));
    }
    drop(log);
    let first = segments(dir.path())[0].clone();
    let mut bytes = fs::read(&first).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&first, bytes).unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    let error = log.read(TOPIC, 0, 0, u64::MAX, None).map(|_| ()).unwrap_err();
    assert!(matches!(&error, LogError::Damaged { path, .. } if *path == first), "{error}");
}

#[test]
fn trimming_keeps_every_offset_from_the_given_one_on() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 2, options()).unwrap();
    let mut ends = [0; 2];
    while segments(dir.path()).len() < 5 {
        for partition in 0..2 {
            ends[partition as usize] = append(&log, partition, batch(ends[partition as usize], 5));
        }
    }
    let below = [ends[0] / 2, ends[1]];
    log.trim(TOPIC, &below).unwrap();
    assert!(log.start(TOPIC, 0) > 0 && log.start(TOPIC, 0) <= below[0]);
    for partition in 0..2u32 {
        let from = below[partition as usize];
        assert_eq!(numbers(&log, partition, from), (from..ends[partition as usize]).collect::<Vec<_>>());
    }
    assert!(matches!(log.read(TOPIC, 0, 0, 1, None), Err(LogError::Trimmed { offset: 0, .. })));
    drop(log);
    let log = EmbeddedLog::open(dir.path(), 2, options()).unwrap();
    assert_eq!(numbers(&log, 0, below[0]), (below[0]..ends[0]).collect::<Vec<_>>());
}

#[test]
fn a_reader_beside_the_writer_sees_what_is_written_after_it_opened() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    let mut end = append(&log, 0, batch(0, 3));
    let reader = TopicReader::open(&dir.path().into(), TOPIC).unwrap();
    assert_eq!(reader.offsets(0), (0, 3));
    while segments(dir.path()).len() < 3 {
        end = append(&log, 0, batch(end, 6));
        reader.refresh().unwrap();
        assert_eq!(reader.offsets(0), (0, end));
        let last = reader.read(0, end - 1, 1, None).unwrap().batches;
        assert_eq!(last[0].head.end(), end);
    }
}

#[test]
fn a_segment_of_other_partitions_is_an_error_that_names_the_file() {
    let [dir, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    for (dir, partitions) in [(&dir, 2), (&other, 1)] {
        let log = EmbeddedLog::open(dir.path(), partitions, options()).unwrap();
        for n in 0..40 {
            append(&log, 0, batch(n * 20, 20));
        }
    }
    let strange = segments(other.path()).pop().unwrap();
    let place = segments(dir.path())[0].with_file_name(strange.file_name().unwrap());
    fs::copy(&strange, &place).unwrap();
    let errors = [
        EmbeddedLog::open(dir.path(), 2, options()).err(),
        TopicReader::open(&dir.path().into(), TOPIC).err(),
    ];
    for error in errors {
        assert!(matches!(&error, Some(LogError::Damaged { path, .. }) if *path == place), "{error:?}");
    }
}

#[test]
fn a_closed_segment_that_lost_its_end_is_an_error_and_nobody_waits_for_it() {
    let dir = tempfile::tempdir().unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    let lengths: Vec<u64> = (0..40)
        .map(|n| {
            append(&log, 0, batch(n * 20, 20));
            fs::metadata(&segments(dir.path())[0]).unwrap().len()
        })
        .collect();
    drop(log);
    let first = segments(dir.path())[0].clone();
    // Its last frame, cut off where it begins.
    let before = lengths.iter().copied().filter(|len| len < lengths.last().unwrap()).max().unwrap();
    fs::OpenOptions::new().write(true).open(&first).unwrap().set_len(before).unwrap();
    let log = EmbeddedLog::open(dir.path(), 1, options()).unwrap();
    let (mut next, end) = (0, log.high_watermark(TOPIC, 0));
    let error = loop {
        assert!(next < end);
        match log.read(TOPIC, 0, next, 5, None) {
            Ok(fetched) => next = fetched.next,
            Err(error) => break error,
        }
    };
    assert!(
        matches!(&error, LogError::Damaged { path, position, .. } if *path == first && *position == before)
    );
}
