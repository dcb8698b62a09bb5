//! The daily books: what was decided on each day about each campaign, by kind and billing model. They are
//! kept for ever, since they are small: a row for each combination that occurs.
//!
//! Rows are in table 2: key `advertiser u64, day u32, campaign u64, kind u8, billing u8 (255 none),
//! currency [3]`, big-endian; the value is [`Row`] versioned as in [`weir_state::versioned`].
//!
//! An event touches a row, and writing a row of RocksDB for each event would cost more than all else that
//! is done about it. So changes gather in memory, each commit adds a page of those that it touched to a
//! journal, table 3, and now and then all of them are added to the rows at once. The sum of rows and journal
//! is the books, at every commit; see [`super::pages`].

use super::pages::Pages;
use hashbrown::HashMap;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use weir_proto::{Charge, MoneyError};
use weir_state::{Commit, StateError, Store, versioned};

pub use super::row::{Row, RowKey};

const ROWS: u8 = 2;
const VERSION: u8 = 1;
const WHAT: &str = "a row of the daily books";

/// Changes are added to the rows when so many were written for each row concerned.
const PER_ROW: usize = 16;
/// But not before there are so many.
const FEW: usize = 1 << 12;
/// Rows with changes in memory, at most.
const MANY: usize = 1 << 17;

/// The books of a task: what has changed since the rows were written.
pub(super) struct DailyBooks {
    index: HashMap<RowKey, u32>,
    pages: Pages,
}

impl DailyBooks {
    /// Goes on with what the journal says.
    pub(super) fn load(store: &Store) -> Result<Self, StateError> {
        let pages = Pages::load(store)?;
        let index = pages.changes().iter().zip(0..).map(|((key, _), at)| (*key, at)).collect();
        Ok(DailyBooks { index, pages })
    }

    /// Adds an outcome.
    pub(super) fn add(&mut self, charge: &Charge<'_>) -> Result<(), MoneyError> {
        let key = RowKey::of(charge);
        let at = *self.index.entry(key).or_insert_with(|| self.pages.push(key));
        self.pages.change(at).add(&Row::of(charge))
    }

    /// Adds what changed to the journal, or all changes to the rows.
    pub(super) fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        let (rows, written) = (self.index.len(), self.pages.written());
        if rows < MANY && (written < FEW || written < rows.saturating_mul(PER_ROW)) {
            self.pages.stage(commit);
            return Ok(());
        }
        for (key, change) in self.pages.changes() {
            let key = key.encode();
            let mut row = stored(store, &key)?.unwrap_or_default();
            row.add(change).map_err(|_| StateError::Format { path: store.dir().to_owned(), what: WHAT })?;
            commit.put(ROWS, &key, &versioned::encode(VERSION, &row));
        }
        self.index.clear();
        self.pages.clear(commit);
        Ok(())
    }
}

fn stored(store: &Store, key: &[u8]) -> Result<Option<Row>, StateError> {
    let found = store.get(ROWS, key)?;
    found.map(|bytes| versioned::decode(store, VERSION, WHAT, &bytes)).transpose()
}

/// The rows of a post-process store over some days, of one advertiser or of all, in the order of their keys.
pub fn rows(
    store: &Store,
    advertiser: Option<u64>,
    days: &RangeInclusive<u32>,
) -> Result<Vec<(RowKey, Row)>, StateError> {
    let damaged = || StateError::Format { path: store.dir().to_owned(), what: WHAT };
    let wanted =
        |key: &RowKey| advertiser.is_none_or(|id| id == key.advertiser_id) && days.contains(&key.day);
    let mut found = BTreeMap::new();
    let mut failed = None;
    let prefix = advertiser.map(u64::to_be_bytes);
    store.scan_while(ROWS, prefix.as_ref().map_or(&[], |p| &p[..]), |bytes, value| {
        let read = RowKey::decode(bytes).ok_or_else(damaged);
        match read.and_then(|key| Ok((key, versioned::decode(store, VERSION, WHAT, value)?))) {
            Ok((key, row)) if wanted(&key) => drop(found.insert(key.encode(), (key, row))),
            // The days of one advertiser are in order.
            Ok((key, _)) => return advertiser.is_none() || key.day <= *days.end(),
            Err(error) => failed = Some(error),
        }
        failed.is_none()
    })?;
    failed.map_or(Ok(()), Err)?;
    for (key, change) in Pages::load(store)?.changes().iter().filter(|(key, _)| wanted(key)) {
        let (_, row) = found.entry(key.encode()).or_insert((*key, Row::default()));
        row.add(change).map_err(|_| damaged())?;
    }
    Ok(found.into_values().collect())
}
