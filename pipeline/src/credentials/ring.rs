//! The keys as a server has them: read again when others may have changed them.

use super::key_file::{self, KeyError};
use super::keys::KeySet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock};

/// How often the file is read while nothing is amiss; well within [`super::keys::GRACE_MS`].
const EVERY_MS: u64 = 5_000;
/// How often at most it is read because of a key that is not known.
const UNKNOWN_EVERY_MS: u64 = 1_000;

/// The keys of a file.
#[derive(Debug)]
pub struct KeyRing {
    path: PathBuf,
    keys: RwLock<Arc<KeySet>>,
    look: Mutex<Look>,
}

/// The last look at the file.
#[derive(Debug)]
struct Look {
    at_ms: u64,
    failed: bool,
}

impl KeyRing {
    /// With the keys of a file, which must be there.
    pub fn open(path: &Path, now_ms: u64) -> Result<Self, KeyError> {
        key_file::read(path).map(|keys| Self::with(path, keys, now_ms))
    }

    /// With the keys of a file, which is made if it is not there.
    pub fn open_or_create(path: &Path, now_ms: u64) -> Result<Self, KeyError> {
        key_file::read_or_create(path, now_ms).map(|keys| Self::with(path, keys, now_ms))
    }

    pub(super) fn with(path: &Path, keys: KeySet, now_ms: u64) -> Self {
        KeyRing {
            path: path.to_owned(),
            keys: RwLock::new(Arc::new(keys)),
            look: Mutex::new(Look { at_ms: now_ms, failed: false }),
        }
    }

    /// The keys as they are known now.
    pub fn keys(&self, now_ms: u64) -> Arc<KeySet> {
        self.look_again(now_ms, EVERY_MS);
        self.known()
    }

    /// The keys, one of which should have this number.
    pub(super) fn keys_with(&self, id: u32, now_ms: u64) -> Arc<KeySet> {
        let keys = self.keys(now_ms);
        if keys.find(id).is_some() {
            return keys;
        }
        self.look_again(now_ms, UNKNOWN_EVERY_MS);
        self.known()
    }

    fn known(&self) -> Arc<KeySet> {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Reads the file if the last look was so long ago. What is known stays when it cannot be read: whoever damages it
    /// neither stops what works nor gets anything accepted.
    fn look_again(&self, now_ms: u64, after_ms: u64) {
        // Whoever finds another one looking goes on with what is known.
        let Ok(mut look) = self.look.try_lock() else { return };
        if now_ms.abs_diff(look.at_ms) < after_ms {
            return;
        }
        look.at_ms = now_ms;
        match key_file::read(&self.path) {
            Ok(keys) => {
                *self.keys.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(keys);
                look.failed = false;
            }
            Err(error) if !look.failed => {
                look.failed = true;
                tracing::warn!("{error}. Credentials are checked with the keys that were read before");
            }
            Err(_) => {}
        }
    }
}
