//! What a task that delivers has of its own, and how it goes on where it stopped.

use super::Needs;
use super::letters::{DELIVER_WRITES, Letters};
use super::published::{Published, Reading, message_at};
use super::unfinished::{DeadLetters, Unfinished, Waiting};
use crate::config::Deliver;
use crate::error::JobError;
use crate::generations::Registry;
use crate::log::LiveLog;
use crate::status::TaskStatus;
use std::collections::BTreeSet;
use std::sync::Arc;
use weir_proto::{Fate, MessageId, Producer};
use weir_state::{Commit, Durability, Store, TaskMeta};

/// What a task has of its own.
pub struct TaskState {
    pub(super) options: Deliver,
    pub(super) task: Producer,
    pub(super) log: Arc<dyn LiveLog>,
    pub(super) store: Store,
    pub(super) meta: TaskMeta,
    pub(super) published: Published,
    pub(super) unfinished: Unfinished,
    /// Dead letters that were not committed before a crash, and are read again: they stay dead.
    pub(super) buried: BTreeSet<MessageId>,
    pub(super) letters: Letters,
    pub(super) status: Arc<TaskStatus>,
}

impl TaskState {
    /// Opens a task where it stopped.
    pub fn new(
        options: Option<&Deliver>,
        task: Producer,
        store: Store,
        log: Arc<dyn LiveLog>,
        registry: Arc<Registry>,
    ) -> Result<Self, JobError> {
        let partition = u32::from(task.partition);
        let new = || TaskMeta::new(task, DELIVER_WRITES, usize::from(task.partition) + 1, 0);
        let meta = store.meta()?.unwrap_or_else(new);
        let published =
            Published::open(log.clone(), registry, partition, Reading::load(&store)?, "[deliver]")?;
        let end = log.high_watermark(published.at().charges(), partition);
        let mut this = TaskState {
            options: options.cloned().unwrap_or_default(),
            task,
            status: Arc::new(TaskStatus::new(Some(end), &meta)),
            unfinished: Unfinished::load(&store)?,
            buried: BTreeSet::new(),
            letters: Letters::new(log.clone(), task),
            published,
            log,
            store,
            meta,
        };
        this.redo()?;
        let reading = this.published.at();
        this.buried = DeadLetters::ids(&this.store)?.into_iter().filter(|id| reading.is_before(id)).collect();
        this.show(reading);
        Ok(this)
    }

    /// What stands in `dead` counts, whether it was committed before a crash or not.
    fn redo(&mut self) -> Result<(), JobError> {
        let letters = self.letters.resume(&mut self.meta)?;
        self.meta.commits += 1;
        self.meta.position = self.published.at().offset;
        let mut commit = Commit::new(self.meta.commits);
        self.published.at().save(&mut commit);
        commit.put_meta(&self.meta);
        for (id, fate, attempt) in letters {
            let dead = DeadLetters::get(&self.store, &id)?;
            match (fate, self.unfinished.get(&id).cloned(), dead) {
                (Fate::Dead, Some(waiting), _) => {
                    DeadLetters::put(&Waiting { attempt, ..waiting }, &mut commit);
                    self.unfinished.finish(&id, &mut commit);
                }
                (Fate::Dead, None, None) if self.published.at().is_before(&id) => {
                    if let Some(message) = message_at(&self.log, &id)? {
                        DeadLetters::put(&Waiting { attempt, next_ms: 0, message }, &mut commit);
                    }
                }
                (Fate::Retried, None, Some(dead)) => {
                    DeadLetters::remove(&id, &mut commit);
                    self.unfinished.put(Waiting { attempt: 0, next_ms: 0, ..dead }, &mut commit);
                }
                (Fate::Discarded, _, Some(_)) => DeadLetters::remove(&id, &mut commit),
                // It was committed.
                _ => {}
            }
        }
        Ok(self.store.commit(commit, Durability::Process)?)
    }

    /// What it shows of itself.
    pub fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    /// Shows where it stands.
    pub(super) fn show(&self, reading: Reading) {
        self.status.unfinished_from(self.unfinished.lowest_charge(reading.generation));
        self.status.committed(&self.meta);
    }

    /// What it needs of the log.
    pub(super) fn needs(&self, reading: Reading) -> Needs {
        let end = self.meta.outputs[0].1.ends.last().copied().unwrap_or(0);
        Needs { reading, retry: if self.unfinished.len() == 0 { end } else { 0 } }
    }
}
