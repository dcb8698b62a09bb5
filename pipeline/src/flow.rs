//! The whole graph, in flow order. A reader who opens only this file knows the system.
//!
//! ```text
//!   beacons, servers ──▶ spool ─┐
//!   log files ──────────────────┴▶ collect ──▶ raw ──▶ anti-brush, partition ──▶ clean ──▶ anti-fraud ──┐
//!   accounts, commands ──────────────────────────────────────────────────────────────────────▶ judged ◀┘
//!                                                    notices ◀── post-process ◀── charges ◀── deduct
//! ```
//!
//! Every topic has the same partitions. A stage that reads a topic is one task for each of them;
//! a stage that reads from outside is one task. What a stage drops goes to `dropped`. In a group of workers each has such
//! tasks of its own, and one more, takeovers, that tells in `notices` which partitions came to it.

use std::sync::Arc;
use weir_operators::anti_brush::{AntiBrush, Lists};
use weir_operators::anti_fraud::AntiFraud;
use weir_operators::deduct::Deduct;
use weir_operators::post_process::PostProcess;
use weir_operators::{Operator, Rules};
use weir_proto::{Minute, StageId, Topic};
use weir_state::{StateError, Store};

/// A stage that folds a topic.
pub struct Stage {
    /// Which.
    pub id: StageId,
    /// What it reads.
    pub reads: Topic,
    /// What it appends to: first what it hands on, then what it drops.
    pub writes: &'static [Topic],
    /// Loads its operator for one partition.
    pub operator: Load,
}

/// Loads an operator from its store, which stands at a tick.
pub type Load = fn(&Store, &Shared, Minute) -> Result<Box<dyn Operator>, StateError>;

/// What the operators of a generation share; none of it ever changes.
#[derive(Clone)]
pub struct Shared {
    /// Thresholds.
    pub rules: Arc<Rules>,
    /// Bots and networks.
    pub lists: Arc<Lists>,
}

/// What collect appends to.
pub const COLLECT_WRITES: &[Topic] = &[Topic::Raw, Topic::Dropped];
/// What accounts appends to.
pub const ACCOUNTS_WRITES: &[Topic] = &[Topic::Judged];

/// What commands appends to.
pub const COMMANDS_WRITES: &[Topic] = &[Topic::Judged];

/// What takeovers appends to.
pub const TAKEOVERS_WRITES: &[Topic] = &[Topic::Notices];

/// The stages that fold, in flow order.
pub const FLOW: [Stage; 4] = [
    Stage {
        id: StageId::AntiBrush,
        reads: Topic::Raw,
        writes: &[Topic::Clean, Topic::Dropped],
        operator: |store, shared, now| {
            Ok(Box::new(AntiBrush::load(store, shared.rules.clone(), shared.lists.clone(), now)?))
        },
    },
    Stage {
        id: StageId::AntiFraud,
        reads: Topic::Clean,
        writes: &[Topic::Judged, Topic::Dropped],
        operator: |store, shared, now| Ok(Box::new(AntiFraud::load(store, shared.rules.clone(), now)?)),
    },
    Stage {
        id: StageId::Deduct,
        reads: Topic::Judged,
        writes: &[Topic::Charges, Topic::Dropped, Topic::Answers],
        operator: |store, shared, now| Ok(Box::new(Deduct::load(store, shared.rules.clone(), now)?)),
    },
    Stage {
        id: StageId::PostProcess,
        reads: Topic::Charges,
        writes: &[Topic::Notices],
        operator: |store, _, _| Ok(Box::new(PostProcess::load(store)?)),
    },
];

/// The stage whose outputs are the records of a topic that is read; what comes from outside aside.
pub fn maker(topic: Topic) -> StageId {
    FLOW.iter().find(|s| s.writes[0] == topic).map_or(StageId::Collect, |s| s.id)
}

/// The stage that reads a topic.
pub fn reader(topic: Topic) -> StageId {
    FLOW.iter().find(|s| s.reads == topic).map_or(StageId::PostProcess, |s| s.id)
}

/// The topics that stages from this one on make for stages below.
pub fn topics_from(stage: StageId) -> impl Iterator<Item = Topic> {
    FLOW.iter().map(|s| s.reads).filter(move |t| maker(*t) >= stage)
}

/// Every topic that stages from this one on append to.
pub fn outputs_from(stage: StageId) -> Vec<Topic> {
    let mut topics: Vec<Topic> =
        FLOW.iter().filter(|s| s.id >= stage).flat_map(|s| s.writes).copied().collect();
    topics.sort_unstable();
    topics.dedup();
    topics
}
