//! The configuration file, `weir.toml`: its keys, their units and defaults.
//!
//! [`Config::load`] reads a file and reports every problem it finds, each with
//! its line. `deploy/weir.example.toml` lists every key at its default.

mod blame;
mod check;
mod credentials;
mod defaults;
pub mod duration;
mod errors;
mod files;
mod fluvio;
mod group;
mod ingest;
mod load;
mod names;
mod optional;
mod probe;
mod security;
mod syntax;
mod values;

#[cfg(test)]
mod tests;
#[cfg(test)]
mod tests_check;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

pub use errors::{ConfigErrors, Problem};

/// The whole configuration; a key left out of the file has its default.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a table")]
pub struct Config {
    /// Directory of the log, the state and the checkpoints (default `weir-data`).
    pub data_dir: PathBuf,
    /// Number of partitions, 1 to 1024 (default 16).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1024>")]
    pub partitions: u32,
    /// Number of worker threads, up to 256; 0 means one per core (default 0).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 256>")]
    pub threads: usize,
    /// The `[[source]]` sections (default none).
    #[serde(rename = "source")]
    pub sources: Vec<Source>,
    /// The `[accounts]` section, if there is one.
    pub accounts: Option<Accounts>,
    /// The `[listen]` section.
    pub listen: Listen,
    /// The `[time]` section.
    pub time: Time,
    /// The `[checkpoints]` section.
    pub checkpoints: Checkpoints,
    /// The `[anti_brush]` section.
    pub anti_brush: AntiBrush,
    /// The `[anti_fraud]` section.
    pub anti_fraud: AntiFraud,
    /// The `[state]` section.
    pub state: State,
    /// The `[log]` section.
    pub log: Log,
    /// The `[deliver]` section, if there is one.
    pub deliver: Option<Deliver>,
    /// The `[ledger]` section, if there is one.
    pub ledger: Option<Ledger>,
    /// The `[ingest]` section, if there is one.
    pub ingest: Option<Ingest>,
    /// The `[tls]` section, if there is one.
    pub tls: Option<Tls>,
    /// The `[auth]` section, if there is one.
    pub auth: Option<Auth>,
    /// The `[credentials]` section, if there is one.
    pub credentials: Option<Credentials>,
    /// The `[mirror]` section, if there is one.
    pub mirror: Option<Mirror>,
    /// The `[enrichment]` section, if there is one.
    pub enrichment: Option<Enrichment>,
    /// The `[group]` section, if there is one.
    pub group: Option<Group>,
}

/// One `[[source]]`: where clicks are read from.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Source {
    /// A file, a directory (every regular file in it whose name does not start
    /// with `.`) or a glob in the last component; required.
    pub path: PathBuf,
}

/// `[accounts]`: the advertisers' accounts.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Accounts {
    /// The CSV file of accounts (default `accounts.csv`).
    pub file: PathBuf,
}

/// `[listen]`: the addresses Weir listens on; `None` when switched off.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Listen {
    /// Address of the metrics page (default `127.0.0.1:9464`).
    #[serde(deserialize_with = "values::address")]
    pub metrics: Option<SocketAddr>,
    /// Address of the control service (default `127.0.0.1:9465`).
    #[serde(deserialize_with = "values::address")]
    pub control: Option<SocketAddr>,
    /// Address where events and beacons are taken in over HTTP, with an `[ingest]` section (default
    /// `127.0.0.1:9466`).
    #[serde(deserialize_with = "values::address")]
    pub http: Option<SocketAddr>,
    /// Address where events are taken in over gRPC, with an `[ingest]` section (default `127.0.0.1:9467`).
    #[serde(deserialize_with = "values::address")]
    pub grpc: Option<SocketAddr>,
    /// Connections to each port at a time, 1 to 1000000 (default 4096).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000>")]
    pub max_connections: usize,
    /// Of these, from one address, or one /64 of IPv6 (default 1024).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000>")]
    pub max_connections_per_address: usize,
}

/// `[time]`: how late, how early and how often the same click may come.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Time {
    /// Whose minutes make the ticks (default `wall`). `events`, the times of the
    /// clicks, is for taking in logs of an earlier time.
    pub clock: ClockKind,
    /// How late a click may arrive and still count, at least 1m (default 24h).
    #[serde(deserialize_with = "values::duration")]
    pub allowed_lateness: Duration,
    /// How far in the future a click's time may lie (default 5m).
    #[serde(deserialize_with = "values::duration")]
    pub max_ahead: Duration,
    /// How long a click is remembered, to refuse its duplicates (default 3d).
    #[serde(deserialize_with = "values::duration")]
    pub dedup_retention: Duration,
}

