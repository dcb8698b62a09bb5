//! Settings that contradict one another.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::blame::{Checker, Places};
use super::duration::text;
use super::files;
use super::{Config, ConfigErrors};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);

impl Config {
    /// Checks the settings against one another and the files they name, such
    /// as after a change to a loaded configuration; [`Config::load`] has done
    /// this already. Relative paths are taken from the current directory.
    ///
    /// # Errors
    /// All the problems found, without lines.
    pub fn check(&self) -> Result<(), ConfigErrors> {
        let mut checker = Checker::new(self, Places::default(), Vec::new());
        checker.contradictions(true);
        checker.files();
        ConfigErrors::refuse("configuration", checker.problems)
    }
}

impl Checker<'_> {
    /// Follows links when comparing paths if `on_disk`.
    pub(super) fn contradictions(&mut self, on_disk: bool) {
        self.retention();
        self.lateness();
        self.horizon();
        self.addresses();
        self.paths_given();
        self.delivery();
        self.ledger();
        self.ingest();
        self.security();
        self.credentials();
        self.optional();
        self.group();
        self.fluvio();
        self.sources(if on_disk { files::real } else { files::tidy });
    }

    fn retention(&mut self) {
        let kept = self.config.time.dedup_retention;
        let horizon = self.config.checkpoints.every_hour_for;
        if kept < horizon {
            let (kept, horizon) = (text(kept), text(horizon));
            self.blame(
                &["time.dedup_retention", "checkpoints.every_hour_for"],
                format!(
                    "`time.dedup_retention` ({kept}) is shorter than the replay horizon \
                     `checkpoints.every_hour_for` ({horizon}), so a replay would charge again \
                     the clicks already forgotten; set it to {horizon} or more."
                ),
            );
        }
        let late = self.config.time.allowed_lateness;
        let least = late.saturating_add(HOUR);
        if kept < least {
            let (kept, late, least) = (text(kept), text(late), text(least));
            self.blame(
                &["time.dedup_retention", "time.allowed_lateness"],
                format!(
                    "`time.dedup_retention` ({kept}) is shorter than \
                     `time.allowed_lateness` ({late}) and an hour, so a late duplicate would be \
                     charged; set it to {least} or more."
                ),
            );
        }
    }

    fn lateness(&mut self) {
        let late = self.config.time.allowed_lateness;
        if late < MINUTE {
            let late = text(late);
            self.blame(
                &["time.allowed_lateness"],
                format!(
                    "`time.allowed_lateness` ({late}) is shorter than a minute; \
                     set it to 1m or more."
                ),
            );
        }
    }

    fn horizon(&mut self) {
        let minutes = self.config.checkpoints.every_minute_for;
        let hours = self.config.checkpoints.every_hour_for;
        if minutes > hours {
            let (minutes, hours) = (text(minutes), text(hours));
            self.blame(
                &["checkpoints.every_minute_for", "checkpoints.every_hour_for"],
                format!(
                    "`checkpoints.every_minute_for` ({minutes}) is longer than \
                     `checkpoints.every_hour_for` ({hours}); set it to {hours} or less."
                ),
            );
        }
    }

    fn addresses(&mut self) {
        let ports = self.config.ports().into_iter();
        let on: Vec<_> = ports.map(|(port, address)| (format!("listen.{port}"), address)).collect();
        for (i, (key, address)) in on.iter().enumerate() {
            for (other_key, other) in on[..i].iter().filter(|(_, other)| clash(*other, *address)) {
                self.blame(
                    &[key, other_key],
                    format!(
                        "`{other_key}` ({other}) and `{key}` ({address}) are the same address; give one of \
                         them another port."
                    ),
                );
            }
        }
    }

    fn delivery(&mut self) {
        let Some(deliver) = &self.config.deliver else { return };
        let url = &deliver.url;
        if !is_http(url) {
            let message = match url.as_str() {
                "" => {
                    "`deliver.url` is missing or empty; give it the address of the account system.".to_owned()
                }
                _ => format!(
                    "`deliver.url` is {url:?}; write it as http://host:port/path or https://host/path."
                ),
            };
            self.blame(&["deliver.url", "deliver"], message);
        }
        if deliver.backoff > deliver.backoff_max {
            let (first, most) = (text(deliver.backoff), text(deliver.backoff_max));
            self.blame(
                &["deliver.backoff", "deliver.backoff_max"],
                format!(
                    "`deliver.backoff` ({first}) is longer than `deliver.backoff_max` ({most}); \
                     set it to {most} or less."
                ),
            );
        }
        if deliver.slow_at > deliver.pause_at {
            let (slow, pause) = (deliver.slow_at, deliver.pause_at);
            self.blame(
                &["deliver.slow_at", "deliver.pause_at"],
                format!(
                    "`deliver.slow_at` ({slow}) is more than `deliver.pause_at` ({pause}); \
                     set it to {pause} or less."
                ),
            );
        }
    }

    fn ledger(&mut self) {
        let Some(ledger) = &self.config.ledger else { return };
        let message = match crate::ledger::parse_url(&ledger.url) {
            Ok(_) => return,
            Err(_) if ledger.url.is_empty() => {
                "`ledger.url` is missing or empty; give it the address of the database.".to_owned()
            }
            Err(wrong) => format!("`ledger.url` {wrong}; write it as postgres://user@host:port/database."),
        };
        self.blame(&["ledger.url", "ledger"], message);
    }

    fn paths_given(&mut self) {
        let config = self.config;
        for (key, path) in files::named(config) {
            if path.as_os_str().is_empty() {
                let section = key.strip_suffix(".path").unwrap_or(&key);
                self.blame(&[&key, section], format!("`{key}` is missing or empty; give it a path."));
            }
        }
    }

    fn sources(&mut self, settle: fn(&Path) -> PathBuf) {
        let data_dir = settle(&self.config.data_dir);
        let mut seen: BTreeMap<_, String> = BTreeMap::new();
        for (index, source) in self.config.sources.iter().enumerate() {
            if source.path.as_os_str().is_empty() {
                continue;
            }
            let key = format!("source[{index}].path");
            let path = settle(&source.path);
            let shown = source.path.display();
            if path.starts_with(&data_dir) {
                let message =
                    format!("the source {shown} is inside `data_dir`, where Weir writes; move it elsewhere.");
                self.blame(&[&key, "data_dir"], message);
            }
            if let Some(first) = seen.get(&path) {
                let message = format!(
                    "the source {shown} is already `{first}`, and would be read twice; \
                     remove one of the two."
                );
                self.blame(&[&key, first], message);
            } else {
                seen.insert(path, key);
            }
        }
    }
}

/// Whether it is an address that can be posted to.
pub(super) fn is_http(url: &str) -> bool {
    let uri: Option<ureq::http::Uri> = url.parse().ok();
    uri.is_some_and(|uri| matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some())
}

/// Whether one of the two could not listen. Port 0 is a free port for each.
fn clash(one: SocketAddr, other: SocketAddr) -> bool {
    let anywhere = one.ip().is_unspecified() || other.ip().is_unspecified();
    one.port() != 0 && one.port() == other.port() && (anywhere || one.ip() == other.ip())
}
