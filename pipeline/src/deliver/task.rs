//! The task that delivers one partition.
//!
//! A turn hands over a batch: first what is due for another try, then what is read anew. When the answers
//! are there, letters about what failed are appended, and once those are durable the turn is committed:
//! unfinished records, dead letters and the reading position as one. After a crash, what was under way is
//! sent again. Decisions of people are turns of their own, and do not wait for the account system.

use super::couriers::Reply;
use super::dead::Ask;
use super::letters::{DELIVER_WRITES, Letters, Verdict};
use super::pressure::Share;
use super::published::{Published, Reading};
use super::split::Answer;
use super::unfinished::{Backoff, DeadLetters, Unfinished, Waiting};
use super::{Deliveries, Needs};
use crate::config::Deliver;
use crate::error::JobError;
use crate::generations::Registry;
use crate::log::{EmbeddedLog, Log};
use crate::outputs::Tickets;
use crate::scheduler::{FollowUp, Need, Work};
use crate::source::collect::now_ms;
use crate::status::TaskStatus;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use weir_proto::{Fate, MessageId, Producer};
use weir_state::{Commit, Durability, Store, TaskMeta};

/// Records that a turn looks at, at most: ticks, and what another generation made of a time before.
const LOOK: u64 = 16_384;

/// A batch that was handed over.
struct Asked {
    batch: Vec<Waiting>,
    reply: Arc<Reply>,
}

/// A turn whose letters are not known to be durable.
struct Uncommitted {
    tickets: Tickets,
    commit: Commit,
    /// Who waits for a decision, and what was decided.
    decided: Vec<(Sender<Vec<MessageId>>, Vec<MessageId>)>,
}

/// A task that is opened, before it shares anything.
pub struct Opening {
    options: Deliver,
    task: Producer,
    log: Arc<EmbeddedLog>,
    store: Store,
    meta: TaskMeta,
    published: Published,
    unfinished: Unfinished,
    letters: Letters,
    status: Arc<TaskStatus>,
}

impl Opening {
    /// Opens a task where it stopped.
    pub fn new(
        options: Option<&Deliver>,
        task: Producer,
        store: Store,
        log: Arc<EmbeddedLog>,
        registry: Arc<Registry>,
    ) -> Result<Self, JobError> {
        let partition = u32::from(task.partition);
        let new = || TaskMeta::new(task, DELIVER_WRITES, usize::from(task.partition) + 1, 0);
        let meta = store.meta()?.unwrap_or_else(new);
        let published = Published::open(log.clone(), registry, partition, Reading::load(&store)?)?;
        let end = log.high_watermark(published.at().charges(), partition);
        let mut this = Opening {
            options: options.cloned().unwrap_or_default(),
            task,
            status: Arc::new(TaskStatus::new(Some(end), &meta)),
            unfinished: Unfinished::load(&store)?,
            letters: Letters::new(log.clone(), task),
            published,
            log,
            store,
            meta,
        };
        this.redo()?;
        show(&this.status, &this.unfinished, this.published.at(), &this.meta);
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
                (Fate::Retried, None, Some(dead)) => {
                    DeadLetters::remove(&id, &mut commit);
                    self.unfinished.put(Waiting { attempt: 0, next_ms: 0, ..dead }, &mut commit);
                }
                (Fate::Discarded, _, Some(_)) => DeadLetters::remove(&id, &mut commit),
                // It is read again, or was committed.
                _ => {}
            }
        }
        Ok(self.store.commit(commit, Durability::Process)?)
    }

    /// What it shows of itself.
    pub fn status(&self) -> Arc<TaskStatus> {
        self.status.clone()
    }

    /// What it needs of the log.
    pub(super) fn needs(&self) -> Needs {
        needs(&self.unfinished, self.published.at(), &self.meta)
    }
}

fn needs(unfinished: &Unfinished, reading: Reading, meta: &TaskMeta) -> Needs {
    let end = meta.outputs[0].1.ends.last().copied().unwrap_or(0);
    Needs { reading, retry: if unfinished.len() == 0 { end } else { 0 } }
}

fn show(status: &TaskStatus, unfinished: &Unfinished, reading: Reading, meta: &TaskMeta) {
    status.unfinished_from(unfinished.lowest_charge(reading.generation));
    status.committed(meta);
}

/// The task.
pub struct DeliverTask {
    opening: Opening,
    backoff: Backoff,
    shared: Arc<Deliveries>,
    /// As of the newest turn.
    reading: Reading,
    asked: Option<Asked>,
    uncommitted: Option<Uncommitted>,
    share: Share,
}

