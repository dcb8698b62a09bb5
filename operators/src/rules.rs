//! The rules that decide about events. They are part of a task's fold: other rules are another
//! generation, so each task's store carries their fingerprint.

use serde::{Deserialize, Serialize};
use weir_state::MinuteTableOptions;

/// Thresholds and times. The defaults are those of `weir.toml`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Rules {
    /// Events older than this before the newest tick are dropped, in minutes.
    pub allowed_lateness: u32,
    /// How long an identity is remembered after its event, in minutes.
    pub dedup_retention: u32,
    /// How far an event's time may be ahead of the clock, in minutes.
    pub max_ahead: u32,
    /// Whether bots are dropped by their user agent.
    pub bots: bool,
    /// Fingerprint of the data-centre networks; 0 if the rule is off.
    pub networks: u64,
    /// The most events of one (ip, ad) in a minute.
    pub max_per_ip_ad_minute: u16,
    /// The most events of one user on one ad in a minute.
    pub max_user_ad_minute: u16,
    /// The most clicks of one user in a minute.
    pub max_user_clicks_minute: u16,
    /// The most different ads of one user in ten seconds.
    pub max_user_ads_10s: u16,
    /// How state is kept, which no decision depends on.
    #[serde(skip)]
    pub hot_minutes: u32,
    /// Entries that one table of a task keeps in memory.
    #[serde(skip)]
    pub hot_entries: usize,
}

impl Default for Rules {
    fn default() -> Self {
        Rules {
            allowed_lateness: 24 * 60,
            dedup_retention: 3 * 24 * 60,
            max_ahead: 5,
            bots: true,
            networks: 0,
            max_per_ip_ad_minute: 10,
            max_user_ad_minute: 10,
            max_user_clicks_minute: 100,
            max_user_ads_10s: 50,
            hot_minutes: 12,
            hot_entries: 4_000_000,
        }
    }
}

impl Rules {
    /// Two sets of rules decide alike if their fingerprints are equal.
    pub fn fingerprint(&self) -> u64 {
        let text = serde_json::to_vec(self).unwrap_or_default();
        xxhash_rust::xxh3::xxh3_64(&text)
    }

    /// For window counters: as long as an event of the minute may come.
    pub fn windows(&self) -> MinuteTableOptions {
        self.keep(self.allowed_lateness + 1)
    }

    /// For identities.
    pub fn identities(&self) -> MinuteTableOptions {
        self.keep(self.dedup_retention)
    }

    fn keep(&self, keep: u32) -> MinuteTableOptions {
        MinuteTableOptions { hot: self.hot_minutes, keep, max_hot_entries: self.hot_entries }
    }
}
