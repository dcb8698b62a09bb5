//! Post-process: keeps the ledger from `charges` alone, so that it checks what deduct did, and tells
//! advertisers which lines their accounts and campaigns crossed.
//!
//! It keeps two books: one [`Entry`] for each advertiser, and the [`daily`] books, a row for each day,
//! campaign, kind and billing model. By `charges` alone an advertiser's balance is
//! `opened + deposited − withdrawn − charged + credited`. What an accounts file brought forward belongs to no
//! day, and is in the first of them alone.
//!
//! Deduct decides what is crossed: each bit of [`Charge::crossings`] is told in one notice.
//!
//! # Generations
//!
//! The books of a generation are a fold of its own `charges`: those of the generation before, up to the cut
//! that it began from, and its own from there on. Once it is published, its books are the books, and they
//! hold the new outcomes. What is posted to `adjustments` then is not folded here: it is the same
//! difference once more, told to those who were told the old outcomes, and adding it would count it twice.

#![cfg_attr(not(test), deny(clippy::arithmetic_side_effects, clippy::float_arithmetic))]

pub mod daily;
mod entry;
mod notices;
mod pages;
mod row;

pub use entry::Entry;

use crate::outbox::Outbox;
use crate::partition;
use crate::{Operator, OperatorError, unexpected};
use daily::DailyBooks;
use hashbrown::{HashMap, HashSet};
use weir_proto::{Charge, EntryKind, Minute, Record, StageId};
use weir_state::versioned::ById;
use weir_state::{Commit, StateError, Store};

/// Ledger entries by advertiser.
const LEDGER: ById = ById { table: 1, version: 3, what: "a ledger entry" };

/// Every entry of a post-process store.
pub fn ledger(store: &Store) -> Result<HashMap<u64, Entry>, StateError> {
    LEDGER.load(store)
}

/// The operator.
pub struct PostProcess {
    ledger: HashMap<u64, Entry>,
    touched: HashSet<u64>,
    books: DailyBooks,
}

impl PostProcess {
    /// Loads the operator's state.
    pub fn load(store: &Store) -> Result<Self, StateError> {
        Ok(PostProcess { ledger: ledger(store)?, touched: HashSet::new(), books: DailyBooks::load(store)? })
    }

    fn enter(&mut self, charge: &Charge<'_>) -> Result<(), OperatorError> {
        let advertiser_id = charge.advertiser_id;
        self.touched.insert(advertiser_id);
        let entry = self.ledger.entry(advertiser_id).or_default();
        let mut added = entry.add(charge);
        if charge.kind != EntryKind::BroughtForward {
            added = added.and_then(|()| self.books.add(charge));
        }
        added.map_err(|source| OperatorError::Money { advertiser_id, source })
    }
}

impl Operator for PostProcess {
    fn fold(&mut self, _: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        let Record::Charge(charge) = record else { return Err(unexpected(StageId::PostProcess, &record)) };
        self.enter(&charge)?;
        // What was accepted has one outcome; a period or a command was not accepted as an event.
        if charge.kind.is_event() {
            out.outcome(charge.outcome);
        }
        let to = partition::by_advertiser(charge.advertiser_id, out.partitions());
        for notice in notices::of(&charge) {
            out.emit(to, &[&notice.encode()]);
        }
        Ok(())
    }

    fn tick(&mut self, _: &Store, _: Minute, _: &mut Outbox) -> Result<(), OperatorError> {
        Ok(())
    }

    fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError> {
        for id in self.touched.drain() {
            if let Some(entry) = self.ledger.get(&id) {
                LEDGER.put(id, entry, commit);
            }
        }
        self.books.stage(store, commit)
    }
}
