//! What the measurements share: a generated log, a stage that folds it outside of a job, a schedule that never
//! waits, and a reader of the charges of a running job.
#![allow(missing_docs, clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

pub mod fold;
pub mod latencies;
pub mod schedule;
pub mod traffic;
pub mod watch;
