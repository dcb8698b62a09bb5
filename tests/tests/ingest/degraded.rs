//! The disk of the log, or that of the spool, is full: what is acknowledged is kept, what is not is refused, and all
//! goes on by itself.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::HashMap;
use std::time::Duration;

use weir_tests::{
    Collector, List, Load, LongRun, Mood, Scratch, Sent, Sink, SmallDisk, Taps, accounts_csv, count, metric,
    wait_for,
};

const QUICK: &str = "timeout = \"500ms\"\nmax_attempts = 1000\nbackoff = \"50ms\"\nbackoff_max = \"400ms\"\n";
/// One connection, so that there is an order.
const ORDERLY: u32 = 1;

#[test]
fn while_the_disk_of_the_log_is_full_the_spool_takes_events_in() {
    let scratch = Scratch::new("ingest-log-full");
    let Some(disk) = SmallDisk::mount(scratch.path("data"), 40) else { return };
    let mut job = job(&scratch, &format!("spool = {:?}", scratch.path("spool")));
    let collector = Collector::start(job.ingest_ports(), orderly());
    wait_for("the job to rest", || job.said().contains("job rests"));
    let billed = count("charges", job.data_dir()).unwrap_or(0);
    collector.wait_for(20_000);
    assert!(count("charges", job.data_dir()).unwrap_or(0) < billed + 10_000, "it does not rest");
    disk.enlarge();
    wait_for("the job to go on", || job.said().contains("goes on where it was"));
    collector.wait_for(1_000);
    let list = collector.finish();
    list.assert_clean(&[]);
    let taps = list.assert_billed(&mut job);
    assert_in_order(&list, &taps);
}

#[test]
fn with_the_spool_on_the_same_full_disk_events_are_refused_until_there_is_room() {
    let scratch = Scratch::new("ingest-all-full");
    let Some(disk) = SmallDisk::mount(scratch.path("data"), 40) else { return };
    let mut job = job(&scratch, "segment_mb = 1");
    let collector = Collector::start(job.ingest_ports(), orderly());
    wait_for("refusals", || collector.rejected("503") > 5);
    job.assert_alive();
    disk.enlarge();
    collector.wait_for(5_000);
    let list = collector.finish();
    list.assert_clean(&["503"]);
    let taps = list.assert_billed(&mut job);
    assert_in_order(&list, &taps);
}

#[test]
fn a_spool_at_its_limit_refuses_until_it_is_read() {
    let scratch = Scratch::new("ingest-spool-limit");
    refused_until_read(&scratch, "spool_mb = 8\nsegment_mb = 1\nhigh_mb = 8");
}

#[test]
fn a_spool_whose_disk_is_full_refuses_until_it_is_read() {
    let scratch = Scratch::new("ingest-spool-full");
    let Some(disk) = SmallDisk::mount(scratch.path("spool"), 12) else { return };
    refused_until_read(
        &scratch,
        &format!("spool = {:?}\nspool_mb = 64\nsegment_mb = 1\nhigh_mb = 64", disk.path()),
    );
}

/// Nothing reads the spool, as the account system is away, until it is full; then it is read.
fn refused_until_read(scratch: &Scratch, keys: &str) {
    let sink = Sink::start(Mood::Hangs);
    let mut job = LongRun::new(scratch, &[], &accounts_csv(&Sent::accounts()));
    job.set_partitions(1);
    job.open_ingest(keys);
    job.configure(&sink.section(&format!("slow_at = 500\npause_at = 1000\n{QUICK}")));
    job.start();
    job.wait_until_up();
    let collector = Collector::start(job.ingest_ports(), orderly());
    wait_for("refusals", || collector.rejected("503") > 5);
    let (before, refused) = (collector.acknowledged(), collector.rejected("503"));
    wait_for("more refusals", || collector.rejected("503") > refused + 5);
    assert_eq!(collector.acknowledged(), before, "nothing of a refused request is acknowledged");
    assert_eq!(metric(job.metrics_port(), "weir_source_pressure"), Some(2.0), "nothing is read");
    sink.set(Mood::Accepts);
    collector.wait_for(10_000);
    let list = collector.finish();
    list.assert_clean(&["503"]);
    let taps = list.assert_billed(&mut job);
    assert_in_order(&list, &taps);
}

/// A job of one partition that is up.
fn job(scratch: &Scratch, keys: &str) -> LongRun {
    let mut job = LongRun::new(scratch, &[], &accounts_csv(&Sent::accounts()));
    job.set_partitions(1);
    job.open_ingest(keys);
    job.start();
    job.wait_until_up();
    job
}

fn orderly() -> Load {
    let (rest, patience) = (Duration::ZERO, Duration::from_millis(100));
    Load { http: ORDERLY, grpc: 0, batch: 500, rest, patience, repeats: false, ..Load::default() }
}

/// With one connection and one partition, what comes first is charged first.
#[track_caller]
fn assert_in_order(list: &List, taps: &Taps) {
    let places: HashMap<String, usize> =
        list.sent.iter().enumerate().map(|(at, sent)| (sent.ad().guid, at)).collect();
    let charged: Vec<usize> = taps.charges.iter().map(|charge| places[&charge.guid]).collect();
    assert!(charged.is_sorted(), "charges are out of order");
}
