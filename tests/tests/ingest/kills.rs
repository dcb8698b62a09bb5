//! Whatever was acknowledged is charged, refused or dropped exactly once, however often the job is killed. A client of
//! its own keeps the list.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::time::{Duration, Instant};

use weir_tests::{Collector, Load, LongRun, Rng, Scratch, Sent, accounts_csv};

const KILLS: u64 = 20;
/// One life in so many ends while the job starts.
const EARLY_EVERY: u64 = 4;
/// A life that takes events in ends so long after its first answer at most.
const LIFE: Duration = Duration::from_millis(1200);

#[test]
fn under_kills_everything_acknowledged_is_there_exactly_once() {
    let scratch = Scratch::new("ingest-kills");
    let mut job = LongRun::new(&scratch, &[], &accounts_csv(&Sent::accounts()));
    // Small segments, so that kills hit the beginning of some.
    job.open_ingest("segment_mb = 1");
    job.start();
    let collector = Collector::start(job.ingest_ports(), Load::default());
    collector.wait_for(1);
    let (mut rng, mut start) = (Rng::new(7), Duration::from_millis(500));
    for kill in 1..=KILLS {
        if kill.is_multiple_of(EARLY_EVERY) {
            std::thread::sleep(start.mul_f64(rng.share()));
        } else {
            let begun = Instant::now();
            collector.wait_for(1);
            start = begun.elapsed();
            std::thread::sleep(LIFE.mul_f64(rng.share()));
        }
        job.kill9();
        job.start();
        if kill == KILLS / 2 {
            // One that is asked to stop loses nothing either.
            collector.wait_for(1);
            job.stop("TERM");
            job.start();
        }
    }
    collector.wait_for(1000);
    let list = collector.finish();
    let lost: usize = list.lost.values().sum();
    eprintln!(
        "{} events, {} acknowledged, {} of them durable though the answer was lost; {lost} answers lost, rejected {:?}",
        list.sent.len(),
        list.lines().len(),
        list.durable_unanswered(),
        list.rejected,
    );
    assert!(lost as u64 >= KILLS / 2, "the kills hit a client that waited: {:?}", list.lost);
    list.assert_billed(&mut job);
}
