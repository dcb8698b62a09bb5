//! Several workers share the partitions of a job: each has some of them, in all topics, and folds what comes there.
//!
//! Which worker has which is decided elsewhere, by Kafka's consumer groups: a [`Coordinator`] brings its news, and the
//! [`Crew`] opens and closes tasks accordingly. That two workers have a partition for a moment does no harm: tasks are pure
//! folds, and what one of them repeats is dropped by its provenance.

mod afar;
mod crew;
mod gather;
mod takeovers;

pub use afar::Afar;
pub use crew::Crew;
pub use gather::{Gatherer, Whole};
pub use takeovers::{Takeover, Takeovers};

use crate::log::LogError;
use std::time::Duration;
use weir_proto::TopicId;

/// Who a worker is to the others.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Membership {
    /// Its number: no other one has it, and it keeps it.
    pub worker: u16,
    /// After how long of silence its partitions go to others.
    pub session_timeout: Duration,
    /// Where the others reach its control service.
    pub address: String,
}

/// A worker, as the others see it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its number.
    pub worker: u16,
    /// Where its control service is.
    pub address: String,
    /// The partitions that it has, in order.
    pub partitions: Vec<u32>,
}

/// Does what the group decides.
pub trait Hands: Send + Sync {
    /// These partitions are its own from now on.
    fn take(&self, partitions: &[u32]);

    /// These are not any more. Returns once nothing is done with them.
    fn give_up(&self, partitions: &[u32]);

    /// Nor is any other.
    fn give_up_all(&self);
}

/// A place in the group.
pub trait Coordinator: Send {
    /// Waits a little for news of the group, and has them done.
    fn attend(&mut self) -> Result<(), LogError>;

    /// Says from where on partitions are still to be read, for tools that show how far readers are.
    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError>;
}
