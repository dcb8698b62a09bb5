//! Topics: made when they are not there, looked at when they are, and deleted.

use super::context::Reading;
use super::fetch::partition_of;
use super::options::KafkaOptions;
use crate::log::LogError;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::{Offset, TopicPartitionList};
use std::future::Future;
use std::time::{Duration, Instant};

/// How long brokers have for an answer.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether a new topic is there.
const LOOK: Duration = Duration::from_millis(50);

/// Manages topics.
pub(super) struct Admin {
    client: AdminClient<Reading>,
    options: KafkaOptions,
    partitions: u32,
}

impl Admin {
    pub(super) fn open(options: &KafkaOptions, partitions: u32) -> Result<Self, LogError> {
        let client = options.client()?.create_with_context(Reading);
        let client = client.map_err(|e| LogError::kafka("connect to", &e))?;
        Ok(Admin { client, options: options.clone(), partitions })
    }

    /// The id of the cluster that the brokers belong to.
    pub(super) fn cluster(&self) -> Result<String, LogError> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            // The client wakes for news of topics alone; what else it has learnt meanwhile it knows when it is asked again.
            if let Some(id) = self.client.inner().fetch_cluster_id(LOOK) {
                return Ok(id);
            }
            std::thread::sleep(LOOK);
        }
        Err(LogError::Away { what: "learn the id of the cluster of", topic: None })
    }

    /// Makes sure of a topic that is as it must be.
    pub(super) fn ensure(&self, topic: &str) -> Result<(), LogError> {
        if self.found(topic)?.is_none() {
            self.create(topic)?;
        }
        self.check(topic)
    }

    /// The numbers of replicas of its partitions, if there is such a topic.
    fn found(&self, topic: &str) -> Result<Option<Vec<usize>>, LogError> {
        let all = self.client.inner().fetch_metadata(Some(topic), PATIENCE);
        let all = all.map_err(|e| LogError::kafka_topic("look for", topic, &e))?;
        let found = all.topics().iter().find(|found| found.name() == topic && found.error().is_none());
        let replicas = |t: &rdkafka::metadata::MetadataTopic| {
            t.partitions().iter().map(|p| p.replicas().len()).collect()
        };
        Ok(found.map(replicas).filter(|partitions: &Vec<usize>| !partitions.is_empty()))
    }

    fn create(&self, topic: &str) -> Result<(), LogError> {
        let replication = i32::from(self.options.replication);
        let min_insync = self.options.min_insync.to_string();
        let new = NewTopic::new(topic, partition_of(self.partitions), TopicReplication::Fixed(replication))
            .set("min.insync.replicas", &min_insync)
            .set("unclean.leader.election.enable", "false")
            // Weir lets go of what no checkpoint needs any more; nobody else may.
            .set("retention.ms", "-1")
            .set("retention.bytes", "-1")
            .set("cleanup.policy", "delete");
        let failed = |e: KafkaError| LogError::kafka_topic("make", topic, &e);
        let made = done(self.client.create_topics(&[new], &self.options())).map_err(failed)?;
        match made.into_iter().next() {
            Some(Err((_, code))) if code != RDKafkaErrorCode::TopicAlreadyExists => {
                Err(failed(KafkaError::AdminOp(code)))
            }
            _ => Ok(()),
        }
    }

    /// What a broker says of a topic that there is. The one that is asked may not know it yet.
    fn known<T>(&self, topic: &str, ask: impl Fn() -> Result<Option<T>, LogError>) -> Result<T, LogError> {
        let begun = Instant::now();
        while begun.elapsed() < PATIENCE {
            if let Some(known) = ask()? {
                return Ok(known);
            }
            std::thread::sleep(LOOK);
        }
        Err(LogError::Away { what: "look for", topic: Some(topic.to_owned()) })
    }

    /// Refuses a topic on which the log's promises do not hold.
    fn check(&self, topic: &str) -> Result<(), LogError> {
        let wrong = |problem: String| LogError::of_kafka(topic.to_owned(), problem);
        let partitions = self.known(topic, || self.found(topic))?;
        let wanted = self.partitions as usize;
        if partitions.len() != wanted {
            return Err(wrong(format!(
                "has {} partitions, and the job {wanted}: which partition an event goes to would change. Run the job \
                 with --partitions {}, or choose another `log.kafka.prefix`",
                partitions.len(),
                partitions.len()
            )));
        }
        let (fewest, replication) =
            (partitions.iter().min().copied().unwrap_or(0), usize::from(self.options.replication));
        if fewest < replication {
            return Err(wrong(format!(
                "is on {fewest} brokers, and `log.kafka.replication` is {replication}: reassign its partitions with \
                 kafka-reassign-partitions, or lower `log.kafka.replication`"
            )));
        }
        let entries = self.known(topic, || self.config(topic))?;
        let value = |name: &str| entries.iter().find(|(n, _)| n == name).map_or("", |(_, value)| value);
        let least = value("min.insync.replicas").parse().unwrap_or(0);
        if least < self.options.min_insync {
            return Err(wrong(format!(
                "has min.insync.replicas={least}, and `log.kafka.min_insync` is {}: an acknowledged record could be lost. Run \
                 kafka-configs --alter --topic {topic} --add-config min.insync.replicas={}",
                self.options.min_insync, self.options.min_insync
            )));
        }
        for (name, needed) in [
            ("unclean.leader.election.enable", "false"),
            ("retention.ms", "-1"),
            ("retention.bytes", "-1"),
            ("cleanup.policy", "delete"),
        ] {
            let found = value(name);
            if found != needed {
                return Err(wrong(format!(
                    "has {name}={found}: records that are still needed could be lost. Run kafka-configs --alter --topic \
                     {topic} --add-config {name}={needed}"
                )));
            }
        }
        Ok(())
    }

    /// The settings of a topic, if the broker knows it.
    fn config(&self, topic: &str) -> Result<Option<Vec<(String, String)>>, LogError> {
        let failed = |e: KafkaError| LogError::kafka_topic("look at the settings of", topic, &e);
        let asked = [ResourceSpecifier::Topic(topic)];
        let found = done(self.client.describe_configs(&asked, &self.options())).map_err(failed)?;
        let found = found.into_iter().next().ok_or(KafkaError::Canceled).map_err(failed)?;
        let resource = match found {
            Err(RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic) => {
                return Ok(None);
            }
            other => other.map_err(|code| failed(KafkaError::AdminOp(code)))?,
        };
        let entries = resource.entries.into_iter();
        let entries: Vec<_> = entries.map(|entry| (entry.name, entry.value.unwrap_or_default())).collect();
        Ok(Some(entries).filter(|entries| !entries.is_empty()))
    }

    /// Deletes a topic, if it is there.
    pub(super) fn delete(&self, topic: &str) -> Result<(), LogError> {
        let failed = |e: KafkaError| LogError::kafka_topic("delete", topic, &e);
        let deleted = done(self.client.delete_topics(&[topic], &self.options())).map_err(failed)?;
        match deleted.into_iter().next() {
            Some(Err((_, code)))
                if !matches!(
                    code,
                    RDKafkaErrorCode::UnknownTopicOrPartition | RDKafkaErrorCode::UnknownTopic
                ) =>
            {
                Err(failed(KafkaError::AdminOp(code)))
            }
            _ => Ok(()),
        }
    }

    /// Has the records below these offsets deleted.
    pub(super) fn trim(&self, topic: &str, below: &[u64]) -> Result<(), LogError> {
        let mut list = TopicPartitionList::new();
        let failed = |e: KafkaError| LogError::kafka_topic("delete old records of", topic, &e);
        for (partition, offset) in below.iter().enumerate().filter(|(_, offset)| **offset > 0) {
            let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
            list.add_partition_offset(topic, partition_of(partition as u32), offset).map_err(failed)?;
        }
        if list.count() == 0 {
            return Ok(());
        }
        let deleted = done(self.client.delete_records(&list, &self.options())).map_err(failed)?;
        deleted.elements().iter().try_for_each(|partition| partition.error()).map_err(failed)
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(PATIENCE)).operation_timeout(Some(PATIENCE))
    }
}

/// Waits for an answer. It comes from a thread of the client's own.
fn done<T>(asked: impl Future<Output = T>) -> T {
    futures_executor::block_on(asked)
}
