//! `[ingest]`: events that are sent to the running job; its keys, defaults and contradictions.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::Config;
use super::blame::Checker;
use super::values::{self, ClockKind, Network};

/// `[ingest]`: what is taken in over HTTP and gRPC.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Ingest {
    /// Where accepted events wait on disk until they are collected; `ingest` in `data_dir` if empty.
    pub spool: PathBuf,
    /// The most that may wait there, in MiB, 8 to 1048576 (default 4096).
    #[serde(deserialize_with = "values::whole::<_, _, 8, 1_048_576>")]
    pub spool_mb: u64,
    /// Size of a file of the spool in MiB, 1 to 4096 (default 64).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 4096>")]
    pub segment_mb: u64,
    /// How long a group commit may gather, 0ms to 1s (default 2ms).
    #[serde(deserialize_with = "values::duration_within::<_, 0, 1000>")]
    pub sync_interval: Duration,
    /// For how long the identity of an accepted event is remembered, to answer that it is a duplicate, up to 1d
    /// (default 10m).
    #[serde(deserialize_with = "values::duration_within::<_, 0, 86_400_000>")]
    pub remember: Duration,
    /// How many are remembered at most, up to 1000000000 (default 4000000).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 1_000_000_000>")]
    pub remember_entries: usize,
    /// Waiting records at which intake is slowed (default 10000000).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000_000_000>")]
    pub high_records: u64,
    /// Waiting MiB at which intake is slowed (default 2560).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_048_576>")]
    pub high_mb: u64,
    /// Memory for requests under way in MiB, 1 to 1048576 (default 256).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_048_576>")]
    pub memory_mb: u64,
    /// The largest request in KiB, unpacked, 1 to 1048576 (default 8192).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_048_576>")]
    pub max_request_kb: u64,
    /// Events a request, 1 to 1000000 (default 10000).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 1_000_000>")]
    pub max_events: usize,
    /// How long a request may take, 10ms to 10m (default 10s).
    #[serde(deserialize_with = "values::duration_within::<_, 10, 600_000>")]
    pub request_timeout: Duration,
    /// Addresses and networks whose `X-Forwarded-For` is believed (default none).
    pub trusted_proxies: Vec<Network>,
    /// Events per second of one client, as its bearer token names it; 0 is no limit (default 0).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 1_000_000_000>")]
    pub client_events_s: u32,
    /// Events per second of one source address; 0 is no limit (default 0).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 1_000_000_000>")]
    pub address_events_s: u32,
    /// Events per second of all; 0 is no limit (default 0).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 1_000_000_000>")]
    pub total_events_s: u32,
    /// How many seconds' worth of a limit may come at once, 1 to 3600 (default 2).
    #[serde(deserialize_with = "values::whole::<_, _, 1, 3600>")]
    pub burst_s: u32,
}

impl Default for Ingest {
    fn default() -> Self {
        Self {
            spool: PathBuf::new(),
            spool_mb: 4096,
            segment_mb: 64,
            sync_interval: Duration::from_millis(2),
            remember: Duration::from_secs(600),
            remember_entries: 4_000_000,
            high_records: 10_000_000,
            high_mb: 2560,
            memory_mb: 256,
            max_request_kb: 8192,
            max_events: 10_000,
            request_timeout: Duration::from_secs(10),
            trusted_proxies: Vec::new(),
            client_events_s: 0,
            address_events_s: 0,
            total_events_s: 0,
            burst_s: 2,
        }
    }
}

impl Ingest {
    /// Where its spool is, for a job in a data directory.
    pub fn spool_in(&self, data_dir: &Path) -> PathBuf {
        if self.spool.as_os_str().is_empty() { data_dir.join("ingest") } else { self.spool.clone() }
    }
}

impl Checker<'_> {
    /// What contradicts `[ingest]`.
    pub(super) fn ingest(&mut self) {
        let Config { ingest: Some(ingest), time, .. } = self.config else { return };
        if time.clock == ClockKind::Events {
            let message = "`time.clock` is \"events\", for logs of an earlier time, but [ingest] takes in what happens \
                           now; set it to \"wall\" or remove [ingest].";
            self.blame(&["time.clock", "ingest"], message.to_owned());
        }
        let Ingest { spool_mb, segment_mb, high_mb, memory_mb, max_request_kb, .. } = *ingest;
        if segment_mb.saturating_mul(2) > spool_mb {
            let message = format!(
                "`ingest.segment_mb` ({segment_mb}) is more than half of `ingest.spool_mb` ({spool_mb}), which is freed \
                 file by file; set it to {} or less.",
                spool_mb / 2
            );
            self.blame(&["ingest.segment_mb", "ingest.spool_mb"], message);
        }
        if high_mb > spool_mb {
            let message = format!(
                "`ingest.high_mb` ({high_mb}) is more than `ingest.spool_mb` ({spool_mb}), so the spool would be full \
                 before intake is slowed; set it to {spool_mb} or less."
            );
            self.blame(&["ingest.high_mb", "ingest.spool_mb"], message);
        }
        if max_request_kb.saturating_mul(2) > memory_mb.saturating_mul(1024) {
            let message = format!(
                "`ingest.max_request_kb` ({max_request_kb}) is more than half of `ingest.memory_mb` ({memory_mb}), and a \
                 request takes that twice: as it came, and as records; set it to {} or less.",
                memory_mb.saturating_mul(512)
            );
            self.blame(&["ingest.max_request_kb", "ingest.memory_mb"], message);
        }
    }
}
