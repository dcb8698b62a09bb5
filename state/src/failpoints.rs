//! Failpoints: in front of each durable step and behind it, a test may have the process crash, the step fail, or
//! time pass. Without the feature `failpoints` nothing of it is there.
//!
//! The variable `FAILPOINTS` says what happens where, in the words of the crate `fail`: `journal.fsync/before`
//! with `1*return(crash)`, for instance; `crash`, `error` and `delay` are known.

use std::io;

/// Every durable step that has points.
pub const STEPS: &[(&str, &str)] = &[
    ("settings.write", "`weir.json` of a new data directory gets its name"),
    ("mask_key.write", "`mask.key` gets its name"),
    ("rules.write", "a file of rules gets its name"),
    ("operator_log.append", "what an operator does, or what came of it, is fsynced"),
    ("control_log.append", "a decision about generations is written and fsynced"),
    ("segment.create", "a new segment of a topic gets its name"),
    ("segment.cut", "what a crash left of a write is cut off"),
    ("journal.write", "a group of batches is written"),
    ("journal.fsync", "it is fsynced"),
    ("journal.seal", "a seal is written behind the last one"),
    ("topic.remove", "a topic of a dropped generation is deleted"),
    ("collect.plan", "what a turn of collect is to read is written down"),
    ("collect.commit", "a turn of collect is committed"),
    ("accounts.commit", "accounts of the accounts file are committed"),
    ("commands.commit", "commands from outside are committed"),
    ("task.commit", "a turn of a stage that folds a topic is committed"),
    ("deliver.commit", "what became of delivered records is committed"),
    ("store.flush", "a store writes to disk what it has in memory"),
    ("checkpoint.copy", "a store is copied at a tick"),
    ("checkpoint.manifest", "the manifest of the copy is written and fsynced"),
    ("checkpoint.rename", "the checkpoint gets its name"),
    ("checkpoint.remove", "the checkpoints of a minute are let go of"),
    ("restore.link", "a store is made of the files of a checkpoint"),
    ("restore.rename", "it gets its name"),
    ("cut.write", "what a generation begins from is written down"),
    ("generation.rename", "the stores of a generation get their name"),
    ("generation.remove", "stores and checkpoints of a dropped generation are deleted"),
    ("adjustments.post", "adjustments of a promotion are appended"),
];

/// Does a file operation of a step, between its two points.
#[inline]
pub fn io<T>(step: &'static str, work: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
    before(step)?;
    let done = work()?;
    after(step)?;
    Ok(done)
}

/// In front of a step.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn before(_step: &'static str) -> io::Result<()> {
    Ok(())
}

/// Behind a step.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn after(_step: &'static str) -> io::Result<()> {
    Ok(())
}

#[cfg(feature = "failpoints")]
pub use with::{Armed, after, arm, before};

#[cfg(feature = "failpoints")]
mod with {
    use super::STEPS;
    use std::io;
    use std::time::Duration;

    const DELAY: Duration = Duration::from_millis(150);

    /// While it lives, points do what `FAILPOINTS` says.
    pub struct Armed(#[allow(dead_code)] fail::FailScenario<'static>);

    /// Reads `FAILPOINTS`.
    pub fn arm() -> Armed {
        Armed(fail::FailScenario::setup())
    }

    /// In front of a step.
    pub fn before(step: &'static str) -> io::Result<()> {
        reached(step, "before")
    }

    /// Behind a step.
    pub fn after(step: &'static str) -> io::Result<()> {
        reached(step, "after")
    }

    fn reached(step: &'static str, side: &'static str) -> io::Result<()> {
        debug_assert!(STEPS.iter().any(|(name, _)| *name == step), "{step} is not in the list");
        let name = format!("{step}/{side}");
        fail::fail_point!(&name, |what| act(&name, what.as_deref().unwrap_or_default()));
        Ok(())
    }

    /// Says that it was reached, for the test that wants to know.
    fn act(name: &str, what: &str) -> io::Result<()> {
        eprintln!("failpoint {name}: {what}");
        match what {
            "crash" => std::process::abort(),
            "error" => Err(io::Error::other(format!("failpoint {name}"))),
            _ => {
                std::thread::sleep(DELAY);
                Ok(())
            }
        }
    }
}
