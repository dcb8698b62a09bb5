//! What a group has in ZooKeeper, below its path:
//!
//! ```text
//! workers/<number>       a worker that is there: {"format": 1, "crc32c": …, "node": {"address": "…", "site": "…"}}; ephemeral
//! partitions/<number>    a partition that somebody has: {…, "node": {"worker": 3}}; ephemeral
//! active                 the site that works: {…, "node": {"site": "…"}}
//! ```
//!
//! The checksum is that of the node as compact JSON. Ephemeral nodes go away with the session of who has made them.

use super::ZooKeeperOptions;
use crate::group::shares::{Lease, Present, Seen};
use crate::group::{GroupError, Membership};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use weir_state::sum_of_json;
use zookeeper_client::{
    Acls, Client, CreateMode, Error, MultiReadResult, MultiWriteError, MultiWriter, Stat,
};

const FORMAT: u32 = 1;
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

const WORKERS: &str = "workers";
const PARTITIONS: &str = "partitions";
const ACTIVE: &str = "active";

#[derive(Serialize, Deserialize)]
struct Sealed<T> {
    format: u32,
    crc32c: u32,
    node: T,
}

#[derive(Serialize, Deserialize)]
struct Worker {
    address: String,
    site: String,
}

#[derive(Serialize, Deserialize)]
struct Held {
    worker: u16,
}

#[derive(Serialize, Deserialize)]
struct Active {
    site: String,
}

/// A session in which a group's nodes are read and written.
pub(super) struct Nodes {
    client: Client,
    options: ZooKeeperOptions,
}

impl Nodes {
    /// Begins a session, and makes the nodes that all others are below.
    pub(super) async fn open(options: &ZooKeeperOptions, session: Duration) -> Result<Self, GroupError> {
        // Whoever starts again before its session ends has what it had: nothing is let go of at the end.
        let mut connector = Client::connector().with_session_timeout(session).with_detached();
        if let Some(auth) = &options.auth {
            connector = connector.with_auth("digest", auth.as_bytes());
        }
        let asked = connector.connect(&options.servers);
        let client = in_time(asked).await.map_err(failed(options, "begin a session"))?;
        if client.session_timeout() > session {
            tracing::warn!(
                "ZooKeeper at {} grants sessions of {:?} and not of {session:?}: takeovers are later by that. Lower its \
                 `minSessionTimeout` or `tickTime`",
                options.servers,
                client.session_timeout()
            );
        }
        let nodes = Nodes { client, options: options.clone() };
        for node in [WORKERS, PARTITIONS] {
            let (path, options) = (nodes.path(node), CreateMode::Persistent.with_acls(nodes.acls()));
            nodes.done("make nodes", nodes.client.mkdir(&path, &options)).await?;
        }
        Ok(nodes)
    }

    /// Whether the session has ended, be it for want of answers.
    pub(super) fn is_over(&self) -> bool {
        self.client.state().is_terminated()
    }

    pub(super) fn session(&self) -> i64 {
        self.client.session_id().0
    }

