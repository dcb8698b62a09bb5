//! A source of commands, as promotions see it. Commands belong to no generation: they go where the
//! published one reads, and while that changes the source rests.
//!
//! In a group nobody waits for the sources of all workers: one may put commands behind the end that was decided for a topic,
//! where nobody reads them. Once it knows of that, it brings them again, under the same running numbers.

use super::gate::Gate;
use crate::error::JobError;
use crate::generations::Registry;
use crate::input::{Line, Scan};
use crate::log::{Log, LogError};
use crate::outputs::Outputs;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use weir_operators::Outbox;
use weir_proto::Topic;
use weir_state::TaskMeta;

/// Records read at a time.
const RECORDS: u64 = 1_024;

/// A record that was put behind the end of a topic.
pub(super) struct Left {
    pub(super) partition: u32,
    pub(super) seq: u64,
    /// Its place in the source.
    pub(super) position: u64,
    pub(super) bytes: Vec<u8>,
}

/// Shared by a source of commands with the job.
#[derive(Debug, Default)]
pub struct Inlet {
    gate: Gate,
    generation: AtomicU32,
}

impl Inlet {
    /// Of a source that appends to the `judged` of a generation.
    pub fn new(generation: u32) -> Self {
        Inlet { gate: Gate::default(), generation: AtomicU32::new(generation) }
    }

    /// Asks the source to rest.
    pub fn close(&self) {
        self.gate.close();
    }

    /// Whether the source rests: all that it took in is committed.
    pub fn is_at_rest(&self) -> bool {
        self.gate.is_at_rest()
    }

    /// Lets a source that rests go on, in the `judged` of a generation.
    pub fn go_on_in(&self, generation: u32) {
        self.generation.store(generation, Ordering::Release);
        self.gate.open();
    }

    /// For the source: see [`Gate`].
    pub(super) fn lets_through(&self, resting: bool) -> bool {
        self.gate.lets_through(resting)
    }

    /// For the source: whether its outputs are to go elsewhere than they do.
    pub(super) fn has_moved(&self, meta: &TaskMeta) -> bool {
        meta.task.generation != self.generation.load(Ordering::Acquire)
    }

    /// For the source, before it appends: its outputs go where they are to go from now on. What it has to bring again, in
    /// the order of its running numbers.
    pub(super) fn follow(
        &self,
        log: &Arc<dyn Log>,
        registry: &Registry,
        (meta, outbox, outputs): (&mut TaskMeta, &mut Outbox, &mut Outputs),
    ) -> Result<Vec<Left>, JobError> {
        if !self.has_moved(meta) {
            return Ok(Vec::new());
        }
        let generation = self.generation.load(Ordering::Acquire);
        let left = left_behind(log, &registry.line(registry.published(), Topic::Judged), meta)?;
        meta.enter(generation, 0);
        for record in &left {
            let next = &mut meta.outputs[0].1.next_seq[record.partition as usize];
            *next = record.seq.min(*next);
        }
        *outbox = Outbox::resume(meta);
        *outputs = Outputs::resume(log.clone(), meta)?;
        Ok(left)
    }
}

/// What a source has committed to the topic of its generation behind the place at which that ends in a line.
fn left_behind(log: &Arc<dyn Log>, line: &Arc<Line>, meta: &TaskMeta) -> Result<Vec<Left>, JobError> {
    let (topic, mut at, mut left) = (Topic::Judged.of(meta.task.generation), line, Vec::new());
    let (recorded, ends) = loop {
        match &**at {
            Line::Anew(anew) if anew.recorded.topic() == topic => break (&anew.recorded, anew),
            Line::Anew(anew) => at = &anew.recorded,
            Line::First(_) => return Ok(left),
        }
    };
    for (partition, next) in (0..).zip(&meta.outputs[0].1.next_seq) {
        let end = ends.end(partition).and_then(|place| recorded.offset_of(partition, place));
        let (Some(end), newest) = (end, log.find_end(topic, partition)?) else { continue };
        let mut scan = Scan::new(log.clone(), topic, partition, end, RECORDS).of(meta.task.task());
        let mut first = None;
        while let Some(head) = scan.advance()? {
            // A log may hold a batch twice.
            let expected = first.unwrap_or(head.seq);
            if head.producer == meta.task && head.seq == expected && head.seq < *next {
                let position = head.provenance.position;
                left.push(Left { partition, seq: head.seq, position, bytes: scan.bytes().to_vec() });
                first = Some(head.seq + 1);
            }
        }
        if scan.position() < newest {
            return Err(LogError::Away { what: "read", topic: Some(topic.to_string()) }.into());
        }
    }
    Ok(left)
}
