//! What can go wrong with a depot.

use crate::error::StateError;
use weir_proto::{Minute, Producer};

/// A checkpoint could not be moved.
#[derive(Debug, thiserror::Error)]
pub enum DepotError {
    /// The URL or one of the options is of no use.
    #[error("the depot {url} cannot be opened: {problem}. Correct its URL or its options")]
    Unusable {
        /// As it was given.
        url: String,
        /// What is wrong.
        problem: String,
    },
    /// The storage does not do it.
    #[error("cannot {what} {url}: {source}. {}", advice(source))]
    Store {
        /// What was tried.
        what: &'static str,
        /// On what.
        url: String,
        /// What the storage says.
        source: object_store::Error,
    },
    /// An object is not what was written.
    #[error(
        "{url} is damaged: {problem}. Its checkpoint is not used; take the one of another minute. If it is a \
         manifest, delete the object"
    )]
    Damaged {
        /// The object.
        url: String,
        /// What is wrong.
        problem: &'static str,
    },
    /// An object that this version does not understand.
    #[error("{url} is a manifest that this version of weir cannot read; use the version that wrote it")]
    Format {
        /// The object.
        url: String,
    },
    /// There is no such checkpoint there.
    #[error("there is no checkpoint {url}; take the one of another minute")]
    Missing {
        /// The manifest that it would have.
        url: String,
    },
    /// There is no such checkpoint here.
    #[error(
        "{task} has no checkpoint of minute {minute} on this machine that could be put into the depot; take the one \
         of another minute", minute = minute.0
    )]
    NotTaken {
        /// The task.
        task: Producer,
        /// The minute.
        minute: Minute,
    },
    /// An upload took so long that files it relies on may be gone.
    #[error(
        "the upload of {url} took longer than {minutes} minutes and was given up; its files are there, try again. If \
         that stays so, give weir a faster way to the depot"
    )]
    Slow {
        /// The manifest that it would have.
        url: String,
        /// How long it may take.
        minutes: u64,
    },
    /// A checkpoint on this machine cannot be read or written.
    #[error(transparent)]
    Local(#[from] StateError),
    /// The system gives no threads.
    #[error("the depot cannot do its work: {source}. Give the process more threads or memory")]
    Runtime {
        /// What the system says.
        source: std::io::Error,
    },
}

impl DepotError {
    /// Whether it may be over after a while, without anybody's doing: the storage cannot be reached, or is too busy.
    pub fn is_away(&self) -> bool {
        match self {
            DepotError::Store { source, .. } => is_away(source),
            DepotError::Slow { .. } => true,
            _ => false,
        }
    }

    /// Whether bytes are not what was written, there or here.
    pub fn is_damage(&self) -> bool {
        match self {
            DepotError::Damaged { .. } => true,
            DepotError::Local(e) => e.is_damage(),
            _ => false,
        }
    }
}

/// The status of an answer, which some errors have in their text only.
fn status(source: &object_store::Error) -> Option<u16> {
    source.to_string().split("status code: ").nth(1)?.get(..3)?.parse().ok()
}

fn is_away(source: &object_store::Error) -> bool {
    let is_refused = |status: u16| (400..500).contains(&status) && ![408, 429].contains(&status);
    matches!(source, object_store::Error::Generic { .. }) && !status(source).is_some_and(is_refused)
}

fn advice(source: &object_store::Error) -> &'static str {
    use object_store::Error;
    match (source, status(source)) {
        (Error::PermissionDenied { .. } | Error::Unauthenticated { .. }, _) | (_, Some(401 | 403)) => {
            "Give weir credentials that may list, read, write and delete there"
        }
        (Error::NotFound { .. }, _) | (_, Some(404)) => "Make the bucket, or correct the URL of the depot",
        (Error::NotSupported { .. } | Error::NotImplemented { .. }, _) => {
            "Use a storage that can write an object only if there is none"
        }
        _ if is_away(source) => "See that it can be reached; weir can try again at any time",
        _ => "Correct the URL of the depot or its options",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_be_over_after_a_while_is_told_from_what_stays() {
        let error = |text: &str| DepotError::Store {
            what: "read",
            url: "s3://bucket/x".to_owned(),
            source: object_store::Error::Generic { store: "S3", source: text.to_owned().into() },
        };
        for away in ["connection refused", "status code: 503 Slow Down", "status code: 429 Too Many Requests"]
        {
            assert!(error(away).is_away(), "{away}");
        }
        for stays in ["status code: 400 Bad Request", "status code: 403 Forbidden"] {
            assert!(!error(stays).is_away(), "{stays}");
        }
        assert!(error("status code: 404 Not Found").to_string().contains("Make the bucket"));
    }
}
