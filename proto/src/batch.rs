//! Batches: records travel in them, in topics and through operators.
//!
//! A batch's records were made by one task for one partition, in order. Its bytes, little-endian:
//!
//! ```text
//! the records' bytes, one after the other
//! heads: per record three varints (LEB128): position − position of the record before (the first:
//!        position), index, length of the record
//! length of the heads u32
//! ```
//!
//! What else belongs to a batch (producer, running number of its first record, count, checksum) is
//! in the frame of the log that holds it.

use crate::buffer::Buffer;
use crate::bytes::{put_varint, take_varint};
use crate::provenance::Provenance;

/// A batch's bytes do not have the layout above.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error(
    "a batch of records is damaged although its checksum was right; it was written by another version of weir"
)]
pub struct BatchError;

/// Collects records for one partition.
#[derive(Debug, Default)]
pub struct BatchBuilder {
    head: Vec<u8>,
    body: Vec<u8>,
    count: u32,
    last: Provenance,
    /// Bytes of the batch before: this one will likely be about as long.
    likely: usize,
}

impl BatchBuilder {
    /// Adds a record, given in parts, and returns its bytes as they stand in the batch.
    pub fn push(&mut self, provenance: Provenance, parts: &[&[u8]]) -> &[u8] {
        if self.count == 0 {
            self.body = Buffer::with_room(self.likely);
        }
        let start = self.body.len();
        let end = start + parts.iter().map(|p| p.len()).sum::<usize>();
        if end > self.body.capacity() {
            self.grow(end);
        }
        parts.iter().for_each(|p| self.body.extend_from_slice(p));
        let before = if self.count == 0 { 0 } else { self.last.position };
        put_varint(&mut self.head, provenance.position - before);
        put_varint(&mut self.head, u64::from(provenance.index));
        put_varint(&mut self.head, (self.body.len() - start) as u64);
        self.last = provenance;
        self.count += 1;
        &self.body[start..]
    }

    #[cold]
    fn grow(&mut self, bytes: usize) {
        let mut larger = Buffer::with_room(2 * bytes);
        larger.extend_from_slice(&self.body);
        drop(Buffer::from(std::mem::replace(&mut self.body, larger)));
    }

    /// Records collected so far.
    pub fn count(&self) -> u32 {
        self.count
    }

    /// The provenance of the newest record.
    pub fn last(&self) -> Provenance {
        self.last
    }

    /// The batch's bytes; the builder starts anew.
    pub fn take(&mut self) -> Buffer {
        self.body.extend_from_slice(&self.head);
        self.body.extend_from_slice(&(self.head.len() as u32).to_le_bytes());
        self.head.clear();
        self.count = 0;
        self.likely = self.body.len();
        std::mem::take(&mut self.body).into()
    }
}

/// A record within its batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchRecord<'a> {
    /// Where it comes from.
    pub provenance: Provenance,
    /// Its bytes.
    pub bytes: &'a [u8],
}

/// Where a reader stands in a batch whose bytes it is given anew each time.
#[derive(Clone, Copy, Debug)]
pub struct BatchCursor {
    head: usize,
    heads_end: usize,
    body: usize,
    body_end: usize,
    position: u64,
}

impl BatchCursor {
    /// In front of the first record.
    pub fn open(bytes: &[u8]) -> Result<Self, BatchError> {
        let (rest, len) = bytes.split_last_chunk::<4>().ok_or(BatchError)?;
        let len = u32::from_le_bytes(*len) as usize;
        let body_end = rest.len().checked_sub(len).ok_or(BatchError)?;
        Ok(BatchCursor { head: body_end, heads_end: rest.len(), body: 0, body_end, position: 0 })
    }

    /// The next record of the batch that the cursor was opened on.
    #[inline]
    pub fn next<'a>(&mut self, bytes: &'a [u8]) -> Option<Result<BatchRecord<'a>, BatchError>> {
        // What is in no record is damage, too.
        if self.head >= self.heads_end && self.body == self.body_end {
            return None;
        }
        let record = self.read(bytes).ok_or(BatchError);
        if record.is_err() {
            (self.head, self.body) = (self.heads_end, self.body_end);
        }
        Some(record)
    }

    #[inline]
    fn read<'a>(&mut self, bytes: &'a [u8]) -> Option<BatchRecord<'a>> {
        let mut heads = bytes.get(self.head..self.heads_end)?;
        self.position = self.position.checked_add(take_varint(&mut heads)?)?;
        let index = u32::try_from(take_varint(&mut heads)?).ok()?;
        let len = usize::try_from(take_varint(&mut heads)?).ok()?;
        self.head = self.heads_end - heads.len();
        let end = self.body.checked_add(len).filter(|end| *end <= self.body_end)?;
        let record = bytes.get(self.body..end)?;
        self.body = end;
        Some(BatchRecord { provenance: Provenance { position: self.position, index }, bytes: record })
    }
}

/// Reads a batch's records in order.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    bytes: &'a [u8],
    cursor: BatchCursor,
}

impl<'a> Batch<'a> {
    /// Opens a batch.
    pub fn open(bytes: &'a [u8]) -> Result<Self, BatchError> {
        Ok(Batch { bytes, cursor: BatchCursor::open(bytes)? })
    }
}

impl<'a> Iterator for Batch<'a> {
    type Item = Result<BatchRecord<'a>, BatchError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        self.cursor.next(self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_cut_is_noticed() {
        let mut builder = BatchBuilder::default();
        let places = [(5, 0), (5, 1), (300, 0), (u64::MAX, 7)];
        for (i, (position, index)) in places.into_iter().enumerate() {
            let bytes = builder.push(Provenance { position, index }, &[b"ab", &vec![b'c'; i * 100]]);
            assert_eq!(bytes.len(), 2 + i * 100);
        }
        let bytes = builder.take();
        let read: Vec<_> = Batch::open(&bytes).unwrap().map(Result::unwrap).collect();
        assert_eq!(
            read.iter().map(|r| (r.provenance.position, r.provenance.index)).collect::<Vec<_>>(),
            places
        );
        assert_eq!(read[3].bytes.len(), 302);
        assert_eq!(builder.count(), 0);
        let cut = [&bytes[1..]].concat();
        assert!(Batch::open(&cut).unwrap().last().unwrap().is_err());
        assert_eq!(Batch::open(&bytes[..3]).err(), Some(BatchError));
    }

    #[test]
    fn no_byte_is_left_out_and_no_number_wraps() {
        fn read(bytes: &[u8]) -> Vec<Result<BatchRecord<'_>, BatchError>> {
            Batch::open(bytes).unwrap().collect()
        }
        // A body and no heads; a record of less than the body.
        assert_eq!(read(b"ab\0\0\0\0"), [Err(BatchError)]);
        assert_eq!(read(b"ab\x05\x00\x01\x03\0\0\0")[1..], [Err(BatchError)]);
        let mut head = vec![0xff; 9];
        head.extend_from_slice(&[0x02, 0, 0, 12, 0, 0, 0]);
        assert_eq!(read(&head), [Err(BatchError)]);
    }
}
