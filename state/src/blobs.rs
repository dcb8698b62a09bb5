//! What commits add to the minutes of tables, in a column family that is ordered by time.
//!
//! Keys (numbers big-endian): `minute u32, table u8, commit u64`. What is written together so stands together, and
//! behind all that was written before: RocksDB merges the small files of many checkpoints once and from then on
//! only moves them, and what is older than the horizon are whole files.

use rocksdb::{ColumnFamily, DB, ReadOptions};
use std::collections::BTreeSet;
use weir_proto::Minute;

pub(crate) const FAMILY: &str = "blobs";
/// Where there are no families: a table that rows do not have.
pub(crate) const BESIDE_ROWS: u8 = 255;

pub(crate) fn key(minute: Minute, table: u8, commit: u64) -> [u8; 13] {
    let mut key = [0; 13];
    key[..4].copy_from_slice(&minute.0.to_be_bytes());
    key[4] = table;
    key[5..].copy_from_slice(&commit.to_be_bytes());
    key
}

/// The minute and the table of a key.
pub(crate) fn parse(key: &[u8]) -> Option<(Minute, u8)> {
    let (minute, rest) = key.split_first_chunk()?;
    Some((Minute(u32::from_be_bytes(*minute)), *rest.first()?))
}

pub(crate) fn beside_rows(key: &[u8]) -> Vec<u8> {
    [&[BESIDE_ROWS], key].concat()
}

/// Calls `visit` with each blob of a minute of a table, in the order of commits.
pub(crate) fn scan(
    db: &DB,
    family: &ColumnFamily,
    table: u8,
    minute: Minute,
    mut visit: impl FnMut(&[u8]),
) -> Result<(), rocksdb::Error> {
    let mut options = ReadOptions::default();
    options.fill_cache(false);
    options.set_iterate_upper_bound(key(minute, table + 1, 0));
    let mut blobs = db.raw_iterator_cf_opt(family, options);
    blobs.seek(key(minute, table, 0));
    while let Some(blob) = blobs.value() {
        visit(blob);
        blobs.next();
    }
    blobs.status()
}

/// The minutes of a table that have any blobs, from one on.
pub(crate) fn minutes(
    db: &DB,
    family: &ColumnFamily,
    table: u8,
    from: Minute,
) -> Result<BTreeSet<Minute>, rocksdb::Error> {
    let mut minutes = BTreeSet::new();
    let mut blobs = db.raw_iterator_cf(family);
    let mut next = Some(from);
    while let Some(from) = next {
        blobs.seek(key(from, table, 0));
        next = match blobs.key().and_then(parse) {
            Some((minute, of)) if of < table => Some(minute),
            Some((minute, of)) => {
                if of == table {
                    minutes.insert(minute);
                }
                minute.0.checked_add(1).map(Minute)
            }
            None => None,
        };
    }
    blobs.status().map(|()| minutes)
}
