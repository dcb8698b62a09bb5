//! The job of a process that outlives it. A job that cannot reach its log is closed, and opened again when it can, as a
//! new process would; so is one that finds no room on its disk, where ingest takes events in. Meanwhile those go into the
//! spool.

use crate::error::JobError;
use crate::ingest::Spool;
use crate::job::Job;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

/// How long it waits before it opens the job again: at first, and at most.
const WAIT: Duration = Duration::from_secs(1);
const WAIT_MOST: Duration = Duration::from_secs(15);
/// How often it is looked whether something has ended.
const LOOK: Duration = Duration::from_millis(50);

/// Where the job is, while it is open.
pub struct Host {
    job: RwLock<Option<Arc<Job>>>,
    /// Where events wait while there is no job.
    spool: Option<Arc<Spool>>,
    stopping: AtomicBool,
}

impl Host {
    /// Of an open job.
    pub fn new(job: Job, spool: Option<Arc<Spool>>) -> Self {
        Host { job: RwLock::new(Some(Arc::new(job))), spool, stopping: AtomicBool::new(false) }
    }

    /// The job, unless it is being opened again.
    pub fn job(&self) -> Option<Arc<Job>> {
        self.job.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Stops the job cleanly, and for good.
    pub fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.job().iter().for_each(|job| job.scheduler().stop());
    }

    /// Runs the job until it is stopped or fails. If there is a spool, it is opened again after its disk was full.
    pub fn run(&self, again: &dyn Fn() -> Result<Job, JobError>) -> Result<(), JobError> {
        loop {
            let Some(job) = self.job() else { return Ok(()) };
            let result = job.run();
            drop(job);
            match result {
                Err(error) if self.may_rest(&error) && !self.is_stopping() => {
                    let spool =
                        if self.spool.is_some() { "; events are still taken in, into the spool" } else { "" };
                    tracing::error!("{error}. The job rests{spool}");
                    self.close();
                    self.open(again)?;
                }
                result => return result,
            }
        }
    }

    /// Whether it is worth while to wait.
    fn may_rest(&self, error: &JobError) -> bool {
        error.is_away() || (self.spool.is_some() && error.is_full())
    }

    fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    /// Waits until nobody uses the job any more: its stores must be closed before they are opened again.
    pub fn close(&self) {
        let job = self.job.write().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut job) = job else { return };
        loop {
            match Arc::try_unwrap(job) {
                Ok(job) => return drop(job),
                Err(used) => job = used,
            }
            std::thread::sleep(LOOK);
        }
    }

    fn open(&self, again: &dyn Fn() -> Result<Job, JobError>) -> Result<(), JobError> {
        let mut wait = WAIT;
        while !self.is_stopping() {
            self.rest(wait);
            if let Some(error) = self.spool.as_ref().and_then(|spool| spool.fatal()) {
                return Err(error.into());
            }
            match again() {
                Ok(job) => {
                    tracing::info!("the job goes on where it was");
                    *self.job.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(job));
                    // It may have been stopped meanwhile.
                    if self.is_stopping() {
                        self.stop();
                    }
                    return Ok(());
                }
                // Somebody may look at the directory for a moment.
                Err(error) if self.may_rest(&error) || matches!(error, JobError::InUse(_)) => {
                    tracing::warn!("{error}");
                    wait = WAIT_MOST.min(2 * wait);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn rest(&self, wait: Duration) {
        let mut left = wait;
        while !left.is_zero() && !self.is_stopping() {
            let nap = left.min(LOOK);
            std::thread::sleep(nap);
            left -= nap;
        }
    }
}
