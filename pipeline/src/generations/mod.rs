//! Generations: replay, rewind and switching back are one mechanism.
//!
//! A generation is a set of tasks with stores and topics of its own. It starts from the checkpoints of
//! a cut, with the same rules or others, and runs beside the published one, which it never touches.
//! Which one is published is decided by one durable entry of the control log.

mod control_log;
mod cut;
mod difference;
mod promotion;
mod registry;
mod settled;
mod shared;

pub use control_log::{ControlLog, Ends, Entry, Generation};
pub use cut::{Cut, CutInfo, Cuts};
pub use difference::{Change, ChangeKind, Difference, Side, Sides, Totals};
pub use promotion::Promotion;
pub use registry::{Registry, Standing};
pub use settled::check_settled;
