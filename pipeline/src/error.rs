//! Why a job cannot start or go on.

use crate::log::LogError;
use std::path::{Path, PathBuf};
use weir_proto::{Minute, Producer, TaskId, TopicId};
use weir_state::depot::DepotError;

/// A job cannot start or go on.
#[derive(Debug, thiserror::Error)]
pub enum JobError {
    /// The log failed.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A worker cannot be in its group.
    #[error(transparent)]
    Group(#[from] crate::group::GroupError),
    /// A store failed.
    #[error(transparent)]
    State(#[from] weir_state::StateError),
    /// Object storage cannot be used.
    #[error(transparent)]
    Depot(#[from] DepotError),
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
         {file} is damaged at its end, or was lost, replaced or made anew; restore it from a backup, or the whole \
         data directory to one checkpoint"
    )]
    AheadOfLog {
        /// Whose store.
        task: Producer,
        /// Which topic.
        topic: TopicId,
        /// What the store knows.
        store: u64,
        /// Where the log ends.
        log: u64,
        /// The file with that end.
        file: PathBuf,
    },
    /// A topic is not the one that a store was made from.
    #[error(
        "{topic}-{partition} is not what {task} has read: another record stands at offset {offset} than the one that it \
         has seen there. The topic was deleted and made anew, or `[log]` names another cluster than before: name the former \
         one, or start a new data directory"
    )]
    OtherRecords {
        /// Whose store.
        task: Producer,
        /// Which topic.
        topic: TopicId,
        /// Which partition.
        partition: u32,
        /// Where.
        offset: u64,
    },
    /// A store knows less than its task has handed on.
    #[error(
        "the store {store} has lost what was written to it last: {topic} holds records of {task} that no plan there \
         accounts for. Its MANIFEST or its write-ahead log is damaged; restore the store from a backup"
    )]
    BehindItsLog {
        /// Whose store.
        task: Producer,
        /// Which topic.
        topic: TopicId,
        /// The directory.
        store: PathBuf,
    },
    /// Records of an upstream task are missing.
    #[error(
        "{topic} has record number {found} of {upstream} where number {expected} of {task} is due: records in \
         between are missing. Restore the log from a backup"
    )]
    Gap {
        /// Whose records are read: the upstream task.
        task: TaskId,
        /// What it reads.
        topic: TopicId,
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
         the rules back as they were (`weir generation rules {}` prints them), or go on with the new ones from a \
         minute of your choice: `weir rewind --to MINUTE --rules FILE`", task.generation
    )]
    OtherRules {
        /// The task.
        task: Producer,
    },
    /// The control log or a file of rules is damaged.
    #[error("{path} {problem}")]
    Control {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do.
        problem: String,
    },
    /// There is no complete cut of a minute.
    #[error("there is no complete cut that stands for {minute}: {advice}")]
    NoCut {
        /// The minute asked for.
        minute: Minute,
        /// What there is instead.
        advice: String,
    },
    /// What is asked of a generation cannot be done as things stand.
    #[error("{0}")]
    Refused(String),
    /// Somebody else in the group was faster.
    #[error(
        "another worker of the group has decided something else meanwhile: see `weir generation list`, and ask again"
    )]
    Overtaken,
    /// A command makes no sense.
    #[error("{0}")]
    Invalid(String),
    /// A command was not answered in time.
    #[error(
        "the command {key:?} {state}. Send it again with the same key to get its answer: it is decided once"
    )]
    Unanswered {
        /// Its key.
        key: String,
        /// What is known of it.
        state: &'static str,
    },
    /// An amount left its range.
    #[error(transparent)]
    Money(#[from] weir_proto::MoneyError),
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
    /// Whether there was no room on a disk: the job can be opened again when there is.
    pub fn is_full(&self) -> bool {
        match self {
            JobError::Log(error) => error.is_full(),
            JobError::State(error) | JobError::Depot(DepotError::Local(error)) => error.is_full(),
            JobError::Io { source, .. } => crate::log::is_full(source),
            _ => false,
        }
    }

    /// Whether the log, or object storage, could not be reached: the job can be opened again when it can.
    pub fn is_away(&self) -> bool {
        match self {
            JobError::Log(error) => error.is_away(),
            JobError::Depot(error) => error.is_away(),
            JobError::Group(error) => error.is_away(),
            _ => false,
        }
    }

    /// A file operation on a path failed.
    pub fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> JobError {
        let path = path.to_owned();
        move |source| JobError::Io { what, path, source }
    }
}
