//! Commands between the control interface and their source.

use std::collections::VecDeque;
use std::sync::mpsc::Sender;
use std::sync::{Mutex, MutexGuard, PoisonError};
use weir_proto::rpc;

/// Commands taken in together, at most.
const AT_A_TIME: usize = 1_000;

/// A command on its way in.
pub struct Submission {
    /// The command, complete.
    pub command: rpc::Command,
    /// Told once it is taken in, durably.
    pub taken: Sender<()>,
}

/// Commands that are not taken in yet.
#[derive(Default)]
pub struct Mailbox(Mutex<VecDeque<Submission>>);

impl Mailbox {
    fn waiting(&self) -> MutexGuard<'_, VecDeque<Submission>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Puts a command in.
    pub fn put(&self, submission: Submission) {
        self.waiting().push_back(submission);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting().is_empty()
    }

    pub(super) fn take(&self) -> Vec<Submission> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(AT_A_TIME);
        waiting.drain(..count).collect()
    }
}
