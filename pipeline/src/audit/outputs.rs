//! All outputs of one task, over all topics, partitions and generations of the line, in the order in
//! which it made them: by provenance.

use super::turns::Position;
use super::{Auditor, writes_of};
use crate::error::JobError;
use crate::input::{Content, Head};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use weir_operators::outbox::digest_of;
use weir_proto::{Provenance, TaskId, Topic, TopicId};
use weir_state::{Manifest, Mark};

struct Output {
    topic: Topic,
    partition: u32,
    content: Content,
}

/// Walks through the outputs of a task, keeping its running numbers and digests.
pub(super) struct Outputs {
    outputs: Vec<Output>,
    heap: BinaryHeap<Reverse<(Provenance, usize)>>,
    /// The one taken last: its next record is not in the heap yet.
    last: Option<(usize, Head)>,
    /// Per topic, in the order in which the stage declares them.
    pub(super) digests: Vec<(Topic, u128)>,
    /// Per topic and partition.
    pub(super) next_seqs: Vec<(Topic, Vec<u64>)>,
}

impl Outputs {
    /// From where a task stood, or from its first.
    pub(super) fn open(auditor: &Auditor, task: TaskId, start: Option<&Manifest>) -> Result<Self, JobError> {
        let partitions = auditor.dir.partitions();
        let mut this = Outputs {
            outputs: Vec::new(),
            heap: BinaryHeap::new(),
            last: None,
            digests: Vec::new(),
            next_seqs: Vec::new(),
        };
        for topic in writes_of(task.stage) {
            let line = auditor.registry.outputs(auditor.published, task.stage, *topic);
            let first = || Mark::nothing_of(task.in_generation(1));
            for partition in 0..partitions {
                let mark = start.map_or_else(first, |m| m.mark(*topic, partition));
                let content = Content::open(auditor.log.clone(), &line, partition, &mark);
                this.outputs.push(Output { topic: *topic, partition, content });
            }
            this.digests.push((*topic, start.map_or(0, |m| m.digest(*topic))));
            let seqs = (0..partitions).map(|p| start.map_or(0, |m| m.next_seq(*topic, p))).collect();
            this.next_seqs.push((*topic, seqs));
        }
        (0..this.outputs.len()).try_for_each(|at| this.fill(at))?;
        Ok(this)
    }

    fn fill(&mut self, at: usize) -> Result<(), JobError> {
        if let Some(head) = self.outputs[at].content.peek()? {
            self.heap.push(Reverse((head.provenance, at)));
        }
        Ok(())
    }

    /// How far it has read.
    pub(super) fn position(&self) -> Position {
        let each = self.outputs.iter().map(|output| output.content.position());
        each.fold((0, 0), |(behind, offsets), (segment, offset)| (behind + segment, offsets + offset))
    }

    /// The provenance of the next record.
    pub(super) fn peek(&mut self) -> Result<Option<Provenance>, JobError> {
        if let Some((at, _)) = self.last.take() {
            self.fill(at)?;
        }
        Ok(self.heap.peek().map(|Reverse((provenance, _))| *provenance))
    }

    /// The record looked at last.
    pub(super) fn next_bytes(&self) -> &[u8] {
        self.heap.peek().map_or(&[], |Reverse((_, at))| self.outputs[*at].content.bytes())
    }

    /// Takes the next record; whether there was one.
    pub(super) fn take(&mut self) -> Result<bool, JobError> {
        self.peek()?;
        let Some(Reverse((_, at))) = self.heap.pop() else { return Ok(false) };
        let output = &mut self.outputs[at];
        let Some(head) = output.content.take()? else { return Ok(false) };
        self.last = Some((at, head));
        let digest = digest_of(output.content.bytes(), output.partition, head.seq, head.provenance);
        for (topic, sum) in &mut self.digests {
            if *topic == output.topic {
                *sum = sum.wrapping_add(digest);
            }
        }
        for (topic, seqs) in &mut self.next_seqs {
            if *topic == output.topic {
                seqs[output.partition as usize] = head.seq + 1;
            }
        }
        Ok(true)
    }

    /// The record taken last.
    pub(super) fn bytes(&self) -> &[u8] {
        self.last.as_ref().map_or(&[], |(at, _)| self.outputs[*at].content.bytes())
    }

    /// Where the record taken last stands.
    pub(super) fn place(&self) -> Option<(TopicId, u32, u64)> {
        let (at, head) = self.last.as_ref()?;
        let output = &self.outputs[*at];
        Some((output.topic.of(head.producer.generation), output.partition, head.offset))
    }
}
