//! Where a task stands: written in the same commit as the state it belongs to.
//!
//! Bytes: `version u8 = 4, crc32c u32 of the rest, postcard of the struct`.

use serde::{Deserialize, Serialize};
use weir_proto::{DropReason, Minute, Outcome, Producer, Provenance, Topic};

const VERSION: u8 = 4;

/// The highest record seen of one upstream task; what is at or below it is a repeat. One task has one
/// mark, whatever its generation: running numbers go on over generations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// The upstream task, in the generation of its newest record.
    pub producer: Producer,
    /// The offset behind its newest record, in the topic of that generation.
    pub offset: u64,
    /// The running number expected next from it; a higher one means a gap.
    pub next_seq: u64,
    /// The provenance of its newest record.
    pub last: Provenance,
    /// The minute of its newest tick.
    pub tick: Minute,
}

impl Mark {
    /// Of a task of which nothing was seen; its generation is the first in which to look for it.
    pub fn nothing_of(producer: Producer) -> Self {
        Mark { producer, offset: 0, next_seq: 0, last: Provenance::default(), tick: Minute(0) }
    }
}

/// What a task has appended to one topic.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct OutputMeta {
    /// Per partition, the running number of the next record.
    pub next_seq: Vec<u64>,
    /// Per partition, the end offset of the topic after the task's newest append.
    pub ends: Vec<u64>,
    /// Sum of the hashes of all records appended so far, each hashed with its place.
    pub digest: u128,
}

/// What became of a task's records, counted from its first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    /// Records or lines taken in, without ticks and repeats.
    pub taken: u64,
    /// Records handed on, without ticks.
    pub emitted: u64,
    /// By the code of [`DropReason`].
    pub dropped: [u64; 16],
    /// By the code of [`Outcome`]; 0 is charged.
    pub outcomes: [u64; 24],
}

impl Tally {
    /// How many were dropped for a reason.
    pub fn dropped(&self, reason: DropReason) -> u64 {
        self.dropped[reason as usize]
    }

    /// How many had an outcome.
    pub fn outcome(&self, outcome: Outcome) -> u64 {
        self.outcomes[usize::from(outcome.code())]
    }

    /// Adds another task's counts.
    pub fn add(&mut self, other: &Tally) {
        self.taken += other.taken;
        self.emitted += other.emitted;
        self.dropped.iter_mut().zip(other.dropped).for_each(|(a, b)| *a += b);
        self.outcomes.iter_mut().zip(other.outcomes).for_each(|(a, b)| *a += b);
    }
}

/// Where a task stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskMeta {
    /// Which task.
    pub task: Producer,
    /// How many commits it made.
    pub commits: u64,
    /// The next input offset: everything below is processed and acknowledged downstream, so this
    /// is the task's minimal successful offset.
    pub position: u64,
    /// The index of the next output made from the record at `position`. Not 0 only while following a
    /// recorded order, where more records than one may share a place.
    pub index: u32,
    /// One per upstream task.
    pub marks: Vec<Mark>,
    /// In the order in which the stage declares its outputs.
    pub outputs: Vec<(Topic, OutputMeta)>,
    /// The newest tick seen.
    pub last_tick: Minute,
    /// The tick before that: the newest one stands for the minutes in between, too.
    pub previous_tick: Minute,
    /// Whether this is the state right behind the newest tick, so that its checkpoint belongs to it.
    pub at_tick: bool,
    /// What happened so far.
    pub tally: Tally,
    /// A fingerprint of the rules the task runs with.
    pub rules: u64,
}

impl TaskMeta {
    /// A task that has done nothing yet.
    pub fn new(task: Producer, outputs: &[Topic], partitions: usize, rules: u64) -> Self {
        let none = OutputMeta { next_seq: vec![0; partitions], ends: vec![0; partitions], digest: 0 };
        TaskMeta {
            task,
            commits: 0,
            position: 0,
            index: 0,
            marks: Vec::new(),
            outputs: outputs.iter().map(|t| (*t, none.clone())).collect(),
            last_tick: Minute(0),
            previous_tick: Minute(0),
            at_tick: false,
            tally: Tally::default(),
            rules,
        }
    }

    /// A tick was folded or sent.
    pub fn ticked(&mut self, minute: Minute) {
        self.previous_tick = self.last_tick;
        self.last_tick = minute;
        self.at_tick = true;
    }

    /// Goes on in another generation, with its rules: what follows goes to topics that are still empty.
    pub fn enter(&mut self, generation: u32, rules: u64) {
        self.task.generation = generation;
        self.rules = rules;
        for (_, output) in &mut self.outputs {
            output.ends.fill(0);
        }
    }

    /// The bytes on disk.
    pub fn encode(&self) -> Vec<u8> {
        // Writing plain data into memory cannot fail.
        let body = postcard::to_stdvec(self).unwrap_or_default();
        let mut out = Vec::with_capacity(5 + body.len());
        out.push(VERSION);
        out.extend_from_slice(&crc32c::crc32c(&body).to_le_bytes());
        out.extend_from_slice(&body);
        out
    }

    /// Reads the bytes; `None` if they are damaged or of another version.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (head, body) = bytes.split_first_chunk::<5>()?;
        let crc = u32::from_le_bytes([head[1], head[2], head[3], head[4]]);
        if head[0] != VERSION || crc != crc32c::crc32c(body) {
            return None;
        }
        postcard::from_bytes(body).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::StageId;

    #[test]
    fn what_is_written_is_read_and_damage_is_noticed() {
        let task = Producer { stage: StageId::Deduct, partition: 3, generation: 1 };
        let mut meta = TaskMeta::new(task, &[Topic::Charges], 2, 9);
        meta.marks.push(Mark {
            producer: task,
            offset: 3,
            next_seq: 4,
            last: Provenance { position: 1, index: 2 },
            tick: Minute(7),
        });
        meta.tally.dropped[DropReason::Duplicate as usize] = 5;
        let bytes = meta.encode();
        assert_eq!(TaskMeta::decode(&bytes), Some(meta));
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            assert_eq!(TaskMeta::decode(&damaged), None, "{at}");
        }
    }
}
