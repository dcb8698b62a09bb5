//! Readers of bytes on disk that are no part of the interface, for `tests/fuzz`.

use crate::pages;

/// The value of a key in a page of entries of `K + V` bytes.
pub fn find_in_page<const K: usize, const V: usize>(page: &[u8], key: &[u8; K]) -> Option<[u8; V]> {
    pages::find(page, key)
}

/// Splits entries over pages.
pub fn pages<const K: usize, const V: usize>(entries: &[([u8; K], [u8; V])]) -> Vec<Vec<u8>> {
    pages::build(entries.to_vec())
}

/// The page, of `count`, in which a key stands.
pub fn page_of(key: &[u8], count: u32) -> u32 {
    pages::page_of(key, count)
}
