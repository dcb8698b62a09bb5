//! Who should have which partitions, where workers agree by leases: each decides for itself, from what all see, and none
//! takes what another one has. In the end each has as many as any other, or one more.

use std::collections::{BTreeMap, BTreeSet};

/// A worker that is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Present {
    /// Where its control service is.
    pub address: String,
    /// The data centre that it is in.
    pub site: String,
    /// Its session: it ends with the worker's process, or its connection.
    pub session: i64,
}

/// A partition that somebody has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    /// Who.
    pub worker: u16,
    /// In which session.
    pub session: i64,
}

/// What all see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The workers that are there.
    pub workers: BTreeMap<u16, Present>,
    /// The partitions that are somebody's.
    pub leases: BTreeMap<u32, Lease>,
    /// The site that works, if one does.
    pub active: Option<String>,
}

/// Who looks.
#[derive(Clone, Debug)]
pub struct Me {
    /// Its number.
    pub worker: u16,
    /// Its session.
    pub session: i64,
    /// Its site.
    pub site: String,
}

/// What it should do.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    /// Partitions that it has in this session or has had in one before, and lets go of.
    pub release: Vec<u32>,
    /// Partitions that it tries to get, those first that it has had in a session before.
    pub take: Vec<u32>,
}

impl Seen {
    /// Whether no worker of the site that works is there.
    pub fn is_deserted(&self) -> bool {
        let active = self.active.as_ref();
        active.is_none_or(|active| !self.workers.values().any(|worker| worker.site == *active))
    }

    /// The partitions of a session.
    pub fn of_session(&self, session: i64) -> BTreeSet<u32> {
        self.leases.iter().filter(|(_, lease)| lease.session == session).map(|(p, _)| *p).collect()
    }

    /// What a worker should do about the partitions.
    pub fn plan(&self, me: &Me, partitions: u32) -> Plan {
        let is_mine = |lease: &Lease| lease.worker == me.worker;
        let (own, earlier): (Vec<_>, Vec<_>) = self
            .leases
            .iter()
            .filter(|(_, lease)| is_mine(lease))
            .partition(|(_, lease)| lease.session == me.session);
        let (own, earlier): (Vec<u32>, Vec<u32>) =
            (own.into_iter().map(|(p, _)| *p).collect(), earlier.into_iter().map(|(p, _)| *p).collect());
        let share = self.share_of(me, partitions);
        let mine = own.len() + earlier.len();
        if mine > share {
            // What it had before goes first: nothing of it is open.
            let all = earlier.iter().rev().chain(own.iter().rev());
            let release: Vec<u32> = all.take(mine - share).copied().collect();
            let take = earlier.into_iter().filter(|p| !release.contains(p)).collect();
            return Plan { release, take };
        }
        let free: Vec<u32> = (0..partitions).filter(|p| !self.leases.contains_key(p)).collect();
        // Workers that look at the same time do not all begin with the same one.
        let begin = free.len() * self.place_of(me).0 / self.place_of(me).1.max(1);
        let free = free.iter().cycle().skip(begin).take(free.len().min(share - mine)).copied();
        Plan { release: Vec::new(), take: earlier.into_iter().chain(free).collect() }
    }

    /// How many partitions a worker should have.
    fn share_of(&self, me: &Me, partitions: u32) -> usize {
        let (place, all) = self.place_of(me);
        if all == 0 || self.active.as_ref() != Some(&me.site) {
            return 0;
        }
        let partitions = partitions as usize;
        partitions / all + usize::from(place < partitions % all)
    }

    /// The how-manieth worker of its site it is, and of how many.
    fn place_of(&self, me: &Me) -> (usize, usize) {
        let mates = || self.workers.iter().filter(|(_, worker)| worker.site == me.site);
        (mates().filter(|(worker, _)| **worker < me.worker).count(), mates().count())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PARTITIONS: u32 = 16;

    /// Workers that look in turns, and what they then have.
    struct World(Seen);

    impl World {
        fn new(sites: &[&str]) -> Self {
            let mut world = World(Seen { active: Some(sites[0].to_owned()), ..Seen::default() });
            (0..).zip(sites).for_each(|(worker, site)| world.join(worker, i64::from(worker) + 100, site));
            world
        }

        fn join(&mut self, worker: u16, session: i64, site: &str) {
            let present = Present { address: String::new(), site: site.to_owned(), session };
            self.0.workers.insert(worker, present);
        }

        fn end(&mut self, session: i64) {
            self.0.workers.retain(|_, worker| worker.session != session);
            self.0.leases.retain(|_, lease| lease.session != session);
        }

        /// Each worker does what it should, until none does anything; what each has.
        fn settle(&mut self) -> Vec<usize> {
            for _ in 0..10 {
                for (worker, present) in self.0.workers.clone() {
                    let me = Me { worker, session: present.session, site: present.site };
                    let plan = self.0.plan(&me, PARTITIONS);
                    plan.release.iter().for_each(|p| _ = self.0.leases.remove(p));
                    for p in plan.take {
                        let lease = Lease { worker, session: me.session };
                        let before = self.0.leases.insert(p, lease);
                        assert!(before.is_none_or(|before| before.worker == worker), "it was another one's");
                    }
                }
            }
            let all = self.0.workers.values();
            all.map(|worker| self.0.of_session(worker.session).len()).collect()
        }
    }

    #[test]
    fn all_have_the_same_share_and_little_moves() {
        let mut world = World::new(&["", "", ""]);
        assert_eq!(world.settle(), [6, 5, 5]);
        let before = world.0.leases.clone();
        world.join(3, 103, "");
        assert_eq!(world.settle(), [4, 4, 4, 4]);
        let moved = world.0.leases.iter().filter(|(p, lease)| before[p] != **lease).count();
        assert_eq!(moved, 4, "only what the new one has");
        world.end(101);
        assert_eq!(world.settle(), [6, 5, 5]);
    }

    #[test]
    fn a_worker_that_starts_again_has_what_it_had() {
        let mut world = World::new(&["", ""]);
        world.settle();
        let before = world.0.of_session(101);
        // Its former session has not ended yet.
        world.join(1, 201, "");
        assert_eq!(world.settle(), [8, 8]);
        assert_eq!(world.0.of_session(201), before);
        // Others have come meanwhile: it has less.
        world.join(2, 102, "");
        world.join(1, 301, "");
        assert_eq!(world.settle(), [6, 5, 5]);
        assert!(world.0.of_session(201).is_empty());
    }

    #[test]
    fn a_site_that_stands_by_has_nothing_until_the_other_one_is_gone() {
        let mut world = World::new(&["east", "east", "west"]);
        assert_eq!(world.settle(), [8, 8, 0]);
        world.end(100);
        assert_eq!(world.settle(), [16, 0]);
        assert!(!world.0.is_deserted());
        world.end(101);
        assert!(world.0.is_deserted());
        world.0.active = Some("west".to_owned());
        assert_eq!(world.settle(), [16]);
        // It stays there when the other one comes back.
        world.join(0, 200, "east");
        assert_eq!(world.settle(), [0, 16]);
    }
}
