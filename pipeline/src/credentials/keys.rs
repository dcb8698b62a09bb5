//! The keys that credentials are signed with: which one signs, which ones are still needed.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::fmt;
use std::time::Duration;
use zeroize::Zeroizing;

/// Bytes of a secret.
pub(super) const SECRET_LEN: usize = 32;
/// Bytes of a tag.
pub(super) const TAG_LEN: usize = 32;
/// A new key signs when every server that shares the file has surely read it.
pub const GRACE_MS: u64 = 30_000;
/// The block of SHA-256, to which HMAC fills a key up with zeros (RFC 2104).
const BLOCK_LEN: usize = 64;

/// What a tag is for. The text comes first in what is signed, and none is the beginning of another, so that the tag of
/// one thing never passes for that of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A token that has its claims in it.
    Claims,
    /// A token that names claims in the store.
    Reference,
    /// The name of claims in the store.
    Name,
}

impl Purpose {
    fn text(self) -> &'static [u8] {
        match self {
            Purpose::Claims => b"weir credential: claims\0",
            Purpose::Reference => b"weir credential: reference\0",
            Purpose::Name => b"weir credential: name\0",
        }
    }
}

/// A key. What it is made of is never shown.
#[derive(Clone)]
pub struct Key {
    /// Its number: each new one has a higher one.
    pub id: u32,
    /// When it was made, in ms since the epoch.
    pub created_ms: u64,
    pub(super) secret: Zeroizing<[u8; SECRET_LEN]>,
}

impl fmt::Debug for Key {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("id", &self.id)
            .field("created_ms", &self.created_ms)
            .finish_non_exhaustive()
    }
}

impl Key {
    /// A new one.
    pub(super) fn random(id: u32, created_ms: u64) -> Result<Self, getrandom::Error> {
        let mut secret = Zeroizing::new([0; SECRET_LEN]);
        getrandom::fill(&mut secret[..])?;
        Ok(Key { id, created_ms, secret })
    }

    fn mac(&self, purpose: Purpose, signed: &[u8]) -> Hmac<Sha256> {
        let mut block = Zeroizing::new([0; BLOCK_LEN]);
        block[..SECRET_LEN].copy_from_slice(&*self.secret);
        let mut mac = Hmac::<Sha256>::new((&*block).into());
        mac.update(purpose.text());
        mac.update(signed);
        mac
    }

    /// The tag of something.
    pub(super) fn tag(&self, purpose: Purpose, signed: &[u8]) -> [u8; TAG_LEN] {
        self.mac(purpose, signed).finalize().into_bytes().into()
    }

    /// Whether this is the tag of something; it takes as long whichever byte is wrong.
    pub(super) fn is_tag(&self, purpose: Purpose, signed: &[u8], tag: &[u8]) -> bool {
        self.mac(purpose, signed).verify_slice(tag).is_ok()
    }
}

/// All keys of a file: at least one, the oldest first.
#[derive(Clone, Debug)]
pub struct KeySet(pub(super) Vec<Key>);

impl KeySet {
    /// The most keys that a file may have.
    pub const MOST: usize = 64;

    /// With one new key.
    pub(super) fn random(now_ms: u64) -> Result<Self, getrandom::Error> {
        Ok(KeySet(vec![Key::random(1, now_ms)?]))
    }

    /// The key of a number.
    pub fn find(&self, id: u32) -> Option<&Key> {
        self.0.iter().find(|key| key.id == id)
    }

    /// All of them, the oldest first.
    pub fn all(&self) -> &[Key] {
        &self.0
    }

    /// The key to sign with: the newest one that all servers have, or else the one that most of them have.
    pub fn signing(&self, now_ms: u64) -> Option<&Key> {
        let is_known = |key: &&Key| key.created_ms.saturating_add(GRACE_MS) <= now_ms;
        self.0.iter().rev().find(is_known).or(self.0.first())
    }

    /// With a new key, and without those under which no credential can be alive; these are named. `None` if the new
    /// one would be one too many.
    pub(super) fn rotated(
        &self,
        now_ms: u64,
        max_lifetime: Duration,
    ) -> Result<Option<(Self, Vec<u32>)>, getrandom::Error> {
        let Some(last) = self.0.last() else { return Ok(None) };
        // A server signs with a key until it knows that all have the next one, and may learn that late.
        let alive = u64::try_from(max_lifetime.as_millis()).unwrap_or(u64::MAX).saturating_add(2 * GRACE_MS);
        let is_over = |next: &Key| next.created_ms.saturating_add(alive) <= now_ms;
        let over = self.0.windows(2).take_while(|two| is_over(&two[1])).count();
        let Some(id) = last.id.checked_add(1).filter(|_| self.0.len() - over < Self::MOST) else {
            return Ok(None);
        };
        // A clock that was set back must not make it older than the ones before it.
        let new = Key::random(id, now_ms.max(last.created_ms))?;
        let removed = self.0[..over].iter().map(|key| key.id).collect();
        Ok(Some((KeySet([&self.0[over..], &[new]].concat()), removed)))
    }
}
