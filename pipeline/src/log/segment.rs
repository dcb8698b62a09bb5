//! Segments: the files of a topic. All partitions of a topic share them, so that one fsync makes
//! the appends of all of them durable.
//!
//! A segment is `<id, 20 digits>.seg`: a header, then frames. Header, little-endian: magic
//! "WEIRSEG1", crc32c u32 of what follows, partitions u32, id u64, then per partition the offset
//! (u64) at which the segment starts.

use super::LogError;
use super::frame::{self, FrameHead, HEAD};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use weir_state::failpoints;

const MAGIC: &[u8; 8] = b"WEIRSEG1";

/// Where a frame stands.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry {
    pub(crate) head: FrameHead,
    pub(crate) position: u64,
}

/// The frames of a segment by partition, in offset order.
pub(crate) type Index = Vec<Vec<Entry>>;

/// One file of a topic.
pub(crate) struct Segment {
    pub(crate) id: u64,
    pub(crate) path: PathBuf,
    pub(crate) file: Arc<File>,
    /// Per partition, the offset at which the segment starts.
    pub(crate) bases: Vec<u64>,
    /// Bytes written.
    pub(crate) len: u64,
    /// Whether the file goes on behind that with what a crash left of a write.
    pub(crate) is_torn: bool,
    /// Known for the newest segments; others are scanned when they are read.
    pub(crate) index: Option<Arc<Index>>,
}

pub(crate) fn path_of(dir: &Path, id: u64) -> PathBuf {
    dir.join(format!("{id:020}.seg"))
}

/// The ids of the segments in a directory, in order.
pub(crate) fn list(dir: &Path) -> Result<Vec<u64>, LogError> {
    let entries = match std::fs::read_dir(dir) {
        Ok(entries) => entries,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(e) => return Err(LogError::io("list", dir)(e)),
    };
    let id = |name: &str| name.strip_suffix(".seg").and_then(|n| n.parse().ok());
    let mut ids: Vec<u64> = entries.filter_map(|e| id(e.ok()?.file_name().to_str()?)).collect();
    ids.sort_unstable();
    Ok(ids)
}

impl Segment {
    /// Creates a segment and makes its existence durable.
    pub(crate) fn create(dir: &Path, id: u64, bases: Vec<u64>) -> Result<Self, LogError> {
        let path = path_of(dir, id);
        let header = encode_header(id, &bases);
        let temporary = path.with_extension("new");
        let mut file = File::create(&temporary).map_err(LogError::io("create", &temporary))?;
        file.write_all(&header).and_then(|()| file.sync_all()).map_err(LogError::io("write", &temporary))?;
        let rename = || std::fs::rename(&temporary, &path).and_then(|()| File::open(dir)?.sync_all());
        failpoints::io("segment.create", rename).map_err(LogError::io("rename", &temporary))?;
        let (partitions, len) = (bases.len(), header.len() as u64);
        let file = open(&path, true)?;
        let index = Some(Arc::new(vec![Vec::new(); partitions]));
        Ok(Segment { id, path, file, bases, len, is_torn: false, index })
    }

    /// Opens a segment by its header.
    pub(crate) fn open(dir: &Path, id: u64, writable: bool) -> Result<Self, LogError> {
        let path = path_of(dir, id);
        let file = open(&path, writable)?;
        let len = file.metadata().map_err(LogError::io("read", &path))?.len();
        let damaged = |problem| LogError::Damaged { path: path.clone(), position: 0, problem };
        let mut fixed = [0; 24];
        file.read_exact_at(&mut fixed, 0).map_err(|_| damaged("the header is cut short"))?;
        let partitions = u32::from_le_bytes([fixed[12], fixed[13], fixed[14], fixed[15]]) as usize;
        if &fixed[..8] != MAGIC || partitions > usize::from(u16::MAX) {
            return Err(damaged("it is not a segment of this version"));
        }
        let mut header = vec![0; 24 + 8 * partitions];
        file.read_exact_at(&mut header, 0).map_err(|_| damaged("the header is cut short"))?;
        let bases: Vec<u64> =
            header[24..].as_chunks::<8>().0.iter().map(|b| u64::from_le_bytes(*b)).collect();
        if header != encode_header(id, &bases) {
            return Err(damaged("the header's checksum is wrong"));
        }
        Ok(Segment { id, path, file, bases, len, is_torn: false, index: None })
    }

