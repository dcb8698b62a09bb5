//! A source of commands, as promotions see it. Commands belong to no generation: they go where the
//! published one reads, and while that changes the source rests.
//!
//! In a group nobody waits for the sources of all workers: one may put commands behind the end that was decided for a topic,
//! where nobody reads them. Once it knows of that, it brings them again, under the same running numbers.

use super::announced;
use super::gate::Gate;
use crate::error::JobError;
use crate::generations::Registry;
use crate::input::{Line, Scan};
use crate::log::Log;
use crate::outputs::Outputs;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use weir_operators::Outbox;
use weir_proto::Topic;
use weir_state::{Store, TaskMeta};

/// Records read at a time.
const RECORDS: u64 = 1_024;
/// How long to wait before it is tried again to follow.
const AGAIN: Duration = Duration::from_millis(200);

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
    /// When it is tried again to follow.
    not_before: Mutex<Option<Instant>>,
}

impl Inlet {
    /// Of a source that appends to the `judged` of a generation.
    pub fn new(generation: u32) -> Self {
        Inlet { generation: AtomicU32::new(generation), ..Inlet::default() }
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
        let not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
        meta.task.generation != self.generation.load(Ordering::Acquire)
            && not_before.is_none_or(|at| Instant::now() >= at)
    }

    /// For the source, before it appends: its outputs go where they are to go from now on. What it has to bring again, in
    /// the order of its running numbers; nothing is said while that cannot be known yet.
    pub(super) fn follow(
        &self,
        log: &Arc<dyn Log>,
        store: &Store,
        registry: &Registry,
        (meta, outbox, outputs): (&mut TaskMeta, &mut Outbox, &mut Outputs),
    ) -> Result<Option<Vec<Left>>, JobError> {
        let generation = self.generation.load(Ordering::Acquire);
        if meta.task.generation == generation {
            return Ok(Some(Vec::new()));
        }
        let left = match left_behind(log, &registry.line(registry.published(), Topic::Judged), meta) {
            Ok(Some(left)) => left,
            Err(error) if !error.is_away() => return Err(error),
            _ => {
                let mut not_before = self.not_before.lock().unwrap_or_else(PoisonError::into_inner);
                *not_before = Some(Instant::now() + AGAIN);
                return Ok(None);
            }
        };
        meta.enter(generation, 0);
        for record in &left {
            let next = &mut meta.outputs[0].1.next_seq[record.partition as usize];
            *next = record.seq.min(*next);
        }
        // What it may have brought there before was announced.
        announced::pass_over(store, &**log, meta)?;
        *outbox = Outbox::resume(meta);
        *outputs = Outputs::resume(log.clone(), meta)?;
        Ok(Some(left))
    }
}

/// What a source has committed to the topic of its generation behind the place at which that ends in a line; nothing is
/// said while what it has committed does not stand there for all to see.
fn left_behind(log: &Arc<dyn Log>, line: &Arc<Line>, meta: &TaskMeta) -> Result<Option<Vec<Left>>, JobError> {
    let (topic, mut at, mut all) = (Topic::Judged.of(meta.task.generation), line, Vec::new());
    let (recorded, ends) = loop {
        match &**at {
            Line::Anew(anew) if anew.recorded.topic() == topic => break (&anew.recorded, anew),
            Line::Anew(anew) => at = &anew.recorded,
            Line::First(_) => return Ok(Some(all)),
        }
    };
    let output = &meta.outputs[0].1;
    for (partition, next) in (0..).zip(&output.next_seq) {
        let Some(end) = ends.end(partition).and_then(|place| recorded.offset_of(partition, place)) else {
            continue;
        };
        let newest = log.newest(topic, partition)?.max(output.ends[partition as usize]);
        let mut left = BTreeMap::new();
        let mut scan = Scan::new(log.clone(), topic, partition, end, RECORDS).of(meta.task.task());
        while let Some(head) = scan.advance()? {
            if head.producer == meta.task && head.seq < *next {
                let (seq, position) = (head.seq, head.provenance.position);
                left.insert(seq, Left { partition, seq, position, bytes: scan.bytes().to_vec() });
            }
        }
        if scan.position() < newest {
            return Ok(None);
        }
        // Where one is missing it stands before the end, and with it those below: the log holds them twice.
        let mut from = *next;
        while from > 0 && left.contains_key(&(from - 1)) {
            from -= 1;
        }
        all.extend(left.split_off(&from).into_values());
    }
    Ok(Some(all))
}
