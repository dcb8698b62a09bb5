//! Jobs whose log is that of Fluvio: in the cluster whose controller `FLUVIO_ADDR` names, with partitions on `FLUVIO_SPUS` of its
//! SPUs, or one. Without it each test says that it is skipped. `FLUVIO_NODE` is a program that ends an SPU with `kill -9` when it
//! is called with the word `kill`, and starts it again with `start`; `FLUVIO_EVENTS` is how many events several workers get, who share
//! the partitions by leases in the ZooKeeper that `ZOOKEEPER_SERVERS` names.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::process::Command;
use std::time::Duration;

use weir_tests::{
    Fed, Group, Input, LongRun, PARTITIONS, PATIENCE, Rng, Shape, Taps, ask, assert_same_where_certain,
    assert_sound, metric, patience_for, start_ask, wait_at_most,
};

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
        let replication: u32 = number("FLUVIO_SPUS", 1);
        // A follower that has missed something looks for it after ten seconds.
        let timeout = if replication > 1 { 30 } else { 3 };
        let prefix = format!("{test}-{}", std::process::id());
        let section = format!(
            "\n[log]\nkind = \"fluvio\"\n\n[log.fluvio]\naddress = {address:?}\nprefix = {prefix:?}\n\
             replication = {replication}\ntimeout = \"{timeout}s\"\n"
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

/// What a variable says.
fn number(variable: &str, otherwise: u32) -> u32 {
    std::env::var(variable).map_or(otherwise, |text| text.parse().unwrap())
}

/// Ends an SPU, or starts it again; none if there is no program that does so.
fn node(test: &str) -> Option<impl Fn(&str)> {
    let Ok(program) = std::env::var("FLUVIO_NODE") else {
        eprintln!("skipped: {test}, since FLUVIO_NODE names no program that kills an SPU");
        return None;
    };
    Some(move |word: &str| assert!(Command::new(&program).arg(word).status().unwrap().success(), "{word}"))
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
    let Some(node) = node("an_spu_that_is_killed_is_waited_for") else { return };
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

#[test]
fn workers_and_an_spu_that_are_killed_lose_and_double_nothing() {
    const NAME: &str = "workers_and_an_spu_that_are_killed_lose_and_double_nothing";
    let Some(fluvio) = Fluvio::of("fluvio-workers") else { return };
    let Some(node) = node(NAME) else { return };
    let Ok(servers) = std::env::var("ZOOKEEPER_SERVERS") else {
        eprintln!("skipped: {NAME}, since ZOOKEEPER_SERVERS names no server");
        return;
    };
    let path = format!("/fluvio-workers-{}", std::process::id());
    let section = format!(
        "coordinator = \"zookeeper\"\n\n[group.zookeeper]\nservers = {servers:?}\npath = {path:?}\nsession_timeout = \"6s\""
    );
    let events = number("FLUVIO_EVENTS", 30_000);
    // Ten minutes, however many.
    let [all, users, advertisers, rate] =
        [events, events / 10, events / 500, events / 600].map(|number| number.to_string());
    let traffic = ["--events", &all, "--users", &users, "--advertisers", &advertisers, "--rate", &rate];
    let shape = Shape { name: NAME, log: &fluvio.section, workers: 2, clock: "events", traffic: &traffic };
    let mut group = Group::start(&shape, |_| section.clone())
        .wait_for_shares(|held, least| held.iter().all(|held| *held >= least));
    let mut share = 0;
    group.bill(|workers| {
        match share {
            1 => workers[1].kill9(),
            2 => {
                node("kill");
                std::thread::sleep(AWAY);
                node("start");
            }
            3 => {
                let held = || metric(workers[0].metrics_port(), "weir_group_partitions");
                wait_at_most(PATIENCE, "the partitions of the other worker", || {
                    held() == Some(PARTITIONS as f64)
                });
                workers[1].start();
            }
            4 => {
                node("kill");
                workers[0].kill9();
                node("start");
                workers[0].start();
            }
            _ => {}
        }
        share += 1;
    });
    let (input, taps) = (group.input(), Taps::read(group.data_dir()));
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &group.alone("events"), &taps);
    eprintln!("{events} events are billed as with the embedded log");
    start_ask(group.data_dir(), &["audit"]).wait_at_most(PATIENCE + 5 * patience_for(events as usize)).ok();
    group.stop();
}
