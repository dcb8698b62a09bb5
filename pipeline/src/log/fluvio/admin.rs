//! Topics: made when they are not there, looked at when they are, and deleted. Who leads their partitions.

use super::calls::wait;
use super::options::FluvioOptions;
use crate::config::duration;
use crate::log::LogError;
use fluvio::metadata::objects::Metadata;
use fluvio::metadata::partition::PartitionSpec;
use fluvio::metadata::spu::SpuSpec;
use fluvio::metadata::topic::{CleanupPolicy, SegmentBasedPolicy, TopicSpec, TopicStorageConfig};
use fluvio::{FluvioAdmin, FluvioClusterConfig};
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

/// How long a topic may take to be there with all of its leaders, or to be gone.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How often it is looked whether it is.
const LOOK: Duration = Duration::from_millis(50);
/// What a segment file may have. Records go by whole segments.
const SEGMENT_BYTES: u32 = 128 << 20;
/// What a partition may have before Fluvio deletes records: more than there is.
const PARTITION_BYTES: u64 = 1 << 50;

/// The addresses of the SPUs that lead the partitions of each topic.
pub(super) type Leaders = HashMap<String, BTreeMap<u32, String>>;

/// Manages topics. It connects for each request: they are rare, and the client does not notice a controller that has begun
/// anew.
pub(super) struct Admin {
    options: FluvioOptions,
    partitions: u32,
}

impl Admin {
    pub(super) fn new(options: &FluvioOptions, partitions: u32) -> Self {
        Admin { options: options.clone(), partitions }
    }

