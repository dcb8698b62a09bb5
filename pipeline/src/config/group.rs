//! `[group]`: this process is one of several workers that share the partitions; its keys, defaults and contradictions.

use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use super::blame::Checker;
use super::duration::text;
use super::{Config, CoordinatorKind, LogKind, values};

/// How soon, at the least and at most, a worker that is silent may lose its partitions.
const SESSION: RangeInclusive<Duration> = Duration::from_secs(6)..=Duration::from_secs(30);
const SESSION_OF_ZOOKEEPER: RangeInclusive<Duration> = Duration::from_secs(4)..=Duration::from_secs(60);
/// How long the session of a worker in a site may be: another site is to have taken over within 30 seconds.
const SESSION_OF_SITE: Duration = Duration::from_secs(20);

/// `[group]`: one of several workers.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Group {
    /// The number of this worker, 0 to 999: no other one has it, and it keeps it (default 0).
    #[serde(deserialize_with = "values::whole::<_, _, 0, 999>")]
    pub worker: u16,
    /// With `kafka`: after how long of silence its partitions go to others, 6s to 30s (default 10s).
    #[serde(deserialize_with = "values::duration")]
    pub session_timeout: Duration,
    /// Who decides which worker has which partitions: `kafka` (the default), `zookeeper` or `static`.
    pub coordinator: CoordinatorKind,
    /// With `static`: the partitions of this worker, such as `0-7,12` (default none).
    pub partitions: String,
    /// With `zookeeper`: where it is, and what the group has there.
    pub zookeeper: ZooKeeper,
    /// Where the others and operators reach its control service; `listen.control` if empty (the default).
    pub address: String,
}

impl Default for Group {
    fn default() -> Self {
        Self {
            worker: 0,
            session_timeout: Duration::from_secs(10),
            coordinator: CoordinatorKind::Kafka,
            partitions: String::new(),
            zookeeper: ZooKeeper::default(),
            address: String::new(),
        }
    }
}

/// `[group.zookeeper]`: where the leases of partitions are.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct ZooKeeper {
    /// Its servers, `host:port,host:port` (default `127.0.0.1:2181`).
    pub servers: String,
    /// The node that all nodes of the group are below, another one for each group (default `/weir`).
    pub path: String,
    /// After how long of silence the partitions of a worker go to others, 4s to 60s, with a site at most 20s (default 30s).
    #[serde(deserialize_with = "values::duration")]
    pub session_timeout: Duration,
    /// The data centre of this worker: those of one share the partitions, those of others stand by (default none).
    pub site: String,
    /// A file with `user:password`, so that only this user reads and writes the nodes (default none).
    pub auth_file: PathBuf,
}

impl Default for ZooKeeper {
    fn default() -> Self {
        Self {
            servers: "127.0.0.1:2181".to_owned(),
            path: "/weir".to_owned(),
            session_timeout: Duration::from_secs(30),
            site: String::new(),
            auth_file: PathBuf::new(),
        }
    }
}

/// Partitions as people write them, such as `0-7,12`; none if that is no such list.
pub fn partitions(text: &str, all: u32) -> Option<Vec<u32>> {
    let mut partitions = std::collections::BTreeSet::new();
    for part in text.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last): (u32, u32) = (first.trim().parse().ok()?, last.trim().parse().ok()?);
        if first > last || last >= all {
            return None;
        }
        partitions.extend(first..=last);
    }
    Some(partitions.into_iter().collect())
}

impl Checker<'_> {
    /// What contradicts `[group]`.
    pub(super) fn group(&mut self) {
        let Config { group: Some(group), log, checkpoints, deliver, ledger, .. } = self.config else {
            return;
        };
        self.address(group);
        if log.kind == LogKind::Embedded {
            let message = "[group] shares the partitions of a log that is not in one process's directory; set `log.kind` to \
                           \"kafka\" or \"fluvio\", or remove [group]."
                .to_owned();
            self.blame(&["group", "log.kind"], message);
        }
        if log.kind == LogKind::Fluvio && group.coordinator == CoordinatorKind::Kafka {
            let message = "Fluvio has no groups that could share partitions out; set `group.coordinator` to \"zookeeper\" or \
                           \"static\"."
                .to_owned();
            self.blame(&["group.coordinator", "group", "log.kind"], message);
        }
        self.coordinator(group);
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
        self.session("group.session_timeout", group.session_timeout, SESSION);
        self.session(
            "group.zookeeper.session_timeout",
            group.zookeeper.session_timeout,
            SESSION_OF_ZOOKEEPER,
        );
    }

    fn session(&mut self, key: &str, given: Duration, range: RangeInclusive<Duration>) {
        if !range.contains(&given) {
            let (given, least, most) = (text(given), text(*range.start()), text(*range.end()));
            let message = format!("`{key}` is '{given}'; it must be from \"{least}\" to \"{most}\".");
            self.blame(&[key], message);
        }
    }

    /// What contradicts who decides about partitions.
    fn coordinator(&mut self, group: &Group) {
        let (is_static, all) = (group.coordinator == CoordinatorKind::Static, self.config.partitions);
        if is_static && partitions(&group.partitions, all).is_none() {
            let message = format!(
                "`group.partitions` is '{}'; with `group.coordinator` \"static\" it must name some of the partitions 0 to {}, \
                 such as \"0-7,12\".",
                group.partitions,
                all.saturating_sub(1)
            );
            self.blame(&["group.partitions", "group.coordinator"], message);
        } else if !is_static && !group.partitions.is_empty() {
            let message = "`group.partitions` says which partitions this worker has; set `group.coordinator` to \"static\", or \
                           remove it."
                .to_owned();
            self.blame(&["group.partitions"], message);
        }
        if !group.zookeeper.path.starts_with('/') || group.zookeeper.path.ends_with('/') {
            let message = format!(
                "`group.zookeeper.path` is '{}'; it must be the path of a node, such as \"/weir\".",
                group.zookeeper.path
            );
            self.blame(&["group.zookeeper.path"], message);
        }
        let (site, session) = (&group.zookeeper.site, group.zookeeper.session_timeout);
        if !site.is_empty() && session > SESSION_OF_SITE && SESSION_OF_ZOOKEEPER.contains(&session) {
            let message = format!(
                "`group.zookeeper.session_timeout` is '{}'; set it to \"{}\" or less with `group.zookeeper.site`, so that \
                 another site takes over within 30 seconds.",
                text(session),
                text(SESSION_OF_SITE)
            );
            self.blame(&["group.zookeeper.session_timeout", "group.zookeeper.site"], message);
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
