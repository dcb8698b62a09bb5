//! SIGTERM and SIGINT, caught from the beginning of a run on.

use super::Failure;
use crate::host::Host;
use crate::scheduler::Scheduler;
use std::sync::Arc;
use tokio::signal::unix::{Signal, SignalKind, signal};

pub(super) struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    pub(super) fn catch() -> Result<Self, Failure> {
        Ok(Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? })
    }

    /// The first signal stops the job cleanly, and for good. It does not keep it alive: its stores must be closed
    /// before the process ends.
    pub(super) fn stop(self, host: &Arc<Host>) {
        let host = Arc::downgrade(host);
        self.then(move || host.upgrade().iter().for_each(|host| host.stop()));
    }

    /// The same for a job without a host.
    pub(super) fn stop_scheduler(self, scheduler: &Arc<Scheduler>) {
        let scheduler = Arc::downgrade(scheduler);
        self.then(move || scheduler.upgrade().iter().for_each(|scheduler| scheduler.stop()));
    }

    fn then(mut self, stop: impl FnOnce() + Send + 'static) {
        tokio::spawn(async move {
            tokio::select! {
                _ = self.term.recv() => {}
                _ = self.int.recv() => {}
            }
            tracing::info!("stopping");
            stop();
        });
    }
}
