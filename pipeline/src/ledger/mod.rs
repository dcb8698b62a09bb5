//! The ledger: the published outcomes as double entries in PostgreSQL.
//!
//! One thread of its own reads what is published, as delivery does, and writes it in batches, each in one
//! transaction with the position behind it. While the database is away, or the switch `ledger` is off, the log is the
//! outbox: it is not let go of above that position, and nothing else waits.

mod error;
mod local;
mod reader;
mod row;
#[cfg(test)]
mod row_tests;
mod schema;
mod session;
mod statements;
mod url;
mod worker;

pub use error::LedgerError;
pub(crate) use session::connect;
pub use url::parse as parse_url;

use crate::config;
use crate::data_dir::DataDir;
use crate::deliver::Reading;
use crate::error::JobError;
use crate::generations::Registry;
use crate::log::LiveLog;
use crate::switches::Switch;
use local::LocalCopy;
use session::Written;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use weir_proto::{Topic, TopicId};

/// How often it is looked whether the job still runs.
const POLL: Duration = Duration::from_millis(50);
/// How long a job that stops waits for what is under way.
const GRACE: Duration = Duration::from_secs(3);

/// What it needs to work.
struct Settings {
    config: tokio_postgres::Config,
    batch: usize,
    log: Arc<dyn LiveLog>,
    registry: Arc<Registry>,
    begun_ms: u64,
}

/// The ledger of a job; without a section in the configuration there is none, and nothing is kept for it.
pub struct Ledger {
    settings: Settings,
    copy: LocalCopy,
    switch: Arc<Switch>,
    /// Per partition, up to where the database is, as far as is known.
    readings: Mutex<Vec<Option<Reading>>>,
    is_connected: AtomicBool,
    is_stopping: AtomicBool,
    entries: AtomicU64,
    conflicts: AtomicU64,
}

impl Ledger {
    /// Opens it where the local copy says; the database is asked later.
    pub fn open(
        options: &config::Ledger,
        dir: &DataDir,
        log: &Arc<dyn LiveLog>,
        registry: &Arc<Registry>,
        switch: Arc<Switch>,
    ) -> Result<Self, JobError> {
        let config = url::parse(&options.url)
            .map_err(|wrong| JobError::Setup(format!("the address of the ledger database {wrong}")))?;
        let copy = LocalCopy::new(dir.ledger_copy());
        let settings = Settings {
            config,
            batch: options.batch,
            log: log.clone(),
            registry: registry.clone(),
            begun_ms: registry.get(1).map_or(0, |(first, _)| first.begun_ms),
        };
        Ok(Ledger {
            settings,
            readings: Mutex::new(copy.load(dir.partitions())),
            copy,
            switch,
            is_connected: AtomicBool::new(false),
            is_stopping: AtomicBool::new(false),
            entries: AtomicU64::new(0),
            conflicts: AtomicU64::new(0),
        })
    }

    /// Writes until it is told to stop.
    pub fn run(&self) -> Result<(), JobError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|e| JobError::Setup(format!("cannot start the ledger: {e}")))?;
        runtime.block_on(async {
            tokio::select! {
                () = worker::work(self, &self.settings) => {}
                () = self.has_stopped() => {}
            }
        });
        Ok(())
    }

    /// What is not committed then is written at the next start.
    async fn has_stopped(&self) {
        while !self.is_stopping() {
            tokio::time::sleep(POLL).await;
        }
        if self.is_connected() {
            tokio::time::sleep(GRACE).await;
        }
    }

    /// Tells it to stop.
    pub fn stop(&self) {
        self.is_stopping.store(true, Ordering::Release);
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    fn readings(&self) -> MutexGuard<'_, Vec<Option<Reading>>> {
        self.readings.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn partitions(&self) -> u32 {
        self.readings().len() as u32
    }

    fn connected(&self, is_connected: bool) {
        self.is_connected.store(is_connected, Ordering::Release);
    }

    /// The database was asked.
    fn stands_at(&self, found: Vec<Option<Reading>>) {
        let mut known = self.readings();
        if found.iter().all(Option::is_none) && known.iter().any(Option::is_some) {
            tracing::error!(
                "the ledger database is empty, although this data directory has written to one before: it begins \
                 with the oldest records that are left. If it is the wrong one, correct [ledger] url"
            );
        }
        *known = found;
    }

    /// The database has committed.
    fn wrote(&self, readings: &[Reading], written: Written) {
        self.entries.fetch_add(written.entries, Ordering::Relaxed);
        self.conflicts.fetch_add(written.conflicts, Ordering::Relaxed);
        if written.conflicts > 0 {
            tracing::error!(
                "{} outcomes are of events that have another one in the ledger: they stand in weir.conflicts and \
                 move no money there",
                written.conflicts
            );
        }
        *self.readings() = readings.iter().copied().map(Some).collect();
    }

    /// Brings the local copy up to date.
    fn save(&self) -> Result<(), JobError> {
        let readings: Option<Vec<Reading>> = self.readings().iter().copied().collect();
        readings.map_or(Ok(()), |readings| self.copy.save(&readings))
    }

    /// The offset of a topic's partition from which on it is still to be written: the log is not to let go of it.
    pub fn needs_from(&self, topic: TopicId, partition: u32) -> u64 {
        match self.readings().get(partition as usize) {
            _ if topic.topic != Topic::Charges => u64::MAX,
            Some(Some(reading)) => reading.needs_from(topic),
            Some(None) => 0,
            None => u64::MAX,
        }
    }

    /// Whether the database can be written to.
    pub fn is_connected(&self) -> bool {
        self.is_connected.load(Ordering::Acquire)
    }

    /// Since the start of the process: entries written, and outcomes that the database has refused.
    pub fn counts(&self) -> (u64, u64) {
        (self.entries.load(Ordering::Relaxed), self.conflicts.load(Ordering::Relaxed))
    }

    /// Whether the database lacks something that it is to have. A finite run does not end before it has all, unless
    /// somebody has switched it off: then the rest is written by the next run with it on.
    pub fn is_owed_to(&self) -> bool {
        self.lag() > 0 && !self.switch.is_set_off()
    }

    /// Published records that are not in the database.
    pub fn lag(&self) -> u64 {
        let log = &*self.settings.log;
        let first = |partition| {
            let topic = Topic::Charges.of(1);
            log.high_watermark(topic, partition).saturating_sub(log.start(topic, partition))
        };
        let unread = |(partition, reading): (u32, &Option<Reading>)| {
            reading.map_or_else(|| first(partition), |reading| reading.unread(log, partition))
        };
        (0..).zip(self.readings().iter()).map(unread).sum()
    }
}
