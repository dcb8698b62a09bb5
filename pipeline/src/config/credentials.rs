//! `[credentials]`: what the beacons of ads carry; its keys, defaults and contradictions.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::Config;
use super::blame::Checker;
use super::duration::{LONGEST_MS, text};
use super::values;

/// `[credentials]`: how long they are of use, and the keys that they are signed with.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Credentials {
    /// The file of the keys; `credential.keys` in `data_dir` if empty.
    pub key_file: PathBuf,
    /// How long one can be used if whoever asks for it does not say, at least 1s (default 1h).
    #[serde(deserialize_with = "values::duration_within::<_, 1000, LONGEST_MS>")]
    pub lifetime: Duration,
    /// How long one can be used at most, at least 1s (default 24h).
    #[serde(deserialize_with = "values::duration_within::<_, 1000, LONGEST_MS>")]
    pub max_lifetime: Duration,
}

impl Default for Credentials {
    fn default() -> Self {
        let hours = |n: u64| Duration::from_secs(n * 3600);
        Self { key_file: PathBuf::new(), lifetime: hours(1), max_lifetime: hours(24) }
    }
}

impl Checker<'_> {
    /// What contradicts `[credentials]`.
    pub(super) fn credentials(&mut self) {
        let Config { credentials: Some(credentials), time, .. } = self.config else { return };
        let (lifetime, most) = (text(credentials.lifetime), text(credentials.max_lifetime));
        if credentials.lifetime > credentials.max_lifetime {
            let message = format!(
                "`credentials.lifetime` ({lifetime}) is longer than `credentials.max_lifetime` ({most}); set it to \
                 {most} or less."
            );
            self.blame(&["credentials.lifetime", "credentials.max_lifetime"], message);
        }
        let remembered = crate::credentials::remembered(self.config);
        if credentials.max_lifetime > remembered {
            let (kept, late) = (text(time.dedup_retention), text(time.allowed_lateness));
            let message = format!(
                "`credentials.max_lifetime` ({most}) and `time.allowed_lateness` ({late}) are together longer than \
                 `time.dedup_retention` ({kept}), so a credential that is used twice could be charged twice; set it \
                 to {} or less.",
                text(remembered)
            );
            let keys =
                ["credentials.max_lifetime", "credentials", "time.allowed_lateness", "time.dedup_retention"];
            self.blame(&keys, message);
        }
    }
}
