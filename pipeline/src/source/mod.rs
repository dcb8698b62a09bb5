//! What comes in from outside: log files into `raw`, the accounts file into `judged`.

pub mod accounts;
pub mod collect;
mod files;
mod follow;
pub mod gate;
mod plan;
mod reader;

pub use files::FileSpec;
