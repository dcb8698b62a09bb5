//! Tokens: how claims, or their name in the store, become text, and what becomes of text that is offered as one.
//!
//! A token is base64url without padding (RFC 4648, 5) of
//!
//! ```text
//! version   u8
//! key id    u32, little-endian
//! payload
//!   version 1: the claims in postcard, see `Claims`
//!   version 2: name [u8; 16], expires ms u64, little-endian: claims that are in the store
//! tag       [u8; 32]   HMAC-SHA256 by that key of what it is for (see `Purpose`) and all before the tag
//! ```
//!
//! Postcard, since serde writes it from the struct itself, it has no names and no lengths of numbers in it (a
//! token is part of a URL), and one claims value has one encoding. That goes for the whole token: other padding, trailing
//! bits, numbers that are longer than need be and bytes behind the body are refused, so no token can be written in
//! another way.

use super::claims::Claims;
use super::keys::{Key, Purpose, TAG_LEN};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use std::fmt;

/// The longest token, in bytes of text. Any claims fit.
pub const MAX_TOKEN: usize = 4096;
/// Of claims in the token.
pub(super) const CLAIMS: u8 = 1;
/// Of claims in the store.
pub(super) const REFERENCE: u8 = 2;
/// Version and key id.
const HEAD_LEN: usize = 5;
const NAME_LEN: usize = 16;

/// The name of claims in the store: 16 bytes of a tag of their encoding, so that the same ones have the same name, and
/// what the store gives back is known to be what was put there.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(pub [u8; NAME_LEN]);

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

/// Why a text is no token of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Flaw {
    /// No token has so many bytes.
    #[error("it is longer than {MAX_TOKEN} bytes")]
    TooLong,
    /// It is not base64url, or not as it is written.
    #[error("it is not base64url without padding")]
    NotBase64,
    /// It has fewer bytes than any token.
    #[error("it is cut short")]
    TooShort,
    /// No version writes such ones.
    #[error("its version {0} is none that this version of weir knows")]
    Version(u8),
    /// Its key is not in the file.
    #[error("it names key {0}, which is not there, or not any more")]
    UnknownKey(u32),
    /// It is not what was signed.
    #[error("its tag is not that of its content: it was altered or made up")]
    Tag,
    /// What was signed is not what this version writes.
    #[error("its tag is right, but its content is not what this version of weir writes")]
    Content,
    /// What the store has under its name is something else.
    #[error("what the credential store has under its name is not what was put there")]
    Stored,
}

/// A token in its parts; nothing is known to be true yet.
pub(super) struct Parts<'a> {
    pub version: u8,
    pub key_id: u32,
    pub payload: &'a [u8],
    signed: &'a [u8],
    tag: &'a [u8; TAG_LEN],
}

/// What names claims in the store.
pub(super) struct Reference {
    pub name: Name,
    pub expires_ms: u64,
}

/// The bytes of a text.
pub(super) fn bytes_of(text: &str) -> Result<Vec<u8>, Flaw> {
    if text.len() > MAX_TOKEN {
        return Err(Flaw::TooLong);
    }
    URL_SAFE_NO_PAD.decode(text).map_err(|_| Flaw::NotBase64)
}

impl<'a> Parts<'a> {
    pub fn of(bytes: &'a [u8]) -> Result<Self, Flaw> {
        let (version, rest) = bytes.split_first().ok_or(Flaw::TooShort)?;
        if !matches!(*version, CLAIMS | REFERENCE) {
            return Err(Flaw::Version(*version));
        }
        let (key_id, rest) = rest.split_first_chunk().ok_or(Flaw::TooShort)?;
        let (payload, tag) = rest.split_last_chunk().ok_or(Flaw::TooShort)?;
        let signed = &bytes[..HEAD_LEN + payload.len()];
        Ok(Parts { version: *version, key_id: u32::from_le_bytes(*key_id), payload, signed, tag })
    }

    /// Whether the key made it.
    pub fn verify(&self, key: &Key) -> Result<(), Flaw> {
        match key.is_tag(purpose(self.version), self.signed, self.tag) {
            true => Ok(()),
            false => Err(Flaw::Tag),
        }
    }
}

fn purpose(version: u8) -> Purpose {
    if version == REFERENCE { Purpose::Reference } else { Purpose::Claims }
}

/// The token of a payload.
pub(super) fn seal(key: &Key, version: u8, payload: &[u8]) -> String {
    let mut bytes = Vec::with_capacity(HEAD_LEN + payload.len() + TAG_LEN);
    bytes.push(version);
    bytes.extend_from_slice(&key.id.to_le_bytes());
    bytes.extend_from_slice(payload);
    let tag = key.tag(purpose(version), &bytes);
    bytes.extend_from_slice(&tag);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Claims as they are signed and stored.
pub(super) fn encode(claims: &Claims) -> Vec<u8> {
    // It fails for lengths that are not known, and there are none.
    postcard::to_stdvec(claims).unwrap_or_default()
}

/// The claims of a body.
pub(super) fn decode(body: &[u8]) -> Result<Claims, Flaw> {
    let claims: Claims = postcard::from_bytes(body).map_err(|_| Flaw::Content)?;
    let is_ours = claims.check().is_ok() && encode(&claims) == body;
    if is_ours { Ok(claims) } else { Err(Flaw::Content) }
}

impl Reference {
    /// Names the encoding of claims.
    pub fn to(key: &Key, body: &[u8], expires_ms: u64) -> Self {
        Reference { name: name_of(key, body), expires_ms }
    }

    pub fn encode(&self) -> Vec<u8> {
        [&self.name.0[..], &self.expires_ms.to_le_bytes()].concat()
    }

    pub fn decode(payload: &[u8]) -> Result<Self, Flaw> {
        let (name, expires) = payload.split_first_chunk().ok_or(Flaw::Content)?;
        let expires = expires.try_into().map_err(|_| Flaw::Content)?;
        Ok(Reference { name: Name(*name), expires_ms: u64::from_le_bytes(expires) })
    }

    /// The claims that it names, as the store gives them.
    pub fn open(&self, key: &Key, body: &[u8]) -> Result<Claims, Flaw> {
        if name_of(key, body) != self.name {
            return Err(Flaw::Stored);
        }
        decode(body).ok().filter(|claims| claims.expires_ms == self.expires_ms).ok_or(Flaw::Stored)
    }
}

fn name_of(key: &Key, body: &[u8]) -> Name {
    let tag = key.tag(Purpose::Name, body);
    Name(std::array::from_fn(|i| tag[i]))
}
