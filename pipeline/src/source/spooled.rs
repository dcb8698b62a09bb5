//! The spool of ingest, taken in as files are: to collect it is a file whose positions are records. Its number is
//! none that a file can have, its key the identity of the spool.

use super::files::FileState;
use super::plan::Slice;
use crate::error::JobError;
use crate::ingest::Spool;
use crate::log::LoggedBatch;
use std::sync::Arc;

/// The number of the spool among the files.
pub const SPOOL: u32 = u32::MAX;
/// Records of a slice, at most.
const SLICE: u64 = 16_384;
/// Bytes of a record, about, to weigh slices by.
const RECORD: u64 = 256;

fn state(files: &[FileState]) -> Option<&FileState> {
    files.iter().find(|f| f.id == SPOOL)
}

/// How far collect is in the spool.
pub(super) fn offset(files: &[FileState]) -> u64 {
    state(files).map_or(0, |f| f.offset)
}

/// A spool that collect has not met yet.
pub(super) fn found(spool: &Spool, files: &[FileState]) -> Option<FileState> {
    state(files).is_none().then(|| FileState::found(SPOOL, spool.dir().to_owned(), spool.key()))
}

/// Refuses a spool that is not the one that collect has read so far, or that has lost records.
pub(super) fn expect_same(spool: &Spool, files: &[FileState]) -> Result<(), JobError> {
    let Some(known) = state(files) else { return Ok(()) };
    let (start, end) = (spool.start(), spool.watermark());
    let problem = if known.key != spool.key() {
        format!(
            "is not the spool of this data directory, which was last in {}. Put that one back, or move its files here",
            known.path.display()
        )
    } else if known.offset < start || known.offset > end {
        format!(
            "holds the records from {start} to {end}, and {} is the next to be taken from it: records were lost. \
             Restore the spool, or the data directory, from a backup",
            known.offset
        )
    } else {
        return Ok(());
    };
    Err(JobError::Source { path: spool.dir().to_owned(), problem })
}

/// What can be taken in next.
pub(super) fn slice(spool: &Spool, files: &[FileState]) -> Option<Slice> {
    let from = state(files)?.offset;
    let to = spool.watermark().min(from + SLICE);
    (to > from).then_some(Slice { file: SPOOL, from, to })
}

/// How much a slice weighs, in bytes.
pub(super) fn weight(slice: &Slice) -> u64 {
    let len = slice.to - slice.from;
    if slice.file == SPOOL { len * RECORD } else { len }
}

/// The batches of a slice.
pub(super) fn read(spool: &Spool, slice: &Slice) -> Result<Vec<Arc<LoggedBatch>>, JobError> {
    let (mut batches, mut next) = (Vec::new(), slice.from);
    while next < slice.to {
        let mut found = spool.read(next, slice.to - next)?;
        if found.next <= next {
            let problem = format!(
                "the records from {next} to {} were there and cannot be read again: restore the spool from a backup",
                slice.to
            );
            return Err(JobError::Source { path: spool.dir().to_owned(), problem });
        }
        batches.append(&mut found.batches);
        next = found.next;
    }
    Ok(batches)
}
