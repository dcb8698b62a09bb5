//! Partitions as leases in Apache ZooKeeper, for logs that have no groups of their own: a worker has a partition while
//! there is an ephemeral node of it. A worker that dies loses its nodes when its session ends, and others take over.
//!
//! Workers may be in several data centres, called sites. One of them works; the others stand by, and one of these takes
//! over when no worker of that site is there any more. It goes on then, also when the other one comes back.

mod nodes;

use super::shares::{Me, Plan, Seen};
use super::{Coordinator, GroupError, Hands, Membership, Peer};
use crate::log::{LiveLog, LogError};
use nodes::Nodes;
use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::runtime::Runtime;
use weir_proto::TopicId;

/// How often it is looked what others do.
const LOOK: Duration = Duration::from_secs(1);
/// How long a call waits.
const NAP: Duration = Duration::from_millis(100);
/// A place that is taken again within this time is another process's.
const FENCED_AGAIN: Duration = Duration::from_secs(120);

/// Which ZooKeeper, and what there.
#[derive(Clone, PartialEq, Eq)]
pub struct ZooKeeperOptions {
    /// `host:port,host:port`.
    pub servers: String,
    /// What all nodes of the group are below.
    pub path: String,
    /// The data centre of this worker.
    pub site: String,
    /// `user:password`, if nodes are to be this user's only.
    pub auth: Option<String>,
}

impl fmt::Debug for ZooKeeperOptions {
    /// Without the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ZooKeeper at {}{} for site {:?}", self.servers, self.path, self.site)
    }
}

/// A worker's place in a group that ZooKeeper knows.
pub(super) struct ZooKeeper {
    options: ZooKeeperOptions,
    membership: Membership,
    partitions: u32,
    log: Arc<dyn LiveLog>,
    hands: Arc<dyn Hands>,
    nodes: Option<Nodes>,
    /// Whether it has said in this session that it is there.
    is_registered: bool,
    /// What it has said that it has.
    held: BTreeSet<u32>,
    /// When its place was taken last.
    fenced: Option<Instant>,
    looked: Option<Instant>,
    is_away: bool,
    /// Ends last: the client's tasks are there.
    runtime: Runtime,
}

impl ZooKeeper {
    pub(super) fn join(
        options: &ZooKeeperOptions,
        membership: &Membership,
        partitions: u32,
        log: Arc<dyn LiveLog>,
        hands: Arc<dyn Hands>,
    ) -> Result<Self, GroupError> {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("weir-zookeeper")
            .enable_all()
            .build()
            .map_err(GroupError::Runtime)?;
        Ok(ZooKeeper {
            options: options.clone(),
            membership: membership.clone(),
            partitions,
            log,
            hands,
            nodes: None,
            is_registered: false,
            held: BTreeSet::new(),
            fenced: None,
            looked: None,
            is_away: false,
            runtime,
        })
    }

    /// Looks what the others do, and does its part.
    fn look(&mut self) -> Result<(), GroupError> {
        // While ZooKeeper is away it keeps what it has: to stop while nobody takes over helps nobody.
        let nodes = match self.nodes.take().filter(|nodes| !nodes.is_over()) {
            Some(nodes) => nodes,
            None => {
                self.is_registered = false;
                self.runtime.block_on(Nodes::open(&self.options, self.membership.session_timeout))?
            }
        };
        let done = self.act(&nodes);
        // Where nodes are gone that all others are below, they are made anew.
        let is_deleted =
            matches!(&done, Err(GroupError::ZooKeeper { source: zookeeper_client::Error::NoNode, .. }));
        self.nodes = Some(nodes).filter(|_| !is_deleted);
        done
    }

