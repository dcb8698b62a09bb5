//! What can go wrong between the job and the ledger database. None of it stops the job.

use crate::error::JobError;
use tokio_postgres::error::SqlState;

const PRIVILEGES: &str = "Let this user own the database and create roles; or have an administrator do \
    CREATE ROLE weir_writer, CREATE ROLE weir_reader, GRANT weir_writer to this user, and GRANT CREATE ON the \
    database to it";

/// The ledger database cannot be written to now.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    /// No connection, or it broke off.
    #[error("the ledger database cannot be reached: {0}")]
    Unreachable(String),
    /// It did not answer in time.
    #[error("the ledger database has not answered for {0} s")]
    Silent(u64),
    /// It does not let this user in, or not do something.
    #[error("the ledger database refuses: {message}. {advice}")]
    Refused {
        /// What it says.
        message: String,
        /// What to do.
        advice: &'static str,
    },
    /// Its schema was made by a newer binary.
    #[error(
        "the ledger database has schema version {found}, this weir knows {known}: it was last written by a newer \
         one. Run that one again"
    )]
    NewerSchema {
        /// In the database.
        found: i32,
        /// In this binary.
        known: i32,
    },
    /// The schema could not be brought up to date.
    #[error("the schema of the ledger database cannot be brought up to date: {0}")]
    Migration(String),
    /// It holds what another data directory has charged.
    #[error(
        "the ledger database belongs to the data directory that was begun at {found}, this one was begun at \
         {own}. Name a database of its own in [ledger] url"
    )]
    OtherSource {
        /// Whose it is.
        found: String,
        /// Who asks.
        own: String,
    },
    /// It knows of records that the log does not have.
    #[error(
        "the ledger database has partition {partition} up to offset {position} of generation {generation}, the log \
         ends at {end}: log files were lost or replaced. Restore the newest state of the data directory"
    )]
    AheadOfLog {
        /// Of `charges`.
        partition: u32,
        /// The generation it stands in.
        generation: u32,
        /// Up to where it is in the database.
        position: u64,
        /// Where the log ends.
        end: u64,
    },
    /// The log cannot be read.
    #[error(transparent)]
    Job(#[from] JobError),
    /// The database failed in another way.
    #[error("the ledger database failed: {0}")]
    Database(String),
}

impl LedgerError {
    /// Whether waiting may be all that is needed.
    pub fn is_outage(&self) -> bool {
        matches!(self, LedgerError::Unreachable(_) | LedgerError::Silent(_))
    }

    /// What is known of an error that the server has given a code.
    pub fn of_code(error: &tokio_postgres::Error) -> Option<Self> {
        let code = error.code()?;
        let refused = |advice| LedgerError::Refused { message: said(error), advice };
        Some(match *code {
            SqlState::INSUFFICIENT_PRIVILEGE => refused(PRIVILEGES),
            SqlState::INVALID_PASSWORD | SqlState::INVALID_AUTHORIZATION_SPECIFICATION => {
                refused("Correct the user or password in [ledger] url, or in PGPASSWORD")
            }
            SqlState::INVALID_CATALOG_NAME => {
                refused("Create the database, or correct its name in [ledger] url")
            }
            _ if is_going_down(code) => LedgerError::Unreachable(said(error)),
            _ => return None,
        })
    }
}

impl From<tokio_postgres::Error> for LedgerError {
    fn from(error: tokio_postgres::Error) -> Self {
        LedgerError::of_code(&error).unwrap_or_else(|| match error.code() {
            Some(_) => LedgerError::Database(said(&error)),
            None => LedgerError::Unreachable(chain(&error)),
        })
    }
}

/// Classes 08 (connection), 53 (resources) and 57 (operator intervention): nothing is wrong with what was asked.
fn is_going_down(code: &SqlState) -> bool {
    ["08", "53", "57"].iter().any(|class| code.code().starts_with(class))
}

fn said(error: &tokio_postgres::Error) -> String {
    error.as_db_error().map_or_else(|| chain(error), |db| format!("{} ({})", db.message(), db.code().code()))
}

/// An error with its causes.
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |e| e.source());
    let mut texts: Vec<String> = causes.map(ToString::to_string).collect();
    texts.dedup_by(|later, former| former.contains(later.as_str()));
    texts.join(": ")
}
