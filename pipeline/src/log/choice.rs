//! Which log a job has, and in which cluster its topics are, if in one.

use super::remote::Fetch;
use super::{EmbeddedLog, FluvioLog, FluvioOptions, KafkaLog, KafkaOptions, LiveLog, LogError, LogOptions};
use std::path::Path;
use std::sync::Arc;
use weir_proto::Topic;

/// Which partitions a process reads as they grow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// All of them.
    All,
    /// Those that it is told to [follow](LiveLog::follow).
    AsTold,
}

/// A cluster that has topics of Weir.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterOptions {
    /// Kafka's.
    Kafka(KafkaOptions),
    /// Fluvio's.
    Fluvio(FluvioOptions),
}

impl ClusterOptions {
    /// What it is called.
    pub fn name(&self) -> &'static str {
        match self {
            ClusterOptions::Kafka(_) => "Kafka",
            ClusterOptions::Fluvio(_) => "Fluvio",
        }
    }

    /// What the names of topics begin with.
    pub fn prefix(&self) -> &str {
        match self {
            ClusterOptions::Kafka(options) => &options.prefix,
            ClusterOptions::Fluvio(options) => &options.prefix,
        }
    }

    /// Reads its topics beside a job.
    pub(super) fn fetcher(&self) -> Arc<dyn Fetch> {
        match self {
            ClusterOptions::Kafka(options) => super::kafka::fetcher(options),
            ClusterOptions::Fluvio(options) => super::fluvio::fetcher(options),
        }
    }
}

/// Which log a job has, and how.
#[derive(Clone, Debug)]
pub enum LogChoice {
    /// That in its data directory.
    Embedded(LogOptions),
    /// That of a cluster.
    In(ClusterOptions),
}

impl LogChoice {
    /// Which cluster, if it is in one.
    pub fn cluster(&self) -> Option<&ClusterOptions> {
        match self {
            LogChoice::Embedded(_) => None,
            LogChoice::In(options) => Some(options),
        }
    }

    /// Opens it with the topics of the first generation; `dir` is where the embedded one is. If a job has `begun` with
    /// them, those that are not in the cluster were lost: none is made anew. Nor is anything touched in another `cluster`
    /// than the one that they are known to be in.
    pub fn open(
        &self,
        dir: &Path,
        partitions: u32,
        begun: bool,
        cluster: Option<&str>,
        follow: Follow,
    ) -> Result<Arc<dyn LiveLog>, LogError> {
        let first = || Topic::ALL.into_iter().map(|topic| topic.of(1));
        let log: Arc<dyn LiveLog> = match self {
            LogChoice::Embedded(options) => Arc::new(EmbeddedLog::empty(dir, partitions, *options)),
            LogChoice::In(ClusterOptions::Kafka(options)) => {
                let log = KafkaLog::open(options.clone(), partitions, follow)?;
                log.must_be_in(cluster)?;
                if begun {
                    first().try_for_each(|topic| log.must_have(topic))?;
                }
                Arc::new(log)
            }
            LogChoice::In(ClusterOptions::Fluvio(options)) => {
                let log = FluvioLog::open(options.clone(), partitions, follow)?;
                if begun {
                    first().try_for_each(|topic| log.must_have(topic))?;
                }
                Arc::new(log)
            }
        };
        first().try_for_each(|topic| log.add(topic))?;
        Ok(log)
    }
}

impl Default for LogChoice {
    fn default() -> Self {
        LogChoice::Embedded(LogOptions::default())
    }
}