    fn act(&mut self, nodes: &Nodes) -> Result<(), GroupError> {
        let (worker, session) = (self.membership.worker, nodes.session());
        let seen = self.runtime.block_on(nodes.look())?;
        if seen.workers.get(&worker).is_none_or(|present| present.session != session) {
            self.register(nodes, seen.workers.contains_key(&worker))?;
            return Ok(());
        }
        let site = &self.options.site;
        if seen.is_deserted() && self.runtime.block_on(nodes.activate(site, seen.active.as_deref()))? {
            if let Some(gone) = seen.active.as_ref().filter(|gone| **gone != self.options.site) {
                tracing::warn!(
                    "site {:?} takes over: no worker of site {gone:?} is there",
                    self.options.site
                );
            }
            return Ok(());
        }
        self.share(nodes, &seen)?;
        self.hands.sees(peers(&seen));
        Ok(())
    }

    fn register(&mut self, nodes: &Nodes, is_taken: bool) -> Result<(), GroupError> {
        if self.is_registered && is_taken {
            if self.fenced.is_some_and(|at| at.elapsed() < FENCED_AGAIN) {
                let (worker, group) = (self.membership.worker, self.options.path.clone());
                return Err(LogError::SameWorker { worker, group }.into());
            }
            tracing::warn!("another process has taken the place of worker {}", self.membership.worker);
            self.fenced = Some(Instant::now());
        }
        self.runtime.block_on(nodes.register(&self.membership))?;
        self.is_registered = true;
        // At once.
        self.looked = None;
        Ok(())
    }

    fn share(&mut self, nodes: &Nodes, seen: &Seen) -> Result<(), GroupError> {
        let (worker, session) = (self.membership.worker, nodes.session());
        let is_mine = |partition: &u32| seen.leases.get(partition).is_some_and(|l| l.worker == worker);
        let lost: Vec<u32> = self.held.iter().filter(|partition| !is_mine(partition)).copied().collect();
        self.give_up(&lost);
        let own: Vec<u32> =
            seen.of_session(session).into_iter().filter(|partition| !self.held.contains(partition)).collect();
        self.take(&own);
        let me = Me { worker, session, site: self.options.site.clone() };
        let Plan { release, take } = seen.plan(&me, self.partitions);
        // Whoever gets them begins when that is done.
        self.give_up(&release);
        for partition in release {
            self.runtime.block_on(nodes.release(partition, seen))?;
        }
        let mut taken = Vec::new();
        for partition in take {
            match self.runtime.block_on(nodes.take(partition, worker, seen))? {
                true => taken.push(partition),
                false => self.give_up(&[partition]),
            }
        }
        self.take(&taken);
        Ok(())
    }

    fn take(&mut self, partitions: &[u32]) {
        let new: Vec<u32> = partitions.iter().filter(|p| self.held.insert(**p)).copied().collect();
        if !new.is_empty() {
            self.hands.take(&new);
        }
    }

    fn give_up(&mut self, partitions: &[u32]) {
        let held: Vec<u32> = partitions.iter().filter(|p| self.held.remove(p)).copied().collect();
        if !held.is_empty() {
            self.hands.give_up(&held);
        }
    }
}

fn peers(seen: &Seen) -> Vec<Peer> {
    let peer = |(worker, present): (&u16, &super::shares::Present)| {
        let partitions = seen.leases.iter().filter(|(_, lease)| lease.worker == *worker);
        Peer {
            worker: *worker,
            address: present.address.clone(),
            partitions: partitions.map(|(p, _)| *p).collect(),
        }
    };
    seen.workers.iter().map(peer).collect()
}

impl Coordinator for ZooKeeper {
    fn attend(&mut self) -> Result<(), GroupError> {
        std::thread::sleep(NAP);
        if self.looked.is_some_and(|at| at.elapsed() < LOOK) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        match self.look() {
            Ok(()) => {
                if std::mem::take(&mut self.is_away) {
                    tracing::info!("ZooKeeper answers again");
                }
                Ok(())
            }
            Err(error) if error.is_away() => {
                if !std::mem::replace(&mut self.is_away, true) {
                    tracing::warn!("{error}");
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn tell(&self, positions: &[(TopicId, u32, u64)]) -> Result<(), LogError> {
        self.log.tell(positions)
    }
}
