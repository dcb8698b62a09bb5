//! A topic of the embedded log: segments, an index, and a thread that writes and fsyncs.
//!
//! Appends of all partitions gather while the last fsync is under way and are then written together
//! (group commit). Only after the fsync do the high watermarks move. An error while writing is
//! final: the process must end and recover by opening the log again.

use super::direct::DirectWriter;
use super::embedded::LogOptions;
use super::frame::{Codec, FrameHead, Sealed};
use super::segment::{self, Entry, Index, Segment};
use super::{Appended, Fetched, LogError, LoggedBatch, NewBatch};
use rustix::fs::Advice;
use std::collections::VecDeque;
use std::num::NonZeroU64;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock};
use weir_proto::TaskId;
use weir_state::failpoints;

/// Frames located at a time.
const LOCATED: usize = 256;
/// How much longer a group commit gathers while the producers have fallen behind: fewer fsyncs are cheaper, and
/// nobody waits for a single record.
const WHEN_BEHIND: u32 = 5;
/// Segments whose index stays in memory.
const INDEXED_SEGMENTS: usize = 4;

struct Pending {
    sealed: Sealed,
    batch: Arc<LoggedBatch>,
}

#[derive(Default)]
struct Queue {
    pending: Vec<Pending>,
    ends: Vec<u64>,
    tickets: u64,
    failed: Option<LogError>,
    closed: bool,
}

/// Batches written lately, kept so that their readers need no disk.
#[derive(Default)]
struct Tail {
    by_partition: Vec<VecDeque<Arc<LoggedBatch>>>,
    order: VecDeque<u32>,
    bytes: usize,
}

pub(crate) struct Journal {
    dir: PathBuf,
    options: LogOptions,
    /// Whether its producers have fallen behind.
    behind: Arc<AtomicBool>,
    queue: Mutex<Queue>,
    wake: Condvar,
    segments: RwLock<Vec<Segment>>,
    tail: Mutex<Tail>,
    watermarks: Vec<AtomicU64>,
    durable: AtomicU64,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A panic elsewhere ends the process; what it left is not used.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Journal {
    /// Opens a topic. Of a torn tail nothing is shown, and what remains is fsynced before anything is; it is
    /// cut off before the first write, when nobody has missed what stood there.
    pub(crate) fn open(
        dir: PathBuf,
        partitions: u32,
        options: LogOptions,
        behind: Arc<AtomicBool>,
    ) -> Result<Self, LogError> {
        std::fs::create_dir_all(&dir).map_err(LogError::io("create", &dir))?;
        let mut segments = Vec::new();
        for id in segment::list(&dir)? {
            segments.push(Segment::open(&dir, id, true)?.of_partitions(partitions as usize)?);
        }
        let ends = match segments.last_mut() {
            Some(last) => recover(last)?,
            None => {
                let bases = vec![0; partitions as usize];
                segments.push(Segment::create(&dir, 0, bases.clone())?);
                bases
            }
        };
        Ok(Journal { behind, ..Self::new(dir, options, segments, ends) })
    }

    /// Opens a topic that another process may be writing, without changing anything.
    pub(crate) fn open_read_only(dir: PathBuf) -> Result<Self, LogError> {
        let first = segment::list(&dir)?.first().map(|id| Segment::open(&dir, *id, false)).transpose()?;
        let ends = first.as_ref().map_or(Vec::new(), |s| s.bases.clone());
        let journal = Self::new(dir, LogOptions::default(), Vec::new(), ends);
        journal.refresh()?;
        Ok(journal)
    }

    /// Looks at what another process has written since.
    pub(crate) fn refresh(&self) -> Result<(), LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let known = segments.last().map(|s| s.id);
        // Listed first: a segment that another one follows has all that it will ever have.
        let mut newer = segment::list(&self.dir)?;
        newer.retain(|id| known.is_none_or(|known| *id > known));
        if let Some(last) = segments.last_mut().filter(|_| !newer.is_empty()) {
            last.extend()?;
            last.expect_end(last.len)?;
        }
        for id in newer {
            let segment = Segment::open(&self.dir, id, false)?;
            let partitions = segments.first().unwrap_or(&segment).bases.len();
            segments.push(segment.of_partitions(partitions)?);
        }
        let Some(last) = segments.last_mut() else { return Ok(()) };
        last.extend()?;
        let index = last.index.clone().unwrap_or_default();
        for (watermark, end) in self.watermarks.iter().zip(ends_of(&last.bases, &index)) {
            watermark.store(end, Ordering::Release);
        }
        Ok(())
    }

