//! The way in: what is accepted is on disk, once, and stays until it was taken.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use weir_pipeline::ingest::{Intake, NotTaken, Offer, Spool, SpoolOptions, Taken, identity_of};
use weir_proto::{Batch, Billing, EventKind, Guid, NewEvent, Record};

const WINDOW: Duration = Duration::from_secs(600);

fn offer(guid: &str) -> Offer {
    let event = NewEvent {
        guid: Guid::parse(guid).unwrap(),
        event_time_ms: 1_767_261_600_000,
        ingest_time_ms: 1_767_261_600_001,
        kind: EventKind::Click,
        user_id: "u",
        ip: [10, 0, 0, 1].into(),
        ua: "Mozilla/5.0",
        ad_id: 1,
        campaign_id: 2,
        advertiser_id: 3,
        slot: "",
        region: "",
        channel: "",
        app_version: "",
        bid_micros: 5,
        billing: Billing::Cpc,
        origin: None,
        reported: false,
        currency: None,
    };
    let mut record = Vec::new();
    event.encode(&mut record);
    Offer { identity: Some(identity_of(3, event.guid)), record }
}

fn options(dir: &Path) -> SpoolOptions {
    SpoolOptions {
        segment_bytes: 64 << 10,
        sync_interval: Duration::ZERO,
        ..SpoolOptions::of(dir.to_owned())
    }
}

/// Offers one after the other; the guids on disk afterwards.
fn put(intake: &Intake, requests: &[&[&str]]) -> Vec<Result<Vec<Taken>, NotTaken>> {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let all = requests.iter().map(|guids| intake.put(guids.iter().map(|g| offer(g)).collect()));
    all.map(|put| runtime.block_on(put)).collect()
}

fn on_disk(spool: &Spool) -> Vec<String> {
    read(spool).unwrap()
}

/// The guids in a spool, or what is said of it.
fn read(spool: &Spool) -> Result<Vec<String>, String> {
    let (mut guids, mut next) = (Vec::new(), spool.start());
    while next < spool.watermark() {
        let found = spool.read(next, u64::MAX).map_err(|e| e.to_string())?;
        guids.extend(found.batches.iter().flat_map(|batch| guids_of(&batch.bytes)));
        next = found.next;
    }
    Ok(guids)
}

fn guids_of(batch: &[u8]) -> Vec<String> {
    let guid = |bytes: &[u8]| {
        let Record::Event(event) = Record::decode(bytes).unwrap() else { panic!() };
        event.guid().to_string()
    };
    Batch::open(batch).unwrap().map(|record| guid(record.unwrap().bytes)).collect()
}

#[test]
fn what_is_accepted_is_on_disk_once_and_known_after_a_restart() {
    use Taken::{Accepted, Duplicate};
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(options(dir.path())).unwrap());
    let (intake, thread) = Intake::open(spool.clone(), WINDOW, 1_000).unwrap();
    let answers = put(&intake, &[&["a", "b", "a"], &["b"], &[], &["c"]]);
    assert_eq!(
        answers,
        [Ok(vec![Accepted, Accepted, Duplicate]), Ok(vec![Duplicate]), Ok(vec![]), Ok(vec![Accepted])]
    );
    assert_eq!(on_disk(&spool), ["a", "b", "c"]);
    assert_eq!(spool.backlog().records, 3);
    let key = spool.key();
    drop(intake);
    thread.join();
    drop(spool);

    let spool = Arc::new(Spool::open(options(dir.path())).unwrap());
    assert_eq!(spool.key(), key);
    let (intake, _thread) = Intake::open(spool.clone(), WINDOW, 1_000).unwrap();
    assert_eq!(put(&intake, &[&["c", "d"]]), [Ok(vec![Duplicate, Accepted])]);
    assert_eq!(on_disk(&spool), ["a", "b", "c", "d"]);
    assert!(Spool::open(options(dir.path())).is_err(), "it is held");
}

#[test]
fn a_flipped_bit_of_a_spool_is_found_or_changes_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let spool = Arc::new(Spool::open(options(dir.path())).unwrap());
    let (intake, thread) = Intake::open(spool.clone(), WINDOW, 1_000).unwrap();
    assert!(put(&intake, &[&["a", "b"], &["c"]]).iter().all(Result::is_ok));
    drop(intake);
    thread.join();
    drop(spool);
    let files = std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path());
    let files: Vec<_> = files.map(|path| (std::fs::read(&path).unwrap(), path)).collect();
    let mut named = 0;
    for (bytes, path) in &files {
        for bit in 0..8 * bytes.len() {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(path, damaged).unwrap();
            match read_again(dir.path()) {
                Ok(guids) => assert_eq!(guids, ["a", "b", "c"], "{path:?}, bit {bit}"),
                Err(said) => {
                    assert!(said.contains(path.to_str().unwrap()), "{path:?}, bit {bit}: {said}");
                    named += 1;
                }
            }
        }
        std::fs::write(path, bytes).unwrap();
    }
    assert!(named > 1_000, "{named}");
    assert_eq!(read_again(dir.path()).unwrap(), ["a", "b", "c"]);
}

/// The guids in a spool that is opened anew, or what is said of it.
fn read_again(dir: &Path) -> Result<Vec<String>, String> {
    read(&Spool::open(options(dir)).map_err(|e| e.to_string())?)
}

#[test]
fn a_full_spool_refuses_until_what_it_holds_was_taken() {
    let dir = tempfile::tempdir().unwrap();
    let options = SpoolOptions { max_bytes: 256 << 10, ..options(dir.path()) };
    let spool = Arc::new(Spool::open(options).unwrap());
    let (intake, _thread) = Intake::open(spool.clone(), WINDOW, 100_000).unwrap();
    // Bytes that do not compress.
    let many = |n: usize| -> Vec<String> {
        (0..100u128)
            .map(|i| format!("{:x}", xxhash_rust::xxh3::xxh3_128(&(n as u128 * 100 + i).to_le_bytes())))
            .collect()
    };
    let mut accepted = 0;
    let refused = (0..1_000).find_map(|n| {
        let guids = many(n);
        let guids: Vec<&str> = guids.iter().map(String::as_str).collect();
        let answer = put(&intake, &[&guids]).remove(0);
        accepted += answer.as_ref().map_or(0, Vec::len);
        answer.err()
    });
    assert!(matches!(refused, Some(NotTaken::Full { .. })), "{refused:?}");
    assert_eq!(on_disk(&spool).len(), accepted);
    let backlog = spool.backlog();
    assert!(backlog.records == accepted as u64 && backlog.bytes > 100 << 10, "{backlog:?}");
    // Taken, but not yet for good.
    spool.take(spool.watermark());
    assert_eq!(spool.backlog().records, 0);
    assert!(put(&intake, &[&["x"]])[0].is_err());
    spool.release();
    assert_eq!(put(&intake, &[&["x"]]), [Ok(vec![Taken::Accepted])]);
    assert!(spool.size_bytes() < 256 << 10 && spool.start() > 0);
}

#[test]
fn identities_differ_by_advertiser_and_kind_of_guid() {
    let ids = [
        identity_of(1, Guid::Text("a")),
        identity_of(2, Guid::Text("a")),
        identity_of(1, Guid::Text("b")),
        identity_of(1, Guid::Ulid(u128::from_le_bytes(*b"aaaaaaaaaaaaaaaa"))),
        identity_of(1, Guid::Text("aaaaaaaaaaaaaaaa")),
    ];
    let unique: std::collections::HashSet<_> = ids.iter().collect();
    assert_eq!(unique.len(), ids.len());
}
