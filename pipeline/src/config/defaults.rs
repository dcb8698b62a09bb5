//! The default of every key.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use super::{
    Accounts, AntiBrush, AntiFraud, Checkpoints, ClockKind, Compression, Config, Deliver, FluvioOptions,
    KafkaOptions, Ledger, Listen, Log, LogKind, State, Time,
};

const MINUTE: u64 = 60;
const HOUR: u64 = 60 * MINUTE;
const DAY: u64 = 24 * HOUR;

impl Default for Config {
    fn default() -> Self {
        Self {
            data_dir: "weir-data".into(),
            partitions: 16,
            threads: 0,
            sources: Vec::new(),
            accounts: None,
            listen: Listen::default(),
            time: Time::default(),
            checkpoints: Checkpoints::default(),
            anti_brush: AntiBrush::default(),
            anti_fraud: AntiFraud::default(),
            state: State::default(),
            log: Log::default(),
            deliver: None,
            ledger: None,
            ingest: None,
            tls: None,
            auth: None,
            credentials: None,
            mirror: None,
            enrichment: None,
            group: None,
        }
    }
}

impl Default for Accounts {
    fn default() -> Self {
        Self { file: "accounts.csv".into() }
    }
}

impl Default for Listen {
    fn default() -> Self {
        let local = |port| Some(SocketAddr::from((Ipv4Addr::LOCALHOST, port)));
        Self {
            metrics: local(9464),
            control: local(9465),
            http: local(9466),
            grpc: local(9467),
            max_connections: 4096,
            max_connections_per_address: 1024,
        }
    }
}

impl Default for Time {
    fn default() -> Self {
        Self {
            clock: ClockKind::Wall,
            allowed_lateness: Duration::from_secs(DAY),
            max_ahead: Duration::from_secs(5 * MINUTE),
            dedup_retention: Duration::from_secs(3 * DAY),
        }
    }
}

impl Default for Checkpoints {
    fn default() -> Self {
        Self {
            every_minute_for: Duration::from_secs(HOUR),
            every_hour_for: Duration::from_secs(3 * DAY),
            remote: String::new(),
            remote_options: BTreeMap::new(),
        }
    }
}

impl Default for AntiBrush {
    fn default() -> Self {
        Self { bots: true, datacenter_networks: Vec::new(), max_per_ip_ad_minute: 10 }
    }
}

impl Default for AntiFraud {
    fn default() -> Self {
        Self { max_user_ad_minute: 10, max_user_clicks_minute: 100, max_user_ads_10s: 50 }
    }
}

impl Default for State {
    fn default() -> Self {
        Self { hot_minutes: 12, hot_entries: 4_000_000 }
    }
}

impl Default for Log {
    fn default() -> Self {
        Self {
            kind: LogKind::Embedded,
            compression: Compression::Auto,
            segment_mb: 128,
            sync_interval: Duration::from_millis(5),
            kafka: KafkaOptions::default(),
            fluvio: FluvioOptions::default(),
        }
    }
}

impl Default for Ledger {
    fn default() -> Self {
        Self { url: String::new(), batch: 5_000 }
    }
}

impl Default for Deliver {
    fn default() -> Self {
        Self {
            url: String::new(),
            batch: 500,
            timeout: Duration::from_secs(5),
            max_attempts: 10,
            backoff: Duration::from_secs(1),
            backoff_max: Duration::from_secs(5 * MINUTE),
            slow_at: 10_000,
            pause_at: 50_000,
        }
    }
}
