//! Jobs whose log is that of Fluvio: in the cluster whose controller `FLUVIO_ADDR` names, with partitions on `FLUVIO_SPUS` of its
//! SPUs, or one. Without it each test says that it is skipped. `FLUVIO_NODE` is a program that ends an SPU with `kill -9` when it
//! is called with the word `kill`, and starts it again with `start`.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;
use std::time::Duration;

use weir_tests::{Fed, Input, LongRun, Rng, Taps, ask, assert_same_where_certain, assert_sound, metric};

/// For how long an SPU is away.
const AWAY: Duration = Duration::from_secs(4);

/// Topics of one test.
struct Fluvio {
    test: &'static str,
    section: String,
}

impl Fluvio {
    /// None if there is no Fluvio.
    fn of(test: &'static str) -> Option<Self> {
        let Ok(address) = std::env::var("FLUVIO_ADDR") else {
            eprintln!("skipped: {test}, since FLUVIO_ADDR names no cluster of Fluvio");
            return None;
        };
        let replication = std::env::var("FLUVIO_SPUS").unwrap_or("1".to_owned());
        let prefix = format!("{test}-{}", std::process::id());
        let section = format!(
            "\n[log]\nkind = \"fluvio\"\n\n[log.fluvio]\naddress = {address:?}\nprefix = {prefix:?}\n\
             replication = {replication}\ntimeout = \"3s\"\n"
        );
        Some(Fluvio { test, section })
    }

    /// Runs a job with something done meanwhile, and holds what came out against the embedded log.
    fn is_billed_as_embedded(&self, meanwhile: impl FnMut(&mut LongRun, usize)) {
        let expected = Fed::embedded(&format!("{}-embedded", self.test), 7);
        let mut fed = Fed::begin(self.test, &self.section, 7);
        let (input, taps): (Input, Taps) = fed.run(meanwhile);
        assert_sound(&input, &taps);
        assert_same_where_certain(&input, &expected, &taps);
        ask(fed.job.data_dir(), &["audit"]).ok();
    }
}

#[test]
fn what_is_billed_is_the_same_as_with_the_embedded_log() {
    let Some(fluvio) = Fluvio::of("fluvio-same") else { return };
    fluvio.is_billed_as_embedded(|_, _| {});
}

#[test]
fn kills_of_the_job_lose_and_double_nothing() {
    let Some(fluvio) = Fluvio::of("fluvio-kills") else { return };
    let mut rng = Rng::new(11);
    fluvio.is_billed_as_embedded(|job, _| {
        for _ in 0..2 {
            std::thread::sleep(Duration::from_millis(1_500).mul_f64(rng.share()));
            job.kill9();
            job.start();
        }
    });
}

#[test]
fn an_spu_that_is_killed_is_waited_for() {
    let Some(fluvio) = Fluvio::of("fluvio-spu") else { return };
    let Ok(program) = std::env::var("FLUVIO_NODE") else {
        eprintln!(
            "skipped: an_spu_that_is_killed_is_waited_for, since FLUVIO_NODE names no program that kills one"
        );
        return;
    };
    let node = |word: &str| assert!(Command::new(&program).arg(word).status().unwrap().success(), "{word}");
    let mut resent = 0.0;
    fluvio.is_billed_as_embedded(|job, share| {
        if share == 2 {
            node("kill");
            std::thread::sleep(AWAY);
            job.assert_alive();
            node("start");
        }
        // A job that is killed, too, finds what stands there.
        if share == 4 {
            node("kill");
            job.kill9();
            node("start");
            job.start();
        }
        if share == 3 {
            resent = metric(job.metrics_port(), "weir_fluvio_resent_batches_total").unwrap_or(0.0);
        }
    });
    assert!(resent > 0.0, "nothing had to be sent again: the SPU was not away");
}
