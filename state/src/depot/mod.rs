//! Checkpoints in object storage: what is left when a machine is lost, and where another one finds it.
//!
//! Below the prefix of the URL:
//!
//! - `files/<BLAKE3 of the content, in hexadecimal>`: files of checkpoints. What a name stands for never changes;
//!   a table file that many checkpoints hold is there once.
//! - `manifests/<generation>/<stage>-<partition>/<minute, ten digits>.json`: a checkpoint. It is written last, and
//!   only if there is none: a checkpoint is there once its manifest is. Its form is described in `manifest.rs`.
//! - `decisions/<number, ten digits>.json`: what a group has decided, one after the other: who writes a number first has
//!   decided. Their form is that of whoever writes them. They stay.
//! - `workers/<number>.json`: a worker of a group with that number has begun; `{"format": 1}`.
//! - `leaving/…`: manifests that were let go of, under the same names. Their files stay for a grace more.
//!
//! A file is removed ([`Depot::keep`]) when no manifest refers to it, none that left within the grace does, and
//! nobody wrote it within the grace. An upload ([`Depot::put`]) relies on a file that is there already only if the
//! task's newest manifest refers to it or if it is young; any other it writes again, and it gives up before its
//! manifest if all took longer than [`LONGEST_PUT`]. So what it relies on outlives it, whatever is let go of
//! meanwhile, as long as the grace is not below [`Depot::LEAST_GRACE`] and clocks agree to some minutes. Storage
//! cannot delete an object only if it is still the one that was looked at: an old file without a manifest that is
//! written again in the instant between that look and the removal is lost. A fetch names it, and within an hour
//! uploads find it missing and write it again.
//!
//! What an upload that was cut off leaves behind: files without a manifest, which [`Depot::keep`] removes; and parts
//! of a file, which it does not see. Have the bucket abort incomplete multipart uploads after a day; in a
//! directory, these are files whose names end in `#` and a number.

mod decisions;
mod error;
mod fetch;
mod hashes;
mod keep;
mod manifest;
mod moved;
mod names;
mod open;
mod put;
#[cfg(test)]
mod tests;
mod upload;
mod workers;

pub use decisions::Decided;
pub use error::DepotError;
pub use keep::Removed;
pub use moved::{Became, Moved};

use crate::checkpoint::Manifest;
use blake3::Hash;
use hashes::Hashes;
use manifest::{Refers, Stored};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::runtime::{Handle, Runtime};
use tokio::sync::Semaphore;
use weir_proto::{Minute, Producer};

/// How long an upload may take until its manifest.
pub const LONGEST_PUT: Duration = Duration::from_secs(30 * 60);
/// Files that a depot moves side by side; each needs memory for one [`upload::PART`].
const AT_ONCE: usize = 8;

/// Checkpoints in object storage. Its functions wait for the network: call them where that is fine, not from
/// asynchronous code.
pub struct Depot {
    store: Arc<dyn ObjectStore>,
    /// As it was given, without a slash at its end: for messages.
    url: String,
    handle: Handle,
    /// Ends with the depot.
    runtime: Option<Runtime>,
    hashes: Arc<Hashes>,
    /// Files that were there at that time.
    seen: Mutex<HashMap<Hash, Instant>>,
    /// What manifests refer to, by their names, so that [`Depot::keep`] reads each once.
    referred: Mutex<HashMap<Path, (ObjectMeta, Refers)>>,
    /// One permit for each file that may be moved now.
    moving: Semaphore,
}

impl Depot {
    /// The least grace for [`Depot::keep`] while anybody may be writing: [`LONGEST_PUT`], how old a file may be that
    /// an upload relies on, and some room.
    pub const LEAST_GRACE: Duration = Duration::from_secs(60 * 60);

    /// Opens the depot at a URL: `file:///srv/weir`, `s3://bucket/prefix`, `gs://…`, `az://…`, or `memory:///` for
    /// one that ends with the process. `options` are those of the crate `object_store` (`aws_endpoint`,
    /// `aws_allow_http`, `timeout`, …); they come before the variables `AWS_…`, `GOOGLE_…` and `AZURE_…`.
    pub fn open(url: &str, options: &BTreeMap<String, String>) -> Result<Depot, DepotError> {
        let failed = |source| DepotError::Runtime { source };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("weir-depot")
            .enable_all()
            .build()
            .map_err(failed)?;
        let store = open::store(url, options)?;
        Ok(Depot::over(store, url, runtime))
    }

