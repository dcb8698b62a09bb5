//! Writing large groups past the page cache: what is written is read from memory, if at all, and a page of
//! the cache for each page of the log costs as much CPU time as making the record.
//!
//! Only whole blocks can be written so. Where a group begins and ends within a block, that part of it goes
//! through the cache as everything else does; the kernel keeps both views of the file in step.

use super::segment::write_all_at;
use std::fs::{File, OpenOptions};
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use weir_state::direct;

const BLOCK: u64 = direct::BLOCK as u64;
/// Bytes written at a time.
const CHUNK: usize = 1 << 20;
/// Groups smaller than this are not worth it.
const LARGE: u64 = 128 << 10;

/// Writes to one file at a time.
#[derive(Default)]
pub(crate) struct DirectWriter {
    path: PathBuf,
    /// `None` if the file system cannot do it.
    file: Option<File>,
    buffer: Vec<u8>,
}

impl DirectWriter {
    /// Writes all slices, one after the other, from a position on; where they end. `file` is open at `path`.
    pub(crate) fn write(
        &mut self,
        file: &File,
        path: &Path,
        slices: &[&[u8]],
        start: u64,
    ) -> io::Result<u64> {
        let end = start + slices.iter().map(|s| s.len() as u64).sum::<u64>();
        if end - start < LARGE {
            return write_all_at(file, slices, start);
        }
        if self.path != path {
            let file = direct::open(path, OpenOptions::new().write(true));
            (self.path, self.file) = (path.to_owned(), file.ok());
        }
        let Some(direct) = &self.file else { return write_all_at(file, slices, start) };
        let buffer = direct::aligned(&mut self.buffer, CHUNK);
        let (first, last) = (start.next_multiple_of(BLOCK), end - end % BLOCK);
        let mut pieces = Pieces { slices, within: 0 };
        pieces.write(file, start..first)?;
        let mut at = first;
        while at < last {
            let chunk = &mut buffer[..CHUNK.min((last - at) as usize)];
            pieces.fill(chunk);
            // What the cache would say of a full disk is clearer.
            direct.write_all_at(chunk, at).or_else(|_| file.write_all_at(chunk, at))?;
            at += chunk.len() as u64;
        }
        pieces.write(file, last..end)?;
        Ok(end)
    }
}

/// What is left of some slices.
struct Pieces<'a> {
    slices: &'a [&'a [u8]],
    /// Of the first of them, what was taken.
    within: usize,
}

impl<'a> Pieces<'a> {
    /// Takes so many bytes, or what the first slice has of them.
    fn take(&mut self, most: usize) -> &'a [u8] {
        let Some(slice) = self.slices.first() else { return &[] };
        let left = &slice[self.within..];
        let taken = &left[..left.len().min(most)];
        self.within += taken.len();
        if self.within == slice.len() {
            (self.slices, self.within) = (&self.slices[1..], 0);
        }
        taken
    }

    fn fill(&mut self, buffer: &mut [u8]) {
        let mut filled = 0;
        while filled < buffer.len() {
            let piece = self.take(buffer.len() - filled);
            buffer[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
    }

    fn write(&mut self, file: &File, range: Range<u64>) -> io::Result<()> {
        let mut at = range.start;
        while at < range.end {
            let piece = self.take((range.end - at) as usize);
            file.write_all_at(piece, at)?;
            at += piece.len() as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_what_stands_there() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
        let (mut writer, mut expected) = (DirectWriter::default(), Vec::new());
        let lens = [5, 4091, 3, 200_000, 4096 * 40, 1, 3 << 20, (1 << 20) - 7, 500_000, LARGE as usize];
        for (i, len) in lens.into_iter().cycle().take(30).enumerate() {
            let group: Vec<u8> = (0..len).map(|n| (n * 31 + i) as u8).collect();
            let parts: Vec<&[u8]> = group.chunks(1 + 70_001 * (i % 3)).collect();
            let parts = if parts.len() > 100_000 { vec![&group[..]] } else { parts };
            let start = expected.len() as u64;
            expected.extend_from_slice(&group);
            assert_eq!(writer.write(&file, &path, &parts, start).unwrap(), expected.len() as u64);
        }
        file.sync_data().unwrap();
        assert!(std::fs::read(&path).unwrap() == expected);
    }
}
