//! A Kafka that a test has for itself, and whose nodes it kills.

use tempfile::TempDir;

use super::{Kafka, script, wait_until};

/// Nodes that run until this goes, however the test ends.
pub(super) struct Cluster {
    /// What topics it has.
    pub(super) kafka: Kafka,
    dir: TempDir,
}

impl Cluster {
    /// Starts so many nodes, instead of those that all tests share. Each has every record.
    #[track_caller]
    pub(super) fn up(shared: Kafka, nodes: usize) -> Self {
        let kafka = Kafka { replication: nodes, ..shared };
        // One that does not come up is ended, too.
        let mut cluster = Self { kafka, dir: tempfile::tempdir().unwrap() };
        let brokers = cluster.run(&["up", "--nodes", &nodes.to_string(), "--port", "0"]);
        cluster.kafka.brokers = brokers.trim().to_owned();
        cluster
    }

    /// Ends a node, counted from 1, with `kill -9`.
    #[track_caller]
    pub(super) fn kill(&self, node: usize) {
        self.run(&["kill", &node.to_string()]);
    }

    /// Starts a node again; it answers then, and the others know that it is there.
    #[track_caller]
    pub(super) fn start(&self, node: usize) {
        self.run(&["start", &node.to_string()]);
    }

    /// Waits until no node lacks a record that the others have.
    #[track_caller]
    pub(super) fn wait_until_in_sync(&self) {
        wait_until("all replicas to be in sync", || {
            let behind = self.kafka.tool("TopicCommand", &["--describe", "--under-replicated-partitions"]);
            behind.trim().is_empty()
        });
    }

    /// What `deploy/kafka.sh` prints.
    #[track_caller]
    fn run(&self, words: &[&str]) -> String {
        let done = script().args(words).arg("--dir").arg(self.dir.path()).output().unwrap();
        assert!(done.status.success(), "kafka.sh {words:?}: {}", String::from_utf8_lossy(&done.stderr));
        String::from_utf8(done.stdout).unwrap()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // A test that fails already does not fail once more.
        let _ = script().args(["down", "--wipe", "--dir"]).arg(self.dir.path()).output();
    }
}
