//! What comes in from outside: log files into `raw`, the accounts file into `judged`.

pub mod accounts;
pub mod collect;
mod files;
mod follow;
pub mod gate;
mod plan;
mod reader;

pub use files::{FileSpec, FileState, key_of};
pub use plan::{CollectState, place_on_tape};
