//! The operators, fed record by record. One binary, since each links the whole store.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

mod collect;
mod common;
mod deduct;
mod filters;
mod post_process;
