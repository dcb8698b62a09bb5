//! Who the users are stays out of sight: user ids and addresses are shown as keyed hashes.
//!
//! The key is in the file `mask.key` of the data directory, which only its owner may read: magic "WEIRKEY1",
//! 32 random bytes, and their crc32c (u32, little-endian). One user has the same mask everywhere in one data directory and another one in the next.

use crate::error::JobError;
use rustix::io::Errno;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use weir_proto::ip_key;
use weir_state::{PRIVATE, replace_file};

const KEY_LEN: usize = 32;
const MAGIC: &[u8; 8] = b"WEIRKEY1";

/// Hides users behind their hashes.
pub struct Mask([u8; KEY_LEN]);

/// The key of a data directory is of no use.
#[derive(Debug, thiserror::Error)]
pub enum MaskError {
    /// There is none, or it may not be read.
    #[error("cannot read the mask key {path}: {source}")]
    Unreadable {
        /// Where it should be.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is no key.
    #[error(
        "the mask key {path} is damaged, or of another version of weir. Restore it from a backup; or remove it and start \
         the job, which makes a new one with which every user is masked anew"
    )]
    Damaged {
        /// Where it is.
        path: PathBuf,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

impl Mask {
    /// With the key of a data directory.
    pub fn load(data_dir: &Path) -> Result<Self, MaskError> {
        let path = key_path(data_dir);
        match fs::read(&path) {
            Ok(bytes) => parse(&bytes).map(Mask).ok_or(MaskError::Damaged { path }),
            Err(source) => Err(MaskError::Unreadable { path, source }),
        }
    }

    /// With a key that nobody keeps: masks mean nothing to any other process.
    pub fn ephemeral() -> Result<Self, MaskError> {
        random_key().map(Mask).map_err(MaskError::NoRandomness)
    }

    /// Stands for a user.
    pub fn user(&self, user_id: &str) -> String {
        format!("u:{}", self.hash(b"user", user_id.as_bytes()))
    }

    /// Stands for an address.
    pub fn ip(&self, ip: IpAddr) -> String {
        format!("ip:{}", self.hash(b"ip", &ip_key(ip)))
    }

    /// 16 hexadecimal digits. What is hashed comes first, so that no user is taken for an address.
    fn hash(&self, what: &[u8], bytes: &[u8]) -> String {
        let mut hasher = blake3::Hasher::new_keyed(&self.0);
        hasher.update(&[what.len() as u8]).update(what).update(bytes);
        hasher.finalize().to_hex()[..16].to_owned()
    }
}

/// Makes the key of a data directory if it has none.
pub fn ensure(data_dir: &Path) -> Result<(), JobError> {
    let path = key_path(data_dir);
    if path.exists() {
        return Ok(());
    }
    let key = random_key().map_err(|e| {
        let code = e.raw_os_error().unwrap_or(Errno::IO.raw_os_error());
        JobError::io("make the key", &path)(std::io::Error::from_raw_os_error(code))
    })?;
    replace_file(&path, &encode(&key), PRIVATE, Some("mask_key.write")).map_err(JobError::io("write", &path))
}

fn encode(key: &[u8; KEY_LEN]) -> Vec<u8> {
    [&MAGIC[..], key, &crc32c::crc32c(key).to_le_bytes()].concat()
}

fn parse(bytes: &[u8]) -> Option<[u8; KEY_LEN]> {
    let (key, _) = bytes.strip_prefix(MAGIC)?.split_first_chunk()?;
    (encode(key) == bytes).then_some(*key)
}

/// Where the key of a data directory is.
pub fn key_path(data_dir: &Path) -> PathBuf {
    data_dir.join("mask.key")
}

fn random_key() -> Result<[u8; KEY_LEN], getrandom::Error> {
    let mut key = [0; KEY_LEN];
    getrandom::fill(&mut key)?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn a_user_has_one_mask_for_each_key() {
        let (a, b) = (Mask([1; KEY_LEN]), Mask([2; KEY_LEN]));
        assert_eq!(a.user("u22d8"), a.user("u22d8"));
        assert_ne!(a.user("u22d8"), b.user("u22d8"));
        assert_ne!(a.user("u22d8"), a.user("u22d9"));
        assert!(a.user("u22d8").starts_with("u:") && a.user("u22d8").len() == 18);
    }

    #[test]
    fn an_address_has_one_mask_however_it_is_written() {
        let mask = Mask([1; KEY_LEN]);
        let [v4, mapped] = ["10.0.0.1", "::ffff:10.0.0.1"].map(|ip| mask.ip(ip.parse().unwrap()));
        assert_eq!(v4, mapped);
        assert!(v4.starts_with("ip:") && v4.len() == 19);
    }

    #[test]
    fn a_key_is_made_once_and_only_its_owner_may_read_it() {
        let dir = tempfile::tempdir().unwrap();
        assert!(matches!(Mask::load(dir.path()), Err(MaskError::Unreadable { .. })));
        ensure(dir.path()).unwrap();
        let key = fs::read(key_path(dir.path())).unwrap();
        ensure(dir.path()).unwrap();
        assert_eq!(fs::read(key_path(dir.path())).unwrap(), key);
        let mode = fs::metadata(key_path(dir.path())).unwrap().permissions().mode();
        assert_eq!((key.len(), mode & 0o777), (KEY_LEN + 12, 0o600));
        for bit in 0..8 * key.len() {
            let mut damaged = key.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(key_path(dir.path()), damaged).unwrap();
            assert!(matches!(Mask::load(dir.path()), Err(MaskError::Damaged { .. })), "{bit}");
        }
        fs::write(key_path(dir.path()), "short").unwrap();
        assert!(matches!(Mask::load(dir.path()), Err(MaskError::Damaged { .. })));
    }
}