/// `[checkpoints]`: which checkpoints are kept.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Checkpoints {
    /// For how long one checkpoint per minute is kept (default 1h).
    #[serde(deserialize_with = "values::duration")]
    pub every_minute_for: Duration,
    /// For how long one checkpoint per hour is kept (default 3d). This is the
    /// replay horizon: no replay can start further back.
    #[serde(deserialize_with = "values::duration")]
    pub every_hour_for: Duration,
    /// Where checkpoints are kept a second time, for whoever goes on without this disk: an address of object storage such
    /// as `s3://bucket/prefix` or `file:///srv/weir`; nowhere if empty (the default).
    pub remote: String,
    /// Settings of that storage, by the names of the crate `object_store` (default none).
    pub remote_options: BTreeMap<String, String>,
}

/// `[anti_brush]`: clicks made to inflate a count.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct AntiBrush {
    /// Whether clicks of known bots are dropped (default true).
    pub bots: bool,
    /// Files listing data-centre networks (default none).
    pub datacenter_networks: Vec<PathBuf>,
    /// Clicks per minute from one IP address on one ad, 1 to 65000 (default 10).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 65000>")]
    pub max_per_ip_ad_minute: u32,
}

/// `[anti_fraud]`: users who click more than people do.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct AntiFraud {
    /// Clicks per minute of one user on one ad, 1 to 65000 (default 10).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 65000>")]
    pub max_user_ad_minute: u32,
    /// Clicks per minute of one user, 1 to 65000 (default 100).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 65000>")]
    pub max_user_clicks_minute: u32,
    /// Different ads one user clicks in 10 seconds, 1 to 65000 (default 50).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 65000>")]
    pub max_user_ads_10s: u32,
}

/// `[state]`: what each task keeps in memory.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct State {
    /// Minutes of event time kept in memory, 2 to 1440 (default 12).
    #[serde(deserialize_with = "values::whole::<_, _, 2, 1440>")]
    pub hot_minutes: u32,
    /// Entries per task kept in memory before older minutes move to disk, 1 to
    /// 1000000000 (default 4000000).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000_000>")]
    pub hot_entries: usize,
}

/// `[log]`: the log between the stages.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Log {
    /// Which log is used (default `embedded`).
    pub kind: LogKind,
    /// How blocks of the log are compressed (default `auto`: with lz4, but not while the job has fallen
    /// behind its source).
    pub compression: Compression,
    /// Size of a segment file in MiB, 1 to 4096 (default 128).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 4096>")]
    pub segment_mb: u64,
    /// How long a group commit may gather, 0ms to 1s (default 5ms).
    #[serde(deserialize_with = "values::duration_within::<_, 0, 1000>")]
    pub sync_interval: Duration,
    /// Where the topics are in Kafka, with the kind `kafka`.
    pub kafka: KafkaOptions,
    /// Where they are in Fluvio, with the kind `fluvio`.
    pub fluvio: FluvioOptions,
}

/// `[deliver]`: the account system that the published outcomes are posted to.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Deliver {
    /// Where they are posted to, over http or https; required.
    pub url: String,
    /// Records a request, 1 to 10000 (default 500).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 10_000>")]
    pub batch: usize,
    /// How long a request may take, 10ms to 10m (default 5s).
    #[serde(deserialize_with = "values::duration_within::<_, 10, 600_000>")]
    pub timeout: Duration,
    /// How often a record is tried before it is a dead letter, 1 to 1000 (default 10).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1000>")]
    pub max_attempts: u32,
    /// How long to wait after the first failure; doubled with each one (default 1s).
    #[serde(deserialize_with = "values::duration_within::<_, 1, 86_400_000>")]
    pub backoff: Duration,
    /// How long to wait at most (default 5m).
    #[serde(deserialize_with = "values::duration_within::<_, 1, 86_400_000>")]
    pub backoff_max: Duration,
    /// Unfinished records at which the source is slowed (default 10000).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000_000>")]
    pub slow_at: u64,
    /// Unfinished records at which the source is paused (default 50000).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000_000>")]
    pub pause_at: u64,
}

/// `[ledger]`: the PostgreSQL database that the published outcomes are written to.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Ledger {
    /// Where it is, such as `postgres://user@host/database`; required.
    pub url: String,
    /// Records a transaction, 1 to 100000 (default 5000).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 100_000>")]
    pub batch: usize,
}

impl std::fmt::Debug for Ledger {
    /// Without the address, which may have a password in it.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ledger").field("batch", &self.batch).finish_non_exhaustive()
    }
}

pub use crate::log::{FluvioOptions, KafkaOptions};
pub use credentials::Credentials;
pub use group::{Group, ZooKeeper, partitions};
pub use ingest::Ingest;
pub use optional::{Enrichment, Mirror};
pub use security::{Auth, Port, Tls};
pub(crate) use values::duration_within;
pub use values::{ClockKind, Compression, CoordinatorKind, LogKind, Network};
