//! A job: the flow opened in a data directory, and run.

use crate::data_dir::{DataDir, DataDirLock};
use crate::error::JobError;
use crate::flow::{FLOW, Shared, Stage};
use crate::log::{EmbeddedLog, Log, LogOptions};
use crate::retention::Keeper;
use crate::scheduler::{Scheduler, Work};
use crate::source::FileSpec;
use crate::source::accounts::AccountsTask;
use crate::source::collect::{CollectOptions, CollectProgress, CollectTask};
use crate::status::TaskStatus;
use crate::task::Task;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use weir_operators::Rules;
use weir_operators::anti_brush::Lists;
use weir_proto::{Producer, StageId};
use weir_state::{Retention, Store};

/// Block cache of all stores together, in bytes.
const BLOCK_CACHE: usize = 64 << 20;

/// What a job needs to know.
pub struct JobOptions {
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Worker threads.
    pub threads: usize,
    /// What to read.
    pub files: Vec<FileSpec>,
    /// Whether to end with the files.
    pub finite: bool,
    /// The accounts file.
    pub accounts: Option<PathBuf>,
    /// Thresholds.
    pub rules: Rules,
    /// Bots and networks.
    pub lists: Lists,
    /// How the log writes.
    pub log: LogOptions,
    /// Which checkpoints are kept.
    pub retention: Retention,
    /// Accept a wall clock far ahead of the newest tick.
    pub after_outage: bool,
}

/// A job that is open in this process.
pub struct Job {
    threads: usize,
    partitions: u32,
    scheduler: Arc<Scheduler>,
    log: Arc<EmbeddedLog>,
    statuses: Vec<Arc<TaskStatus>>,
    progress: Arc<CollectProgress>,
    accounts_loaded: Arc<AtomicBool>,
    keeper: Keeper,
    _lock: DataDirLock,
}

impl Job {
    /// Opens a job where it stopped, or begins it.
    pub fn open(options: JobOptions) -> Result<Self, JobError> {
        if let Some(path) = &options.accounts {
            crate::source::accounts::read(path)?;
        }
        let (dir, lock) = DataDir::lock(&options.data_dir, options.partitions)?;
        let log = Arc::new(EmbeddedLog::open(&dir.log(), options.partitions, options.log)?);
        let as_log: Arc<dyn Log> = log.clone();
        let stores = weir_state::Shared::new(BLOCK_CACHE);
        let shared = Shared { rules: Arc::new(options.rules), lists: Arc::new(options.lists) };
        let keeper = Keeper::new(dir.clone(), options.retention, options.finite);
        let open = |stage: StageId, p: usize| Store::open(&dir.store(dir.tasks_of(stage)[p]), &stores);
        let open_task = |stage: &Stage, task: Producer| -> Result<Box<dyn Work>, JobError> {
            let store = open(stage.id, usize::from(task.partition))?;
            let (log, checkpoints) = (as_log.clone(), dir.checkpoints());
            Ok(Box::new(Task::open(stage, task, options.partitions, store, log, checkpoints, &shared)?))
        };
        let folding: Vec<_> =
            FLOW.iter().flat_map(|s| dir.tasks_of(s.id).into_iter().map(move |t| (s, t))).collect();
        let mut tasks = in_parallel(&folding, |(stage, task)| open_task(stage, *task))?;
        let flow = tasks.iter().map(|t| t.status()).collect();
        let store = open(StageId::Accounts, 0)?;
        let accounts =
            AccountsTask::open(options.accounts.as_deref(), options.partitions, store, as_log.clone())?;
        let accounts_loaded = accounts.loaded();
        tasks.push(Box::new(accounts));
        let collect = CollectOptions {
            files: options.files,
            finite: options.finite,
            after_outage: options.after_outage,
        };
        let store = open(StageId::Collect, 0)?;
        let collect = CollectTask::open(
            collect,
            options.partitions,
            store,
            as_log,
            dir.checkpoints(),
            shared.rules.clone(),
            flow,
        )?;
        let progress = collect.progress();
        tasks.push(Box::new(collect));
        Ok(Job {
            threads: options.threads,
            partitions: options.partitions,
            statuses: tasks.iter().map(|t| t.status()).collect(),
            scheduler: Arc::new(Scheduler::new(tasks)),
            log,
            progress,
            accounts_loaded,
            keeper,
            _lock: lock,
        })
    }

    /// Runs until stopped, or until a finite input is charged, refused or dropped to its end.
    pub fn run(&self) -> Result<(), JobError> {
        let scheduler = Arc::downgrade(&self.scheduler);
        self.log.on_durable(move || {
            if let Some(scheduler) = scheduler.upgrade() {
                scheduler.wake();
            }
        });
        let mut failure = None;
        let result = self.scheduler.run(self.threads, || {
            failure = self.log.failure();
            if failure.is_some() {
                self.scheduler.stop();
            }
            if self.accounts_loaded.load(Ordering::Acquire) {
                self.progress.open.store(true, Ordering::Release);
            }
            self.progress.ended.load(Ordering::Acquire)
        });
        match failure {
            Some(error) => Err(error.into()),
            None => result.and_then(|()| self.flush()),
        }
    }

    /// So that the next start has nothing to fold again.
    fn flush(&self) -> Result<(), JobError> {
        let mut result = Ok(());
        self.scheduler
            .for_each(|task| result = std::mem::replace(&mut result, Ok(())).and(task.store().flush()));
        Ok(result?)
    }

    /// Whether a finite input was carried through to its end.
    pub fn is_finished(&self) -> bool {
        self.progress.ended.load(Ordering::Acquire)
            && self.statuses.iter().all(|s| s.reads.is_none_or(|topic| s.lag(&*self.log, topic) == 0))
    }

    /// Lets go of old checkpoints and log segments.
    pub fn keep(&self) -> Result<(), JobError> {
        self.keeper.keep(&*self.log)
    }

    /// To stop the job from elsewhere.
    pub fn scheduler(&self) -> Arc<Scheduler> {
        self.scheduler.clone()
    }

    /// What every task shows of itself.
    pub fn statuses(&self) -> &[Arc<TaskStatus>] {
        &self.statuses
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The log.
    pub fn log(&self) -> &EmbeddedLog {
        &self.log
    }

    /// How far collect is.
    pub fn progress(&self) -> Arc<CollectProgress> {
        self.progress.clone()
    }
}

/// Stores that are opened side by side: each waits for the disk.
const OPENERS: usize = 8;

/// Applies `open` to all items on a few threads; the results in order, or the first error.
fn in_parallel<T: Sync, R: Send>(
    items: &[T],
    open: impl Fn(&T) -> Result<R, JobError> + Sync,
) -> Result<Vec<R>, JobError> {
    std::thread::scope(|scope| {
        let chunks = items.chunks(items.len().div_ceil(OPENERS).max(1));
        let threads: Vec<_> = chunks
            .map(|chunk| scope.spawn(|| chunk.iter().map(&open).collect::<Result<Vec<R>, _>>()))
            .collect();
        let mut all = Vec::with_capacity(items.len());
        for thread in threads {
            all.extend(thread.join().map_err(|_| JobError::Panicked)??);
        }
        Ok(all)
    })
}
