//! The operators of Weir, one file each, in flow order:
//! [`collect`] and [`accounts`] take in, [`anti_brush`], [`partition`], [`anti_fraud`], [`deduct`]
//! and [`post_process`] fold.
//!
//! An operator is a pure fold: what it emits and keeps depends on the records it was given, one at a
//! time, and on nothing else. It has no clock, no randomness and does no I/O but reading its own
//! store. Time is the newest tick.

pub mod accounts;
pub mod anti_brush;
pub mod anti_fraud;
pub mod billing;
pub mod bots;
pub mod clock;
pub mod collect;
pub mod deduct;
pub mod networks;
pub mod outbox;
pub mod partition;
pub mod post_process;
pub mod rules;

use weir_proto::{Minute, Record};
use weir_state::{Commit, StateError, Store};

pub use outbox::{DROPPED, MAIN, Outbox};
pub use rules::Rules;

/// An operator cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// Its store failed.
    #[error(transparent)]
    State(#[from] StateError),
    /// A record that cannot be read.
    #[error(transparent)]
    Record(#[from] weir_proto::RecordError),
    /// A record that does not belong in its input.
    #[error("{stage} met a record that does not belong in its input: {record}")]
    Unexpected {
        /// The stage.
        stage: weir_proto::StageId,
        /// The record, for people.
        record: String,
    },
    /// Amounts left their range.
    #[error("advertiser {advertiser_id}: {source}")]
    Money {
        /// Whose account.
        advertiser_id: u64,
        /// What happened.
        source: weir_proto::MoneyError,
    },
}

/// One stage on one input partition.
pub trait Operator: Send {
    /// Folds one record. Outputs go to `out`, in an order that depends on the record and the state.
    fn fold(&mut self, store: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError>;

    /// A minute began. What it gives rise to goes out before the tick is handed on.
    fn tick(&mut self, store: &Store, now: Minute, out: &mut Outbox) -> Result<(), OperatorError>;

    /// Adds what changed since the last commit.
    fn stage(&mut self, store: &Store, commit: &mut Commit) -> Result<(), StateError>;
}

fn unexpected(stage: weir_proto::StageId, record: &Record<'_>) -> OperatorError {
    OperatorError::Unexpected { stage, record: format!("{record:?}") }
}
