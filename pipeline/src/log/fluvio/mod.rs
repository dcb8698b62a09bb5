//! The log as topics of Fluvio. Nothing about replication is made here: a record counts as appended when the leader of its
//! partition has acknowledged it for all of its replicas, and is read only then. What an SPU has acknowledged it has handed to
//! its operating system and does not force to the disk: a record outlives the end of each process, and the loss of a machine
//! where it is on two.
//!
//! A Weir record is a record of Fluvio, see [`record`]. Any client of Fluvio can read along. [`produce`] appends, [`tail`]
//! receives what is new, for those who read along, [`fetch`] reads what is older, [`admin`] makes topics and looks at them.
//!
//! Fluvio cannot be told to let go of records: it deletes those older than `retention`, in whole segments, so that is how long
//! a job may stand still. It has no transactions and no producers without repeats. What is appended a second time, since the
//! answer to the first time was lost, is known by its provenance and passed over by all readers.

mod admin;
mod answer;
mod calls;
mod fetch;
mod leaders;
mod options;
mod produce;
mod queues;
mod record;
mod tail;

pub(crate) use answer::CUT;
pub use options::FluvioOptions;
pub(crate) use produce::RESENT;

use self::admin::Admin;
use self::fetch::Fetcher;
use self::produce::Appender;
use self::tail::Tailer;
use super::remote::{Chunks, Cluster, Deliveries, Fetch, RemoteLog, Tail, Wake};
use super::{Follow, LogError, NewBatch};
use std::sync::Arc;
use std::time::Duration;
use weir_proto::TopicId;

/// Bytes of a topic that are kept in memory for those who read along.
const TAIL_BYTES: u64 = 24 << 20;

/// What is said of a topic that must be there.
const GONE: &str = "is gone: it was deleted, or `log.fluvio` names another cluster or prefix than before. Name the former \
                    ones. If it was deleted, its records are lost: start a new data directory with another `log.fluvio.prefix`";

/// Topics of Fluvio.
pub type FluvioLog = RemoteLog<Fluvio>;

/// A cluster of Fluvio.
pub struct Fluvio {
    admin: Admin,
    fetcher: Arc<Fetcher>,
    deliveries: Arc<Deliveries>,
    appender: Appender,
    tailer: Tailer,
}

impl RemoteLog<Fluvio> {
    /// A log whose topics are to be [added](super::LiveLog::add).
    pub fn open(options: FluvioOptions, partitions: u32, follow: Follow) -> Result<Self, LogError> {
        let (wake, tail_bytes) = (Wake::default(), TAIL_BYTES / u64::from(partitions.max(1)));
        let fetcher = Arc::new(Fetcher::new(&options, Chunks::of_a_job()));
        let deliveries = Arc::new(Deliveries::new(wake.clone()));
        let tailer = Tailer::new(fetcher.clone(), tail_bytes, wake.clone());
        let fluvio = Fluvio {
            admin: Admin::new(&options, partitions),
            appender: Appender::open(&options, fetcher.clone(), deliveries.clone(), tailer.hints())?,
            fetcher,
            deliveries,
            tailer,
        };
        Ok(RemoteLog::new(fluvio, partitions, follow, wake))
    }
}

/// Reads topics of Fluvio beside a job.
pub(super) fn fetcher(options: &FluvioOptions) -> Arc<dyn Fetch> {
    Arc::new(Fetcher::new(options, Chunks::beside_a_job()))
}

/// What a topic is called in Fluvio, where names have small letters, digits and hyphens.
fn name_of(options: &FluvioOptions, topic: TopicId) -> String {
    format!("{}-{topic}", options.prefix).replace('.', "-")
}

impl LogError {
    /// A topic on which the promises of the log do not hold.
    fn of_fluvio(topic: String, problem: String) -> LogError {
        LogError::WrongTopic { system: "Fluvio", topic, problem }
    }
}

impl Cluster for Fluvio {
    fn fetcher(&self) -> &dyn Fetch {
        &*self.fetcher
    }

    fn ensure(&self, topic: &str) -> Result<(), LogError> {
        self.admin.ensure(topic)
    }

    fn delete(&self, topic: &str) -> Result<(), LogError> {
        self.admin.delete(topic)
    }

    fn trim(&self, _topic: &str, _below: &[u64]) -> Result<bool, LogError> {
        // Fluvio deletes by age alone.
        Ok(false)
    }

    fn append(&self, id: TopicId, topic: &str, partition: u32, batch: &NewBatch) -> Result<u64, LogError> {
        self.appender.append(id, topic, partition, batch)
    }

    fn is_durable(&self, id: TopicId, ticket: u64) -> bool {
        self.deliveries.is_durable(id, ticket)
    }

    fn end(&self, id: TopicId, partition: u32, ticket: u64) -> Option<u64> {
        self.deliveries.end(id, partition, ticket)
    }

    fn receive(&self, topic: &str, partition: u32, end: u64) -> Result<Arc<Tail>, LogError> {
        self.tailer.add(topic, partition, end)
    }

    fn leave(&self, topic: &str, partition: u32) -> Result<(), LogError> {
        self.tailer.leave(topic, partition);
        Ok(())
    }

    fn forget(&self, topic: &str) {
        self.fetcher.forget(topic);
    }

    fn failure(&self) -> Option<LogError> {
        self.deliveries.failure().or_else(|| self.tailer.failure())
    }

    fn news(&self) -> Duration {
        leaders::NEWS
    }

    fn gone(&self, topic: String) -> LogError {
        LogError::of_fluvio(topic, GONE.to_owned())
    }
}
