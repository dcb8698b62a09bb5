//! The task loop: one stage on one input partition.
//!
//! A turn reads a stretch of the input, folds it, and appends the outputs. Once those are durable
//! the turn is committed: state, next input position, provenance marks, end offsets and digest in
//! one write batch. A tick ends its turn; its checkpoint is taken right after the commit.

use crate::error::JobError;
use crate::flow::{Shared, Stage};
use crate::log::{Log, LoggedBatch};
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{Need, Work};
use crate::status::TaskStatus;
use std::sync::Arc;
use weir_operators::{Operator, Outbox};
use weir_proto::{Batch, Producer, Provenance, Record, Topic};
use weir_state::{CheckpointDir, Commit, Durability, Mark, Store, TaskMeta};

/// Records of a turn, at most and about.
const MAX_RECORDS: u64 = 16_384;

/// A task that folds a topic's partition.
pub struct Task {
    reads: Topic,
    partition: u32,
    log: Arc<dyn Log>,
    store: Store,
    operator: Box<dyn Operator>,
    outbox: Outbox,
    outputs: Outputs,
    meta: TaskMeta,
    /// Set while a turn's outputs are not known to be durable.
    uncommitted: Option<Tickets>,
    checkpoints: CheckpointDir,
    checkpoint_due: bool,
    status: Arc<TaskStatus>,
}

impl Task {
    /// Opens a task where it stopped.
    pub fn open(
        stage: &Stage,
        task: Producer,
        partitions: u32,
        store: Store,
        log: Arc<dyn Log>,
        checkpoints: CheckpointDir,
        shared: &Shared,
    ) -> Result<Self, JobError> {
        let rules = shared.rules.fingerprint();
        let new = || TaskMeta::new(task, stage.writes, partitions as usize, rules);
        let meta = store.meta()?.unwrap_or_else(new);
        if meta.rules != rules {
            return Err(JobError::OtherRules { task });
        }
        let partition = u32::from(task.partition);
        let end = log.high_watermark(stage.reads, partition);
        if meta.position > end {
            return Err(JobError::AheadOfLog { task, topic: stage.reads, store: meta.position, log: end });
        }
        let status = TaskStatus::new(Some(stage.reads), &meta);
        Ok(Task {
            reads: stage.reads,
            partition,
            operator: (stage.operator)(&store, shared, meta.last_tick)?,
            outbox: Outbox::resume(&meta),
            outputs: Outputs::resume(log.clone(), &meta)?,
            checkpoint_due: meta.is_at_tick(),
            log,
            store,
            meta,
            uncommitted: None,
            checkpoints,
            status: Arc::new(status),
        })
    }

    fn fold_turn(&mut self) -> Result<(), JobError> {
        let batches = self.log.read(self.reads, self.partition, self.meta.position, MAX_RECORDS)?;
        for batch in &batches {
            if self.fold_batch(batch)? {
                break;
            }
        }
        let batches = self.outbox.take();
        self.uncommitted = Some(self.outputs.append(batches, &mut self.meta)?);
        Ok(())
    }

    /// Folds a batch; whether a tick ended the turn.
    fn fold_batch(&mut self, logged: &LoggedBatch) -> Result<bool, JobError> {
        let head = &logged.head;
        let at = self.mark_of(head.producer);
        let expected = self.meta.marks[at].next_seq;
        if head.first_seq > expected {
            return Err(JobError::Gap {
                task: self.meta.task,
                topic: self.reads,
                upstream: head.producer,
                expected,
                found: head.first_seq,
            });
        }
        for (i, record) in Batch::open(&logged.bytes)?.enumerate() {
            let (offset, seq) = (head.base_offset + i as u64, head.first_seq + i as u64);
            if offset < self.meta.position {
                continue;
            }
            self.meta.position = offset + 1;
            if seq < self.meta.marks[at].next_seq {
                continue;
            }
            let record = record?;
            self.meta.marks[at].next_seq = seq + 1;
            self.meta.marks[at].last = record.provenance;
            if self.fold_record(offset, record.bytes)? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// Folds a record; whether it was the first tick of its minute.
    fn fold_record(&mut self, offset: u64, bytes: &[u8]) -> Result<bool, JobError> {
        self.outbox.at(offset);
        match Record::decode(bytes)? {
            Record::Tick(minute) if minute > self.meta.last_tick => {
                self.operator.tick(minute);
                self.outbox.tick(minute);
                self.meta.last_tick = minute;
                self.meta.tick_position = offset + 1;
                Ok(true)
            }
            Record::Tick(_) => Ok(false),
            record => {
                self.outbox.taken();
                self.operator.fold(&self.store, record, &mut self.outbox)?;
                Ok(false)
            }
        }
    }

    fn mark_of(&mut self, producer: Producer) -> usize {
        let marks = &mut self.meta.marks;
        marks.iter().position(|m| m.producer == producer).unwrap_or_else(|| {
            marks.push(Mark { producer, next_seq: 0, last: Provenance::default() });
            marks.len() - 1
        })
    }

    fn commit(&mut self) -> Result<(), JobError> {
        self.meta.commits += 1;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::new(self.meta.commits);
        self.operator.stage(&self.store, &mut commit)?;
        commit.put_meta(&self.meta);
        self.store.commit(commit, Durability::FromLog)?;
        self.uncommitted = None;
        self.checkpoint_due = self.meta.is_at_tick();
        Ok(())
    }
}

impl Work for Task {
    fn need(&self) -> Need {
        match &self.uncommitted {
            Some(tickets) if tickets.are_durable(&*self.log) => Need::Commit,
            Some(_) => Need::Nothing,
            None if self.checkpoint_due => Need::Checkpoint,
            None => match self.log.high_watermark(self.reads, self.partition) - self.meta.position {
                0 => Need::Nothing,
                backlog => Need::Turn(backlog),
            },
        }
    }

    fn is_idle(&self) -> bool {
        self.uncommitted.is_none()
            && !self.checkpoint_due
            && self.log.high_watermark(self.reads, self.partition) == self.meta.position
    }

    fn work(&mut self, need: Need) -> Result<(), JobError> {
        match need {
            Need::Commit => {
                self.commit()?;
                self.status.committed(&self.meta);
            }
            Need::Checkpoint => {
                self.checkpoints.take(&self.store, &self.meta)?;
                self.checkpoint_due = false;
            }
            Need::Turn(_) => self.fold_turn()?,
            Need::Nothing => {}
        }
        Ok(())
    }

    fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    fn position(&self) -> u64 {
        self.meta.position
    }

    fn store(&self) -> &Store {
        &self.store
    }
}
