//! Which Kafka, and how its clients are set up.

use crate::log::LogError;
use rdkafka::ClientConfig;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// `[log.kafka]`: where the topics are, and what they must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct KafkaOptions {
    /// Brokers to begin with, `host:port`, separated by commas (default `127.0.0.1:9092`).
    pub brokers: String,
    /// What the names of topics begin with: `weir` (the default) makes `weir.raw`.
    pub prefix: String,
    /// On how many brokers each partition is (default 3).
    pub replication: u16,
    /// How many of them must have a record before it counts as appended (default 2).
    pub min_insync: u16,
    /// A file with more properties of librdkafka, such as those of TLS and SASL; none if empty (the default).
    pub client_file: PathBuf,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        KafkaOptions {
            brokers: "127.0.0.1:9092".to_owned(),
            prefix: "weir".to_owned(),
            replication: 3,
            min_insync: 2,
            client_file: PathBuf::new(),
        }
    }
}

impl KafkaOptions {
    /// What all clients have in common.
    pub(super) fn client(&self) -> Result<ClientConfig, LogError> {
        let mut config = ClientConfig::new();
        config.extend(self.properties()?);
        config
            .set("bootstrap.servers", &self.brokers)
            .set("client.id", "weir")
            // A closed connection is nothing to tell: brokers close those that are idle.
            .set("log.connection.close", "false")
            .set("reconnect.backoff.max.ms", "2000")
            .set("socket.keepalive.enable", "true")
            .set("topic.metadata.refresh.interval.ms", "10000");
        Ok(config)
    }

    /// The consumer group of the job.
    pub(super) fn group(&self) -> &str {
        &self.prefix
    }

    /// One that reads partitions it is told to read. It never goes on anywhere else than where it is told.
    pub(super) fn consumer(&self) -> Result<ClientConfig, LogError> {
        let mut config = self.client()?;
        config
            .set("group.id", self.group())
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "error")
            .set("allow.auto.create.topics", "false")
            .set("check.crcs", "true")
            .set("fetch.wait.max.ms", "50")
            .set("fetch.error.backoff.ms", "100");
        Ok(config)
    }

    /// The lines `name = value` of the file, if there is one.
    fn properties(&self) -> Result<Vec<(String, String)>, LogError> {
        if self.client_file.as_os_str().is_empty() {
            return Ok(Vec::new());
        }
        let text =
            std::fs::read_to_string(&self.client_file).map_err(LogError::io("read", &self.client_file))?;
        let lines = text
            .lines()
            .map(str::trim)
            .zip(1..)
            .filter(|(line, _)| !line.is_empty() && !line.starts_with('#'));
        let property = |(line, number): (&str, usize)| match line.split_once('=') {
            Some((name, value)) => Ok((name.trim().to_owned(), value.trim().to_owned())),
            None => Err(LogError::Properties { path: self.client_file.clone(), line: number }),
        };
        lines.map(property).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn properties_are_read_and_a_wrong_line_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let options = |text: &str| {
            let client_file = folder.path().join("kafka.properties");
            std::fs::write(&client_file, text).unwrap();
            KafkaOptions { client_file, ..KafkaOptions::default() }
        };
        let good = options("# of the operators\n\nsecurity.protocol = ssl\nssl.ca.location=/etc/ca.pem\n");
        let config = good.client().unwrap();
        assert_eq!(
            (config.get("security.protocol"), config.get("ssl.ca.location")),
            (Some("ssl"), Some("/etc/ca.pem"))
        );
        let wrong = options("a=b\nsecurity.protocol ssl\n").client().unwrap_err().to_string();
        assert!(wrong.contains("kafka.properties") && wrong.contains("line 2"), "{wrong}");
        assert!(KafkaOptions { client_file: "/gone".into(), ..KafkaOptions::default() }.client().is_err());
    }
}
