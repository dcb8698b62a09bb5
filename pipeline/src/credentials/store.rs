//! Where claims are kept whose tokens only name them.

use super::token::Name;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_state::{Commit, Durability, Shared, StateError, Store};

/// A store cannot be asked now: what is in it is not known, and it may be asked again.
#[derive(Debug, thiserror::Error)]
#[error("the credential store cannot be reached: {0}")]
pub struct StoreAway(#[from] pub Box<dyn std::error::Error + Send + Sync>);

/// Keeps claims, encoded, under their names. The same name always stands for the same bytes and the same time.
pub trait CredentialStore: Send + Sync {
    /// Keeps them at least until a time; on disk when it returns.
    fn put(&self, name: &Name, claims: &[u8], until_ms: u64, now_ms: u64) -> Result<(), StoreAway>;
    /// What is kept; `None` if there is nothing, or not any more.
    fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, StoreAway>;
}

/// The table of claims: name → version u8, encoding.
const CLAIMS: u8 = 1;
/// The table of when they may go: ms u64 big-endian, name → nothing.
const UNTIL: u8 = 2;
const VERSION: u8 = 1;
/// How often those are looked for that may go, and how many go at a time.
const SWEEP_EVERY_MS: u64 = 60_000;
const SWEPT: usize = 10_000;

/// A RocksDB of this machine.
pub struct EmbeddedStore {
    store: Store,
    swept_ms: AtomicU64,
}

impl EmbeddedStore {
    /// Opens the store in a directory, or makes it.
    pub fn open(dir: &Path, shared: &Shared) -> Result<Self, StateError> {
        Store::open(dir, shared).map(Self::with)
    }

    /// Opens it beside a job that runs, to look things up as they stand now.
    pub fn open_read_only(dir: &Path, shared: &Shared) -> Result<Self, StateError> {
        Store::open_read_only(dir, shared).map(Self::with)
    }

    fn with(store: Store) -> Self {
        EmbeddedStore { store, swept_ms: AtomicU64::new(0) }
    }

    /// Adds to a commit the removal of the oldest that may go, once in a while. Nobody puts them again meanwhile: a name
    /// has one time.
    fn sweep(&self, now_ms: u64, commit: &mut Commit) -> Result<(), StateError> {
        let last = self.swept_ms.load(Ordering::Relaxed);
        let is_due = now_ms.abs_diff(last) >= SWEEP_EVERY_MS;
        let set = || self.swept_ms.compare_exchange(last, now_ms, Ordering::Relaxed, Ordering::Relaxed);
        if !is_due || set().is_err() {
            return Ok(());
        }
        let (now, mut over) = (now_ms.to_be_bytes(), Vec::new());
        self.store.scan_while(UNTIL, &[], |key, _| {
            let goes = over.len() < SWEPT && key.get(..now.len()).is_some_and(|until| until < &now[..]);
            if goes {
                over.push(key.to_vec());
            }
            goes
        })?;
        for key in &over {
            commit.delete(UNTIL, key);
            commit.delete(CLAIMS, &key[now.len()..]);
        }
        Ok(())
    }
}

fn away(error: StateError) -> StoreAway {
    StoreAway(error.into())
}

impl CredentialStore for EmbeddedStore {
    fn put(&self, name: &Name, claims: &[u8], until_ms: u64, now_ms: u64) -> Result<(), StoreAway> {
        let mut commit = Commit::new(0);
        self.sweep(now_ms, &mut commit).map_err(away)?;
        commit.put(CLAIMS, &name.0, &[&[VERSION], claims].concat());
        commit.put(UNTIL, &[&until_ms.to_be_bytes()[..], &name.0].concat(), &[]);
        self.store.commit_as("credentials.put", commit, Durability::Disk).map_err(away)
    }

    fn get(&self, name: &Name) -> Result<Option<Vec<u8>>, StoreAway> {
        let Some(value) = self.store.get(CLAIMS, &name.0).map_err(away)? else { return Ok(None) };
        match value.split_first() {
            Some((&VERSION, claims)) => Ok(Some(claims.to_vec())),
            _ => {
                let path = self.store.dir().to_owned();
                Err(away(StateError::Format { path, what: "the claims of a credential" }))
            }
        }
    }
}
