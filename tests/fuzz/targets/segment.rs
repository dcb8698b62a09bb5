//! A topic on disk: whatever stands in its files, it is opened or refused, and what one reader sees all see. The
//! input is a list of actions that write a segment; see `weir_fuzz::segments`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::path::PathBuf;
use weir_fuzz::{scratch, segments};
use weir_pipeline::log::{EmbeddedLog, Log, LogError, LogOptions, LoggedBatch, TopicReader, frame_at};
use weir_proto::{Batch, Record, Topic, TopicId};

const PARTITIONS: u32 = 2;
const TOPIC: TopicId = TopicId { topic: Topic::Raw, generation: 1 };

thread_local! {
    static DIR: RefCell<PathBuf> = RefCell::new(scratch("segment"));
}

fuzz_target!(|data: &[u8]| {
    DIR.with_borrow(|dir| {
        let topic = dir.join(TOPIC.to_string());
        let _ = std::fs::remove_dir_all(&topic);
        std::fs::create_dir_all(&topic).expect("a directory");
        for (id, bytes) in (0u64..).zip(segments(data, PARTITIONS)) {
            std::fs::write(topic.join(format!("{id:020}.seg")), bytes).expect("a file");
        }
        let _ = frame_at(&topic.join(format!("{:020}.seg", 0)), 40);
        let beside: Result<Vec<_>, _> = TopicReader::open(dir, TOPIC).and_then(|reader| {
            (0..reader.partitions())
                .map(|p| all(reader.offsets(p), |at| reader.read(p, at, 64, None)))
                .collect()
        });
        let log = EmbeddedLog::empty(dir, PARTITIONS, LogOptions::default());
        let own: Result<Vec<_>, _> = log.add(TOPIC).and_then(|()| {
            let ends = |p| (log.start(TOPIC, p), log.high_watermark(TOPIC, p));
            (0..PARTITIONS).map(|p| all(ends(p), |at| log.read(TOPIC, p, at, 64, None))).collect()
        });
        if let (Ok(beside), Ok(own)) = (beside, own) {
            assert_eq!(beside, own);
        }
    });
});

type Seen = Vec<(u64, Vec<u8>)>;

/// Everything from the oldest record on, each batch with its offset.
fn all(
    (start, end): (u64, u64),
    read: impl Fn(u64) -> Result<weir_pipeline::log::Fetched, LogError>,
) -> Result<Seen, LogError> {
    let (mut next, mut seen) = (start, Seen::new());
    while next < end {
        let fetched = read(next)?;
        if fetched.batches.is_empty() {
            break;
        }
        assert!(fetched.next > next, "reading must go on");
        next = fetched.next;
        for batch in fetched.batches {
            look_into(&batch);
            seen.push((batch.head.base_offset, batch.bytes.clone()));
        }
    }
    Ok(seen)
}

fn look_into(batch: &LoggedBatch) {
    for record in Batch::open(&batch.bytes).into_iter().flatten().flatten() {
        let _ = Record::decode(record.bytes);
    }
}
