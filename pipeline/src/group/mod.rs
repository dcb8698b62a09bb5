//! Several workers share the partitions of a job: each has some of them, in all topics, and folds what comes there.
//!
//! Which worker has which is decided by Kafka's consumer groups, by leases in ZooKeeper, or once and for all: a
//! [`Coordinator`] brings the news, and the [`Crew`] opens and closes tasks accordingly. That two workers have a partition for a moment does no harm: tasks are pure
//! folds, and what one of them repeats is dropped by its provenance.

mod afar;
mod crew;
mod error;
mod fixed;
mod gather;
mod shares;
mod takeovers;
mod zookeeper;

pub use afar::Afar;
pub use crew::Crew;
pub use error::GroupError;
pub use gather::{Gatherer, Whole};
pub use takeovers::{Takeover, Takeovers};
pub use zookeeper::ZooKeeperOptions;

use crate::log::{LiveLog, LogError};
use std::sync::Arc;
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
    /// How it is decided which partitions it has.
    pub by: Coordination,
}

/// How it is decided who has which partitions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Coordination {
    /// By the groups that the log knows.
    Log,
    /// By ZooKeeper.
    ZooKeeper(ZooKeeperOptions),
    /// It always has these.
    Fixed(Vec<u32>),
}

impl Membership {
    /// Joins the group; `hands` is told which of so many partitions are its own.
    pub fn join(
        &self,
        partitions: u32,
        log: Arc<dyn LiveLog>,
        hands: Arc<dyn Hands>,
    ) -> Result<Box<dyn Coordinator>, GroupError> {
        Ok(match &self.by {
            Coordination::Log => log.join(self, hands)?,
            Coordination::Fixed(own) => Box::new(fixed::Fixed::join(own, log, &*hands)),
            Coordination::ZooKeeper(options) => {
                Box::new(zookeeper::ZooKeeper::join(options, self, partitions, log, hands)?)
            }
        })
    }
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

    /// These workers are there, in order; where the log does not know it.
    fn sees(&self, workers: Vec<Peer>);
}

/// A place in the group.
pub trait Coordinator: Send {
    /// Waits a little for news of the group, and has them done.
    fn attend(&mut self) -> Result<(), GroupError>;

    /// Says from where on partitions are still to be read, for tools that show how far readers are.
    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError>;
}
