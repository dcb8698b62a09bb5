//! The commands task: what comes over the control interface into `judged`.
//!
//! Its position is the count of commands taken in. A command is taken in once it is durable in `judged`
//! and counted in the store. After a crash between the two it stands in `judged` all the same: what stands
//! there is counted when the task is opened, and whoever sent it and got no answer sends it again.

use super::accounts::AccountsProgress;
use super::announced;
use super::inlet::Inlet;
use super::mailbox::{Mailbox, Submission};
use super::standing::{Standing, standing};
use crate::error::JobError;
use crate::flow::COMMANDS_WRITES;
use crate::generations::Registry;
use crate::log::Log;
use crate::outputs::{Outputs, Tickets};
use crate::scheduler::{FollowUp, Need, Work};
use crate::status::TaskStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use weir_operators::{Outbox, partition};
use weir_proto::{Command, Producer};
use weir_state::{Commit, Durability, Store, TaskMeta};

/// The task.
pub struct CommandsTask {
    log: Arc<dyn Log>,
    store: Store,
    outbox: Outbox,
    outputs: Outputs,
    meta: TaskMeta,
    uncommitted: Option<Tickets>,
    /// Who waits for the next commit.
    waiting: Vec<Sender<()>>,
    mailbox: Arc<Mailbox>,
    inlet: Arc<Inlet>,
    registry: Arc<Registry>,
    /// Commands may be about accounts of the accounts file: those come first.
    accounts: Arc<AccountsProgress>,
    status: Arc<TaskStatus>,
}

impl CommandsTask {
    /// Opens the task where it stopped.
    pub fn open(
        partitions: u32,
        store: Store,
        log: Arc<dyn Log>,
        task: Producer,
        registry: Arc<Registry>,
        accounts: Arc<AccountsProgress>,
    ) -> Result<Self, JobError> {
        let new = || TaskMeta::new(task, COMMANDS_WRITES, partitions as usize, 0);
        let mut meta = store.meta()?.unwrap_or_else(new);
        announced::pass_over(&store, &*log, &mut meta)?;
        let mut this = CommandsTask {
            outbox: Outbox::resume(&meta),
            outputs: Outputs::resume(log.clone(), &meta)?,
            status: Arc::new(TaskStatus::new(None, &meta)),
            inlet: Arc::new(Inlet::new(task.generation)),
            mailbox: Arc::default(),
            uncommitted: None,
            waiting: Vec::new(),
            registry,
            accounts,
            log,
            store,
            meta,
        };
        if this.count_what_stands()?.is_some() {
            // Nothing is appended: all of it stands there.
            this.outputs.append(this.outbox.take(), &mut this.meta)?;
            this.commit()?;
        }
        announced::looked(&this.store, &this.meta)?;
        Ok(this)
    }

    /// Where commands are put in.
    pub fn mailbox(&self) -> Arc<Mailbox> {
        self.mailbox.clone()
    }

    /// What promotions decide about it.
    pub fn inlet(&self) -> Arc<Inlet> {
        self.inlet.clone()
    }

    /// Commands that were appended by a process that ended before it had committed them. They are not
    /// kept anywhere else: the next ones must not take their places. The running numbers behind
    /// them, if there were any.
    fn count_what_stands(&mut self) -> Result<Option<Vec<u64>>, JobError> {
        #[cfg(feature = "sabotage")]
        if weir_state::sabotage::is(weir_state::sabotage::Sabotage::CommandsNotCounted) {
            return Ok(None);
        }
        let mut behind = self.meta.outputs[0].1.next_seq.clone();
        let standing = standing(&self.log, &mut self.meta)?;
        for record in &standing {
            behind[record.partition as usize] += 1;
        }
        for Standing { position, partition, record } in &standing {
            self.push(*position, *partition, record);
        }
        Ok((!standing.is_empty()).then_some(behind))
    }

    fn push(&mut self, position: u64, partition: u32, record: &[u8]) {
        self.outbox.at(position);
        self.outbox.taken();
        self.outbox.emit(partition, &[record]);
        self.meta.position = self.meta.position.max(position + 1);
    }

    /// Goes where the published generation reads, and brings along what was left behind; whether it is there.
    fn follow(&mut self) -> Result<bool, JobError> {
        let (before, log) = (self.meta.task.generation, self.log.clone());
        let task = (&mut self.meta, &mut self.outbox, &mut self.outputs);
        let Some(left) = self.inlet.follow(&log, &self.store, &self.registry, task)? else {
            return Ok(false);
        };
        if self.meta.task.generation == before {
            return Ok(true);
        }
        // A process that was killed may have brought it there before.
        let standing = self.count_what_stands()?;
        let next = standing.unwrap_or_else(|| self.meta.outputs[0].1.next_seq.clone());
        for left in left.into_iter().filter(|left| left.seq >= next[left.partition as usize]) {
            self.outbox.at(left.position);
            self.outbox.emit(left.partition, &[&left.bytes]);
        }
        Ok(true)
    }

    fn append_all(&mut self) -> Result<(), JobError> {
        if !self.follow()? {
            return Ok(());
        }
        for Submission { command, taken } in self.mailbox.take() {
            let to = partition::by_advertiser(command.advertiser_id, self.outbox.partitions());
            self.push(self.meta.position, to, &Command::encode(&command));
            self.waiting.push(taken);
        }
        let batches = self.outbox.take();
        let partitions = batches.iter().map(|batch| batch.partition);
        announced::announce(&self.store, &*self.log, &self.meta, partitions)?;
        self.uncommitted = Some(self.outputs.append(batches, &mut self.meta)?);
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        if let Some(tickets) = &self.uncommitted {
            tickets.settle(&*self.log, &mut self.meta);
        }
        self.meta.commits += 1;
        self.outbox.save(&mut self.meta);
        let mut commit = Commit::new(self.meta.commits);
        commit.put_meta(&self.meta);
        announced::is_done(&self.meta, &mut commit);
        self.store.commit_as("commands.commit", commit, Durability::Disk)?;
        self.uncommitted = None;
        self.status.committed(&self.meta);
        for taken in self.waiting.drain(..) {
            // Whoever asked may have gone.
            let _ = taken.send(());
        }
        Ok(())
    }
}

impl Work for CommandsTask {
    fn need(&self) -> Need {
        match &self.uncommitted {
            Some(tickets) if tickets.are_durable(&*self.log) => Need::Commit,
            Some(_) => {
                self.inlet.lets_through(false);
                Need::Nothing
            }
            None if !self.inlet.lets_through(true) => Need::Nothing,
            None if self.inlet.has_moved(&self.meta) => Need::Turn(u64::MAX),
            None if !self.accounts.loaded.load(Ordering::Acquire) => Need::Nothing,
            None if !self.mailbox.is_empty() => Need::Turn(u64::MAX),
            None => Need::Nothing,
        }
    }

    fn is_idle(&self) -> bool {
        self.uncommitted.is_none() && self.mailbox.is_empty()
    }

    fn work(&mut self, need: Need) -> Result<FollowUp, JobError> {
        match need {
            Need::Turn(_) => self.append_all()?,
            Need::Commit => self.commit()?,
            Need::Checkpoint | Need::Nothing => {}
        }
        Ok(None)
    }

    fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    fn position(&self) -> u64 {
        self.outbox.tally().taken
    }

    fn store(&self) -> &Store {
        &self.store
    }
}
