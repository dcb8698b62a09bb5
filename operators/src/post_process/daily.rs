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

use super::entry::code;
use super::pages::Pages;
use hashbrown::HashMap;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::ops::RangeInclusive;
use weir_proto::{Billing, Charge, Currency, EntryKind, MoneyError, Nanos, Outcome};
use weir_state::{Commit, StateError, Store, versioned};

const ROWS: u8 = 2;
const VERSION: u8 = 1;
const WHAT: &str = "a row of the daily books";
const NO_BILLING: u8 = 255;
const KEY: usize = 25;

/// Changes are added to the rows when so many were written for each row concerned.
const PER_ROW: usize = 16;
/// But not before there are so many.
const FEW: usize = 1 << 12;
/// Rows with changes in memory, at most.
const MANY: usize = 1 << 17;

/// What a row is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowKey {
    /// Whose account.
    pub advertiser_id: u64,
    /// The day since the epoch, in the time zone of the account.
    pub day: u32,
    /// The campaign; 0 if none.
    pub campaign_id: u64,
    /// What was decided about.
    pub kind: EntryKind,
    /// How it was priced; none for a command.
    pub billing: Option<Billing>,
    /// The currency of the amounts.
    #[serde(with = "code")]
    pub currency: Currency,
}

impl Hash for RowKey {
    /// Of what tells rows apart in practice: this is done for every charge.
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.advertiser_id ^ self.campaign_id.rotate_left(32));
        state.write_u64(u64::from(self.day) << 16 | u64::from(self.kind as u8) << 8 | self.billing_code());
    }
}

impl RowKey {
    fn of(charge: &Charge<'_>) -> Self {
        RowKey {
            advertiser_id: charge.advertiser_id,
            day: charge.day(),
            campaign_id: charge.campaign_id,
            kind: charge.kind,
            billing: charge.billing,
            currency: charge.currency,
        }
    }

    fn billing_code(&self) -> u64 {
        self.billing.map_or(NO_BILLING, |billing| billing as u8).into()
    }

    /// The key's bytes, in whose order rows are stored and shown.
    pub fn encode(&self) -> [u8; KEY] {
        let mut b = [0; KEY];
        b[..8].copy_from_slice(&self.advertiser_id.to_be_bytes());
        b[8..12].copy_from_slice(&self.day.to_be_bytes());
        b[12..20].copy_from_slice(&self.campaign_id.to_be_bytes());
        b[20] = self.kind as u8;
        b[21] = self.billing_code() as u8;
        b[22..].copy_from_slice(&self.currency.bytes());
        b
    }

    fn decode(b: &[u8]) -> Option<Self> {
        let b: &[u8; KEY] = b.try_into().ok()?;
        let [a0, a1, a2, a3, a4, a5, a6, a7, d0, d1, d2, d3, ..] = *b;
        Some(RowKey {
            advertiser_id: u64::from_be_bytes([a0, a1, a2, a3, a4, a5, a6, a7]),
            day: u32::from_be_bytes([d0, d1, d2, d3]),
            campaign_id: u64::from_be_bytes(b[12..20].try_into().ok()?),
            kind: EntryKind::ALL.into_iter().find(|kind| *kind as u8 == b[20])?,
            billing: match b[21] {
                NO_BILLING => None,
                code => Some(Billing::from_code(code)?),
            },
            currency: Currency::from_bytes([b[22], b[23], b[24]])?,
        })
    }
}

/// What was decided on one day about one campaign.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    /// How many were charged, or carried out.
    pub count: u64,
    /// What they took from the balance, in nanos; negative if they put to it.
    pub amount: i128,
    /// How many were refused.
    pub refused_count: u64,
    /// What these asked for in vain, in nanos.
    pub refused_amount: i128,
}

impl Row {
    fn of(charge: &Charge<'_>) -> Self {
        match charge.outcome {
            Outcome::Charged => Row { count: 1, amount: charge.amount.0, ..Row::default() },
            Outcome::Refused(_) => {
                Row { refused_count: 1, refused_amount: charge.amount.0, ..Row::default() }
            }
        }
    }

    /// Adds another one of the same key.
    pub fn add(&mut self, other: &Row) -> Result<(), MoneyError> {
        let sum = |a, b| Nanos(a).checked_add(Nanos(b)).map(|sum| sum.0);
        self.count += other.count;
        self.amount = sum(self.amount, other.amount)?;
        self.refused_count += other.refused_count;
        self.refused_amount = sum(self.refused_amount, other.refused_amount)?;
        Ok(())
    }
}

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
        if rows < MANY && (written < FEW || written < rows * PER_ROW) {
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
