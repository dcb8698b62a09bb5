//! `[group]`: this process is one of several workers that share the partitions; its keys, defaults and contradictions.

use std::net::SocketAddr;
use std::time::Duration;

use serde::Deserialize;

use super::blame::Checker;
use super::duration::text;
use super::{Config, LogKind, values};

/// How soon, at the least and at most, a worker that is silent may lose its partitions.
const SESSION: std::ops::RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_secs(30);

/// `[group]`: one of several workers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Group {
    /// The number of this worker, 0 to 999: no other one has it, and it keeps it (default 0).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 999>")]
    pub worker: u16,
    /// After how long of silence its partitions go to others, 6s to 30s (default 10s).
    #[serde(deserialize_with = "values::duration")]
    pub session_timeout: Duration,
    /// Where the others and operators reach its control service; `listen.control` if empty (the default).
    pub address: String,
}

impl Default for Group {
    fn default() -> Self {
        Self { worker: 0, session_timeout: Duration::from_secs(10), address: String::new() }
    }
}

impl Checker<'_> {
    /// What contradicts `[group]`.
    pub(super) fn group(&mut self) {
        let Config { group: Some(group), log, checkpoints, deliver, ledger, .. } = self.config else {
            return;
        };
        self.address(group);
        if log.kind != LogKind::Kafka {
            let message = "[group] shares partitions by Kafka's consumer groups; set `log.kind` to \"kafka\", or remove \
                           [group]."
                .to_owned();
            self.blame(&["group", "log.kind"], message);
        }
        if checkpoints.remote.is_empty() {
            let message = "[group] needs `checkpoints.remote`: whoever takes a partition over gets its state from there."
                .to_owned();
            self.blame(&["group"], message);
        }
        let alone = [("deliver", deliver.is_some()), ("ledger", ledger.is_some())];
        for (section, _) in alone.into_iter().filter(|(_, is_there)| *is_there) {
            let message = format!(
                "[{section}] belongs to a job of one process: with [group] it is not supported; remove one of the two."
            );
            self.blame(&[section, "group"], message);
        }
        if !SESSION.contains(&group.session_timeout) {
            let (given, least, most) =
                (text(group.session_timeout), text(*SESSION.start()), text(*SESSION.end()));
            let message =
                format!("`group.session_timeout` is '{given}'; it must be from \"{least}\" to \"{most}\".");
            self.blame(&["group.session_timeout"], message);
        }
    }

    fn address(&mut self, group: &Group) {
        let is_nowhere = |address: SocketAddr| address.port() == 0 || address.ip().is_unspecified();
        if group.address.is_empty() && self.config.listen.control.is_some_and(is_nowhere) {
            let message = "the other workers cannot reach `listen.control` as it stands: set `group.address` to where they \
                           can, such as \"http://worker-3:9465\"."
                .to_owned();
            self.blame(&["listen.control", "group"], message);
        }
    }
}
