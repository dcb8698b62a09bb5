//! The money: deduct and post-process against a ledger that was written without looking at theirs, and
//! what went wrong in production once. One binary, since each links the whole store.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

mod contracts;
mod currencies;
mod machine;
mod notices;
mod replies;
mod reversals;
