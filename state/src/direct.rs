//! Reading and writing files past the page cache, for what is not read again soon: filling a page of the
//! cache for it costs more than all else that is done about it.

use rustix::fs::{Mode, OFlags};
use std::fs::{File, OpenOptions};
use std::io::{self, Read};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Positions, lengths and memory have to be multiples of it: one of every disk's blocks.
pub const BLOCK: usize = 4096;

/// Opens a file so; an error if its file system cannot do it.
pub fn open(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    options.custom_flags(OFlags::DIRECT.bits() as i32).open(path)
}

/// Whether files in a directory can be written so.
pub fn is_possible(dir: &Path) -> bool {
    rustix::fs::open(dir, OFlags::TMPFILE | OFlags::WRONLY | OFlags::DIRECT, Mode::RUSR | Mode::WUSR).is_ok()
}

/// So many bytes of a buffer, beginning at a block.
pub fn aligned(buffer: &mut Vec<u8>, bytes: usize) -> &mut [u8] {
    buffer.resize(bytes + BLOCK, 0);
    let skip = buffer.as_ptr().align_offset(BLOCK);
    &mut buffer[skip..skip + bytes]
}

/// Reads a file from its beginning to its end, `bytes` at a time, past the page cache if that is possible.
pub fn read_through(path: &Path, bytes: usize, mut visit: impl FnMut(&[u8])) -> io::Result<()> {
    let mut file = open(path, OpenOptions::new().read(true)).or_else(|_| File::open(path))?;
    let mut left = file.metadata()?.len();
    let mut memory = Vec::new();
    let buffer = aligned(&mut memory, bytes);
    while left > 0 {
        let n = file.read(buffer)?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        visit(&buffer[..n]);
        left = left.saturating_sub(n as u64);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_any_length_is_read_to_its_end() {
        let dir = tempfile::tempdir().unwrap();
        for len in [0, 1, 4095, 4096, 4097, 8192, 100_001] {
            let (path, written) = (dir.path().join("file"), vec![7; len]);
            std::fs::write(&path, &written).unwrap();
            let mut read = Vec::new();
            read_through(&path, 8192, |bytes| read.extend_from_slice(bytes)).unwrap();
            assert!(read == written, "{len}");
        }
    }
}
