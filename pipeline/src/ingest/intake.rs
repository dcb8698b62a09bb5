//! The way in: what is offered is on disk in the spool when it is answered.

use super::spool::{Backlog, Spool};
use super::writer::Writer;
use crate::error::JobError;
use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;
use weir_proto::Guid;
use xxhash_rust::xxh3::xxh3_128;

/// What is offered to be taken in.
#[derive(Clone, Debug)]
pub struct Offer {
    /// Whose repeat would be a duplicate; a record without one is taken in each time.
    pub identity: Option<u128>,
    /// The record of `raw`, or of `dropped`.
    pub record: Vec<u8>,
}

/// The identity of an event, hashed to 128 bits.
pub fn identity_of(advertiser_id: u64, guid: Guid<'_>) -> u128 {
    let mut key = [0; 9 + Guid::MAX_LEN];
    key[..8].copy_from_slice(&advertiser_id.to_le_bytes());
    let len = match guid {
        Guid::Ulid(id) => {
            key[9..25].copy_from_slice(&id.to_le_bytes());
            16
        }
        Guid::Text(text) => {
            // A text of 16 bytes is no ULID.
            key[8] = 1;
            let len = text.len().min(Guid::MAX_LEN);
            key[9..9 + len].copy_from_slice(&text.as_bytes()[..len]);
            len
        }
    };
    xxh3_128(&key[..9 + len])
}

/// What became of an offer. In either case it is on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken {
    /// It was accepted now.
    Accepted,
    /// The same identity was accepted before.
    Duplicate,
}

/// Nothing of what was offered together was taken in, or it is not known: it may be offered again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// The spool has come to its limit.
    #[error("the spool is full: nothing is taken in until what is in it is processed")]
    Full {
        /// When to try again.
        retry_after: Duration,
    },
    /// The spool cannot be written to.
    #[error("the spool cannot be written to: {why}")]
    Away {
        /// When to try again.
        retry_after: Duration,
        /// What is wrong.
        why: String,
    },
    /// The process ends.
    #[error("weir is stopping")]
    Stopping,
}

/// What was offered together, and who waits for the answer.
pub(super) struct Request {
    pub(super) offers: Vec<Offer>,
    pub(super) answer: oneshot::Sender<Result<Vec<Taken>, NotTaken>>,
}

/// A handle to the way in.
#[derive(Clone)]
pub struct Intake {
    requests: Sender<Request>,
    spool: Arc<Spool>,
}

impl Intake {
    /// Opens the way into a spool. Identities are remembered for so long, so many at most.
    pub fn open(
        spool: Arc<Spool>,
        remember: Duration,
        limit: usize,
    ) -> Result<(Self, IntakeThread), JobError> {
        let (requests, waiting) = std::sync::mpsc::channel();
        let writer = Writer::open(spool.clone(), waiting, 2 * remember.as_millis() as u64, limit)?;
        let thread = std::thread::Builder::new()
            .name("intake".to_owned())
            .spawn(move || writer.run())
            .map_err(|e| JobError::Setup(format!("cannot start a thread: {e}")))?;
        Ok((Intake { requests, spool }, IntakeThread(Mutex::new(Some(thread)))))
    }

    /// Takes in all of it or nothing. The answer comes when it is on disk. What may wait here together is for
    /// the caller to limit.
    pub async fn put(&self, offers: Vec<Offer>) -> Result<Vec<Taken>, NotTaken> {
        let (answer, answered) = oneshot::channel();
        self.requests.send(Request { offers, answer }).map_err(|_| NotTaken::Stopping)?;
        answered.await.unwrap_or(Err(NotTaken::Stopping))
    }

    /// What was accepted and not yet taken by collect.
    pub fn backlog(&self) -> Backlog {
        self.spool.backlog()
    }

    /// The spool.
    pub fn spool(&self) -> &Arc<Spool> {
        &self.spool
    }
}

/// The thread behind an [`Intake`], which ends when all handles are gone.
pub struct IntakeThread(Mutex<Option<JoinHandle<()>>>);

impl IntakeThread {
    /// Waits until all that was offered is answered.
    pub fn join(&self) {
        let thread = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        // A thread that panicked has said so.
        let _ = thread.map(JoinHandle::join);
    }
}
