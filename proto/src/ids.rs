//! Identities and routing.

use crate::bytes::text;
use crate::time::Minute;
use std::fmt;
use std::net::IpAddr;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

const CROCKFORD: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const DECODE: [u8; 256] = decode_table();

const fn decode_table() -> [u8; 256] {
    let mut table = [255; 256];
    let mut i = 0;
    while i < 32 {
        table[CROCKFORD[i] as usize] = i as u8;
        i += 1;
    }
    table
}

/// The id of an event as its front end chose it. Canonical ULIDs (26 upper-case Crockford digits)
/// take 16 bytes and carry their own time; any other text is kept as it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Guid<'a> {
    /// A ULID: 48 bits of milliseconds, 80 bits of randomness.
    Ulid(u128),
    /// Any other text of 1 to 255 bytes.
    Text(&'a str),
}

impl<'a> Guid<'a> {
    /// Longest text accepted, in bytes.
    pub const MAX_LEN: usize = 255;

    /// Reads an id; `None` when it is empty or too long.
    pub fn parse(text: &'a str) -> Option<Self> {
        match parse_ulid(text.as_bytes()) {
            Some(id) => Some(Guid::Ulid(id)),
            None if text.is_empty() || text.len() > Self::MAX_LEN => None,
            None => Some(Guid::Text(text)),
        }
    }

    /// The id of a record: its text if it is said to have one, else its number.
    pub(crate) fn stored(is_text: bool, bytes: &'a [u8], number: [u8; 16]) -> Option<Self> {
        match is_text {
            true => (!bytes.is_empty()).then(|| Guid::Text(text(bytes))),
            false => Some(Guid::Ulid(u128::from_le_bytes(number))),
        }
    }

    /// The minute that the id itself names, if it names one.
    pub fn minute(&self) -> Option<Minute> {
        match self {
            Guid::Ulid(id) => Some(Minute::of_ms((id >> 80) as u64)),
            Guid::Text(_) => None,
        }
    }
}

fn parse_ulid(b: &[u8]) -> Option<u128> {
    if b.len() != 26 || b[0] > b'7' {
        return None;
    }
    let mut id = 0u128;
    let mut seen = 0u8;
    for &c in b {
        let digit = DECODE[c as usize];
        seen |= digit;
        id = id << 5 | u128::from(digit & 31);
    }
    (seen < 32).then_some(id)
}

/// The digits of a ULID.
pub(crate) fn ulid_digits(id: u128) -> [u8; 26] {
    // Twelve digits fit a machine word, which is shifted faster than all of the number.
    let words = [(id >> 120) as u64, (id >> 60) as u64, id as u64];
    std::array::from_fn(|i| {
        let (word, behind) =
            if i < 2 { (words[0], 1 - i) } else { (words[1 + (i - 2) / 12], 11 - (i - 2) % 12) };
        CROCKFORD[(word >> (5 * behind) & 31) as usize]
    })
}

impl fmt::Display for Guid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Guid::Text(text) => f.write_str(text),
            Guid::Ulid(id) => f.write_str(std::str::from_utf8(&ulid_digits(*id)).map_err(|_| fmt::Error)?),
        }
    }
}

/// The key under which a user's counters are kept: XXH3-128 of the user id. Two users would share
/// counters only if their 128-bit hashes met.
pub fn user_key(user_id: &[u8]) -> [u8; 16] {
    xxh3_128(user_id).to_le_bytes()
}

/// An address as 16 bytes, IPv4 mapped into IPv6 (RFC 4291, 2.5.5.2).
pub fn ip_key(ip: IpAddr) -> [u8; 16] {
    match ip {
        IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
        IpAddr::V6(ip) => ip.octets(),
    }
}

/// The key under which the counters of a pair are kept: XXH3-128 of a 16-byte key and an ad.
pub fn pair_key(first: &[u8; 16], ad_id: u64) -> [u8; 16] {
    let mut both = [0; 24];
    both[..16].copy_from_slice(first);
    both[16..].copy_from_slice(&ad_id.to_le_bytes());
    xxh3_128(&both).to_le_bytes()
}

/// The partition, of `count`, for a key of bytes. Part of the on-disk contract: never change it.
pub fn route_bytes(key: &[u8], count: u32) -> u32 {
    scale(xxh3_64(key), count)
}

/// The partition, of `count`, for a numeric id. Part of the on-disk contract: never change it.
pub fn route_id(id: u64, count: u32) -> u32 {
    // The finalizer of splitmix64: neighbours spread evenly.
    let mut z = id.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    scale(z ^ (z >> 31), count)
}

fn scale(hash: u64, count: u32) -> u32 {
    ((u128::from(hash) * u128::from(count)) >> 64) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ulid_keeps_its_text_and_time() {
        let guid = Guid::parse("01KDWFZY7JAJ06BJH5MKP4EFSR").unwrap();
        assert!(matches!(guid, Guid::Ulid(_)));
        assert_eq!(guid.to_string(), "01KDWFZY7JAJ06BJH5MKP4EFSR");
        assert_eq!(guid.minute(), Some(Minute::of_ms(1_767_261_600_000).minus(1)));
    }

    #[test]
    fn what_is_not_canonical_stays_text() {
        for text in
            ["01kdwfzy7jaj06bjh5mkp4efsr", "8ZZZZZZZZZZZZZZZZZZZZZZZZZ", "x", "01KDWFZY7JAJ06BJH5MKP4EFSI"]
        {
            assert_eq!(Guid::parse(text), Some(Guid::Text(text)));
        }
        assert_eq!(Guid::parse(""), None);
        assert_eq!(Guid::parse(&"x".repeat(256)), None);
    }

    #[test]
    fn routes_are_pinned_and_spread() {
        assert_eq!(route_id(36, 16), 14);
        assert_eq!(route_bytes(b"u22d8", 16), 12);
        let mut hit = [0u32; 16];
        (0..16_000u64).for_each(|i| hit[route_id(i, 16) as usize] += 1);
        assert!(hit.iter().all(|&n| (800..1200).contains(&n)), "{hit:?}");
    }
}
