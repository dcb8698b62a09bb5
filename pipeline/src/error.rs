//! Why a job cannot start or go on.

use crate::log::LogError;
use std::path::{Path, PathBuf};
use weir_proto::{Producer, Topic};

/// A job cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A store failed.
    #[error(transparent)]
    State(#[from] weir_state::StateError),
    /// An operator cannot go on.
    #[error(transparent)]
    Operator(#[from] weir_operators::OperatorError),
    /// A record cannot be read.
    #[error(transparent)]
    Record(#[from] weir_proto::RecordError),
    /// A batch cannot be read.
    #[error(transparent)]
    Batch(#[from] weir_proto::BatchError),
    /// A store knows of records that the log does not have.
    #[error(
        "the store of {task} is ahead of its log: it knows {topic} up to offset {store}, the log ends at {log}. \
         Log files were lost or replaced; restore the whole data directory to one checkpoint"
    )]
    AheadOfLog {
        /// Whose store.
        task: Producer,
        /// Which topic.
        topic: Topic,
        /// What the store knows.
        store: u64,
        /// Where the log ends.
        log: u64,
    },
    /// Records of an upstream task are missing.
    #[error(
        "{task} reads from {upstream} record number {found} after number {expected}: records in between are \
         missing from {topic}. Restore the log from a backup"
    )]
    Gap {
        /// Who reads.
        task: Producer,
        /// What it reads.
        topic: Topic,
        /// Who wrote.
        upstream: Producer,
        /// The number expected.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// The data directory was made with other settings.
    #[error("{dir} {problem}")]
    OtherSettings {
        /// The directory.
        dir: PathBuf,
        /// What differs and what to do.
        problem: String,
    },
    /// The rules are not those that the task has folded with so far.
    #[error(
        "{task} has folded its log with other rules than those of the configuration now ([time], [anti_brush], \
         [anti_fraud] or the network lists): what it folds again after a crash would come out differently. Put \
         the rules back as they were, or start a new data directory"
    )]
    OtherRules {
        /// The task.
        task: Producer,
    },
    /// Another process holds the data directory.
    #[error(
        "the data directory {0} is in use by another weir process; stop that one first, or choose another \
         directory with --data-dir"
    )]
    InUse(PathBuf),
    /// The accounts file is wrong.
    #[error("{path}: {problem}")]
    Accounts {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// A source cannot be read.
    #[error("{path}: {problem}")]
    Source {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// The wall clock cannot be right.
    #[error(
        "the clock of this machine is {hours} hours ahead of the newest tick. If it is wrong, set it; if weir \
         really was down for so long, start it once with --after-outage"
    )]
    ClockJump {
        /// How far ahead.
        hours: u64,
    },
    /// The rules or the list files are wrong.
    #[error("{0}")]
    Setup(String),
    /// A file operation failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// A thread of the job panicked.
    #[error(
        "a worker thread of the job panicked; the message above says where. Nothing was lost: start again"
    )]
    Panicked,
}

impl JobError {
    /// A file operation on a path failed.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JobError {
        let path = path.to_owned();
        move |source| JobError::Io { what, path, source }
    }
}
