//! The audit log: which operator has done what to a job, from where, and what came of it.
//!
//! `operator.log` in the data directory is a [`LineFile`] of two entries for each action: what is about to be
//! done, durable before anything is done, so that no action is without a record; and what came of it. Where the
//! second is missing, the job was ended between the two: the action may have been carried out.

mod log;
mod pair;

pub use log::OperatorLog;
pub use pair::{Operation, paired};

use serde::{Deserialize, Serialize};
use serde_json::Value;

/// An entry of the log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Entry {
    /// Something is about to be done.
    Begun(Begun),
    /// It was done, or refused.
    Ended(Ended),
}

/// What an operator asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Begun {
    /// Counted from 1 in the file.
    pub id: u64,
    /// When, in ms since the epoch.
    pub time_ms: u64,
    /// The name of the token or certificate, or `local`.
    pub who: String,
    /// From which address.
    pub address: Option<String>,
    /// What, such as `rewind`.
    pub action: String,
    /// With what.
    pub arguments: Value,
}

/// What came of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// Of which action.
    pub id: u64,
    /// When, in ms since the epoch.
    pub time_ms: u64,
    /// Why it was not done; nothing if it was.
    pub error: Option<String>,
    /// What was answered, if it was done.
    pub answer: Value,
}
