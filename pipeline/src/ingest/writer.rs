//! The thread that takes in what is offered: it tells repeats apart, appends what is new, as much at once as waits, and
//! answers when that is durable.

use super::intake::{NotTaken, Offer, Request, Taken, identity_of};
use super::recent::Recent;
use super::spool::Spool;
use crate::error::JobError;
use crate::log::{LogError, NewBatch};
use crate::source::collect::now_ms;
use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use weir_proto::{Batch, BatchBuilder, Provenance, Record, StageId, TaskId};

/// Bytes appended as one batch, about.
const GROUP: usize = 1 << 20;
/// How often it is looked whether a spool whose disk was full can be written to, and what can be let go of.
const LOOK: Duration = Duration::from_millis(500);
/// How often old segments are let go of.
const TRIM: Duration = Duration::from_secs(5);
/// When to try again if the spool is full or away.
const RETRY_AFTER: Duration = Duration::from_secs(2);

type Answer = oneshot::Sender<Result<Vec<Taken>, NotTaken>>;

/// What is answered when a ticket is durable.
struct Waiting {
    ticket: u64,
    answers: Vec<(Answer, Vec<Taken>)>,
}

/// Shared with the thread that writes the journal.
type Line = Arc<Mutex<VecDeque<Waiting>>>;

/// The state of the thread.
pub(super) struct Writer {
    spool: Arc<Spool>,
    requests: Receiver<Request>,
    recent: Recent,
    batch: BatchBuilder,
    /// The offset of the next record.
    next_seq: u64,
    /// The ticket of the newest batch: a repeat is answered when that is durable.
    ticket: u64,
    line: Line,
    accepted_ms: u64,
    next_trim: Instant,
    away: Option<String>,
}

impl Writer {
    pub(super) fn open(
        spool: Arc<Spool>,
        requests: Receiver<Request>,
        window_ms: u64,
        limit: usize,
    ) -> Result<Self, JobError> {
        let line = Line::default();
        let (waiting, told) = (line.clone(), Arc::downgrade(&spool));
        spool.tell_intake(move || {
            if let Some(spool) = told.upgrade() {
                answer_durable(&spool, &waiting);
            }
        });
        let mut writer = Writer {
            recent: Recent::new(window_ms, limit, now_ms()),
            spool,
            requests,
            batch: BatchBuilder::default(),
            next_seq: 0,
            ticket: 0,
            line,
            accepted_ms: 0,
            next_trim: Instant::now(),
            away: None,
        };
        writer.remember()?;
        Ok(writer)
    }

    /// Reads what was accepted lately, to know repeats of it.
    fn remember(&mut self) -> Result<(), JobError> {
        self.recent.clear();
        (self.next_seq, self.ticket) = (self.spool.watermark(), 0);
        let now = now_ms();
        let since = self.recent.since(now);
        let mut next = self.spool.first_since(since);
        loop {
            let found = self.spool.read(next, GROUP as u64)?;
            for batch in &found.batches {
                for record in Batch::open(&batch.bytes)? {
                    let record = record?;
                    self.accepted_ms = self.accepted_ms.max(record.provenance.position);
                    if let Record::Event(event) = Record::decode(record.bytes)?
                        && record.provenance.position >= since
                    {
                        self.recent.insert(identity_of(event.advertiser_id(), event.guid()), now);
                    }
                }
            }
            if found.next <= next {
                return Ok(());
            }
            next = found.next;
        }
    }

    /// Until all handles are gone.
    pub(super) fn run(mut self) {
        loop {
            match self.requests.recv_timeout(LOOK) {
                Ok(request) => self.take(request),
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => break,
            }
            self.look_after();
        }
        // What is under way is answered by the thread of the journal, which ends behind it.
        while !self.is_answered() && self.spool.failure().is_none() {
            std::thread::sleep(Duration::from_millis(1));
        }
        answer_durable(&self.spool, &self.line);
    }

