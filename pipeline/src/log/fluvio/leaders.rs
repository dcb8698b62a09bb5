//! Which SPU leads a partition, as the controller has said last.

use super::admin::{Admin, Leaders};
use super::options::FluvioOptions;
use crate::log::LogError;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const LOOK: Duration = Duration::from_millis(100);
/// How long a controller that was started may take to know all of its topics again.
pub(super) const NEWS: Duration = Duration::from_secs(20);

/// The leaders that are known.
pub(super) struct Known {
    admin: Admin,
    leaders: Mutex<Leaders>,
}

impl Known {
    pub(super) fn new(options: &FluvioOptions) -> Self {
        Known { admin: Admin::new(options, 0), leaders: Mutex::default() }
    }

    fn leaders(&self) -> MutexGuard<'_, Leaders> {
        self.leaders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The address of a partition's leader, if it is known.
    pub(super) fn known(&self, topic: &str, partition: u32) -> Option<String> {
        self.leaders().get(topic)?.get(&partition).cloned()
    }

    /// The address of a partition's leader.
    pub(super) fn of(&self, topic: &str, partition: u32) -> Result<String, LogError> {
        let mut lacks: Option<Instant> = None;
        loop {
            if let Some(known) = self.known(topic, partition) {
                return Ok(known);
            }
            self.refresh()?;
            if self.known(topic, partition).is_none() {
                // From the first answer on in which it was not.
                if lacks.get_or_insert_with(Instant::now).elapsed() > NEWS {
                    return Err(LogError::of_fluvio(topic.to_owned(), super::GONE.to_owned()));
                }
                std::thread::sleep(LOOK);
            }
        }
    }

    /// Asks the controller who leads what now; what was known before stands where it has no answer.
    pub(super) fn refresh(&self) -> Result<(), LogError> {
        let leaders = self.admin.leaders()?;
        *self.leaders() = leaders;
        Ok(())
    }

    /// How many partitions a topic has; none if there is no such topic.
    pub(super) fn partitions(&self, topic: &str) -> Result<u32, LogError> {
        Ok(self.admin.found(topic)?.map_or(0, |found| found.spec.partitions()))
    }

    /// Forgets those of a topic that is deleted.
    pub(super) fn forget(&self, topic: &str) {
        self.leaders().remove(topic);
    }
}
