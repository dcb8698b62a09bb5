//! What fuzzing needs beside the interface: keys that are known, and tags that are right.

use super::keys::SECRET_LEN;
use super::{Claims, Credentials, Key, KeyRing, KeySet, Limits, key_file, token};
use std::path::Path;
use zeroize::Zeroizing;

/// When it is.
pub const NOW_MS: u64 = 1_767_261_600_000;

fn key() -> Key {
    Key { id: 1, created_ms: 0, secret: Zeroizing::new([7; SECRET_LEN]) }
}

/// With one key, which is in no file, and without a store.
pub fn credentials() -> Credentials {
    let ring = KeyRing::with(Path::new(""), KeySet(vec![key()]), NOW_MS);
    Credentials::new(ring, Limits::default(), None)
}

/// A token of that key with anything in it.
pub fn seal(version: u8, payload: &[u8]) -> String {
    token::seal(&key(), version, payload)
}

/// Claims as they are in a token.
pub fn encode(claims: &Claims) -> Vec<u8> {
    token::encode(claims)
}

/// The bytes of a key file as they are written again, if they can be read.
pub fn keys(bytes: &[u8]) -> Option<Vec<u8>> {
    key_file::parse(bytes).ok().map(|keys| key_file::encode(&keys).to_vec())
}
