//! The on-disk form of a minute that is not in memory and was asked for.
//!
//! A sealed minute's entries stand in pages: a key's page is chosen by its hash, so that a look-up
//! is one read. A page is its entries, sorted by key, one after the other; the minute's header holds
//! the number of pages (u32, little-endian, a power of two).

use xxhash_rust::xxh3::xxh3_64;

const ENTRIES_PER_PAGE: usize = 128;

/// How many pages for so many entries.
pub(crate) fn pages_for(entries: usize) -> u32 {
    (entries.div_ceil(ENTRIES_PER_PAGE)).max(1).next_power_of_two() as u32
}

/// The page, of `pages`, in which a key stands.
pub(crate) fn page_of(key: &[u8], pages: u32) -> u32 {
    (xxh3_64(key) as u32) & (pages - 1)
}

/// The value of a key in a page whose entries have `K + V` bytes.
pub(crate) fn find<const K: usize, const V: usize>(page: &[u8], key: &[u8; K]) -> Option<[u8; V]> {
    let (mut low, mut high) = (0, page.len() / (K + V));
    while low < high {
        let middle = (low + high) / 2;
        let entry = &page[middle * (K + V)..][..K + V];
        match entry[..K].cmp(key) {
            std::cmp::Ordering::Less => low = middle + 1,
            std::cmp::Ordering::Greater => high = middle,
            std::cmp::Ordering::Equal => {
                let mut value = [0; V];
                value.copy_from_slice(&entry[K..]);
                return Some(value);
            }
        }
    }
    None
}

/// The entries of a page, or of anything else in which they stand one after the other.
pub(crate) fn entries<const K: usize, const V: usize>(
    bytes: &[u8],
) -> impl Iterator<Item = ([u8; K], [u8; V])> {
    bytes.chunks_exact(K + V).map(|entry| {
        let (mut key, mut value) = ([0; K], [0; V]);
        key.copy_from_slice(&entry[..K]);
        value.copy_from_slice(&entry[K..]);
        (key, value)
    })
}

/// Splits entries over pages.
pub(crate) fn build<const K: usize, const V: usize>(entries: Vec<([u8; K], [u8; V])>) -> Vec<Vec<u8>> {
    let pages = pages_for(entries.len());
    let mut by_page = vec![Vec::with_capacity(ENTRIES_PER_PAGE); pages as usize];
    for (key, value) in entries {
        by_page[page_of(&key, pages) as usize].push((key, value));
    }
    let bytes = |mut page: Vec<([u8; K], [u8; V])>| {
        page.sort_unstable();
        page.iter().flat_map(|(key, value)| [&key[..], value]).collect::<Vec<_>>().concat()
    };
    by_page.into_iter().map(bytes).collect()
}
