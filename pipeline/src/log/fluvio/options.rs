//! Which Fluvio, and what its topics must be like.

use crate::config::{self, duration};
use serde::{Deserialize, Serialize, Serializer};
use std::time::Duration;

const DAY: u64 = 24 * 3600;

/// `[log.fluvio]`: where the topics are, and what they must be like.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct FluvioOptions {
    /// The streaming controller of the cluster, `host:port` (default `127.0.0.1:9003`).
    pub address: String,
    /// What the names of topics begin with: `weir` (the default) makes `weir-raw`.
    pub prefix: String,
    /// On how many SPUs each partition is (default 2). A record counts as appended when all of them have it.
    pub replication: u16,
    /// How long records are kept, 1h to 3650d (default 3650d).
    #[serde(deserialize_with = "config::duration_within::<_, 3_600_000, 315_360_000_000>")]
    #[serde(serialize_with = "as_text")]
    pub retention: Duration,
    /// How long the cluster has for an answer, 1s to 1m (default 30s: more than twice the ten seconds after which a
    /// follower of a partition that has missed something looks for it by itself).
    #[serde(deserialize_with = "config::duration_within::<_, 1_000, 60_000>", serialize_with = "as_text")]
    pub timeout: Duration,
}

impl Default for FluvioOptions {
    fn default() -> Self {
        FluvioOptions {
            address: "127.0.0.1:9003".to_owned(),
            prefix: "weir".to_owned(),
            replication: 2,
            retention: Duration::from_secs(3650 * DAY),
            timeout: Duration::from_secs(30),
        }
    }
}

fn as_text<S: Serializer>(duration: &Duration, to: S) -> Result<S::Ok, S::Error> {
    to.serialize_str(&duration::text(*duration))
}
