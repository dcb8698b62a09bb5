//! Three nodes, each of which is killed in its turn: the two that are left have every record, and the job goes on.

use std::time::Duration;

use weir_tests::{Scratch, assert_same_where_certain, assert_sound};

use super::cluster::Cluster;
use super::{Fed, Kafka, assert_audited, embedded};

const NODES: usize = 3;
/// For how long a node is away: for longer than it takes the others to notice, and to lead what it led.
const AWAY: Duration = Duration::from_secs(8);

#[test]
fn of_three_nodes_each_may_be_killed() {
    let Some(kafka) = Kafka::of("kafka-nodes") else { return };
    let expected = embedded();
    let scratch = Scratch::new("kafka-nodes");
    let cluster = Cluster::up(kafka, NODES);
    let mut fed = Fed::begin_in(scratch, &cluster.kafka.section(), 7);
    let (input, taps) = fed.run(|job, share| {
        // There is a share before the first one is killed, and one after the last is back.
        if (1..=NODES).contains(&share) {
            cluster.kill(share);
            std::thread::sleep(AWAY);
            job.assert_alive();
            cluster.start(share);
            cluster.wait_until_in_sync();
        }
    });
    assert_sound(&input, &taps);
    assert_same_where_certain(&input, &expected, &taps);
    assert_audited(fed.job.data_dir());
}
