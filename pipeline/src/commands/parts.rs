//! The charges that count: those of the published line.

use crate::generations::Registry;
use crate::log::{Log, LogError};
use weir_proto::{EntryKind, MessageId, StageId, TaskId, Topic, TopicId};
use weir_state::Manifest;

/// Part of the published charges of a partition: those of one generation.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Where they stand.
    pub topic: TopicId,
    /// The first of them.
    pub from: u64,
    /// The offset behind the last of them.
    pub to: u64,
}

/// The charges of a partition that count: those of the newest generation first, of each one before up to
/// the cut at which it was left.
pub fn published_parts(registry: &Registry, log: &dyn Log, partition: u32) -> Result<Vec<Part>, LogError> {
    let task = TaskId { stage: StageId::Deduct, partition: partition as u16 };
    let mut id = registry.ends_generation(registry.published(), StageId::Deduct);
    let (mut parts, mut until) = (Vec::new(), u64::MAX);
    loop {
        let topic = Topic::Charges.of(id);
        let (start, end) = (log.start(topic, partition), log.find_end(topic, partition)?);
        parts.push(Part { topic, from: start, to: end.min(until).max(start) });
        let cut = registry.cut(id);
        let Some(before) = cut.of(task).filter(|_| id > 1) else { return Ok(parts) };
        (id, until) = (before.task.generation, before.mark(Topic::Charges, partition).offset);
    }
}

/// The same charges in an order in which to look for one: first what stands behind a checkpoint of deduct.
pub(super) fn likely_first(parts: Vec<Part>, behind: Option<&Manifest>, partition: u32) -> Vec<Part> {
    let Some(manifest) = behind else { return parts };
    let (generation, offset) = (manifest.task.generation, manifest.mark(Topic::Charges, partition).offset);
    let (mut first, mut rest) = (Vec::new(), Vec::new());
    for part in parts {
        match part.topic.generation {
            own if own == generation => {
                let at = offset.clamp(part.from, part.to);
                first.push(Part { from: at, ..part });
                rest.push(Part { to: at, ..part });
            }
            own if own < generation => rest.push(part),
            _ => first.push(part),
        }
    }
    first.extend(rest);
    first
}

impl Part {
    pub(super) fn holds(&self, id: &MessageId) -> bool {
        self.topic == id.topic && (self.from..self.to).contains(&id.offset)
    }
}

/// Whether a charge of this kind is one that can be given back.
pub fn can_be_refunded(kind: EntryKind) -> bool {
    use EntryKind::{Action, Click, Impression, Period, Sale};
    matches!(kind, Click | Impression | Action | Sale | Period)
}