    fn acls(&self) -> Acls<'static> {
        if self.options.auth.is_some() { Acls::creator_all() } else { Acls::anyone_all() }
    }

    fn path(&self, node: &str) -> String {
        format!("{}/{node}", self.options.path.trim_end_matches('/'))
    }

    /// What all see now.
    pub(super) async fn look(&self) -> Result<Seen, GroupError> {
        let mut seen = Seen { active: self.active().await?.map(|(site, _)| site), ..Seen::default() };
        for (number, node, stat) in self.all::<Worker>(WORKERS).await? {
            let present = Present { address: node.address, site: node.site, session: stat.ephemeral_owner };
            seen.workers.insert(u16::try_from(number).unwrap_or(u16::MAX), present);
        }
        for (partition, node, stat) in self.all::<Held>(PARTITIONS).await? {
            seen.leases.insert(partition, Lease { worker: node.worker, session: stat.ephemeral_owner });
        }
        Ok(seen)
    }

    async fn active(&self) -> Result<Option<(String, i32)>, GroupError> {
        let path = self.path(ACTIVE);
        match in_time(self.client.get_data(&path)).await {
            Ok((text, stat)) => Ok(Some((self.opened::<Active>(&path, &text)?.site, stat.version))),
            Err(Error::NoNode) => Ok(None),
            Err(error) => Err(failed(&self.options, "read nodes")(error)),
        }
    }

    /// The nodes below one, by their numbers.
    async fn all<T: DeserializeOwned + Serialize>(
        &self,
        below: &str,
    ) -> Result<Vec<(u32, T, Stat)>, GroupError> {
        let folder = self.path(below);
        let names = self.done("read nodes", self.client.list_children(&folder)).await?;
        let mut reader = self.client.new_multi_reader();
        let paths: Vec<String> = names.iter().map(|name| format!("{folder}/{name}")).collect();
        paths
            .iter()
            .try_for_each(|path| reader.add_get_data(path))
            .map_err(failed(&self.options, "read nodes"))?;
        let found = self.done("read nodes", reader.commit()).await?;
        let mut all = Vec::new();
        for ((name, path), found) in names.iter().zip(&paths).zip(found) {
            match found {
                MultiReadResult::Data { data, stat } => {
                    let number = name.parse().map_err(|_| self.foreign(path))?;
                    all.push((number, self.opened(path, &data)?, stat));
                }
                // It has gone meanwhile.
                _ => continue,
            }
        }
        Ok(all)
    }

    /// Says that a worker is there, in the place of one of that number.
    pub(super) async fn register(&self, membership: &Membership) -> Result<(), GroupError> {
        let node = Worker { address: membership.address.clone(), site: self.options.site.clone() };
        self.put(&self.path(&format!("{WORKERS}/{}", membership.worker)), &node, None).await.map(|_| ())
    }

    /// Takes a partition, if it is nobody else's; whether it was.
    pub(super) async fn take(&self, partition: u32, worker: u16, seen: &Seen) -> Result<bool, GroupError> {
        let path = self.path(&format!("{PARTITIONS}/{partition}"));
        if let Some(lease) = seen.leases.get(&partition) {
            return self.put(&path, &Held { worker }, Some(lease.session)).await;
        }
        let made = self.client.create(
            &path,
            &sealed(&Held { worker }),
            &CreateMode::Ephemeral.with_acls(self.acls()),
        );
        match in_time(made).await {
            Ok(_) => Ok(true),
            Err(Error::NodeExists) => Ok(false),
            Err(error) => Err(failed(&self.options, "take a partition")(error)),
        }
    }

    /// Lets go of a partition, unless it is another one's meanwhile.
    pub(super) async fn release(&self, partition: u32, seen: &Seen) -> Result<(), GroupError> {
        let path = self.path(&format!("{PARTITIONS}/{partition}"));
        let there = self.done("read nodes", self.client.check_stat(&path)).await?;
        let own = seen.leases.get(&partition).map(|lease| lease.session);
        if there.map(|stat| stat.ephemeral_owner) != own {
            return Ok(());
        }
        match in_time(self.client.delete(&path, None)).await {
            Ok(()) | Err(Error::NoNode) => Ok(()),
            Err(error) => Err(failed(&self.options, "let go of a partition")(error)),
        }
    }

    /// Says that a site works from now on, in the place of another one or of none, unless yet another one was faster; whether
    /// it does.
    pub(super) async fn activate(&self, site: &str, former: Option<&str>) -> Result<bool, GroupError> {
        let (path, text) = (self.path(ACTIVE), sealed(&Active { site: site.to_owned() }));
        let options = CreateMode::Persistent.with_acls(self.acls());
        let written = match self.active().await? {
            Some((now, _)) if former != Some(&now) => return Ok(false),
            Some((_, version)) => {
                in_time(self.client.set_data(&path, &text, Some(version))).await.map(|_| ())
            }
            None => in_time(self.client.create(&path, &text, &options)).await.map(|_| ()),
        };
        match written {
            Ok(()) => Ok(true),
            Err(Error::BadVersion | Error::NodeExists) => Ok(false),
            Err(error) => Err(failed(&self.options, "make a site the active one")(error)),
        }
    }

    /// Makes an ephemeral node of this session in the place of one there may be, or only of that of a session; whether nobody
    /// was faster.
    async fn put<T: Serialize>(&self, path: &str, node: &T, of: Option<i64>) -> Result<bool, GroupError> {
        let there = self.done("read nodes", self.client.check_stat(path)).await?;
        if there.as_ref().is_some_and(|stat| of.is_some_and(|session| session != stat.ephemeral_owner)) {
            return Ok(false);
        }
        let mut writer: MultiWriter<'_> = self.client.new_multi_writer();
        let deleted = there.map_or(Ok(()), |stat| writer.add_delete(path, Some(stat.version)));
        let options = CreateMode::Ephemeral.with_acls(self.acls());
        deleted
            .and_then(|()| writer.add_create(path, &sealed(node), &options))
            .map_err(failed(&self.options, "write nodes"))?;
        let written = tokio::time::timeout(PATIENCE, writer.commit()).await;
        match written.unwrap_or(Err(MultiWriteError::RequestFailed { source: Error::Timeout })) {
            Ok(_) => Ok(true),
            Err(MultiWriteError::OperationFailed { .. }) => Ok(false),
            Err(MultiWriteError::RequestFailed { source }) => {
                Err(failed(&self.options, "write nodes")(source))
            }
        }
    }

    fn opened<T: DeserializeOwned + Serialize>(&self, path: &str, text: &[u8]) -> Result<T, GroupError> {
        let sealed: Option<Sealed<T>> = serde_json::from_slice(text).ok();
        let whole = sealed.filter(|s| s.format == FORMAT && s.crc32c == sum_of_json(&s.node));
        whole.map(|s| s.node).ok_or_else(|| self.foreign(path))
    }

    fn foreign(&self, path: &str) -> GroupError {
        GroupError::Foreign { path: path.to_owned(), servers: self.options.servers.clone() }
    }

    async fn done<T>(
        &self,
        what: &'static str,
        asked: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, GroupError> {
        in_time(asked).await.map_err(failed(&self.options, what))
    }
}

async fn in_time<T>(asked: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    tokio::time::timeout(PATIENCE, asked).await.unwrap_or(Err(Error::Timeout))
}

fn failed(options: &ZooKeeperOptions, what: &'static str) -> impl FnOnce(Error) -> GroupError {
    let servers = options.servers.clone();
    move |source| GroupError::ZooKeeper { what, servers, source }
}

fn sealed<T: Serialize>(node: &T) -> Vec<u8> {
    // Plain data can always be written as JSON.
    serde_json::to_vec(&Sealed { format: FORMAT, crc32c: sum_of_json(node), node }).unwrap_or_default()
}
