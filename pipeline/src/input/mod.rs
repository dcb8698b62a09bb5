//! What a task reads: the records of one partition of a line, each once, with its place.
//!
//! In the first generation the place of a record is its offset. In a line that was begun anew it is
//! the offset of the recorded record in whose place it stands, and behind the end of the recorded
//! line that end plus the offset in the generation's own topic.

mod content;
mod line;
mod merge;
mod scan;

pub use content::Content;
pub use line::{Anew, Line, Start, have_come_to};
pub use scan::{Head, Scan};

use crate::error::JobError;
use crate::log::Log;
use merge::{Merge, Step};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_proto::{Producer, Record, TopicId};
use weir_state::Mark;

/// Records fetched at a time.
const AT_A_TIME: u64 = 16_384;

enum Source {
    /// The line that it was begun from, up to where its readers stood then.
    Before(Box<LineReader>, Start),
    /// Along the recorded line.
    Along(Box<Merge>),
    /// As it stands, with places counted from here.
    Direct(Scan, u64),
}

/// Reads one partition of a line.
pub struct LineReader {
    log: Arc<dyn Log>,
    line: Arc<Line>,
    partition: u32,
    position: u64,
    marks: Vec<Mark>,
    /// Which of them was needed last.
    mark: usize,
    /// Along a recorded line that has not ended nothing is read from this place on.
    limit: Arc<AtomicU64>,
    source: Source,
}

impl LineReader {
    /// Goes on from where a reader stands.
    pub fn open(log: Arc<dyn Log>, line: Arc<Line>, partition: u32, start: Start) -> Self {
        let direct = |id, base| {
            let offset = start.position - base;
            Source::Direct(Scan::new(log.clone(), id, partition, offset, AT_A_TIME), base)
        };
        let source = match &*line {
            Line::First(id) => direct(*id, 0),
            Line::Anew(anew) => match anew.end(partition) {
                Some(end) if start.position >= end => direct(anew.id, end),
                _ if start.position < anew.start(partition).position => {
                    let base = LineReader::open(log.clone(), anew.base.clone(), partition, start.clone());
                    Source::Before(Box::new(base), anew.start(partition))
                }
                _ => Source::Along(Box::new(Merge::open(&log, anew, partition, start.position))),
            },
        };
        let limit = Arc::new(AtomicU64::new(u64::MAX));
        let Start { position, marks } = start;
        LineReader { log, line, partition, position, marks, mark: 0, limit, source }
    }

    /// Along a recorded line that has not ended it reads nothing from this place on, which may be moved.
    pub fn limited(self, limit: Arc<AtomicU64>) -> Self {
        LineReader { limit, ..self }
    }

    /// From where on a line that was begun anew is not read along the recorded one.
    fn below(&self) -> u64 {
        let end = match &*self.line {
            Line::Anew(anew) => anew.end(self.partition),
            Line::First(_) => None,
        };
        end.unwrap_or_else(|| self.limit.load(Ordering::Acquire))
    }

    /// Whether it waits until it is known where the recorded line ended.
    fn waits(&self) -> bool {
        matches!(&*self.line, Line::Anew(anew) if anew.waits(&self.marks))
    }

    /// The next place: every place below is done. While a place is being filled it is that place.
    pub fn position(&self) -> u64 {
        match &self.source {
            Source::Before(base, _) => base.position(),
            _ => self.position,
        }
    }

    /// What was seen of each upstream task.
    pub fn marks(&self) -> &[Mark] {
        match &self.source {
            Source::Before(base, _) => base.marks(),
            _ => &self.marks,
        }
    }

    /// The topic that is written to now.
    pub fn topic(&self) -> TopicId {
        self.line.topic()
    }

    /// The place behind the newest record.
    pub fn end(&self) -> u64 {
        match (&self.source, &*self.line) {
            (Source::Direct(scan, base), _) => base + scan.end(),
            (Source::Along(merge), Line::Anew(anew)) => match anew.end(self.partition) {
                Some(end) => end + self.log.high_watermark(anew.id, self.partition),
                None => merge.places().end(),
            },
            (Source::Along(merge), Line::First(_)) => merge.places().end(),
            (Source::Before(base, _), _) => base.end(),
        }
    }

    /// What a task has seen last must stand where it has seen it: otherwise the topic is another one of the same name.
    pub fn check_seen(&self, task: Producer) -> Result<(), JobError> {
        let topic = self.topic();
        let own = |mark: &&Mark| match &*self.line {
            Line::First(_) => true,
            Line::Anew(_) => mark.producer.generation == topic.generation,
        };
        let Some(newest) = self.marks().iter().filter(own).max_by_key(|m| m.offset).filter(|m| m.offset > 0)
        else {
            return Ok(());
        };
        let offset = newest.offset - 1;
        if offset < self.log.start(topic, self.partition) {
            return Ok(());
        }
        let mut scan = Scan::new(self.log.clone(), topic, self.partition, offset, 1);
        let seen =
            Head { offset, producer: newest.producer, seq: newest.next_seq - 1, provenance: newest.last };
        match scan.advance()? {
            Some(found) if found == seen => Ok(()),
            _ => Err(JobError::OtherRecords { task, topic, partition: self.partition, offset }),
        }
    }

