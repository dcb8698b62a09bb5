//! What the outside knows: the lines it wrote, the commands it sent, and what it was told of them.

use std::collections::{BTreeMap, BTreeSet};
use weir_proto::rpc;

/// Whose command, and its key.
pub type CommandId = (u64, String);

/// What was put in, and what was acknowledged.
#[derive(Default)]
pub struct Facts {
    /// Whole lines that stand in a log file, without their ends.
    pub lines: Vec<String>,
    /// Commands that were sent, acknowledged or not.
    pub commands: BTreeMap<CommandId, rpc::Command>,
    /// Those that were acknowledged.
    pub acknowledged: BTreeSet<CommandId>,
}
