//! How events get in over the network.
//!
//! Whatever is accepted goes through the *spool*, a durable local journal: an event is acknowledged when it is on
//! disk there, and collect takes it into `raw` from there, exactly once. While the log or its disk is away the spool
//! goes on taking events in, up to its limit; then it refuses.
//!
//! A record of the spool is the finished record of `raw`, or what is dropped already and only has to be shown.

mod answer;
mod body;
mod front;
pub(crate) mod fuzzing;
pub mod grpc;
pub mod http;
mod intake;
mod judge;
pub mod limit;
pub(crate) mod meter;
mod open;
mod recent;
mod spool;
#[cfg(test)]
mod testing;
mod writer;

pub use answer::{Answer, Became, EventAnswer, Rejected};
pub use front::{Front, WayIn};
pub use intake::{Intake, NotTaken, Offer, Taken, identity_of};
pub use meter::{observe, status};
pub use open::Ingest;
pub use spool::{Backlog, Spool, SpoolOptions};
