//! What can go wrong with a store.

use std::path::{Path, PathBuf};

/// A store could not be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    /// RocksDB reports an error.
    #[error("the store {path} failed: {source}. {}", advice(source))]
    Rocks {
        /// The store's directory.
        path: PathBuf,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
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
    /// A file of a checkpoint is not what was written.
    #[error(
        "{path} is damaged: {problem}. This checkpoint is not used; take the one of another minute \
         (`weir checkpoints` lists them)"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// A file of a store is not what was written.
    #[error(
        "{path} is damaged: {problem}. Move the directory of this store away and start again: one that folds a \
         topic is made anew from its newest checkpoint; restore that of a source from a backup"
    )]
    DamagedStore {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: &'static str,
    },
    /// One of the tables of a store is not what was written.
    #[error(
        "a table of the store {path} is damaged: {source}. It is one of {tables}. Move the directory away and start \
         again: one that folds a topic is made anew from its newest checkpoint; restore that of a source from a backup"
    )]
    DamagedTable {
        /// The store's directory.
        path: PathBuf,
        /// The tables that there are.
        tables: String,
        /// What RocksDB says.
        source: rocksdb::Error,
    },
    /// Bytes that this version does not understand.
    #[error(
        "{path} holds {what} that this version of weir cannot read; \
         use the version that wrote it, or restore the directory from a checkpoint"
    )]
    Format {
        /// Where.
        path: PathBuf,
        /// What.
        what: &'static str,
    },
}

impl StateError {
    /// Whether bytes on disk are not what was written.
    pub fn is_damage(&self) -> bool {
        match self {
            StateError::Rocks { source, .. } => {
                source.kind() == rocksdb::ErrorKind::Corruption || source.to_string().contains("No such file")
            }
            StateError::Damaged { .. }
            | StateError::DamagedStore { .. }
            | StateError::DamagedTable { .. } => true,
            StateError::Io { .. } | StateError::Format { .. } => false,
        }
    }

    /// Whether there was no room on the disk.
    pub fn is_full(&self) -> bool {
        match self {
            StateError::Rocks { source, .. } => is_full(source),
            StateError::Io { source, .. } => {
                matches!(source.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded)
            }
            _ => false,
        }
    }

    pub(crate) fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> StateError {
        let path = path.to_owned();
        move |source| StateError::Io { what, path, source }
    }
}

fn is_full(source: &rocksdb::Error) -> bool {
    let text = source.to_string();
    text.contains("No space left") || text.contains("Disk quota exceeded")
}

fn advice(source: &rocksdb::Error) -> &'static str {
    let text = source.to_string();
    if is_full(source) {
        "The disk is full: make room and start weir again, it goes on where it stopped"
    } else if text.contains("lock") {
        "Another process holds it: stop that one first"
    } else {
        "If it stays, move the directory away and start again: the store of a task that folds a topic is made anew \
         from its newest checkpoint; restore that of a source from a backup"
    }
}
