//! Every frame of every topic: checksums, offsets and running numbers without gaps, rising provenance.

use super::Auditor;
use super::report::{Audit, Place, Problem, Subject};
use super::segment::{open, topics};
use super::turns::{self, Piece, Position, Turn};
use crate::error::JobError;
use crate::generations::Cut;
use crate::log::{FrameHead, LogError, LoggedBatch, TopicReader, frame_at};
use std::collections::BTreeMap;
use weir_proto::{Batch, Minute, Producer, Provenance, Topic, TopicId};

/// Records after which it is another partition's turn.
const TURN: u64 = 1 << 14;

pub(super) fn check(
    auditor: &Auditor,
    audit: &mut Audit,
    progress: &mut dyn FnMut(u64),
) -> Result<(), JobError> {
    for topic in topics(&auditor.dir, &auditor.registry) {
        let reader = match open(&auditor.dir, topic) {
            Ok(reader) => reader,
            Err(error) => {
                audit.problem(Subject::Checksums, problem(error.to_string(), None, place_of(topic, &error)));
                continue;
            }
        };
        let partitions = 0..reader.partitions();
        let frames = partitions.map(|partition| Frames::of(auditor, topic, partition, &reader));
        for frames in turns::finish(frames, auditor.threads, progress)? {
            audit.add(frames.audit);
        }
    }
    Ok(())
}

/// The running numbers that tasks had come to at the beginning, where what is repeated from before it has to be told.
fn seen_before(
    auditor: &Auditor,
    topic: TopicId,
    partition: u32,
) -> BTreeMap<Producer, (u64, Option<Provenance>)> {
    let manifests = auditor.segment.from().filter(|_| auditor.dir.is_whole()).map(Cut::manifests);
    let own = manifests.unwrap_or_default().iter().filter(|m| m.task.generation == topic.generation);
    let begun = own.filter(|m| m.next_seqs.iter().any(|(t, _)| *t == topic.topic));
    begun.map(|m| (m.task, (m.next_seq(topic.topic, partition), None))).collect()
}

struct Frames<'a> {
    auditor: &'a Auditor,
    topic: TopicId,
    partition: u32,
    reader: &'a TopicReader,
    /// Of each producer the running number expected next, and its newest provenance.
    seen: BTreeMap<Producer, (u64, Option<Provenance>)>,
    start: u64,
    next: u64,
    end: u64,
    /// What was found here.
    audit: Audit,
}

impl Piece for Frames<'_> {
    fn position(&self) -> Position {
        // Its share of the whole, since partitions of a directory stand in the same files.
        let done = u128::from(self.next - self.start) << 32;
        let all = self.end.saturating_sub(self.start).max(1);
        (0, (done / u128::from(all)) as u64)
    }

    fn go_on(&mut self) -> Result<Turn, JobError> {
        let (begun, mut more) = (self.next, self.next < self.end);
        while more && self.next - begun < TURN {
            let next = self.frame();
            self.next = next.unwrap_or(self.next);
            more = next.is_some_and(|next| next < self.end);
        }
        Ok(Turn { records: self.next - begun, more })
    }
}

impl<'a> Frames<'a> {
    fn of(auditor: &'a Auditor, topic: TopicId, partition: u32, reader: &'a TopicReader) -> Self {
        let seen = seen_before(auditor, topic, partition);
        let audit = Audit::new(&auditor.segment);
        let mut this = Frames { auditor, topic, partition, reader, seen, start: 0, next: 0, end: 0, audit };
        let ((start, end), (from, until)) = (reader.offsets(partition), this.bounds());
        (this.start, this.end) = (start.max(from), end.min(until));
        this.next = this.start;
        this
    }

    /// Checks the next frame; the offset behind it, if what comes there can be checked.
    fn frame(&mut self) -> Option<u64> {
        let batch = match self.reader.read(self.partition, self.next, 1, None) {
            Ok(found) => found.batches.into_iter().next()?,
            Err(error) => {
                let place = place_of(self.topic, &error).unwrap_or_else(|| self.place(self.next, &[]));
                self.audit.problem(Subject::Checksums, problem(error.to_string(), None, Some(place)));
                return None;
            }
        };
        self.audit.checked(Subject::Checksums, 1);
        self.audit.checked(Subject::Provenance, u64::from(batch.head.count));
        if let Err((offset, text)) = self.batch(&batch, self.next) {
            let place = self.place(offset, record_at(&batch, offset).unwrap_or_default());
            let task = Some(batch.head.producer.to_string());
            self.audit.problem(Subject::Provenance, problem(text, task, Some(place)));
            return None;
        }
        Some(batch.head.end())
    }

