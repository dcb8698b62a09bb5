//! The state of one task: a RocksDB directory, tables kept by minute, one commit, checkpoints.
//!
//! A task changes its tables in memory while it folds a batch; [`Store::commit`] then writes what
//! changed, together with the task's [`TaskMeta`], as one write batch. What is on disk is thus always
//! the state after some whole batch, with the input position that belongs to it.
//!
//! Bytes on disk are checked before they are used: values and tables by RocksDB, its MANIFEST here, positions
//! and checkpoints by checksums of their own. The version of a [`TaskMeta`] stands for the layout of all tables
//! whose values have none of their own.

mod blobs;
mod checkpoint;
pub mod depot;
pub mod direct;
mod error;
pub mod failpoints;
mod files;
#[doc(hidden)]
pub mod fuzzing;
mod hot;
mod identity;
mod memory;
mod meta;
mod minute_table;
mod pages;
mod replace;
mod rocks_files;
#[cfg(feature = "sabotage")]
pub mod sabotage;
mod store;
pub mod versioned;

pub use checkpoint::{CheckpointDir, Manifest, Retention, Unfinished};
pub use error::StateError;
pub use files::{FileSum, remove_all, sum_of_json};
pub use identity::{Identity, IdentityTable};
pub use memory::{CrashOf, Fate, Faults, MemoryDisk, StorePoint};
pub use meta::{Mark, OutputMeta, Tally, TaskMeta};
pub use minute_table::{MinuteTable, MinuteTableOptions, Slot};
pub use replace::{PRIVATE, PUBLIC, beside, replace_file};
pub use store::{Commit, Durability, Shared, Store, Value};