impl DeliverTask {
    /// Begins to work.
    pub fn new(opening: Opening, shared: Arc<Deliveries>) -> Self {
        let this = DeliverTask {
            backoff: Backoff::new(&opening.options),
            reading: opening.published.at(),
            opening,
            shared,
            asked: None,
            uncommitted: None,
            share: Share::default(),
        };
        this.tell();
        this
    }

    fn partition(&self) -> u32 {
        u32::from(self.opening.task.partition)
    }

    /// Says how much is unfinished.
    fn tell(&self) {
        let (log, held) = (&*self.opening.log, self.opening.unfinished.len());
        self.opening.status.sees(log.high_watermark(self.reading.charges(), self.partition()));
        if self.shared.couriers.is_some() {
            let unread = self.reading.unread(log, self.partition());
            self.shared.pressure.tell(&self.share, held + unread, held);
        }
    }

    /// Hands a batch over, if there is one.
    fn hand_over(&mut self) -> Result<(), JobError> {
        let Some(couriers) = &self.shared.couriers else { return Ok(()) };
        let (limit, mut budget) = (self.opening.options.batch, LOOK);
        let mut batch = self.opening.unfinished.due(now_ms(), limit);
        while batch.len() < limit && !self.shared.pressure.is_full() {
            let Some(message) = self.opening.published.next(&mut budget)? else { break };
            self.opening.meta.tally.taken += 1;
            batch.push(Waiting { attempt: 0, next_ms: 0, message });
        }
        if batch.is_empty() {
            if self.opening.published.at() != self.reading {
                let commit = self.begin_commit();
                self.finish_turn(commit, Vec::new())?;
            }
            return Ok(());
        }
        let lines: Result<Vec<_>, _> = batch.iter().map(|waiting| waiting.message.line()).collect();
        self.asked = Some(Asked { reply: couriers.send(lines?), batch });
        Ok(())
    }

    /// Takes the answers to a batch.
    fn conclude(&mut self) -> Result<(), JobError> {
        let Some(Asked { batch, reply }) = self.asked.take() else { return Ok(()) };
        let Some((answers, time_ms)) = reply.take() else { return Ok(()) };
        let mut commit = self.begin_commit();
        for (waiting, answer) in batch.into_iter().zip(answers) {
            match answer {
                Answer::Accepted => {
                    self.opening.meta.tally.emitted += 1;
                    self.opening.unfinished.finish(&waiting.message.id, &mut commit);
                }
                Answer::Refused(reason) => self.give_up(waiting, time_ms, &reason, &mut commit)?,
                Answer::Failed(reason) if waiting.attempt + 1 >= self.opening.options.max_attempts => {
                    self.give_up(waiting, time_ms, &reason, &mut commit)?;
                }
                Answer::Failed(reason) => self.put_off(waiting, time_ms, &reason, &mut commit)?,
            }
        }
        self.finish_turn(commit, Vec::new())
    }