    fn over(store: Arc<dyn ObjectStore>, url: &str, runtime: Runtime) -> Self {
        Depot {
            store,
            url: url.strip_suffix('/').unwrap_or(url).to_owned(),
            handle: runtime.handle().clone(),
            runtime: Some(runtime),
            hashes: Arc::default(),
            seen: Mutex::default(),
            referred: Mutex::default(),
            moving: Semaphore::new(AT_ONCE),
        }
    }

    /// The minutes at which a task has a checkpoint here, in order.
    pub fn minutes(&self, task: Producer) -> Result<Vec<Minute>, DepotError> {
        let listed = self.handle.block_on(self.list(&names::manifests_of(task)))?;
        let own = listed.iter().filter_map(|meta| names::parse(&meta.location));
        let mut minutes: Vec<Minute> = own.filter(|(t, _)| *t == task).map(|(_, minute)| minute).collect();
        minutes.sort_unstable();
        Ok(minutes)
    }

    /// What the checkpoint of a task at a minute says of itself, if there is one.
    pub fn manifest(&self, task: Producer, minute: Minute) -> Result<Option<Manifest>, DepotError> {
        let stored = self.handle.block_on(self.stored(&names::manifest(task, minute)))?;
        Ok(stored.map(|stored| stored.checkpoint))
    }

    /// The tasks of a generation that have had a checkpoint here, in order.
    pub fn tasks(&self, generation: u32) -> Result<Vec<Producer>, DepotError> {
        let prefix = names::manifests_in(generation);
        let listed = self.handle.block_on(self.store.list_with_delimiter(Some(&prefix)));
        let listed = listed.map_err(self.failed("list", &prefix))?;
        let own = listed.common_prefixes.iter().filter_map(names::parse_task);
        let mut tasks: Vec<Producer> = own.collect();
        tasks.sort_unstable();
        Ok(tasks)
    }

    /// The URL of an object, for messages.
    fn url_of(&self, name: &Path) -> String {
        format!("{}/{name}", self.url)
    }

    fn failed(&self, what: &'static str, name: &Path) -> impl FnOnce(object_store::Error) -> DepotError {
        let url = self.url_of(name);
        move |source| DepotError::Store { what, url, source }
    }

    async fn list(&self, prefix: &Path) -> Result<Vec<ObjectMeta>, DepotError> {
        use futures_util::TryStreamExt;
        self.store.list(Some(prefix)).try_collect().await.map_err(self.failed("list", prefix))
    }

    /// The bytes of a small object, or `None` if there is none.
    async fn read(&self, name: &Path) -> Result<Option<Vec<u8>>, DepotError> {
        let read = async { self.store.get(name).await?.bytes().await };
        match read.await {
            Ok(bytes) => Ok(Some(bytes.into())),
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(e) => Err(self.failed("read", name)(e)),
        }
    }

    /// The manifest of a name, or `None` if there is none.
    async fn stored(&self, name: &Path) -> Result<Option<Stored>, DepotError> {
        match self.read(name).await? {
            Some(text) => manifest::open(&text, name, || self.url_of(name)).map(Some),
            None => Ok(None),
        }
    }
}

impl Drop for Depot {
    fn drop(&mut self) {
        // Nothing of it is under way any more; and to wait is not allowed in asynchronous code.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

/// How long ago an object was written.
fn age(meta: &ObjectMeta) -> Duration {
    SystemTime::now().duration_since(meta.last_modified.into()).unwrap_or_default()
}

/// Does what waits for a disk.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DepotError> + Send + 'static,
) -> Result<T, DepotError> {
    let stopped = |e: tokio::task::JoinError| DepotError::Runtime { source: std::io::Error::other(e) };
    tokio::task::spawn_blocking(work).await.map_err(stopped)?
}

/// Adds to what is remembered. What is of no use any more stays behind; some megabytes of it are enough.
fn remember<K: Eq + std::hash::Hash, V>(memory: &Mutex<HashMap<K, V>>, key: K, value: V) {
    let mut memory = lock(memory);
    if memory.len() > 100_000 {
        memory.clear();
    }
    memory.insert(key, value);
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
