//! What goes wrong: planned before a run, so that a history can be told again without some of it.

use crate::rng::Rng;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use weir_state::{Fate, Faults, StorePoint};

/// Something that goes wrong, or is changed, in the middle.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is killed; of what it wrote and did not sync, some is there afterwards.
    Kill,
    /// The machine stops.
    PowerLoss,
    /// A task dies alone and is opened again.
    TaskLost,
    /// The partition of a task moves, but the old task does not know: it goes on when it wakes up.
    Zombie,
    /// An append fails: is it not done, or done and reported as failed? So many appends from now.
    Append(Fate, u32),
    /// The same for a change of a store.
    Store(Fate, u32),
    /// So many operations find the disk full.
    DiskFull(u32),
    /// Nothing becomes durable in one topic for so many steps.
    Away(u32),
    /// A batch is delivered again.
    Duplicate,
    /// The store of a task is gone: it is made of a checkpoint.
    StoreLost,
    /// So many minutes pass at once: ticks come late, and one stands for several.
    Outage(u32),
    /// A generation is begun from a cut that so many minutes lie behind, with other rules or the same.
    Rewind {
        /// Which of the complete cuts, from the newest.
        back: u32,
        /// The first stage that runs anew.
        from: u8,
        /// Whether its rules are others.
        other_rules: bool,
    },
    /// A candidate, if there is one, takes over.
    Promote,
    /// A candidate, if there is one, is dropped.
    Drop,
}

/// The faults of a seed, each with the step at which it comes, in order.
pub fn plan(rng: &mut Rng, steps: u32) -> Vec<(u32, Fault)> {
    let mut faults: Vec<(u32, Fault)> =
        (0..rng.between(1, 10)).map(|_| (rng.below(u64::from(steps)) as u32, one(rng))).collect();
    if rng.percent(40) {
        // A generation that is promoted has to be begun first.
        let at = rng.between(u64::from(steps) / 3, u64::from(steps) * 3 / 4) as u32;
        faults.push((at, rewind(rng)));
        if rng.percent(70) {
            faults.push((at + rng.between(20, u64::from(steps) / 4) as u32, Fault::Promote));
        }
    }
    faults.sort_by_key(|(at, _)| *at);
    faults
}

fn rewind(rng: &mut Rng) -> Fault {
    Fault::Rewind { back: rng.below(4) as u32, from: rng.below(4) as u8, other_rules: rng.percent(40) }
}

fn one(rng: &mut Rng) -> Fault {
    let fate = if rng.percent(50) { Fate::Fails } else { Fate::DoneButFails };
    match rng.below(100) {
        0..15 => Fault::Kill,
        15..25 => Fault::PowerLoss,
        25..33 => Fault::TaskLost,
        33..43 => Fault::Zombie,
        43..54 => Fault::Append(fate, rng.between(1, 30) as u32),
        54..65 => Fault::Store(fate, rng.between(1, 30) as u32),
        65..68 => Fault::DiskFull(rng.between(1, 6) as u32),
        68..75 => Fault::Away(rng.between(20, 200) as u32),
        75..86 => Fault::Duplicate,
        86..89 => Fault::StoreLost,
        89..92 => Fault::Outage(rng.between(2, 30) as u32),
        92..96 => rewind(rng),
        96..98 => Fault::Promote,
        _ => Fault::Drop,
    }
}

#[derive(Default)]
struct Armed {
    append: Option<(u32, Fate)>,
    store: Option<(u32, Fate)>,
    full: u32,
    fired: bool,
}

/// Makes operations fail.
#[derive(Default)]
pub struct Injector(Mutex<Armed>);

impl Injector {
    fn with<T>(&self, f: impl FnOnce(&mut Armed) -> T) -> T {
        f(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// The append that is so many ahead has this fate.
    pub fn arm_append(&self, fate: Fate, ahead: u32) {
        self.with(|a| a.append = Some((ahead, fate)));
    }

    /// The change of a store that is so many ahead has this fate.
    pub fn arm_store(&self, fate: Fate, ahead: u32) {
        self.with(|a| a.store = Some((ahead, fate)));
    }

    /// So many operations find the disk full.
    pub fn fill_disk(&self, operations: u32) {
        self.with(|a| a.full += operations);
    }

    /// What was armed goes with the process; a full disk stays.
    pub fn disarm_single(&self) {
        self.with(|a| (a.append, a.store, a.fired) = (None, None, false));
    }

    /// Nothing fails any more.
    pub fn disarm(&self) {
        self.with(|a| *a = Armed::default());
    }

    /// Whether something has failed since this was asked last.
    pub fn has_fired(&self) -> bool {
        self.with(|a| std::mem::take(&mut a.fired))
    }

    /// What becomes of an append.
    pub fn at_append(&self) -> Fate {
        self.with(|a| fate_of(a, |a| &mut a.append))
    }
}

fn fate_of(armed: &mut Armed, which: fn(&mut Armed) -> &mut Option<(u32, Fate)>) -> Fate {
    if armed.full > 0 {
        armed.full -= 1;
        armed.fired = true;
        return Fate::Fails;
    }
    match which(armed) {
        Some((0, fate)) => {
            let fate = *fate;
            *which(armed) = None;
            armed.fired = true;
            fate
        }
        Some((ahead, _)) => {
            *ahead -= 1;
            Fate::Done
        }
        None => Fate::Done,
    }
}

impl Faults for Injector {
    fn at_store(&self, _: &Path, _: StorePoint) -> Fate {
        self.with(|a| fate_of(a, |a| &mut a.store))
    }
}
