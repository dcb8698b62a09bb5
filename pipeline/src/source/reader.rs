//! Reading slices of files: whole lines, each with its position.

use crate::error::JobError;
use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::Path;
use weir_operators::clock::LOOKAHEAD;
use weir_operators::collect::{Piece, PlacedLine};

/// Bytes of a slice, at most and about.
pub const SLICE: u64 = 4 << 20;
/// Bytes read at a time: they should still be near the processor when they are parsed.
pub const PIECE: u64 = 256 << 10;
/// A line longer than this is cut: its pieces are dropped as malformed.
const LONGEST: u64 = 64 << 20;

/// Where a slice that starts at `from` should end: behind a line, not above `size`. `None` if there
/// is no whole line yet. With `ended` what is left counts as a line.
pub fn slice_end(
    file: &File,
    path: &Path,
    from: u64,
    size: u64,
    ended: bool,
) -> Result<Option<u64>, JobError> {
    let mut buffer = vec![0; 64 << 10];
    let target = size.min(from + SLICE);
    if target == size && ended {
        return Ok((size > from).then_some(size));
    }
    // Backwards from the target to the last newline, then forwards to the next one.
    let mut end = target;
    while end > from {
        let start = end.saturating_sub(buffer.len() as u64).max(from);
        let bytes = &mut buffer[..(end - start) as usize];
        file.read_exact_at(bytes, start).map_err(JobError::io("read", path))?;
        if let Some(at) = memchr::memrchr(b'\n', bytes) {
            return Ok(Some(start + at as u64 + 1));
        }
        end = start;
    }
    let mut start = target;
    while start < size && start - from < LONGEST {
        let bytes = &mut buffer[..((size - start).min(64 << 10)) as usize];
        file.read_exact_at(bytes, start).map_err(JobError::io("read", path))?;
        if let Some(at) = memchr::memchr(b'\n', bytes) {
            return Ok(Some(start + at as u64 + 1));
        }
        start += bytes.len() as u64;
    }
    Ok((start > from && (ended || start - from >= LONGEST)).then_some(start))
}

/// Lines of a slice that stand one after the other, as [`Piece`] has them.
pub struct Lines<'a> {
    /// Each with its position.
    pub lines: Vec<PlacedLine<'a>>,
    own: usize,
    is_last: bool,
}

impl Lines<'_> {
    /// To be taken in.
    pub fn piece(&self) -> Piece<'_> {
        Piece { lines: &self.lines, own: self.own, is_last: self.is_last }
    }
}

/// Reads the lines with which a stretch of a slice begins, of about `size` bytes; positions are counted from
/// `base`. Unless it ends with the slice, the last lines are to be looked at only.
pub fn piece<'b>(
    file: &File,
    path: &Path,
    stretch: Range<u64>,
    mut size: u64,
    base: u64,
    buffer: &'b mut Vec<u8>,
) -> Result<Lines<'b>, JobError> {
    loop {
        let end = stretch.end.min(stretch.start.saturating_add(size));
        read(file, path, stretch.start, end, buffer)?;
        let is_last = end == stretch.end;
        let whole =
            if is_last { buffer.len() } else { memchr::memrchr(b'\n', buffer).map_or(0, |at| at + 1) };
        if is_last || lines(&buffer[..whole], base).nth(4 * LOOKAHEAD).is_some() {
            let mut found = Vec::with_capacity(whole / 256);
            found.extend(lines(&buffer[..whole], base));
            let own = if is_last { found.len() } else { found.len() - LOOKAHEAD };
            return Ok(Lines { lines: found, own, is_last });
        }
        size = size.saturating_mul(2);
    }
}

fn read(file: &File, path: &Path, from: u64, to: u64, buffer: &mut Vec<u8>) -> Result<(), JobError> {
    buffer.resize((to - from) as usize, 0);
    file.read_exact_at(buffer, from).map_err(|e| JobError::Source {
        path: path.to_owned(),
        problem: format!(
            "bytes {from} to {to} were there and cannot be read again: {e}. Put the file back as it was; \
             log files must only grow until they are read"
        ),
    })
}

/// The lines of some bytes, each with its position counted from `base`. Empty lines are passed over.
fn lines(slice: &[u8], base: u64) -> impl Iterator<Item = PlacedLine<'_>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', slice).chain([slice.len()]);
    let lines = ends.map(move |end| {
        let line = (base + start as u64, slice[start..end].trim_ascii());
        start = (end + 1).min(slice.len());
        line
    });
    lines.filter(|(_, line)| !line.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(bytes: &[u8]) -> (tempfile::NamedTempFile, u64) {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), bytes).unwrap();
        (file, bytes.len() as u64)
    }

    #[test]
    fn slices_end_behind_a_line() {
        let (f, size) = file(b"one\ntwo\nthr");
        let end = |from, ended| slice_end(f.as_file(), f.path(), from, size, ended).unwrap();
        assert_eq!(end(0, false), Some(8));
        assert_eq!(end(8, false), None);
        assert_eq!(end(8, true), Some(11));
        assert_eq!(end(11, true), None);
    }

    #[test]
    fn a_line_longer_than_a_slice_is_found_whole_and_one_without_end_is_cut() {
        let mut bytes = vec![b'x'; 10 << 20];
        bytes.extend_from_slice(b"\nshort\n");
        let (f, size) = file(&bytes);
        assert_eq!(slice_end(f.as_file(), f.path(), 0, size, false).unwrap(), Some((10 << 20) + 1));
        let (f, size) = file(&vec![b'x'; (LONGEST + SLICE) as usize]);
        let end = slice_end(f.as_file(), f.path(), 0, size, false).unwrap();
        assert!(end.is_some_and(|e| e >= LONGEST && e <= size));
    }

    #[test]
    fn pieces_are_the_whole() {
        let line =
            |n: usize| if n.is_multiple_of(7) { String::new() } else { format!("{n:x}").repeat(n % 900) };
        let mut text: String = (0..9_000).map(|n| line(n) + "\n").collect();
        text += &("x".repeat(3 * PIECE as usize) + "\nlast");
        for text in [&text[..], &text[..text.len() - 5], "a\nb", "\n\n"] {
            let (f, size) = file(text.as_bytes());
            let (mut from, mut found, mut buffer) = (3.min(size), Vec::new(), Vec::new());
            while from < size {
                let Lines { lines, own, is_last } =
                    piece(f.as_file(), f.path(), from..size, PIECE, 50 + from, &mut buffer).unwrap();
                assert!(is_last || lines.len() == own + LOOKAHEAD);
                from = lines.get(own).map_or(size, |(position, _)| position - 50);
                found.extend(lines[..own].iter().map(|(position, line)| (*position, line.to_vec())));
            }
            let all = lines(&text.as_bytes()[3.min(text.len())..], 53);
            assert!(found == all.map(|(p, l)| (p, l.to_vec())).collect::<Vec<_>>());
        }
    }

    #[test]
    fn lines_have_positions_and_no_line_ends() {
        let all = |text, base| lines(text, base).collect::<Vec<_>>();
        assert_eq!(all(b"a\r\n\nbc\nd", 100), [(100, &b"a"[..]), (104, b"bc"), (107, b"d")]);
        assert_eq!(all(b"", 0), []);
    }
}
