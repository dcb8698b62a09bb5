//! What the measurements share: a generated log, and a stage that folds it outside of a job.
#![allow(missing_docs, clippy::unwrap_used)] // a measurement may stop at the first thing that is wrong

pub mod fold;
pub mod traffic;