    /// A record failed for a reason outside of it: it is tried again.
    fn put_off(
        &mut self,
        waiting: Waiting,
        time_ms: u64,
        reason: &str,
        commit: &mut Commit,
    ) -> Result<(), JobError> {
        let attempt = waiting.attempt + 1;
        let next_ms = time_ms + self.backoff.delay_ms(&waiting.message.id, attempt);
        let verdict = Verdict { fate: Fate::Retry, attempt, time_ms, next_time_ms: next_ms, reason };
        self.opening.letters.write(&waiting.message, &verdict, &self.opening.meta)?;
        self.opening.unfinished.put(Waiting { attempt, next_ms, ..waiting }, commit);
        self.shared.retries.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// A record is wrong, or was tried often enough.
    fn give_up(
        &mut self,
        waiting: Waiting,
        time_ms: u64,
        reason: &str,
        commit: &mut Commit,
    ) -> Result<(), JobError> {
        let waiting = Waiting { attempt: waiting.attempt + 1, next_ms: 0, ..waiting };
        let verdict =
            Verdict { fate: Fate::Dead, attempt: waiting.attempt, time_ms, next_time_ms: 0, reason };
        self.opening.letters.write(&waiting.message, &verdict, &self.opening.meta)?;
        self.opening.unfinished.finish(&waiting.message.id, commit);
        DeadLetters::put(&waiting, commit);
        self.shared.dead.fetch_add(1, Ordering::Relaxed);
        tracing::warn!("{} is a dead letter now: {reason}", waiting.message.id);
        Ok(())
    }

    /// Does what people have decided about dead letters.
    fn decide(&mut self, asks: Vec<Ask>) -> Result<(), JobError> {
        let (mut commit, mut decided) = (self.begin_commit(), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for Ask { ids, discard, reason, done } in asks {
            let mut own = Vec::new();
            for id in ids.into_iter().filter(|id| seen.insert(*id)) {
                let Some(dead) = DeadLetters::get(&self.opening.store, &id)? else { continue };
                let fate = if discard { Fate::Discarded } else { Fate::Retried };
                let (attempt, time_ms) = (dead.attempt, now_ms());
                let next_time_ms = if discard { 0 } else { time_ms };
                let verdict = Verdict { fate, attempt, time_ms, next_time_ms, reason: &reason };
                self.opening.letters.write(&dead.message, &verdict, &self.opening.meta)?;
                DeadLetters::remove(&id, &mut commit);
                if !discard {
                    self.opening
                        .unfinished
                        .put(Waiting { attempt: 0, next_ms: time_ms, ..dead }, &mut commit);
                }
                own.push(id);
            }
            decided.push((done, own));
        }
        self.finish_turn(commit, decided)
    }

    fn begin_commit(&mut self) -> Commit {
        self.opening.meta.commits += 1;
        Commit::new(self.opening.meta.commits)
    }

    /// Appends the letters of a turn; it is committed when they are durable. While a batch is under way,
    /// the position stays in front of it.
    fn finish_turn(
        &mut self,
        mut commit: Commit,
        decided: Vec<(Sender<Vec<MessageId>>, Vec<MessageId>)>,
    ) -> Result<(), JobError> {
        if self.asked.is_none() {
            self.reading = self.opening.published.at();
        }
        let tickets = self.opening.letters.append(&mut self.opening.meta)?;
        self.opening.meta.position = self.reading.offset;
        self.reading.save(&mut commit);
        commit.put_meta(&self.opening.meta);
        self.uncommitted = Some(Uncommitted { tickets, commit, decided });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        let Some(Uncommitted { commit, decided, .. }) = self.uncommitted.take() else { return Ok(()) };
        let Opening { store, unfinished, meta, status, .. } = &self.opening;
        store.commit(commit, Durability::Process)?;
        if let Some(own) = self.shared.needs().get_mut(self.partition() as usize) {
            *own = needs(unfinished, self.reading, meta);
        }
        show(status, unfinished, self.reading, meta);
        self.tell();
        for (done, ids) in decided {
            // Who asked may have gone.
            let _ = done.send(ids);
        }
        Ok(())
    }

    fn mailbox(&self) -> &super::Mailbox {
        &self.shared.mailboxes[usize::from(self.opening.task.partition)]
    }
}

impl Work for DeliverTask {
    fn need(&self) -> Need {
        self.tell();
        match &self.uncommitted {
            Some(u) if u.tickets.are_durable(&*self.opening.log) => return Need::Commit,
            Some(_) => return Need::Nothing,
            None if !self.mailbox().is_empty() => return Need::Turn(u64::MAX),
            None if self.shared.couriers.is_none() => return Need::Nothing,
            None => {}
        }
        match &self.asked {
            Some(asked) if asked.reply.is_there() => return Need::Turn(u64::MAX),
            Some(_) => return Need::Nothing,
            None => {}
        }
        let unread = if self.shared.pressure.is_full() { 0 } else { self.opening.published.backlog() };
        match unread {
            0 if !self.opening.unfinished.is_due(now_ms()) => Need::Nothing,
            unread => Need::Turn(unread.max(1)),
        }
    }

    fn is_idle(&self) -> bool {
        self.need() == Need::Nothing && self.uncommitted.is_none() && self.asked.is_none()
    }

    fn work(&mut self, need: Need) -> Result<FollowUp, JobError> {
        match need {
            Need::Commit => self.commit()?,
            Need::Turn(_) => match self.mailbox().take() {
                asks if !asks.is_empty() => self.decide(asks)?,
                _ if self.asked.is_some() => self.conclude()?,
                _ => self.hand_over()?,
            },
            Need::Checkpoint | Need::Nothing => {}
        }
        Ok(None)
    }

    fn status(&self) -> Arc<TaskStatus> {
        self.opening.status.clone()
    }

    fn position(&self) -> u64 {
        self.opening.meta.tally.taken
    }

    fn store(&self) -> &Store {
        &self.opening.store
    }
}
