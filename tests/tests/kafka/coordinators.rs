//! Workers whose partitions are not shared out by Kafka: by leases in the ZooKeeper that `ZOOKEEPER_SERVERS` names, of the
//! server in `ZOOKEEPER_DIR` (see `deploy/zookeeper.sh`), or once and for all.

use std::process::Command;

use weir_tests::{LongRun, Troubles, assert_same_where_certain, assert_sound, checkout};

use super::{Kafka, assert_audited, embedded, wait_until};

const WORKERS: usize = 3;

/// A place in ZooKeeper for one test; none if there is no server.
fn zookeeper(test: &str) -> Option<String> {
    let Ok(servers) = std::env::var("ZOOKEEPER_SERVERS") else {
        eprintln!("skipped: {test}, since ZOOKEEPER_SERVERS names no server of ZooKeeper");
        return None;
    };
    Some(format!(
        "coordinator = \"zookeeper\"\n\n[group.zookeeper]\nservers = {servers:?}\npath = \"/{test}-{}\"\n\
         session_timeout = \"6s\"",
        std::process::id()
    ))
}

/// What `deploy/zookeeper.sh` does with the server of the tests.
fn server(command: &str) {
    let dir = std::env::var("ZOOKEEPER_DIR").expect("ZOOKEEPER_DIR names the directory of the server");
    let done = Command::new(checkout("deploy/zookeeper.sh")).args([command, "--dir", &dir]).output().unwrap();
    assert!(done.status.success(), "{command}: {}", String::from_utf8_lossy(&done.stderr));
}

#[test]
fn leases_of_workers_that_die_and_stand_still_lose_and_double_nothing() {
    let Some(kafka) = Kafka::of("leases-troubles") else { return };
    let Some(section) = zookeeper("leases-troubles") else { return };
    let expected = embedded();
    let group = kafka.start_group(WORKERS, "events", &["--rate", "50"], |_| section.clone());
    let mut group = group.wait_for_shares(|held, least| held.iter().all(|held| *held >= least));
    group.assert_status();
    let (mut troubles, mut share) = (Troubles::seeded(23), 0);
    group.bill(|workers| {
        // The server itself dies, too: whoever has something goes on with it meanwhile.
        if share == 2 {
            server("kill");
        }
        troubles.make(workers);
        if share == 2 {
            server("up");
        }
        share += 1;
    });
    assert!(troubles.made >= 20);
    assert_audited(group.data_dir());
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

#[test]
fn a_site_that_stands_by_takes_over_and_keeps_it() {
    let Some(kafka) = Kafka::of("sites") else { return };
    let Some(section) = zookeeper("sites") else { return };
    let expected = embedded();
    let site = |worker: usize| format!("{section}\nsite = {:?}", ["east", "west"][worker]);
    let group = kafka.start_group(2, "events", &["--rate", "50"], site);
    // Whoever came first works.
    let mut group = group.wait_for_shares(|held, _| held.contains(&0));
    let works = group.held().iter().position(|held| *held > 0).unwrap();
    let mut share = 0;
    group.bill(|workers| {
        if share == 1 {
            workers[works].kill9();
            wait_until("the other site to take over", || held(&workers[1 - works]) > 0);
            workers[works].start();
        }
        share += 1;
    });
    assert_eq!(group.held()[works], 0, "it stands by now");
    assert_audited(group.data_dir());
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}

fn held(worker: &LongRun) -> usize {
    weir_tests::metric(worker.metrics_port(), "weir_group_partitions").unwrap_or(0.0) as usize
}

#[test]
fn workers_with_fixed_partitions_bill_what_one_job_bills() {
    let Some(kafka) = Kafka::of("fixed") else { return };
    let expected = embedded();
    let own = |worker: usize| format!("coordinator = \"static\"\npartitions = {:?}", ["0-7", "8-15"][worker]);
    let group = kafka.start_group(2, "events", &["--rate", "50"], own);
    let mut group = group.wait_for_shares(|held, least| held == [least, least]);
    group.bill(|workers| {
        workers[0].kill9();
        workers[0].start();
    });
    let (input, taps) = group.results();
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
}
