//! The journal of the daily books: what has changed since the rows were written last.
//!
//! Each commit writes one page, the value of the next number in table 3: the keys that occurred for the
//! first time, and for each key that the commit touched, named by its running number, the whole change so
//! far. The newest page that names a key says what its change is. When changes have been added to the rows,
//! all pages are deleted, and keys are numbered anew.

use super::daily::{Row, RowKey};
use serde::{Deserialize, Serialize};
use weir_state::{Commit, StateError, Store, versioned};

const PAGES: u8 = 3;
const VERSION: u8 = 1;
const WHAT: &str = "a page of the daily books";

#[derive(Default, Serialize, Deserialize)]
struct Page {
    /// Behind those of the pages before.
    keys: Vec<RowKey>,
    changes: Vec<(u32, Row)>,
}

/// Changes, and which of them are not in the store yet.
#[derive(Default)]
pub(super) struct Pages {
    changes: Vec<(RowKey, Row)>,
    /// By the same numbers.
    is_touched: Vec<bool>,
    touched: Vec<u32>,
    /// Keys that stand in pages.
    known: usize,
    pages: u64,
    written: usize,
}

impl Pages {
    /// All that the journal of a store says.
    pub(super) fn load(store: &Store) -> Result<Self, StateError> {
        let mut this = Pages::default();
        let mut failed = None;
        store.scan(PAGES, &[], |_, bytes| match versioned::decode(store, VERSION, WHAT, bytes) {
            Ok(page) if this.replay(&page) => {}
            Ok(_) => failed = Some(StateError::Format { path: store.dir().to_owned(), what: WHAT }),
            Err(error) => failed = Some(error),
        })?;
        this.is_touched.resize(this.changes.len(), false);
        failed.map_or(Ok(this), Err)
    }

    /// Whether all keys of the page were known.
    fn replay(&mut self, page: &Page) -> bool {
        self.pages = self.pages.saturating_add(1);
        self.written = self.written.saturating_add(page.changes.len());
        self.changes.extend(page.keys.iter().map(|key| (*key, Row::default())));
        self.known = self.changes.len();
        page.changes.iter().all(|(at, row)| {
            let found = self.changes.get_mut(*at as usize);
            found.map(|(_, change)| *change = *row).is_some()
        })
    }

    /// Changes by their running numbers.
    pub(super) fn changes(&self) -> &[(RowKey, Row)] {
        &self.changes
    }

    /// How many changes stand in pages.
    pub(super) fn written(&self) -> usize {
        self.written
    }

    /// Begins the change of a key; its number.
    pub(super) fn push(&mut self, key: RowKey) -> u32 {
        let at = self.changes.len() as u32;
        self.changes.push((key, Row::default()));
        self.is_touched.push(false);
        at
    }

    /// A change that is to be written.
    pub(super) fn change(&mut self, at: u32) -> &mut Row {
        if !std::mem::replace(&mut self.is_touched[at as usize], true) {
            self.touched.push(at);
        }
        &mut self.changes[at as usize].1
    }

    /// Writes a page of what was touched.
    pub(super) fn stage(&mut self, commit: &mut Commit) {
        if self.touched.is_empty() {
            return;
        }
        let keys = self.changes[self.known..].iter().map(|(key, _)| *key).collect();
        let changes = self.touched.iter().map(|at| (*at, self.changes[*at as usize].1)).collect();
        commit.put(PAGES, &self.pages.to_be_bytes(), &versioned::encode(VERSION, &Page { keys, changes }));
        self.pages = self.pages.saturating_add(1);
        self.written = self.written.saturating_add(self.touched.len());
        self.known = self.changes.len();
        self.touched.drain(..).for_each(|at| self.is_touched[at as usize] = false);
    }

    /// Deletes the journal: all changes stand in rows.
    pub(super) fn clear(&mut self, commit: &mut Commit) {
        (0..self.pages).for_each(|page| commit.delete(PAGES, &page.to_be_bytes()));
        *self = Pages::default();
    }
}