    /// The file with the end of what is read now.
    pub fn newest_file(&self) -> PathBuf {
        self.log.newest_file(self.topic())
    }

    /// Changes whenever there may be something more to read.
    pub fn news(&self) -> u64 {
        let own = self.log.high_watermark(self.line.topic(), self.partition);
        match &self.source {
            Source::Direct(..) => own,
            // That it is known where the recorded line ended is news as well.
            _ => own.wrapping_add(self.end()).wrapping_add(self.below()),
        }
    }

    /// Moves to the next record and returns its place and who made it.
    pub fn advance(&mut self) -> Result<Option<(u64, Head)>, JobError> {
        loop {
            if self.waits() {
                return Ok(None);
            }
            let below = self.below();
            let (place, done, head) = match &mut self.source {
                Source::Direct(scan, base) => match scan.advance()? {
                    Some(head) => (*base + head.offset, true, head),
                    None => return Ok(None),
                },
                Source::Before(base, until) => {
                    if base.has_come_to(until) {
                        self.begin();
                        continue;
                    }
                    return base.advance();
                }
                Source::Along(merge) => match merge.next(&self.line, &self.marks, below)? {
                    Step::Record { place, done, head } => (place, done, head),
                    Step::Wait(place) => {
                        self.position = self.position.max(place);
                        if self.leave_recorded()? {
                            continue;
                        }
                        return Ok(None);
                    }
                },
            };
            self.position = if done { place + 1 } else { place };
            if self.is_new(&head)? {
                return Ok(Some((place, head)));
            }
        }
    }

    /// Whether it stands where another reader of the same records stood, or behind.
    fn has_come_to(&self, start: &Start) -> bool {
        let seen = |mark: &Mark| {
            let own = self.marks().iter().find(|m| m.producer.task() == mark.producer.task());
            own.is_some_and(|own| own.next_seq >= mark.next_seq)
        };
        self.position() >= start.position && start.marks.iter().all(seen)
    }

    /// The line begins anew here.
    fn begin(&mut self) {
        if let Line::Anew(anew) = &*self.line {
            let start = anew.start(self.partition);
            self.source =
                Source::Along(Box::new(Merge::open(&self.log, anew, self.partition, start.position)));
            (self.position, self.marks) = (start.position, start.marks);
        }
    }

    /// Behind the end of the recorded line the generation's own topic is read as it stands, from the
    /// first record on that had no place before.
    fn leave_recorded(&mut self) -> Result<bool, JobError> {
        let Line::Anew(anew) = &*self.line else { return Ok(false) };
        let Some(end) = anew.end(self.partition).filter(|end| self.position >= *end) else {
            return Ok(false);
        };
        let maker = |m: &&Mark| !m.producer.stage.is_source();
        let (mut tasks, mut first) = (0, u64::MAX);
        for mark in self.marks.iter().filter(maker) {
            let own = mark.producer.generation == anew.id.generation;
            first = first.min(if own { mark.offset } else { 0 });
            tasks += 1;
        }
        if tasks < anew.ends.get().map_or(0, Vec::len) {
            // There are tasks of which nothing was seen yet.
            first = 0;
        }
        // What came from outside meanwhile had no place either.
        let heads = self.log.heads(anew.id, self.partition, self.log.start(anew.id, self.partition))?;
        let outside = heads.iter().find(|h| h.producer.stage.is_source());
        first = first.min(outside.map_or(u64::MAX, |h| h.base_offset));
        let scan = Scan::new(self.log.clone(), anew.id, self.partition, first, AT_A_TIME);
        self.source = Source::Direct(scan, end);
        self.position = end + first;
        Ok(true)
    }

    /// Whether a record was not seen before; it has been from now on.
    fn is_new(&mut self, head: &Head) -> Result<bool, JobError> {
        let (task, tick) = (head.producer.task(), Record::tick_of(self.bytes()));
        if self.marks.get(self.mark).is_none_or(|m| m.producer.task() != task) {
            let found = self.marks.iter().position(|m| m.producer.task() == task);
            self.mark = found.unwrap_or_else(|| {
                self.marks.push(Mark::nothing_of(task.in_generation(0)));
                self.marks.len() - 1
            });
        }
        let mark = &mut self.marks[self.mark];
        if head.seq > mark.next_seq {
            return Err(JobError::Gap {
                task,
                topic: self.line.topic(),
                upstream: head.producer,
                expected: mark.next_seq,
                found: head.seq,
            });
        }
        if head.seq < mark.next_seq {
            #[cfg(feature = "sabotage")]
            if weir_state::sabotage::is(weir_state::sabotage::Sabotage::ProvenanceOff) {
                return Ok(true);
            }
            return Ok(false);
        }
        let (producer, last, tick) = (head.producer, head.provenance, tick.unwrap_or(mark.tick));
        *mark = Mark { producer, offset: head.offset + 1, next_seq: head.seq + 1, last, tick };
        Ok(true)
    }

    /// The bytes of the record moved to last.
    pub fn bytes(&self) -> &[u8] {
        match &self.source {
            Source::Direct(scan, _) => scan.bytes(),
            Source::Along(merge) => merge.bytes(),
            Source::Before(base, _) => base.bytes(),
        }
    }
}
