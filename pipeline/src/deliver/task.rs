//! The task that delivers one partition.
//!
//! A turn hands over a batch: first what is due for another try, then what is read anew. When the answers
//! are there, letters about what failed are appended, and once those are durable the turn is committed:
//! unfinished records, dead letters and the reading position as one. After a crash, what was under way is
//! sent again. Decisions of people are turns of their own, and do not wait for the account system.

use super::Deliveries;
use super::couriers::Reply;
use super::dead::Ask;
use super::letters::Verdict;
use super::pressure::Share;
use super::published::Reading;
use super::split::Answer;
use super::state::TaskState;
use super::unfinished::{Backoff, DeadLetters, Waiting};
use crate::error::JobError;
use crate::outputs::Tickets;
use crate::scheduler::{FollowUp, Need, Work};
use crate::source::collect::now_ms;
use crate::status::TaskStatus;
use crate::switches::Switch;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::Sender;
use weir_proto::{Fate, MessageId};
use weir_state::{Commit, Durability, Store};

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

/// The task.
pub struct DeliverTask {
    own: TaskState,
    backoff: Backoff,
    shared: Arc<Deliveries>,
    /// Whether a batch may be handed over.
    switch: Arc<Switch>,
    /// As of the newest turn.
    reading: Reading,
    asked: Option<Asked>,
    uncommitted: Option<Uncommitted>,
    /// Whether the newest batch failed.
    is_failing: bool,
    share: Share,
}

impl DeliverTask {
    /// Begins to work.
    pub fn new(own: TaskState, shared: Arc<Deliveries>, switch: Arc<Switch>) -> Self {
        let this = DeliverTask {
            backoff: Backoff::new(&own.options),
            reading: own.published.at(),
            own,
            shared,
            switch,
            asked: None,
            uncommitted: None,
            is_failing: false,
            share: Share::default(),
        };
        this.tell();
        this
    }

    fn partition(&self) -> u32 {
        u32::from(self.own.task.partition)
    }

    /// Says how much is unfinished.
    fn tell(&self) {
        let (log, held) = (&*self.own.log, self.own.unfinished.len());
        self.own.status.sees(log.high_watermark(self.reading.charges(), self.partition()));
        if self.shared.couriers.is_some() {
            let unread = self.reading.unread(log, self.partition());
            self.shared.pressure.lift(self.switch.is_set_off());
            self.shared.pressure.tell(&self.share, held + unread, held);
        }
    }