    fn new(dir: PathBuf, options: LogOptions, segments: Vec<Segment>, ends: Vec<u64>) -> Self {
        let by_partition = ends.iter().map(|_| VecDeque::new()).collect();
        Journal {
            dir,
            options,
            behind: Arc::default(),
            watermarks: ends.iter().map(|e| AtomicU64::new(*e)).collect(),
            queue: Mutex::new(Queue { ends, ..Queue::default() }),
            wake: Condvar::new(),
            segments: RwLock::new(segments),
            tail: Mutex::new(Tail { by_partition, ..Tail::default() }),
            durable: AtomicU64::new(0),
        }
    }

    pub(crate) fn append(&self, partition: u32, batch: NewBatch) -> Result<Appended, LogError> {
        let is_plain = self.options.plain_when_behind && self.behind.load(Ordering::Relaxed);
        let codec = if is_plain { Codec::None } else { self.options.codec };
        let mut sealed = Sealed::new(partition, &batch, codec);
        let mut queue = locked(&self.queue);
        if let Some(error) = &queue.failed {
            return Err(error.clone());
        }
        sealed.head.base_offset = queue.ends[partition as usize];
        let end = sealed.head.end();
        queue.ends[partition as usize] = end;
        queue.tickets += 1;
        let batch = Arc::new(LoggedBatch { head: sealed.head, bytes: batch.bytes });
        queue.pending.push(Pending { sealed, batch });
        let ticket = queue.tickets;
        drop(queue);
        self.wake.notify_one();
        Ok(Appended { end, ticket })
    }

    pub(crate) fn is_durable(&self, ticket: u64) -> bool {
        self.durable.load(Ordering::Acquire) >= ticket
    }

    pub(crate) fn failure(&self) -> Option<LogError> {
        locked(&self.queue).failed.clone()
    }

    pub(crate) fn watermark(&self, partition: u32) -> u64 {
        self.watermarks.get(partition as usize).map_or(0, |w| w.load(Ordering::Acquire))
    }

    pub(crate) fn partitions(&self) -> u32 {
        self.watermarks.len() as u32
    }

    pub(crate) fn close(&self) {
        locked(&self.queue).closed = true;
        self.wake.notify_one();
    }

    /// The writing thread: until closed and drained, or an error.
    pub(crate) fn write_loop(&self, on_durable: &dyn Fn()) {
        let mut writer = DirectWriter::default();
        while let Some((group, ticket)) = self.next_group() {
            if let Err(error) = self.write_group(&mut writer, group, ticket) {
                locked(&self.queue).failed = Some(error);
                on_durable();
                return;
            }
            on_durable();
        }
        if let Err(error) = self.seal() {
            tracing::warn!("{error}");
        }
    }

