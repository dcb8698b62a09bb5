//! The deterministic simulator: the real operators, task loop, flow, sources, generations and checkpoints, in
//! one thread, step by step. A seed owns time, order and failure; log, stores and clock are replaced by ones
//! that it drives. See `README.md` beside this crate.
#![allow(missing_docs, clippy::unwrap_used)] // a test may stop at the first thing that is wrong

pub mod check;
pub mod clients;
pub mod facts;
pub mod faults;
pub mod generations;
pub mod log;
pub mod rng;
pub mod run;
pub mod shrink;
pub mod traffic;
pub mod world;
