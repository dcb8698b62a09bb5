//! Looking into topics, for `weir tap`: which records, and how they are shown. A tap reads files and
//! nothing else; the job does not know of it, unless it is asked for one over its control service.

mod cursor;
mod fields;
mod filter;
mod personal;
mod position;
mod printer;
mod record;
mod resume;
pub mod service;
mod table;
mod tapping;

pub use cursor::{Cursor, Found};
pub use fields::is_personal;
pub use filter::{Filter, FilterError};
pub use personal::Personal;
pub use position::{From, PositionError, Until, begin_of};
pub use printer::{Format, Printer};
pub use record::Row;
pub use resume::{Resume, ResumeError};
pub use tapping::{Tapping, Wanted};

use crate::log::LogError;
use weir_proto::{BatchError, RecordError};

/// A tap cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum TapError {
    /// The topic cannot be read.
    #[error(transparent)]
    Log(#[from] LogError),
    /// A batch is damaged.
    #[error(transparent)]
    Batch(#[from] BatchError),
    /// A record is damaged.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The filter does not work for a record.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// There is no such generation or partition.
    #[error("{0}")]
    NotThere(String),
    /// The generations are not known.
    #[error(transparent)]
    Job(#[from] crate::error::JobError),
    /// It cannot go on where it was.
    #[error(transparent)]
    Resume(#[from] ResumeError),
    /// Users cannot be masked.
    #[error(transparent)]
    Mask(#[from] crate::mask::MaskError),
    /// The reader of the output has gone, or the output cannot be written.
    #[error("cannot write to stdout: {0}")]
    Output(#[source] std::io::Error),
}