    /// The writer ends in peace: says so behind all that it has written.
    fn seal(&self) -> Result<(), LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let Some(active) = segments.last_mut().filter(|s| !s.is_torn) else { return Ok(()) };
        if !active.is_sealed()? {
            let seal = FrameHead::seal().encode();
            let write = || {
                let end = segment::write_all_at(&active.file, &[&seal], active.len)?;
                active.file.sync_data().map(|()| end)
            };
            active.len =
                failpoints::io("journal.seal", write).map_err(LogError::io("write", &active.path))?;
        }
        Ok(())
    }

    fn next_group(&self) -> Option<(Vec<Pending>, u64)> {
        let mut queue = locked(&self.queue);
        while queue.pending.is_empty() {
            if queue.closed {
                return None;
            }
            queue = self.wake.wait(queue).unwrap_or_else(PoisonError::into_inner);
        }
        if !queue.closed && !self.options.sync_interval.is_zero() {
            drop(queue);
            let longer = if self.behind.load(Ordering::Relaxed) { WHEN_BEHIND } else { 1 };
            std::thread::sleep(longer * self.options.sync_interval);
            queue = locked(&self.queue);
        }
        Some((std::mem::take(&mut queue.pending), queue.tickets))
    }

    fn write_group(
        &self,
        writer: &mut DirectWriter,
        mut group: Vec<Pending>,
        ticket: u64,
    ) -> Result<(), LogError> {
        self.cut_torn_tail()?;
        self.roll_if_full()?;
        let (file, path, start) = {
            let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
            let Some(active) = segments.last() else { return Ok(()) };
            (active.file.clone(), active.path.clone(), active.len)
        };
        let mut in_group = 0;
        for pending in &mut group {
            pending.sealed.head.in_group = in_group;
            in_group += pending.sealed.head.frame_len() as u32;
        }
        let heads: Vec<_> = group.iter().map(|p| p.sealed.head.encode()).collect();
        let slices: Vec<&[u8]> = group
            .iter()
            .zip(&heads)
            .flat_map(|(p, head)| [&head[..], p.sealed.stored(&p.batch.bytes)])
            .collect();
        let end = failpoints::io("journal.write", || writer.write(&file, &path, &slices, start))
            .map_err(LogError::io("write", &path))?;
        failpoints::io("journal.fsync", || file.sync_data()).map_err(LogError::io("sync", &path))?;
        // Its readers find it in the tail; it need not fill the page cache. Only advice: no error counts.
        let _ = rustix::fs::fadvise(&*file, start, NonZeroU64::new(end - start), Advice::DontNeed);
        group.iter_mut().for_each(|p| p.sealed.forget_compressed());
        self.publish(group, start, end, ticket);
        Ok(())
    }

    fn publish(&self, group: Vec<Pending>, start: u64, end: u64, ticket: u64) {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let Some(active) = segments.last_mut() else { return };
        active.len = end;
        let mut position = start;
        if let Some(index) = active.index.as_mut().map(Arc::make_mut) {
            for Pending { sealed: Sealed { head, .. }, .. } in &group {
                index[head.partition as usize].push(Entry { head: *head, position });
                position += head.frame_len();
            }
        }
        drop(segments);
        let mut tail = locked(&self.tail);
        let ends: Vec<_> = group.iter().map(|p| (p.batch.head.partition, p.batch.head.end())).collect();
        group.into_iter().for_each(|p| tail.push(p.batch, self.options.tail_bytes));
        drop(tail);
        for (partition, end) in ends {
            self.watermarks[partition as usize].store(end, Ordering::Release);
        }
        self.durable.store(ticket, Ordering::Release);
    }

    fn cut_torn_tail(&self) -> Result<(), LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(active) = segments.last_mut().filter(|s| s.is_torn) {
            let cut = || active.file.set_len(active.len).and_then(|()| active.file.sync_all());
            failpoints::io("segment.cut", cut).map_err(LogError::io("cut", &active.path))?;
            active.is_torn = false;
        }
        Ok(())
    }

    fn roll_if_full(&self) -> Result<(), LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let Some(active) = segments.last().filter(|s| s.len >= self.options.segment_bytes) else {
            return Ok(());
        };
        let bases = self.watermarks.iter().map(|w| w.load(Ordering::Acquire)).collect();
        let next = Segment::create(&self.dir, active.id + 1, bases)?;
        segments.push(next);
        forget_old_indexes(&mut segments);
        Ok(())
    }

    pub(crate) fn start(&self, partition: u32) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.first().and_then(|s| s.bases.get(partition as usize).copied()).unwrap_or(0)
    }

    pub(crate) fn read(
        &self,
        partition: u32,
        offset: u64,
        max: u64,
        of: Option<TaskId>,
    ) -> Result<Fetched, LogError> {
        let end = self.watermark(partition);
        if offset >= end {
            return Ok(Fetched { next: offset, ..Fetched::default() });
        }
        if let Some(found) = locked(&self.tail).read(partition, offset, max, of) {
            return Ok(found);
        }
        let mut found = Fetched { next: offset, ..Fetched::default() };
        let mut records = 0;
        while found.next < end && records < max {
            let Some((file, path, entries)) = self.locate(partition, found.next)? else { break };
            if entries.is_empty() {
                return Err(self.hole(partition, found.next));
            }
            for entry in entries {
                if records >= max || entry.head.base_offset >= end {
                    break;
                }
                found.next = entry.head.end();
                if of.is_none_or(|of| entry.head.producer.task() == of) {
                    let bytes = segment::read_frame(&file, &path, &entry)?;
                    records += u64::from(entry.head.count);
                    found.batches.push(Arc::new(LoggedBatch { head: entry.head, bytes: bytes.into() }));
                }
            }
        }
        Ok(found)
    }

    pub(crate) fn heads(&self, partition: u32, offset: u64) -> Result<Vec<FrameHead>, LogError> {
        let (mut heads, mut next) = (Vec::new(), offset);
        let end = self.watermark(partition);
        while next < end {
            let Some((_, _, entries)) = self.locate(partition, next)? else { break };
            let Some(last) = entries.last() else { return Err(self.hole(partition, next)) };
            next = last.head.end();
            heads.extend(entries.into_iter().map(|e| e.head));
        }
        Ok(heads)
    }

    /// The frames of a partition from the one that holds `offset` on, within its segment, some at
    /// a time.
    #[allow(clippy::type_complexity)] // a file, its name and what to read of it
    pub(crate) fn locate(
        &self,
        partition: u32,
        offset: u64,
    ) -> Result<Option<(Arc<std::fs::File>, PathBuf, Vec<Entry>)>, LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        let p = partition as usize;
        let Some(at) = segments.partition_point(|s| s.bases[p] <= offset).checked_sub(1) else {
            return Ok(None);
        };
        let segment = &mut segments[at];
        let index = match &segment.index {
            Some(index) => index.clone(),
            None => {
                let index = Arc::new(segment.scan_closed()?);
                segment.index = Some(index.clone());
                index
            }
        };
        let (file, path, len) = (segment.file.clone(), segment.path.clone(), segment.len);
        if segments.iter().filter(|s| s.index.is_some()).count() > 2 * INDEXED_SEGMENTS {
            forget_old_indexes(&mut segments);
        }
        let rest = &index[p][index[p].partition_point(|e| e.head.end() <= offset)..];
        if rest.is_empty() {
            let problem = "records that should stand at its end are missing";
            return Err(LogError::Damaged { path, position: len, problem });
        }
        Ok(Some((file, path, rest[..rest.len().min(LOCATED)].to_vec())))
    }

    /// A record that was durable stands in no segment.
    fn hole(&self, partition: u32, offset: u64) -> LogError {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        let before = segments.iter().rfind(|s| s.bases[partition as usize] <= offset);
        let (path, position) = before.map_or((self.dir.clone(), 0), |s| (s.path.clone(), s.len));
        LogError::Damaged { path, position, problem: "the segment behind it is missing" }
    }

    /// The file that is written to.
    pub(crate) fn newest_file(&self) -> PathBuf {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.last().map_or_else(|| self.dir.clone(), |s| s.path.clone())
    }

    pub(crate) fn trim(&self, below: &[u64]) -> Result<(), LogError> {
        let mut segments = self.segments.write().unwrap_or_else(PoisonError::into_inner);
        while segments.len() > 1 && segments[1].bases.iter().zip(below).all(|(base, b)| base <= b) {
            let old = segments.remove(0);
            std::fs::remove_file(&old.path).map_err(LogError::io("remove", &old.path))?;
        }
        Ok(())
    }

    pub(crate) fn size_bytes(&self) -> u64 {
        let segments = self.segments.read().unwrap_or_else(PoisonError::into_inner);
        segments.iter().map(|s| s.len).sum()
    }
}

