//! The file of keys, `credential.keys`. Whoever can read it can make credentials: only its owner may, and at most its
//! group. Numbers are little-endian:
//!
//! ```text
//! "WEIRCRD1"            the format and its version
//! crc32c     u32        of all that follows
//! count      u32        1 to 64
//! count × { id u32, created ms u64, secret [u8; 32] }     by rising ids, none of them 0
//! ```
//!
//! It is replaced as a whole, by one process at a time: who writes holds the lock of the file beside it that ends in
//! `.lock`. Servers that share keys share the file, or get copies of it.

use super::keys::{Key, KeySet, SECRET_LEN};
use rustix::fs::{FlockOperation, flock};
use std::fs::{File, OpenOptions};
use std::io::{ErrorKind, Read};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use weir_state::{PRIVATE, beside, replace_file};
use zeroize::Zeroizing;

const MAGIC: &[u8; 8] = b"WEIRCRD1";
const HEAD_LEN: usize = MAGIC.len() + 4 + 4;
const KEY_LEN: usize = 4 + 8 + SECRET_LEN;
/// What others may not do with it: anything; and the group: write.
const FORBIDDEN: u32 = 0o027;

/// The keys are of no use.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There are none.
    #[error(
        "there are no keys for credentials at {0}: name their file, or start the job once, which makes it"
    )]
    Missing(PathBuf),
    /// A file operation failed.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file is no key file.
    #[error(
        "{path}, the keys for credentials, {problem}. Restore it from a backup; or remove it and start the job, which \
         makes a new one: every credential that was issued until then is refused"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// Others may read it.
    #[error(
        "{path}, the keys for credentials, has the mode {mode:o}: whoever can read it can make credentials. Run \
         `chmod 600` on it; if others may have read it, replace the keys"
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// How it stands.
        mode: u32,
    },
    /// There are too many already.
    #[error(
        "{0} has {most} keys already, and each of them may have credentials alive; rotate them less often",
        most = KeySet::MOST
    )]
    TooMany(PathBuf),
    /// The system has no randomness.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl KeyError {
    fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> KeyError {
        let path = path.to_owned();
        move |source| KeyError::Io { what, path, source }
    }
}

/// Reads the keys of a file.
pub fn read(path: &Path) -> Result<KeySet, KeyError> {
    let file = File::open(path).map_err(|source| match source.kind() {
        ErrorKind::NotFound => KeyError::Missing(path.to_owned()),
        _ => KeyError::io("open", path)(source),
    })?;
    let mode = file.metadata().map_err(KeyError::io("look at", path))?.permissions().mode() & 0o777;
    if mode & FORBIDDEN != 0 {
        return Err(KeyError::Open { path: path.to_owned(), mode });
    }
    // As much room as the largest has: what grows leaves copies behind.
    let most = HEAD_LEN + KEY_LEN * KeySet::MOST;
    let mut bytes = Zeroizing::new(Vec::with_capacity(most + 1));
    let mut limited = file.take(most as u64 + 1);
    limited.read_to_end(&mut bytes).map_err(KeyError::io("read", path))?;
    parse(&bytes).map_err(|problem| KeyError::Damaged { path: path.to_owned(), problem })
}

/// Reads the keys of a file, which is made with one key if there is none.
pub fn read_or_create(path: &Path, now_ms: u64) -> Result<KeySet, KeyError> {
    match read(path) {
        Err(KeyError::Missing(_)) => {}
        other => return other,
    }
    let _locked = lock(path)?;
    match read(path) {
        // Nobody else has made one in the meantime.
        Err(KeyError::Missing(_)) => {}
        other => return other,
    }
    let keys = KeySet::random(now_ms).map_err(KeyError::NoRandomness)?;
    write(path, &keys)?;
    Ok(keys)
}

/// Adds a key, and removes those under which no credential can be alive; the keys then, and the ids of the removed ones.
pub fn rotate(path: &Path, now_ms: u64, max_lifetime: Duration) -> Result<(KeySet, Vec<u32>), KeyError> {
    // Before the lock, which would make a file beside one that is not there.
    read(path)?;
    let _locked = lock(path)?;
    let keys = read(path)?;
    let rotated = keys.rotated(now_ms, max_lifetime).map_err(KeyError::NoRandomness)?;
    let rotated = rotated.ok_or_else(|| KeyError::TooMany(path.to_owned()))?;
    write(path, &rotated.0)?;
    Ok(rotated)
}

fn lock(path: &Path) -> Result<File, KeyError> {
    let path = beside(path, ".lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    let file = file.map_err(KeyError::io("open", &path))?;
    flock(&file, FlockOperation::LockExclusive).map_err(|e| KeyError::io("lock", &path)(e.into()))?;
    Ok(file)
}

/// Replaces the file; the lock is held.
fn write(path: &Path, keys: &KeySet) -> Result<(), KeyError> {
    replace_file(path, &encode(keys), PRIVATE, None).map_err(KeyError::io("replace", path))
}

pub(super) fn encode(keys: &KeySet) -> Zeroizing<Vec<u8>> {
    let mut bytes = Zeroizing::new(Vec::with_capacity(HEAD_LEN + KEY_LEN * keys.all().len()));
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(keys.all().len() as u32).to_le_bytes());
    for key in keys.all() {
        bytes.extend_from_slice(&key.id.to_le_bytes());
        bytes.extend_from_slice(&key.created_ms.to_le_bytes());
        bytes.extend_from_slice(&*key.secret);
    }
    let sum = crc32c::crc32c(&bytes[MAGIC.len() + 4..]);
    bytes[MAGIC.len()..][..4].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// The keys, or what is wrong with their bytes.
pub(super) fn parse(bytes: &[u8]) -> Result<KeySet, &'static str> {
    const DAMAGED: &str = "is damaged";
    let rest = bytes.strip_prefix(MAGIC).ok_or("is damaged, or of another version of weir")?;
    let (sum, summed) = rest.split_first_chunk().ok_or(DAMAGED)?;
    if crc32c::crc32c(summed) != u32::from_le_bytes(*sum) {
        return Err("is damaged: its checksum is wrong");
    }
    let (count, keys) = summed.split_first_chunk().ok_or(DAMAGED)?;
    let (keys, rest) = keys.as_chunks::<KEY_LEN>();
    let keys: Option<Vec<Key>> = keys.iter().map(key).collect();
    let keys = keys.filter(|_| rest.is_empty()).ok_or(DAMAGED)?;
    let rises = keys.first().is_some_and(|key| key.id > 0) && keys.is_sorted_by(|a, b| a.id < b.id);
    match rises && keys.len() <= KeySet::MOST && keys.len() == u32::from_le_bytes(*count) as usize {
        true => Ok(KeySet(keys)),
        false => Err(DAMAGED),
    }
}

fn key(bytes: &[u8; KEY_LEN]) -> Option<Key> {
    let (id, rest) = bytes.split_first_chunk()?;
    let (created_ms, secret) = rest.split_first_chunk()?;
    let secret = Zeroizing::new(*secret.first_chunk()?);
    Some(Key { id: u32::from_le_bytes(*id), created_ms: u64::from_le_bytes(*created_ms), secret })
}
