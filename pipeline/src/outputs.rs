//! Appending a task's outputs: in order, without gaps, and nothing that stands there already.

use crate::error::JobError;
use crate::log::{Appended, Log, NewBatch};
use std::sync::Arc;
use weir_operators::outbox::OutBatch;
use weir_proto::{Batch, BatchBuilder, TopicId};
use weir_state::TaskMeta;

/// The end of a task's outputs in the log.
pub struct Outputs {
    log: Arc<dyn Log>,
    topics: Vec<TopicId>,
    /// Per output and partition, the running number behind the newest record of this task that
    /// stands in the log: after a crash that may be more than the store knows of.
    standing: Vec<Vec<u64>>,
}

/// What must be durable before turns may be committed.
#[derive(Clone, Debug, Default)]
pub struct Tickets {
    /// Per topic.
    highest: Vec<(TopicId, u64)>,
    /// The newest batch of each output and partition.
    newest: Vec<(usize, TopicId, u32, Appended)>,
}

impl Tickets {
    /// Whether all of it is durable.
    pub fn are_durable(&self, log: &dyn Log) -> bool {
        self.highest.iter().all(|(topic, ticket)| log.is_durable(*topic, *ticket))
    }

    /// Once they are durable: writes where they end into the position that is to be committed.
    pub fn settle(&self, log: &dyn Log, meta: &mut TaskMeta) {
        for (output, topic, partition, appended) in &self.newest {
            let end = &mut meta.outputs[*output].1.ends[*partition as usize];
            // Where nobody knows it any more, the one before is still one that the batch does not stand below.
            *end = log.end(*topic, *partition, appended).max(*end);
        }
    }

    /// Adds a batch that was appended as this output of the task.
    pub fn add(&mut self, output: usize, topic: TopicId, partition: u32, appended: Appended) {
        self.raise(topic, appended.ticket);
        match self.newest.iter_mut().find(|(o, _, p, _)| (*o, *p) == (output, partition)) {
            Some(newest) => *newest = (output, topic, partition, appended),
            None => self.newest.push((output, topic, partition, appended)),
        }
    }

    /// Adds what must be durable for something else.
    pub fn merge(&mut self, other: Tickets) {
        other.newest.into_iter().for_each(|(o, topic, p, appended)| self.add(o, topic, p, appended));
    }

    fn raise(&mut self, topic: TopicId, ticket: u64) {
        match self.highest.iter_mut().find(|(t, _)| *t == topic) {
            Some((_, highest)) => *highest = ticket.max(*highest),
            None => self.highest.push((topic, ticket)),
        }
    }
}

impl Outputs {
    /// Looks through the log, from the committed end offsets on, for outputs of this task that were
    /// appended and not committed.
    pub fn resume(log: Arc<dyn Log>, meta: &TaskMeta) -> Result<Self, JobError> {
        let mut standing = Vec::new();
        for (topic, output) in &meta.outputs {
            let topic = topic.of(meta.task.generation);
            let (mut seqs, count) = (output.next_seq.clone(), output.ends.len());
            // Tasks that are opened together do not all begin with the same partition: each waits for a read there.
            for partition in (0..count).map(|nth| (usize::from(meta.task.partition) + nth) % count) {
                let (at, end) = (partition as u32, output.ends[partition]);
                // Whoever had the task before may have appended what is not received here yet.
                let high = log.newest(topic, at)?;
                if high < end {
                    let (task, file) = (meta.task, log.newest_file(topic));
                    return Err(JobError::AheadOfLog { task, topic, store: end, log: high, file });
                }
                if high > end {
                    // What it appended last may have been let go of since.
                    let from = log.start(topic, at).max(end);
                    let heads = log.heads(topic, at, from)?.into_iter();
                    let own = heads.filter(|head| head.producer == meta.task);
                    let behind = own.map(|head| head.first_seq + u64::from(head.count));
                    seqs[partition] = behind.fold(seqs[partition], u64::max);
                }
            }
            standing.push(seqs);
        }
        let topics = meta.outputs.iter().map(|(t, _)| t.of(meta.task.generation)).collect();
        Ok(Outputs { log, topics, standing })
    }

    /// The topic that holds more of this task than it has made so far: what it makes next would be taken for that.
    pub fn ahead(&self, meta: &TaskMeta) -> Option<TopicId> {
        let made = meta.outputs.iter().map(|(_, output)| &output.next_seq);
        let more = |(standing, made): (&Vec<u64>, &Vec<u64>)| standing.iter().zip(made).any(|(s, m)| s > m);
        self.standing.iter().zip(made).position(more).map(|at| self.topics[at])
    }

    /// Appends what does not stand in the log yet, and writes the end offsets into the position.
    pub fn append(&mut self, batches: Vec<OutBatch>, meta: &mut TaskMeta) -> Result<Tickets, JobError> {
        let mut tickets = Tickets::default();
        for batch in batches {
            let topic = self.topics[batch.output];
            let (output, partition) = (batch.output, batch.partition as usize);
            let standing = &mut self.standing[output][partition];
            let Some(batch) = without_first(batch, *standing)? else { continue };
            *standing = batch.first_seq + u64::from(batch.count);
            let new = NewBatch {
                producer: meta.task,
                first_seq: batch.first_seq,
                count: batch.count,
                last: batch.last,
                bytes: batch.bytes,
            };
            let appended = self.log.append(topic, batch.partition, new);
            #[cfg(feature = "sabotage")]
            if appended.is_err() && weir_state::sabotage::is(weir_state::sabotage::Sabotage::GapAfterFailure)
            {
                continue;
            }
            let appended = appended?;
            let end = &mut meta.outputs[output].1.ends[partition];
            *end = appended.end.max(*end);
            tickets.add(output, topic, batch.partition, appended);
        }
        Ok(tickets)
    }
}

/// The batch without the records whose running number is below `standing`.
fn without_first(batch: OutBatch, standing: u64) -> Result<Option<OutBatch>, JobError> {
    let repeated = standing.saturating_sub(batch.first_seq);
    if repeated == 0 {
        return Ok(Some(batch));
    }
    if repeated >= u64::from(batch.count) {
        return Ok(None);
    }
    let mut rest = BatchBuilder::default();
    for record in Batch::open(&batch.bytes)?.skip(repeated as usize) {
        let record = record?;
        rest.push(record.provenance, &[record.bytes]);
    }
    let count = rest.count();
    Ok(Some(OutBatch { first_seq: standing, count, bytes: rest.take(), ..batch }))
}