impl Tail {
    fn push(&mut self, batch: Arc<LoggedBatch>, limit: usize) {
        self.bytes += batch.bytes.len();
        self.order.push_back(batch.head.partition);
        self.by_partition[batch.head.partition as usize].push_back(batch);
        while self.bytes > limit {
            let Some(partition) = self.order.pop_front() else { break };
            let oldest = self.by_partition[partition as usize].pop_front();
            self.bytes -= oldest.map_or(0, |b| b.bytes.len());
        }
    }

    fn read(&self, partition: u32, offset: u64, max: u64, of: Option<TaskId>) -> Option<Fetched> {
        let batches = &self.by_partition[partition as usize];
        if batches.front()?.head.base_offset > offset {
            return None;
        }
        let mut found = Fetched { next: offset, ..Fetched::default() };
        let mut records = 0;
        for batch in batches.iter().skip(batches.partition_point(|b| b.head.end() <= offset)) {
            if records >= max {
                break;
            }
            found.next = batch.head.end();
            if of.is_none_or(|of| batch.head.producer.task() == of) {
                records += u64::from(batch.head.count);
                found.batches.push(batch.clone());
            }
        }
        Some(found)
    }
}

/// Finds a torn tail; the end offset of each partition.
fn recover(last: &mut Segment) -> Result<Vec<u64>, LogError> {
    let (index, len) = last.scan(true)?;
    if len < last.len {
        tracing::warn!(
            "{}: {} bytes behind the last whole batch are cut off; they were never acknowledged",
            last.path.display(),
            last.len - len
        );
        (last.is_torn, last.len) = (true, len);
    }
    last.file.sync_all().map_err(LogError::io("sync", &last.path))?;
    let ends = ends_of(&last.bases, &index);
    last.index = Some(Arc::new(index));
    Ok(ends)
}

fn ends_of(bases: &[u64], index: &Index) -> Vec<u64> {
    bases.iter().zip(index).map(|(base, entries)| entries.last().map_or(*base, |e| e.head.end())).collect()
}

fn forget_old_indexes(segments: &mut [Segment]) {
    let old = segments.len().saturating_sub(INDEXED_SEGMENTS);
    segments[..old].iter_mut().for_each(|s| s.index = None);
}