    fn is_answered(&self) -> bool {
        self.line.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Takes in a request, and those that wait behind it.
    fn take(&mut self, first: Request) {
        if let Some(why) = self.refuses() {
            return tell(first.answer, Err(why));
        }
        let now = now_ms().max(self.accepted_ms);
        self.accepted_ms = now;
        let (mut answers, mut bytes, mut index, mut next) = (Vec::new(), 0, 0, Some(first));
        while let Some(Request { offers, answer }) = next {
            let mut taken = Vec::with_capacity(offers.len());
            for offer in &offers {
                taken.push(self.add(offer, Provenance { position: now, index }, now));
                index += 1;
                bytes += offer.record.len();
            }
            answers.push((answer, taken));
            next = if bytes < GROUP { self.requests.try_recv().ok() } else { None };
        }
        match self.append() {
            Ok(()) => {
                let ticket = self.ticket;
                let mut line = self.line.lock().unwrap_or_else(PoisonError::into_inner);
                line.push_back(Waiting { ticket, answers });
                drop(line);
                answer_durable(&self.spool, &self.line);
            }
            Err(error) => {
                let why = away(&error);
                answers.into_iter().for_each(|(answer, _)| tell(answer, Err(why.clone())));
            }
        }
    }

    fn add(&mut self, offer: &Offer, at: Provenance, now: u64) -> Taken {
        if offer.identity.is_some_and(|identity| !self.recent.insert(identity, now)) {
            return Taken::Duplicate;
        }
        self.batch.push(at, &[&offer.record]);
        Taken::Accepted
    }

    fn append(&mut self) -> Result<(), LogError> {
        let count = self.batch.count();
        if count == 0 {
            // All repeats: of what is on disk, or on its way there.
            return self.spool.failure().map_or(Ok(()), Err);
        }
        let producer = TaskId { stage: StageId::Collect, partition: 0 }.in_generation(1);
        let (first_seq, last) = (self.next_seq, self.batch.last());
        let batch = NewBatch { producer, first_seq, count, last, bytes: self.batch.take() };
        self.ticket = self.spool.append(batch)?.ticket;
        self.next_seq += u64::from(count);
        Ok(())
    }

    /// Why nothing can be taken in now.
    fn refuses(&mut self) -> Option<NotTaken> {
        if let Some(why) = &self.away {
            return Some(NotTaken::Away { retry_after: RETRY_AFTER, why: why.clone() });
        }
        if self.spool.is_full() {
            self.trim();
        }
        self.spool.is_full().then_some(NotTaken::Full { retry_after: RETRY_AFTER })
    }

    fn look_after(&mut self) {
        match (self.spool.failure(), self.away.is_some()) {
            (Some(error), false) => self.rest(&error),
            (_, true) => self.recover(),
            _ if Instant::now() >= self.next_trim => self.trim(),
            _ => {}
        }
    }

    fn trim(&mut self) {
        self.next_trim = Instant::now() + TRIM;
        if let Err(error) = self.spool.trim(self.recent.since(now_ms())) {
            tracing::warn!("{error}");
        }
    }

    /// A full disk is waited for; anything else is not survived: what was written may be lost.
    fn rest(&mut self, error: &LogError) {
        tracing::error!("nothing is taken in until the spool can be written to again: {error}");
        self.away = Some(error.to_string());
        if !error.is_full() {
            self.spool.give_up(error.clone());
        }
    }

    fn recover(&mut self) {
        // What was taken makes room, however lately it came.
        if let Err(error) = self.spool.trim(u64::MAX) {
            tracing::warn!("{error}");
        }
        if self.spool.fatal().is_some() || !self.spool.has_room() {
            return;
        }
        match self.spool.reopen().map_err(JobError::from).and_then(|()| self.remember()) {
            Ok(()) => {
                tracing::info!("the spool can be written to again");
                self.away = None;
            }
            Err(error) if error.is_full() => {}
            Err(JobError::Log(error)) => self.spool.give_up(error),
            Err(error) => tracing::error!("the spool cannot be opened again: {error}"),
        }
    }
}

fn away(error: &LogError) -> NotTaken {
    NotTaken::Away { retry_after: RETRY_AFTER, why: error.to_string() }
}

/// Whoever asked may have gone.
fn tell(answer: Answer, what: Result<Vec<Taken>, NotTaken>) {
    let _ = answer.send(what);
}

/// Answers what is durable, in order; all that waits if the journal has failed.
fn answer_durable(spool: &Spool, line: &Line) {
    let failed = spool.failure();
    let mut line = line.lock().unwrap_or_else(PoisonError::into_inner);
    while let Some(first) = line.front() {
        let is_durable = spool.is_durable(first.ticket);
        if !is_durable && failed.is_none() {
            break;
        }
        let answers = line.pop_front().map(|waiting| waiting.answers).unwrap_or_default();
        for (answer, taken) in answers {
            let refused = failed.as_ref().filter(|_| !is_durable).map(away);
            tell(answer, refused.map_or(Ok(taken), Err));
        }
    }
}
