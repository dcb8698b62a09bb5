//! A set of rules with its network lists, as a generation needs it for as long as it runs.
//!
//! `rules/<fingerprint, 16 hex digits>.json` in the data directory: `{"format": 1, "crc32c": …, "rules": {…}}`,
//! the checksum over the rules as compact JSON. What a file of networks held is kept, not its name: the
//! file may change or go.

use crate::error::JobError;
use crate::flow::Shared;
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::Path;
use std::sync::Arc;
use weir_operators::Rules;
use weir_operators::anti_brush::Lists;
use weir_operators::bots::BotList;
use weir_operators::networks::Networks;
use weir_state::{PUBLIC, replace_file, sum_of_json};

/// Rules and what they refer to.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RuleSet {
    /// Thresholds and times.
    pub rules: Rules,
    /// Files of data-centre networks: their names and texts.
    pub networks: Vec<(String, String)>,
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Sealed {
    format: u32,
    crc32c: u32,
    rules: RuleSet,
}

impl RuleSet {
    /// Two sets decide alike if their fingerprints are equal.
    pub fn fingerprint(&self) -> u64 {
        self.rules.fingerprint()
    }

    /// What operators need of it.
    pub fn shared(&self) -> Result<Shared, JobError> {
        let setup = |e: &dyn std::fmt::Display| JobError::Setup(e.to_string());
        let mut networks = Vec::new();
        for (name, text) in &self.networks {
            networks.push(Networks::parse(name, text).map_err(|e| setup(&e))?);
        }
        let bots = BotList::builtin().map_err(|e| setup(&e))?;
        let lists = Lists { bots, networks: Networks::merge(networks) };
        Ok(Shared { rules: Arc::new(self.rules.clone()), lists: Arc::new(lists) })
    }

    /// The rules as they stand in a configuration file; the files of networks by their names.
    pub fn as_config(&self) -> String {
        let r = &self.rules;
        let networks: Vec<_> = self.networks.iter().map(|(name, _)| format!("{name:?}")).collect();
        format!(
            "[time]\nallowed_lateness = \"{}m\"\nmax_ahead = \"{}m\"\ndedup_retention = \"{}m\"\n\n\
             [anti_brush]\nbots = {}\ndatacenter_networks = [{}]\nmax_per_ip_ad_minute = {}\n\n\
             [anti_fraud]\nmax_user_ad_minute = {}\nmax_user_clicks_minute = {}\nmax_user_ads_10s = {}\n",
            r.allowed_lateness,
            r.max_ahead,
            r.dedup_retention,
            r.bots,
            networks.join(", "),
            r.max_per_ip_ad_minute,
            r.max_user_ad_minute,
            r.max_user_clicks_minute,
            r.max_user_ads_10s,
        )
    }

    /// Keeps the set in a directory.
    pub fn save(&self, dir: &Path) -> Result<(), JobError> {
        let path = path(dir, self.fingerprint());
        if path.exists() {
            return Ok(());
        }
        fs::create_dir_all(dir).map_err(JobError::io("create", dir))?;
        let sealed = Sealed { format: FORMAT, crc32c: sum_of_json(self), rules: self.clone() };
        let text = serde_json::to_vec_pretty(&sealed).unwrap_or_default();
        replace_file(&path, &text, PUBLIC, Some("rules.write")).map_err(JobError::io("write", &path))
    }

    /// Reads a set by its fingerprint. How state is kept is not a rule: that is as in `like`.
    pub fn load(dir: &Path, fingerprint: u64, like: &Rules) -> Result<Self, JobError> {
        let path = path(dir, fingerprint);
        let text = fs::read(&path).map_err(JobError::io("read", &path))?;
        let sealed: Option<Sealed> = serde_json::from_slice(&text).ok();
        let whole = sealed
            .filter(|s| s.format == FORMAT && s.crc32c == sum_of_json(&s.rules))
            .filter(|s| s.rules.fingerprint() == fingerprint);
        let mut set = whole.map(|s| s.rules).ok_or_else(|| JobError::Control {
            path: path.clone(),
            problem: "is damaged. Restore the file from a backup".to_owned(),
        })?;
        (set.rules.hot_minutes, set.rules.hot_entries) = (like.hot_minutes, like.hot_entries);
        Ok(set)
    }
}

fn path(dir: &Path, fingerprint: u64) -> std::path::PathBuf {
    dir.join(format!("{fingerprint:016x}.json"))
}
