//! The line of a topic: where its records are found when generations have followed each other.
//!
//! The first generation's topic is read as it stands. A topic that a later generation makes anew has
//! records of its own, but while a recorded topic exists for it, the recorded order is kept: the
//! recorded records are the *places* at which the new ones are read (see [`super::LineReader`]).

use crate::generations::Cut;
use crate::log::{Log, LogError};
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use weir_proto::{Minute, StageId, TaskId, TopicId};
use weir_state::{CheckpointDir, Mark};

/// Where a reader of a partition starts.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// The place.
    pub position: u64,
    /// What it has seen of each upstream task.
    pub marks: Vec<Mark>,
}

/// How a topic is read in a generation.
pub enum Line {
    /// As it stands.
    First(TopicId),
    /// Made anew from a cut on.
    Anew(Anew),
}

/// A topic that a generation makes anew.
pub struct Anew {
    /// The generation's topic.
    pub id: TopicId,
    /// The stage that reads it.
    pub reader: StageId,
    /// The line that its checkpoints come from.
    pub base: Arc<Line>,
    /// The line whose order it follows.
    pub recorded: Arc<Line>,
    /// Where everything stood when it was begun.
    pub cut: Arc<Cut>,
    /// Per partition the place at which the recorded line ended, once it has.
    pub ends: Arc<OnceLock<Vec<u64>>>,
    /// In a group, the minute at whose tick the recorded line ends, once that is decided; else 0.
    pub ends_at: Arc<AtomicU32>,
    /// How many tasks write to each partition.
    pub writers: u32,
    /// To find where its readers stood later.
    pub checkpoints: CheckpointDir,
}

impl Line {
    /// The topic that is written to now.
    pub fn topic(&self) -> TopicId {
        match self {
            Line::First(id) => *id,
            Line::Anew(anew) => anew.id,
        }
    }

    /// Every topic that may be read.
    pub fn topics(&self) -> Vec<TopicId> {
        match self {
            Line::First(id) => vec![*id],
            Line::Anew(anew) => {
                let mut all = anew.base.topics();
                all.extend(anew.recorded.topics());
                all.push(anew.id);
                all
            }
        }
    }

    /// The place behind the newest record of a partition, once the order is that of its own topic.
    pub fn end(&self, log: &dyn Log, partition: u32) -> u64 {
        let own = log.high_watermark(self.topic(), partition);
        match self {
            Line::First(_) => own,
            Line::Anew(anew) => anew.end(partition).unwrap_or(0) + own,
        }
    }

    /// The same, asked for where it is not known.
    pub fn find_end(&self, log: &dyn Log, partition: u32) -> Result<u64, LogError> {
        let own = log.find_end(self.topic(), partition)?;
        Ok(match self {
            Line::First(_) => own,
            Line::Anew(anew) => anew.end(partition).unwrap_or(0) + own,
        })
    }

    /// The offset, in the topic that is written to now, of a place; none if the place is not in that topic.
    pub fn offset_of(&self, partition: u32, place: u64) -> Option<u64> {
        match self {
            Line::First(_) => Some(place),
            Line::Anew(anew) => place.checked_sub(anew.end(partition)?),
        }
    }

    /// Where the outputs of a task to a partition are found: from which running number on, in which topic.
    pub fn segments(&self, task: TaskId, partition: u32) -> Vec<(u64, TopicId)> {
        match self {
            Line::First(id) => vec![(0, *id)],
            Line::Anew(anew) => {
                let from = anew.cut.next_seq(task, anew.id.topic, partition);
                let mut segments = anew.base.segments(task, partition);
                segments.retain(|(seq, _)| *seq < from);
                segments.push((from, anew.id));
                segments
            }
        }
    }
}

impl Anew {
    /// The place at which the recorded line of a partition ended, if it has.
    pub fn end(&self, partition: u32) -> Option<u64> {
        self.ends.get().and_then(|ends| ends.get(partition as usize).copied())
    }

    /// Whether a reader that has seen so much waits until it is known where the recorded line ended: behind the ticks, from
    /// the decided one on, of all tasks that write there.
    pub fn waits(&self, marks: &[Mark]) -> bool {
        let at = self.ends_at.load(Ordering::Acquire);
        at > 0 && self.ends.get().is_none() && have_come_to(marks, self.writers, Minute(at))
    }

    fn reader_of(&self, partition: u32) -> TaskId {
        TaskId { stage: self.reader, partition: partition as u16 }
    }

    /// Where the reader of a partition stood at the cut.
    pub fn start(&self, partition: u32) -> Start {
        self.cut.start(self.reader_of(partition))
    }

    /// The latest known state of its reader before a place, of whose records it has seen none, then; its
    /// start, if there is none.
    pub fn start_before(&self, partition: u32, place: u64) -> Start {
        let task = self.reader_of(partition).in_generation(self.id.generation);
        let minutes = self.checkpoints.minutes(self.id.generation).unwrap_or_default();
        let manifests = minutes.into_iter().rev().filter_map(|m| self.checkpoints.manifest(task, m).ok()?);
        manifests
            .filter(|m| m.position < place)
            .map(|m| Start { position: m.position, marks: m.marks })
            .next()
            .unwrap_or_else(|| self.start(partition))
    }
}

/// Whether a reader has seen, of so many tasks, a tick from a minute on.
pub fn have_come_to(marks: &[Mark], writers: u32, at: Minute) -> bool {
    let have = marks.iter().filter(|mark| !mark.producer.stage.is_source() && mark.tick >= at);
    have.count() >= writers as usize
}
