//! The money: deduct and post-process against a ledger that was written without looking at theirs, and
//! what went wrong in production once. One binary, since each links the whole store.
#![allow(clippy::unwrap_used)] // a test may stop at the first thing that is wrong

mod answers;
mod asked;
mod commands;
mod contracts;
mod currencies;
mod events;
mod ledger;
mod machine;
mod notices;
mod periods;
mod random;
mod replies;
mod reversals;
mod steps;