    /// Asks the controller; what is wrong if it has no answer is found in the error.
    fn ask<T, E: std::fmt::Display>(
        &self,
        (what, topic): (&'static str, Option<&str>),
        ask: impl AsyncFnOnce(&FluvioAdmin) -> Result<T, E>,
    ) -> Result<T, LogError> {
        let config = FluvioClusterConfig::new(&self.options.address);
        let topic = topic.map(str::to_owned);
        let asked = async {
            let admin = FluvioAdmin::connect_with_config(&config).await.map_err(|e| e.to_string())?;
            Ok::<_, String>(ask(&admin).await)
        };
        // Whoever could be reached has refused it; else it may be over after a while.
        match wait(self.options.timeout, asked) {
            Ok(answer) => answer.map_err(|error| LogError::Fluvio { what, topic, reason: error.to_string() }),
            Err(reason) => {
                let reason = format!("the controller at {} cannot be asked: {reason}", self.options.address);
                Err(LogError::FluvioAway { what, topic, reason })
            }
        }
    }

    /// Who leads what.
    pub(super) fn leaders(&self) -> Result<Leaders, LogError> {
        let (partitions, spus) = self.ask(("look for the leaders of", None), async |admin| {
            let partitions = admin.all::<PartitionSpec>().await.map_err(|e| e.to_string())?;
            let spus = admin.all::<SpuSpec>().await.map_err(|e| e.to_string())?;
            Ok::<_, String>((partitions, spus))
        })?;
        let address =
            |id: i32| spus.iter().find(|spu| spu.spec.id == id).map(|spu| spu.spec.public_endpoint.addr());
        let mut leaders = Leaders::new();
        for Metadata { name, spec, .. } in &partitions {
            let Some((topic, partition)) = name.rsplit_once('-') else { continue };
            if let (Ok(partition), Some(address)) = (partition.parse(), address(spec.leader)) {
                leaders.entry(topic.to_owned()).or_default().insert(partition, address);
            }
        }
        Ok(leaders)
    }

    /// Makes sure of a topic that is as it must be.
    pub(super) fn ensure(&self, topic: &str) -> Result<(), LogError> {
        let begun = Instant::now();
        if self.found(topic)?.is_none() {
            self.create(topic)?;
        }
        loop {
            let found = self.found(topic)?;
            let reason = match &found {
                Some(found) => {
                    self.check(topic, &found.spec)?;
                    format!("it is {}: {}", found.status.resolution.resolution_label(), found.status.reason)
                }
                None => "it is not there yet".to_owned(),
            };
            let led = self.leaders()?.get(topic).map_or(0, BTreeMap::len);
            if found.is_some() && led == self.partitions as usize {
                return Ok(());
            }
            if begun.elapsed() > PATIENCE {
                let reason = format!("{led} of its {} partitions have a leader, {reason}", self.partitions);
                return Err(LogError::FluvioAway { what: "make", topic: Some(topic.to_owned()), reason });
            }
            std::thread::sleep(LOOK);
        }
    }

    /// A topic, if it is there.
    pub(super) fn found(&self, topic: &str) -> Result<Option<Metadata<TopicSpec>>, LogError> {
        let all = self.ask(("look for", Some(topic)), async |admin| admin.all::<TopicSpec>().await)?;
        Ok(all.into_iter().find(|found| found.name == topic))
    }

    fn create(&self, topic: &str) -> Result<(), LogError> {
        let mut spec = TopicSpec::new_computed(self.partitions, u32::from(self.options.replication), None);
        let time_in_seconds = u32::try_from(self.options.retention.as_secs()).unwrap_or(u32::MAX);
        spec.set_cleanup_policy(CleanupPolicy::Segment(SegmentBasedPolicy { time_in_seconds }));
        spec.set_storage(TopicStorageConfig {
            segment_size: Some(SEGMENT_BYTES),
            max_partition_size: Some(PARTITION_BYTES),
        });
        let made =
            self.ask(("make", Some(topic)), async |admin| admin.create(topic.to_owned(), false, spec).await);
        // Another one may have made it meanwhile, or the controller has and never says so.
        if made.is_err() && self.found(topic)?.is_some() { Ok(()) } else { made }
    }

    /// Refuses a topic on which the log's promises do not hold.
    fn check(&self, topic: &str, spec: &TopicSpec) -> Result<(), LogError> {
        let wrong = |problem: String| Err(LogError::of_fluvio(topic.to_owned(), problem));
        let (partitions, replication) = (spec.partitions(), spec.replication_factor().unwrap_or(1));
        if partitions != self.partitions {
            return wrong(format!(
                "has {partitions} partitions, and the job {}: which partition an event goes to would change. Run the job \
                 with --partitions {partitions}, or choose another `log.fluvio.prefix`",
                self.partitions
            ));
        }
        if replication != u32::from(self.options.replication) {
            return wrong(format!(
                "is on {replication} SPUs, and `log.fluvio.replication` is {}: set it to {replication}, or choose another \
                 `log.fluvio.prefix`",
                self.options.replication
            ));
        }
        let kept = Duration::from_secs(u64::from(spec.retention_secs()));
        if kept < self.options.retention {
            return wrong(format!(
                "keeps its records for {}, and `log.fluvio.retention` is {}: records that are still needed could be lost. \
                 Lower it, or choose another `log.fluvio.prefix`",
                duration::text(kept),
                duration::text(self.options.retention)
            ));
        }
        let most = spec.get_storage().and_then(|storage| storage.max_partition_size);
        if most.is_none_or(|most| most < PARTITION_BYTES) || spec.get_deduplication().is_some() {
            return wrong(
                "was not made by weir: beyond some size of a partition its records are deleted, or some are left out as \
                 repeated. Delete it if nobody needs it, or choose another `log.fluvio.prefix`"
                    .to_owned(),
            );
        }
        Ok(())
    }

    /// Deletes a topic, if it is there, and waits until it is gone: one of its name may be made anew.
    pub(super) fn delete(&self, topic: &str) -> Result<(), LogError> {
        let begun = Instant::now();
        if self.found(topic)?.is_none() {
            return Ok(());
        }
        let name = topic.to_owned();
        let deleted = self.ask(("delete", Some(topic)), async |admin| admin.delete::<TopicSpec>(name).await);
        while self.found(topic)?.is_some() || self.leaders()?.contains_key(topic) {
            if let (Err(LogError::Fluvio { .. }), _) | (_, true) = (&deleted, begun.elapsed() > PATIENCE) {
                let reason = "it is still there".to_owned();
                return deleted.and(Err(LogError::FluvioAway {
                    what: "delete",
                    topic: Some(topic.to_owned()),
                    reason,
                }));
            }
            std::thread::sleep(LOOK);
        }
        Ok(())
    }
}
