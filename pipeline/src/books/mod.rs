//! The daily books read back: statements for advertisers, and comparisons with what others have counted.
//! They are read from the stores of a data directory, whether its job runs or not.

pub mod adjusted;
pub mod check;
pub mod counts;
pub mod database;
pub mod day;
pub mod discrepancy;
pub mod partner;
pub mod share;
pub mod statement;
pub mod stores;
pub mod totals;

pub use day::{Day, Period};

use crate::error::JobError;
use crate::tap::TapError;
use weir_proto::MoneyError;

/// The books cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum BooksError {
    /// The data directory cannot be read.
    #[error(transparent)]
    Job(#[from] JobError),
    /// A topic cannot be read.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// What a partner sent cannot be taken.
    #[error(transparent)]
    Partner(#[from] partner::PartnerError),
    /// The ledger database cannot be read.
    #[error(transparent)]
    Ledger(#[from] crate::ledger::LedgerError),
    /// Sums left the range of amounts.
    #[error(transparent)]
    Money(#[from] MoneyError),
    /// Nothing is known of an advertiser.
    #[error(
        "advertiser {0} is not known here: no account of this number was opened, and nothing was charged or \
         refused for it"
    )]
    Unknown(u64),
}

impl From<weir_state::StateError> for BooksError {
    fn from(error: weir_state::StateError) -> Self {
        BooksError::Job(error.into())
    }
}
