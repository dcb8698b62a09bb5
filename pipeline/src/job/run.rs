//! How a job runs, and how it stops.

use super::Job;
use crate::error::JobError;
use crate::fleet::in_parallel;
use crate::ingest::Spool;
use crate::ledger::Ledger;
use crate::log::LogError;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use weir_proto::TopicId;

/// How often it is looked whether the outputs of the last turns are durable when the job stops.
const SETTLING: Duration = Duration::from_millis(1);
/// How long that is waited for.
const SETTLED: Duration = Duration::from_secs(20);
/// How often it is looked whether a promotion can go on.
const CONDUCT: Duration = Duration::from_millis(20);
/// How often a worker looks what others have decided.
const FOLLOW: Duration = Duration::from_secs(1);
/// Threads that bring checkpoints to object storage.
const UPLOADERS: usize = 2;
/// How often the log is told how far the job is.
const TELL: Duration = Duration::from_secs(5);

impl Job {
    /// Runs until stopped, or until a finite input is charged, refused or dropped to its end.
    pub fn run(&self) -> Result<(), JobError> {
        let (scheduler, bell) = (Arc::downgrade(&self.scheduler), self.commands.bell.clone());
        self.log.on_durable(Box::new(move || {
            bell.ring();
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.wake();
            }
        }));
        self.spool.iter().for_each(|spool| self.wake_by(spool));
        let mut failure = None;
        let result = std::thread::scope(|scope| {
            let conductor = scope.spawn(|| self.conduct());
            let ledger = self.ledger.as_ref().map(|ledger| scope.spawn(|| ledger.run()));
            let uploading: Vec<_> =
                self.uploads.iter().flat_map(|u| (0..UPLOADERS).map(|_| scope.spawn(|| u.work()))).collect();
            let sharing = self.group.as_ref().map(|(membership, crew)| {
                (scope.spawn(|| self.attend(membership, crew)), scope.spawn(|| self.crew(crew)))
            });
            let result = self.scheduler.run(self.threads, || {
                if ledger.as_ref().is_some_and(|ledger| ledger.is_finished()) {
                    // It does not end by itself: what it says is asked for below.
                    self.scheduler.stop();
                }
                failure = self.log.failure().or_else(|| self.spool.as_ref()?.fatal());
                if failure.is_some() {
                    self.scheduler.stop();
                }
                if self.accounts.loaded.load(Ordering::Acquire) {
                    self.promotion.collect.open.store(true, Ordering::Release);
                }
                self.promotion.collect.ended.load(Ordering::Acquire)
                    && self.registry.unsettled().is_empty()
                    && self.is_in_ledger()
            });
            self.ledger.iter().for_each(|ledger| ledger.stop());
            self.uploads.iter().for_each(|uploads| uploads.stop());
            let written = ledger.map_or(Ok(Ok(())), |ledger| ledger.join());
            let conducted = conductor.join().map_err(|_| JobError::Panicked)?;
            let shared = sharing.map_or(Ok(()), |(attending, working)| {
                let ended = [attending.join(), working.join()];
                ended.into_iter().try_for_each(|ended| ended.map_err(|_| JobError::Panicked)?)
            });
            let uploaded = uploading.into_iter().try_for_each(|thread| thread.join());
            uploaded.map_err(|_| JobError::Panicked)?;
            result.and(conducted).and(shared).and(written.map_err(|_| JobError::Panicked)?)
        });
        match failure {
            Some(error) => Err(error.into()),
            None => {
                let result = result.and_then(|()| self.settle()).and_then(|()| self.flush());
                if self.group.is_none() {
                    self.tell(|positions| self.log.tell(positions));
                }
                result
            }
        }
    }

    /// What ingest accepts is taken in at once.
    fn wake_by(&self, spool: &Spool) {
        let scheduler = Arc::downgrade(&self.scheduler);
        spool.tell_collect(move || {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.wake();
            }
        });
    }

    /// Whether a finite input, carried through to its end, is in the ledger database as a whole, or nobody wants
    /// it to be. The tasks must be idle before the ledger is asked, or more might come behind the answer.
    fn is_in_ledger(&self) -> bool {
        let is_there = |ledger: &Arc<Ledger>| self.scheduler.are_idle(|_| true) && !ledger.is_owed_to();
        self.ledger.as_ref().is_none_or(is_there)
    }

    /// Carries promotions on until the job stops, and tells the log how far it is.
    fn conduct(&self) -> Result<(), JobError> {
        let (mut told, mut followed): (Option<Instant>, Option<Instant>) = (None, None);
        while !self.scheduler.is_stopped() {
            if self.group.is_none() && told.is_none_or(|at| at.elapsed() > TELL) {
                self.tell(|positions| self.log.tell(positions));
                told = Some(Instant::now());
            }
            let advanced = match self.promotion.group {
                Some(_) if followed.is_some_and(|at| at.elapsed() < FOLLOW) => Ok(()),
                Some(_) => {
                    followed = Some(Instant::now());
                    self.promotion.follow(self.fleet.holds(0))
                }
                None => self.promotion.advance(),
            };
            if let Err(error) = advanced
                && !self.scheduler.is_stopped()
            {
                self.scheduler.stop();
                return Err(error);
            }
            std::thread::sleep(CONDUCT);
        }
        Ok(())
    }

    /// Tells the log from where on the published line reads it. Nothing depends on that.
    pub(super) fn tell(&self, tell: impl FnOnce(&[(TopicId, u32, u64)]) -> Result<(), LogError>) {
        let positions: Vec<_> =
            self.fleet.live().tasks().iter().filter_map(|task| self.fleet.reads_from(task)).collect();
        if let Err(error) = tell(&positions) {
            tracing::warn!("{error}");
        }
    }

    /// Commits the last turns once their outputs are durable: post-process may have booked those of deduct already. A log
    /// that is away is not waited for too long: the next start makes the same again, as after a kill.
    fn settle(&self) -> Result<(), JobError> {
        let begun = Instant::now();
        while !self.scheduler.settle()? {
            if let Some(error) = self.log.failure() {
                return Err(error.into());
            }
            if begun.elapsed() > SETTLED {
                tracing::warn!(
                    "the log has not taken the last records in {SETTLED:?}: the next start makes them again"
                );
                break;
            }
            std::thread::sleep(SETTLING);
        }
        Ok(())
    }

    /// So that the next start has nothing to fold again.
    fn flush(&self) -> Result<(), JobError> {
        let flushed = self.scheduler.with_stores(|stores| in_parallel(stores, |store| Ok(store.flush())))?;
        Ok(flushed.into_iter().collect::<Result<_, _>>()?)
    }
}
