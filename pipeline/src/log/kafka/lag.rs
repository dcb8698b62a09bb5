//! How far the job has read, told to Kafka: the minimal successful offsets are committed to the consumer group that is
//! named like the topics' prefix, so that Kafka's own tools show the lag. Nobody reads them back: the offsets that count
//! are in the stores.

use super::context::Reading;
use super::fetch::partition_of;
use super::name_of;
use super::options::KafkaOptions;
use crate::log::LogError;
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::{Offset, TopicPartitionList};
use std::time::Duration;
use weir_proto::TopicId;

/// Commits offsets where there is no group but one process.
pub(super) struct Lag {
    options: KafkaOptions,
    client: BaseConsumer<Reading>,
}

impl Lag {
    pub(super) fn open(options: &KafkaOptions) -> Result<Self, LogError> {
        let client = options.consumer()?.create_with_context(Reading);
        let client = client.map_err(|e| LogError::kafka("connect to", &e))?;
        Ok(Lag { options: options.clone(), client })
    }

    pub(super) fn client(&self) -> &BaseConsumer<Reading> {
        &self.client
    }

    pub(super) fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        commit(&self.options, &self.client, positions)?;
        // The answers to earlier ones are taken out of the client's queue.
        while self.client.poll(Duration::ZERO).is_some() {}
        Ok(())
    }
}

/// Sends the next offset to be read of each partition. It does not wait for the answer: the next ones follow soon.
pub(super) fn commit<C: ConsumerContext>(
    options: &KafkaOptions,
    client: &BaseConsumer<C>,
    positions: &[(TopicId, u32, u64)],
) -> Result<(), LogError> {
    let failed = |e| LogError::kafka("commit offsets to", &e);
    let mut list = TopicPartitionList::new();
    for (topic, partition, offset) in positions {
        let offset = Offset::Offset(i64::try_from(*offset).unwrap_or(i64::MAX));
        let topic = name_of(options, *topic);
        list.add_partition_offset(&topic, partition_of(*partition), offset).map_err(failed)?;
    }
    if list.count() > 0 {
        client.commit(&list, CommitMode::Async).map_err(failed)?;
    }
    Ok(())
}
