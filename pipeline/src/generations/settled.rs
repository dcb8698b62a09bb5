//! Whether all adjustments that were posted still stand in their topic: nothing could make them anew.

use super::Registry;
use crate::error::JobError;
use crate::log::Log;
use weir_proto::Topic;

/// Fails if the control log says of more adjustments than there are.
pub fn check_settled(registry: &Registry, log: &dyn Log, partitions: u32) -> Result<(), JobError> {
    let topic = Topic::Adjustments.of(1);
    let settled = registry.settled();
    if settled.is_empty() || (0..partitions).any(|p| log.start(topic, p) > 0) {
        return Ok(());
    }
    let mut heads = Vec::new();
    for partition in 0..partitions {
        heads.extend(log.heads(topic, partition, 0)?);
    }
    for (generation, posted) in settled {
        let own = heads.iter().filter(|head| head.producer.generation == generation);
        let standing: u64 = own.map(|head| u64::from(head.count)).sum();
        if standing < posted {
            return Err(JobError::Control {
                path: log.newest_file(topic),
                problem: format!(
                    "is damaged at its end: of the {posted} adjustments of generation {generation} it holds \
                     {standing}. Restore the file from a backup"
                ),
            });
        }
    }
    Ok(())
}
