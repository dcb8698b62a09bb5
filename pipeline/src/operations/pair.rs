//! Actions and what came of them, put together.

use super::{Begun, Ended, Entry};
use serde::Serialize;
use serde_json::Value;
use std::collections::HashMap;

/// An action, and what is known of its end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operation {
    /// What was asked for.
    #[serde(flatten)]
    pub begun: Begun,
    /// `done`, `refused`, or `unknown` if the job was ended before it could say.
    pub outcome: &'static str,
    /// Why it was refused.
    pub error: Option<String>,
    /// What was answered.
    pub answer: Value,
    /// When it ended, in ms since the epoch.
    pub ended_ms: Option<u64>,
}

/// The actions of a log, oldest first.
pub fn paired(entries: Vec<Entry>) -> Vec<Operation> {
    let mut at: HashMap<u64, usize> = HashMap::new();
    let mut all: Vec<Operation> = Vec::new();
    for entry in entries {
        match entry {
            Entry::Begun(begun) => {
                at.insert(begun.id, all.len());
                all.push(Operation {
                    begun,
                    outcome: "unknown",
                    error: None,
                    answer: Value::Null,
                    ended_ms: None,
                });
            }
            Entry::Ended(Ended { id, time_ms, error, answer }) => {
                if let Some(operation) = at.get(&id).and_then(|at| all.get_mut(*at)) {
                    operation.outcome = if error.is_none() { "done" } else { "refused" };
                    (operation.error, operation.answer, operation.ended_ms) = (error, answer, Some(time_ms));
                }
            }
        }
    }
    all
}
