//! Faults on purpose: the durable steps that have failpoints, and a process with one of them armed.

use std::path::Path;
use std::process::Command;

use crate::process::{Done, Weir, weir};
use crate::scratch::checkout;

/// What happens at a failpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The process is gone, as after `kill -9`.
    Crash,
    /// The step fails.
    Error,
    /// Time passes.
    Delay,
}

/// On which side of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// In front of it.
    Before,
    /// Behind it.
    After,
}

/// A failpoint and what happens there.
#[derive(Clone, Copy, Debug)]
pub struct Failpoint {
    /// The step, as in the list of `state/src/failpoints.rs`.
    pub step: &'static str,
    /// On which side of it.
    pub side: Side,
    /// What.
    pub fault: Fault,
    /// How often it is passed before.
    pub passes: u32,
}

impl Failpoint {
    fn name(&self) -> String {
        let side = if self.side == Side::Before { "before" } else { "after" };
        format!("{}/{side}", self.step)
    }

    fn word(&self) -> &'static str {
        match self.fault {
            Fault::Crash => "crash",
            Fault::Error => "error",
            Fault::Delay => "delay",
        }
    }

    /// Arms it in a process that is to be started.
    pub fn arm(&self, command: &mut Command) {
        let passes = if self.passes > 0 { format!("{}*off->", self.passes) } else { String::new() };
        command.env("FAILPOINTS", format!("{}={passes}1*return({})", self.name(), self.word()));
    }

    /// Whether it was reached, by what the process said.
    pub fn was_reached(&self, said: &str) -> bool {
        said.contains(&format!("failpoint {}: {}", self.name(), self.word()))
    }
}

/// Starts `weir` with these words for a data directory, and with a failpoint if there is one.
pub fn start_with(data_dir: &Path, words: &[&str], failpoint: Option<&Failpoint>) -> Weir {
    let mut command = weir();
    command.args(words).arg("--data-dir").arg(data_dir);
    if let Some(failpoint) = failpoint {
        failpoint.arm(&mut command);
    }
    Weir::start(&mut command)
}

/// The same to its end.
#[track_caller]
pub fn ask_with(data_dir: &Path, words: &[&str], failpoint: Option<&Failpoint>) -> Done {
    start_with(data_dir, words, failpoint).wait()
}

/// The steps in the list of the code, with what each does.
pub fn steps() -> Vec<(String, String)> {
    let text = std::fs::read_to_string(checkout("state/src/failpoints.rs")).unwrap();
    let list = text.split("STEPS: &[(&str, &str)] = &[").nth(1).unwrap().split("];").next().unwrap();
    let parts: Vec<&str> = list.split('"').skip(1).step_by(2).collect();
    parts.as_chunks::<2>().0.iter().map(|[name, what]| ((*name).to_owned(), (*what).to_owned())).collect()
}