    /// Hands a batch over, if there is one.
    fn hand_over(&mut self) -> Result<(), JobError> {
        let Some(couriers) = self.shared.couriers.as_ref().filter(|_| self.switch.admit()) else {
            return Ok(());
        };
        let (limit, mut budget) = (self.own.options.batch, LOOK);
        let mut batch = self.own.unfinished.due(now_ms(), limit);
        while batch.len() < limit && !self.shared.pressure.is_full() {
            let Some(message) = self.own.published.next(&mut budget)? else { break };
            self.own.meta.tally.taken += 1;
            if self.own.buried.remove(&message.id) || message.is_brought_forward()? {
                continue;
            }
            batch.push(Waiting { attempt: 0, next_ms: 0, message });
        }
        if batch.is_empty() {
            self.switch.withdraw();
            if self.own.published.at() != self.reading {
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
        self.say(&answers);
        let mut commit = self.begin_commit();
        let (mut dead, mut why) = (0, String::new());
        for (waiting, answer) in batch.into_iter().zip(answers) {
            let (reason, is_last) = match answer {
                Answer::Accepted => {
                    self.own.meta.tally.emitted += 1;
                    self.own.unfinished.finish(&waiting.message.id, &mut commit);
                    continue;
                }
                Answer::Refused(reason) => (reason, true),
                Answer::Failed(reason) => (reason, waiting.attempt + 1 >= self.own.options.max_attempts),
            };
            if is_last {
                self.give_up(waiting, time_ms, &reason, &mut commit)?;
                (dead, why) = (dead + 1, reason);
            } else {
                self.put_off(waiting, time_ms, &reason, &mut commit)?;
            }
        }
        if dead > 0 {
            let task = self.own.task.task();
            tracing::warn!("{task}: new dead letters: {dead}, see `weir dead list`; the last one: {why}");
        }
        self.finish_turn(commit, Vec::new())
    }

    /// Says once when deliveries begin to fail, and when they do not any more.
    fn say(&mut self, answers: &[Answer]) {
        let task = self.own.task.task();
        let failed = answers.iter().find_map(|answer| match answer {
            Answer::Failed(reason) => Some(reason),
            _ => None,
        });
        match (failed, std::mem::replace(&mut self.is_failing, failed.is_some())) {
            (Some(reason), false) => {
                tracing::warn!("{task}: cannot deliver, tries again: {reason}");
            }
            (None, true) => tracing::info!("{task}: delivers again"),
            _ => {}
        }
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
        self.own.letters.write(&waiting.message, &verdict, &self.own.meta)?;
        self.own.unfinished.put(Waiting { attempt, next_ms, ..waiting }, commit);
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
        self.own.letters.write(&waiting.message, &verdict, &self.own.meta)?;
        self.own.unfinished.finish(&waiting.message.id, commit);
        DeadLetters::put(&waiting, commit);
        self.shared.dead.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Does what people have decided about dead letters.
    fn decide(&mut self, asks: Vec<Ask>) -> Result<(), JobError> {
        let (mut commit, mut decided) = (self.begin_commit(), Vec::new());
        let mut seen = std::collections::BTreeSet::new();
        for Ask { ids, discard, reason, done } in asks {
            let mut own = Vec::new();
            for id in ids.into_iter().filter(|id| seen.insert(*id)) {
                let Some(dead) = DeadLetters::get(&self.own.store, &id)? else { continue };
                let fate = if discard { Fate::Discarded } else { Fate::Retried };
                let (attempt, time_ms) = (dead.attempt, now_ms());
                let next_time_ms = if discard { 0 } else { time_ms };
                let verdict = Verdict { fate, attempt, time_ms, next_time_ms, reason: &reason };
                self.own.letters.write(&dead.message, &verdict, &self.own.meta)?;
                DeadLetters::remove(&id, &mut commit);
                if !discard {
                    self.own.unfinished.put(Waiting { attempt: 0, next_ms: time_ms, ..dead }, &mut commit);
                }
                own.push(id);
            }
            decided.push((done, own));
        }
        self.finish_turn(commit, decided)
    }

    fn begin_commit(&mut self) -> Commit {
        self.own.meta.commits += 1;
        Commit::new(self.own.meta.commits)
    }

    /// Appends the letters of a turn; it is committed when they are durable. While a batch is under way,
    /// the position stays in front of it.
    fn finish_turn(
        &mut self,
        mut commit: Commit,
        decided: Vec<(Sender<Vec<MessageId>>, Vec<MessageId>)>,
    ) -> Result<(), JobError> {
        if self.asked.is_none() {
            self.reading = self.own.published.at();
        }
        let tickets = self.own.letters.append(&mut self.own.meta)?;
        self.own.meta.position = self.reading.offset;
        self.reading.save(&mut commit);
        self.uncommitted = Some(Uncommitted { tickets, commit, decided });
        Ok(())
    }

    fn commit(&mut self) -> Result<(), JobError> {
        let Some(turn) = self.uncommitted.take() else { return Ok(()) };
        let Uncommitted { tickets, mut commit, decided } = turn;
        tickets.settle(&*self.own.log, &mut self.own.meta);
        commit.put_meta(&self.own.meta);
        self.own.store.commit_as("deliver.commit", commit, Durability::Process)?;
        if let Some(own) = self.shared.needs().get_mut(self.partition() as usize) {
            *own = self.own.needs(self.reading);
        }
        self.own.show(self.reading);
        self.tell();
        for (done, ids) in decided {
            // Who asked may have gone.
            let _ = done.send(ids);
        }
        Ok(())
    }

    fn mailbox(&self) -> &super::Mailbox {
        &self.shared.mailboxes[usize::from(self.own.task.partition)]
    }
}

impl Work for DeliverTask {
    fn need(&self) -> Need {
        self.tell();
        match &self.uncommitted {
            Some(u) if u.tickets.are_durable(&*self.own.log) => return Need::Commit,
            Some(_) => return Need::Nothing,
            None if !self.mailbox().is_empty() => return Need::Turn(u64::MAX),
            None if self.shared.couriers.is_none() => return Need::Nothing,
            None => {}
        }
        match &self.asked {
            Some(asked) if asked.reply.is_there() => return Need::Turn(u64::MAX),
            Some(_) => return Need::Nothing,
            None if !self.switch.lets() => return Need::Nothing,
            None => {}
        }
        let unread = if self.shared.pressure.is_full() { 0 } else { self.own.published.backlog() };
        match unread {
            0 if !self.own.unfinished.is_due(now_ms()) => Need::Nothing,
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
        self.own.status.clone()
    }

    fn position(&self) -> u64 {
        self.own.meta.tally.taken
    }

    fn store(&self) -> &Store {
        &self.own.store
    }
}
