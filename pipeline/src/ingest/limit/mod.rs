//! The three levels of limiting.
//!
//! *Access*: events a second of a client, of an address and of all. *System*: what waits in the spool, and the memory
//! of requests under way. *Retry*, [`crate::deliver::Pressure`]: what the account system has not taken holds collect
//! back, what waits in the spool grows, and the system level answers for it.

mod access;
mod memory;
mod system;

pub use access::{Access, Limited, Source};
pub use memory::{Memory, Room};
pub use system::{Level, Marks, System};

pub(crate) use system::RETRY_AFTER;
