//! Every log keeps the same promises: see [`suite`]. That of Kafka is tested against the brokers that the variable
//! `KAFKA_BROKERS` names, as `tests/run.sh` does; that of Fluvio against the cluster whose controller `FLUVIO_ADDR` names, with
//! partitions on `FLUVIO_SPUS` of its SPUs, or one. Where they are not named, the test says that it is skipped.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod fluvio;
mod suite;

use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use suite::{PARTITIONS, PROMISES, Place, TOPIC, TRIMS, wait};
use weir_pipeline::log::{
    EmbeddedLog, FluvioLog, FluvioOptions, Follow, KafkaLog, KafkaOptions, LiveLog, LogOptions,
};

struct Embedded(PathBuf);

impl Place for Embedded {
    fn open(&self) -> Arc<dyn LiveLog> {
        let options = LogOptions {
            sync_interval: Duration::ZERO,
            segment_bytes: 100_000,
            tail_bytes: 100_000,
            ..LogOptions::default()
        };
        Arc::new(EmbeddedLog::empty(&self.0, PARTITIONS, options))
    }
}

struct Kafka(KafkaOptions);

impl Place for Kafka {
    fn open(&self) -> Arc<dyn LiveLog> {
        Arc::new(KafkaLog::open(self.0.clone(), PARTITIONS, Follow::All).unwrap())
    }
}

struct Fluvio(FluvioOptions);

impl Place for Fluvio {
    fn open(&self) -> Arc<dyn LiveLog> {
        Arc::new(FluvioLog::open(self.0.clone(), PARTITIONS, Follow::All).unwrap())
    }

    /// Fluvio does by itself, by their age.
    fn let_go(&self, log: &dyn LiveLog, records: u64) -> RangeInclusive<u64> {
        let newest = records - fluvio::SEGMENT_RECORDS;
        wait("old records to be deleted", || {
            log.trim(TOPIC, &[0; PARTITIONS as usize]).unwrap();
            log.start(TOPIC, 0) >= newest
        });
        newest..=records
    }
}

#[test]
fn the_embedded_log_keeps_every_promise() {
    for (promise, check) in PROMISES {
        eprintln!("{promise}");
        let dir = tempfile::tempdir().unwrap();
        check(&Embedded(dir.path().to_owned()));
    }
}

#[test]
fn the_log_of_kafka_keeps_every_promise() {
    let Ok(brokers) = std::env::var("KAFKA_BROKERS") else {
        eprintln!("skipped: the_log_of_kafka_keeps_every_promise, since KAFKA_BROKERS names no brokers");
        return;
    };
    let run = std::process::id();
    for (at, (promise, check)) in PROMISES.iter().enumerate() {
        eprintln!("{promise}");
        check(&Kafka(KafkaOptions {
            brokers: brokers.clone(),
            prefix: format!("conformance-{run}-{at}"),
            replication: 1,
            min_insync: 1,
            client_file: PathBuf::new(),
        }));
    }
}

#[test]
fn the_log_of_fluvio_keeps_every_promise() {
    let Some(options) = fluvio::options("the_log_of_fluvio_keeps_every_promise") else { return };
    for (at, (promise, check)) in PROMISES.iter().enumerate() {
        eprintln!("{promise}");
        let options = FluvioOptions { prefix: format!("{}-{at}", options.prefix), ..options.clone() };
        let retained = || fluvio::with_short_retention(options.clone());
        check(&Fluvio(if *promise == TRIMS { retained() } else { options }));
    }
}