    /// Refuses a segment that is of other partitions than the rest of its topic.
    pub(crate) fn of_partitions(self, partitions: usize) -> Result<Self, LogError> {
        if self.bases.len() == partitions {
            return Ok(self);
        }
        let problem = "it has other partitions than its topic: it is a file of another data directory";
        Err(LogError::Damaged { path: self.path, position: 0, problem })
    }

    fn header_len(&self) -> u64 {
        24 + 8 * self.bases.len() as u64
    }

    /// Takes in frames that were added to a segment since it was scanned.
    pub(crate) fn extend(&mut self) -> Result<(), LogError> {
        let known = self.len;
        self.len = self.file_len()?;
        match self.index.take() {
            None => {
                let (index, end) = self.scan(true)?;
                (self.index, self.len) = (Some(Arc::new(index)), end);
            }
            Some(mut index) => {
                self.len = self.scan_from(known, true, Arc::make_mut(&mut index))?;
                self.index = Some(index);
            }
        }
        Ok(())
    }

    /// Reads all heads, and with `check` all stored bytes too. The index, and where the last whole
    /// frame ends.
    pub(crate) fn scan(&self, check: bool) -> Result<(Index, u64), LogError> {
        let mut index: Index = vec![Vec::new(); self.bases.len()];
        let end = self.scan_from(self.header_len(), check, &mut index)?;
        Ok((index, end))
    }

    /// Goes on with a scan; where the last whole frame ends.
    pub(crate) fn scan_from(&self, from: u64, check: bool, index: &mut Index) -> Result<u64, LogError> {
        let mut position = from;
        while let Some(head) = self.head_at(position, check)? {
            let Some(entries) = index.get_mut(head.partition as usize) else { break };
            if !head.is_seal {
                let end = entries.last().map_or(self.bases[head.partition as usize], |e| e.head.end());
                if head.base_offset != end {
                    let problem = "a batch does not go on where the one before it ends";
                    return Err(LogError::Damaged { path: self.path.clone(), position, problem });
                }
                entries.push(Entry { head, position });
            }
            position += head.frame_len();
        }
        if position < self.len && self.was_durable(position)? {
            return Err(self.damaged(position, "a batch that had been fsynced cannot be read"));
        }
        Ok(position)
    }

    /// The heads of a segment behind which another one stands: it must be whole to its last byte.
    pub(crate) fn scan_closed(&self) -> Result<Index, LogError> {
        let (index, end) = self.scan(false)?;
        self.expect_end(end).map(|()| index)
    }

    /// Fails unless the file ends at this byte.
    pub(crate) fn expect_end(&self, end: u64) -> Result<(), LogError> {
        match self.file_len()? {
            len if len == end => Ok(()),
            _ => Err(self.damaged(end, "a batch that had been fsynced cannot be read")),
        }
    }

    pub(crate) fn file_len(&self) -> Result<u64, LogError> {
        self.file.metadata().map(|m| m.len()).map_err(LogError::io("read", &self.path))
    }

    pub(crate) fn damaged(&self, position: u64, problem: &'static str) -> LogError {
        LogError::Damaged { path: self.path.clone(), position, problem }
    }

    /// Whether it holds nothing, or ends with a seal.
    pub(crate) fn is_sealed(&self) -> Result<bool, LogError> {
        if self.len == self.header_len() {
            return Ok(true);
        }
        let mut bytes = [0; HEAD];
        let at = self.len.saturating_sub(HEAD as u64);
        self.file.read_exact_at(&mut bytes, at).map_err(LogError::io("read", &self.path))?;
        Ok(FrameHead::decode(&bytes).is_some_and(|head| head.is_seal))
    }

