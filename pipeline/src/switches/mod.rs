//! Switches: the work that can be done without. It is put off, or left out, when what it needs is slow or away, or when
//! somebody says so, and nothing else waits for it.
//!
//! What judges events or moves money has no switch: the source, the stages of the flow, commands, and what is accepted
//! durably are done or the job stops. Nothing of them is left out to keep up, and none of them fails open.
//!
//! A switch is set to `on`, `off` or `auto`. With `auto` a circuit breaker decides ([`breaker`]). What is set, and each
//! flip of a breaker, is an entry of the control log: it outlives the job, and tells later what was done without when.
//! No stage looks at a switch, so a replay comes to the same whatever was switched. What enrichment adds stands in the
//! record itself.

pub mod breaker;
mod entry;
pub(crate) mod service;
mod switch;
#[cfg(test)]
mod tests;

pub use entry::{AllRecorded, Change, Recorded, Setting, SwitchEntry};
pub use switch::{Shown, Switch};

use crate::error::JobError;
use crate::generations::{Entry, Registry};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The switches there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// Writing to the ledger database.
    Ledger,
    /// Posting to the account system.
    Deliver,
    /// Posting copies of what was accepted.
    Mirror,
    /// Looking up regions.
    Enrichment,
}

impl Name {
    /// All of them, as they are listed.
    pub const ALL: [Name; 4] = [Name::Ledger, Name::Deliver, Name::Mirror, Name::Enrichment];

    /// How it is called.
    pub fn name(self) -> &'static str {
        match self {
            Name::Ledger => "ledger",
            Name::Deliver => "deliver",
            Name::Mirror => "mirror",
            Name::Enrichment => "enrichment",
        }
    }

    /// What it is about.
    pub fn about(self) -> &'static str {
        match self {
            Name::Ledger => "writing outcomes to the ledger database",
            Name::Deliver => "posting outcomes to the account system",
            Name::Mirror => "posting copies of accepted requests to another endpoint",
            Name::Enrichment => "giving accepted events that name no region that of their address",
        }
    }

    /// What it costs to have it off.
    pub fn cost(self) -> &'static str {
        match self {
            Name::Ledger => {
                "the database falls behind; the log keeps what it lacks, on disk, and nothing is lost"
            }
            Name::Deliver => {
                "the account system falls behind; the log keeps what it lacks, on disk, and nothing is lost"
            }
            Name::Mirror => "what is accepted meanwhile is not copied, and will not be",
            Name::Enrichment => {
                "events accepted meanwhile stay without a region, for good; they are billed alike"
            }
        }
    }

    /// Which one a word names.
    pub fn parse(word: &str) -> Result<Self, JobError> {
        Name::ALL.into_iter().find(|name| name.name() == word).ok_or_else(|| {
            let all = Name::ALL.map(Name::name).join(", ");
            JobError::Invalid(format!("there is no switch {word:?}: there are {all}"))
        })
    }
}

/// All switches of a process. They outlive a job that is closed and opened again.
pub struct Switches {
    all: [Arc<Switch>; 4],
    record: Arc<ControlRecord>,
}

impl Default for Switches {
    fn default() -> Self {
        let record = Arc::new(ControlRecord::default());
        Switches { all: Name::ALL.map(|name| Arc::new(Switch::new(name, record.clone()))), record }
    }
}

impl Switches {
    /// One of them.
    pub fn get(&self, name: Name) -> &Arc<Switch> {
        &self.all[name as usize]
    }

    /// All of them.
    pub fn all(&self) -> &[Arc<Switch>] {
        &self.all
    }

    /// Takes over what the control log of a job says, and writes to it from now on, until what is returned is dropped.
    pub fn attach(&self, registry: Arc<Registry>) -> Attached {
        *self.record.registry() = Some(registry.clone());
        for switch in &self.all {
            switch.resume(&registry.switch(switch.name().name()));
        }
        Attached(self.record.clone())
    }
}

/// While the job is open.
pub struct Attached(Arc<ControlRecord>);

impl Drop for Attached {
    fn drop(&mut self) {
        // The directory may belong to another process from now on.
        *self.0.registry() = None;
    }
}

/// The control log, while there is a job.
#[derive(Default)]
struct ControlRecord(Mutex<Option<Arc<Registry>>>);

impl ControlRecord {
    fn registry(&self) -> MutexGuard<'_, Option<Arc<Registry>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, entry: SwitchEntry) -> Result<(), JobError> {
        match &*self.registry() {
            Some(registry) => registry.decide(&Entry::Switch(entry)),
            None => Err(JobError::Refused("the job is being opened again: try again in a moment".to_owned())),
        }
    }
}
