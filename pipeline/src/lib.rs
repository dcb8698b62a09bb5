//! The flow, the task loop, logs, sources and the command line of Weir. Start with [`flow`].

pub mod audit;
pub mod books;
pub mod cli;
pub mod clock;
pub mod commands;
pub mod config;
pub mod control;
pub mod data_dir;
pub mod deliver;
pub mod error;
pub mod explain;
pub mod fleet;
pub mod flow;
#[doc(hidden)]
pub mod fuzzing;
pub mod r#gen;
pub mod generations;
pub mod ingest;
pub mod input;
pub mod job;
pub mod ledger;
pub mod log;
pub mod mask;
pub mod metrics;
pub mod outputs;
pub mod recover;
pub mod replay;
pub mod retention;
pub mod rule_set;
pub mod scheduler;
pub mod server;
pub mod source;
pub mod status;
pub mod summary;
pub mod tap;
pub mod task;