    /// What the segment spans of this partition: its frames may overlap the edges.
    fn bounds(&self) -> (u64, u64) {
        let segment = &self.auditor.segment;
        let ends = |cut: &Cut| {
            let made = cut.manifests().iter().filter(|m| m.task.generation == self.topic.generation);
            let of = |m: &weir_state::Manifest| {
                let ends = m.ends.iter().find(|(t, _)| *t == self.topic.topic);
                ends.and_then(|(_, e)| e.get(self.partition as usize).copied())
            };
            made.filter_map(of).collect::<Vec<u64>>()
        };
        let from = segment.from().and_then(|cut| ends(cut).into_iter().min()).unwrap_or(0);
        let to = (!segment.ends_at_stores()).then(|| ends(segment.to()).into_iter().max()).flatten();
        (from, to.unwrap_or(u64::MAX))
    }

    fn batch(&mut self, batch: &LoggedBatch, next: u64) -> Result<(), (u64, String)> {
        let head = &batch.head;
        if head.base_offset > next {
            return Err((next, format!("the records up to offset {} are missing", head.base_offset)));
        }
        let (expected, mut last) = match self.seen.get(&head.producer) {
            Some((seq, last)) => (Some(*seq), *last),
            None => (self.first_seq(head), None),
        };
        // What a worker that stood still repeats when it goes on; readers drop it by its running numbers.
        let may_repeat = self.auditor.dir.is_whole();
        let repeated = expected.filter(|_| may_repeat).map_or(0, |e| e.saturating_sub(head.first_seq));
        if let Some(expected) = expected.filter(|e| *e != head.first_seq + repeated) {
            let text =
                format!("running number {} stands where {expected} of its task is due", head.first_seq);
            return Err((head.base_offset, text));
        }
        let mut count = 0;
        let records = Batch::open(&batch.bytes).map_err(|e| (head.base_offset, e.to_string()))?;
        for record in records {
            let offset = head.base_offset + count;
            let record = record.map_err(|e| (offset, e.to_string()))?;
            if count < repeated {
                count += 1;
                continue;
            }
            if last.is_some_and(|last| last >= record.provenance) {
                return Err((
                    offset,
                    "its provenance does not rise above that of the record before".to_owned(),
                ));
            }
            last = Some(record.provenance);
            count += 1;
        }
        if count != u64::from(head.count) || (count > repeated && last != Some(head.last)) {
            return Err((head.base_offset, "its frame says otherwise than its records".to_owned()));
        }
        self.seen.insert(head.producer, (head.first_seq + count.max(repeated), last));
        Ok(())
    }

    /// The first running number of a producer, where it is known.
    fn first_seq(&self, head: &FrameHead) -> Option<u64> {
        let whole = self.reader.offsets(self.partition).0 == 0 && self.bounds().0 == 0;
        let generation = head.producer.generation;
        match whole && (generation == 1 || self.topic.topic == Topic::Adjustments) {
            true => Some(0),
            false if whole && !head.producer.stage.is_source() => {
                let cut = self.auditor.registry.cut(generation);
                Some(cut.next_seq(head.producer.task(), self.topic.topic, self.partition))
            }
            false => None,
        }
    }

    fn place(&self, offset: u64, bytes: &[u8]) -> Place {
        Place::of(self.topic, self.partition, offset, bytes)
    }
}

/// The first record that damage took away, if the head of its frame can still be read.
fn place_of(topic: TopicId, error: &LogError) -> Option<Place> {
    let LogError::Damaged { path, position, .. } = error else { return None };
    let head = frame_at(path, *position)?;
    Some(Place::of(topic, head.partition, head.base_offset, &[]))
}

fn record_at(batch: &LoggedBatch, offset: u64) -> Option<&[u8]> {
    let at = offset.checked_sub(batch.head.base_offset)?;
    let record = Batch::open(&batch.bytes).ok()?.nth(at as usize)?;
    Some(record.ok()?.bytes)
}

fn problem(problem: String, task: Option<String>, place: Option<Place>) -> Problem {
    Problem { problem, task, minute: None::<Minute>, place }
}
