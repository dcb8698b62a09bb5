//! Events that are sent while there is no Kafka: they are acknowledged, since they are on disk in the spool, and billed
//! when it is back. A client of its own keeps the list.

use std::time::Duration;

use weir_tests::{Collector, Load, LongRun, Scratch, Sent, accounts_csv, billed, metric};

use super::cluster::Cluster;
use super::{Kafka, wait_until};

/// Events that are billed before the broker goes, and those that are sent after it has come back.
const AROUND: usize = 500;
/// Events that wait in the spool when it comes back.
const WAITING: f64 = 2_000.0;

#[test]
fn while_the_broker_is_away_events_are_acknowledged_and_billed_once_it_is_back() {
    let Some(kafka) = Kafka::of("kafka-spool") else { return };
    let scratch = Scratch::new("kafka-spool");
    let cluster = Cluster::up(kafka, 1);
    let mut job = LongRun::new(&scratch, &[], &accounts_csv(&Sent::accounts()));
    job.open_ingest("");
    job.configure(&cluster.kafka.section());
    job.start();
    job.wait_until_up();

    let load = Load { http: 2, grpc: 0, rest: Duration::from_millis(200), ..Load::default() };
    let collector = Collector::start(job.ingest_ports(), load);
    wait_until("events to be billed", || billed(job.data_dir()) >= AROUND);

    cluster.kill(1);
    // Collect has taken none of those that wait: they are in the spool, and nowhere else.
    let port = job.metrics_port();
    wait_until("events to wait", || {
        job.assert_alive();
        metric(port, "weir_ingest_backlog_records") >= Some(WAITING)
    });

    cluster.start(1);
    collector.wait_for(AROUND);
    let list = collector.finish();
    list.assert_clean(&[]);
    let acknowledged = list.lines().len();
    wait_until("all that was acknowledged to be billed", || {
        job.assert_alive();
        billed(job.data_dir()) >= acknowledged
    });
    list.assert_billed(&mut job);
}
