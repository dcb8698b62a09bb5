//! What the log of Fluvio refuses, and how it says so.

use super::suite::{PARTITIONS, TOPIC, append, batch, producer, wait};
use fluvio::metadata::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig};
use fluvio::{FluvioAdmin, FluvioClusterConfig};
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

/// Records of a segment of a topic [with a short retention](with_short_retention), at the most.
pub const SEGMENT_RECORDS: u64 = 2_000;
/// A record has more than half as many bytes.
const SEGMENT_BYTES: u32 = 65_536;
/// Fluvio allows no less.
const RETENTION: Duration = Duration::from_secs(10);

/// The cluster, with a topic whose records it soon deletes: all but those of the segment that is written to.
pub fn with_short_retention(options: FluvioOptions) -> FluvioOptions {
    let options = FluvioOptions { retention: RETENTION, ..options };
    let mut topic = TopicSpec::new_computed(PARTITIONS, u32::from(options.replication), None);
    let time_in_seconds = RETENTION.as_secs() as u32;
    topic.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds }));
    topic.set_storage(TopicStorageConfig {
        segment_size: Some(SEGMENT_BYTES),
        max_partition_size: Some(1 << 50),
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let config = FluvioClusterConfig::new(&options.address);
        let admin = FluvioAdmin::connect_with_config(&config).await.unwrap();
        admin.create(format!("{}-judged", options.prefix), false, topic).await.unwrap();
    });
    options
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
