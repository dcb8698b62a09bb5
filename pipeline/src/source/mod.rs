//! What comes in from outside: log files into `raw`, the accounts file and commands into `judged`; and what a
//! worker of a group has taken over into `notices`.

pub mod accounts;
mod announced;
pub mod collect;
pub mod commands;
mod files;
mod follow;
pub mod gate;
pub mod inlet;
pub mod mailbox;
mod plan;
mod reader;
mod spooled;
mod standing;
pub mod takeovers;

pub use announced::begin_at_end;
pub use files::{FileSpec, FileState, key_of};
pub use plan::{CollectState, place_on_tape};
pub use spooled::SPOOL;
