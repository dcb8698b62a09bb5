//! What the log of Fluvio refuses, and how it says so.

use super::suite::{PARTITIONS, TOPIC, append, batch, producer, wait};
use std::time::Duration;
use weir_pipeline::log::{FluvioLog, FluvioOptions, Follow, LiveLog, LogError};

/// A cluster that the environment names; none if it names none.
pub fn options(test: &str) -> Option<FluvioOptions> {
    let Ok(address) = std::env::var("FLUVIO_ADDR") else {
        eprintln!("skipped: {test}, since FLUVIO_ADDR names no cluster");
        return None;
    };
    let replication = std::env::var("FLUVIO_SPUS").map_or(1, |spus| spus.parse().unwrap());
    let prefix = format!("conformance-{}", std::process::id());
    Some(FluvioOptions { address, prefix, replication, ..FluvioOptions::default() })
}

fn open(options: &FluvioOptions, partitions: u32) -> FluvioLog {
    FluvioLog::open(options.clone(), partitions, Follow::All).unwrap()
}

#[test]
fn a_cluster_of_fluvio_that_is_away_is_named() {
    // Nobody listens at the port of a socket that is bound and never was told to listen.
    let port = std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let address = format!("127.0.0.1:{port}");
    let away = FluvioOptions {
        address: address.clone(),
        timeout: Duration::from_secs(1),
        ..FluvioOptions::default()
    };
    let error = open(&away, PARTITIONS).add(TOPIC).unwrap_err();
    assert!(error.is_away(), "{error}");
    let text = error.to_string();
    assert!(text.contains(&address) && text.contains("log.fluvio.address"), "{text}");
}

#[test]
fn a_topic_of_fluvio_that_is_not_as_it_must_be_is_refused() {
    let Some(options) = options("a_topic_of_fluvio_that_is_not_as_it_must_be_is_refused") else { return };
    let options = FluvioOptions { prefix: format!("{}-wrong", options.prefix), ..options };
    open(&options, PARTITIONS).add(TOPIC).unwrap();
    let refused = |options: &FluvioOptions, partitions| match open(options, partitions).add(TOPIC) {
        Err(LogError::WrongTopic { problem, .. }) => problem,
        other => panic!("{other:?}"),
    };
    let problem = refused(&options, PARTITIONS + 1);
    assert!(problem.contains("--partitions 3"), "{problem}");
    let more = FluvioOptions { replication: options.replication + 1, ..options.clone() };
    let problem = refused(&more, PARTITIONS);
    assert!(problem.contains("`log.fluvio.replication`"), "{problem}");
    open(&options, PARTITIONS).add(TOPIC).unwrap();
}

#[test]
fn a_topic_of_fluvio_that_is_deleted_is_noticed() {
    let Some(options) = options("a_topic_of_fluvio_that_is_deleted_is_noticed") else { return };
    let options = FluvioOptions { prefix: format!("{}-gone", options.prefix), ..options };
    let log = open(&options, PARTITIONS);
    log.add(TOPIC).unwrap();
    append(&log, 0, batch(producer(0), 0, 10));
    open(&options, PARTITIONS).remove(TOPIC).unwrap();
    let gone = |error: &LogError| matches!(error, LogError::WrongTopic { problem, .. } if problem.contains("is gone"));
    wait("the log to fail", || log.failure().is_some());
    let error = log.failure().unwrap();
    assert!(gone(&error), "{error}");
    let error = open(&options, PARTITIONS).must_have(TOPIC).unwrap_err();
    assert!(gone(&error), "{error}");
}