    /// Whether a later group commit shows that what cannot be read here is no torn tail: a group is
    /// written only when all before it is on disk.
    fn was_durable(&self, position: u64) -> Result<bool, LogError> {
        let mut rest = vec![0; (self.len - position) as usize];
        let read = self.file.read_at(&mut rest, position).map_err(LogError::io("read", &self.path))?;
        let rest = &rest[..read];
        let later_group = |at: usize| {
            let head = rest.get(at..at + HEAD)?.try_into().ok().and_then(FrameHead::decode)?;
            Some(at as u64 > u64::from(head.in_group))
        };
        Ok(memchr::memmem::find_iter(rest, frame::MAGIC).any(|at| later_group(at) == Some(true)))
    }

    fn head_at(&self, position: u64, check: bool) -> Result<Option<FrameHead>, LogError> {
        let mut bytes = [0; HEAD];
        if position + HEAD as u64 > self.len {
            return Ok(None);
        }
        self.file.read_exact_at(&mut bytes, position).map_err(LogError::io("read", &self.path))?;
        let Some(head) = FrameHead::decode(&bytes) else { return Ok(None) };
        if position + head.frame_len() > self.len {
            return Ok(None);
        }
        if check && self.stored(&Entry { head, position }).is_err() {
            return Ok(None);
        }
        Ok(Some(head))
    }

    /// The batch of a frame.
    pub(crate) fn stored(&self, entry: &Entry) -> Result<Vec<u8>, LogError> {
        read_frame(&self.file, &self.path, entry)
    }
}

/// What the head of the frame at a byte of a segment says, if it can be read.
pub fn frame_at(path: &Path, position: u64) -> Option<FrameHead> {
    let mut bytes = [0; HEAD];
    File::open(path).ok()?.read_exact_at(&mut bytes, position).ok()?;
    FrameHead::decode(&bytes)
}

/// Reads and checks the batch of a frame.
pub(crate) fn read_frame(file: &File, path: &Path, entry: &Entry) -> Result<Vec<u8>, LogError> {
    let mut stored = vec![0; entry.head.frame_len() as usize - HEAD];
    file.read_exact_at(&mut stored, entry.position + HEAD as u64).map_err(LogError::io("read", path))?;
    entry.head.open(&stored).ok_or_else(|| LogError::Damaged {
        path: path.to_owned(),
        position: entry.position,
        problem: "the checksum of a frame is wrong",
    })
}

fn encode_header(id: u64, bases: &[u64]) -> Vec<u8> {
    let mut rest = (bases.len() as u32).to_le_bytes().to_vec();
    rest.extend_from_slice(&id.to_le_bytes());
    bases.iter().for_each(|b| rest.extend_from_slice(&b.to_le_bytes()));
    [&MAGIC[..], &crc32c::crc32c(&rest).to_le_bytes(), &rest].concat()
}

fn open(path: &Path, writable: bool) -> Result<Arc<File>, LogError> {
    let file = OpenOptions::new().read(true).write(writable).open(path);
    file.map(Arc::new).map_err(LogError::io("open", path))
}

/// Writes all slices, one after the other, from a position on; where they end.
pub(crate) fn write_all_at(file: &std::fs::File, slices: &[&[u8]], start: u64) -> std::io::Result<u64> {
    use std::io::{IoSlice, Seek, SeekFrom, Write};
    let mut file = file;
    file.seek(SeekFrom::Start(start))?;
    for chunk in slices.chunks(512) {
        let mut io: Vec<IoSlice<'_>> = chunk.iter().map(|s| IoSlice::new(s)).collect();
        let mut rest = &mut io[..];
        IoSlice::advance_slices(&mut rest, 0);
        while !rest.is_empty() {
            let n = file.write_vectored(rest)?;
            if n == 0 {
                return Err(std::io::ErrorKind::WriteZero.into());
            }
            IoSlice::advance_slices(&mut rest, n);
        }
    }
    Ok(start + slices.iter().map(|s| s.len() as u64).sum::<u64>())
}
