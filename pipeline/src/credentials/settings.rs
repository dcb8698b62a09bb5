//! What the configuration says about credentials.

use crate::config::{Config, Credentials};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// How long credentials are of use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// If whoever asks for one does not say.
    pub lifetime: Duration,
    /// At most.
    pub max_lifetime: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        let Credentials { lifetime, max_lifetime, .. } = Credentials::default();
        Limits { lifetime, max_lifetime }
    }
}

impl Limits {
    /// Those of a configuration. Without the section the defaults give way to how long identities are remembered: a
    /// credential that is used a second time must be known.
    pub fn of(config: &Config) -> Self {
        if let Some(Credentials { lifetime, max_lifetime, .. }) = config.credentials {
            return Limits { lifetime, max_lifetime };
        }
        let (remembered, default) = (remembered(config), Limits::default());
        let least = |most: Duration| most.min(remembered);
        Limits { lifetime: least(default.lifetime), max_lifetime: least(default.max_lifetime) }
    }
}

/// The longest that a credential may be of use. Its first event may be as old as that when the second one comes, which
/// may be decided on as late as any event.
pub fn remembered(config: &Config) -> Duration {
    config.time.dedup_retention.saturating_sub(config.time.allowed_lateness)
}

/// Where the keys are.
pub fn key_path(config: &Config) -> PathBuf {
    let own = config.credentials.as_ref().map(|credentials| &credentials.key_file);
    own.filter(|path| !path.as_os_str().is_empty())
        .map_or_else(|| key_path_in(&config.data_dir), Clone::clone)
}

/// Where the keys of a data directory are, if no other file is named.
pub fn key_path_in(data_dir: &Path) -> PathBuf {
    data_dir.join("credential.keys")
}

/// Where claims are kept whose tokens only name them.
pub fn store_path(data_dir: &Path) -> PathBuf {
    data_dir.join("credentials")
}
