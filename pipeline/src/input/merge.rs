//! New records in a recorded order.
//!
//! Walking the recorded partition, at each record of upstream task *u* with provenance *p* the new
//! records of *u* up to and including *p* are read; the walk waits until *u* has passed *p*. What comes
//! from outside is read where it stands. The place of a record read so is the offset of the recorded
//! one, so that positions stay comparable between generations.
//!
//! Where the recorded line was made along another one, records of it may share a place. They are of one
//! task, so the place is filled up to the last of them. It is done when the recorded line is behind it;
//! a reader that is opened again within it passes over what it has filled already.

use super::content::Content;
use super::line::Anew;
use super::scan::{Head, Scan};
use super::{Line, LineReader, Start};
use crate::error::JobError;
use crate::log::Log;
use std::sync::Arc;
use weir_proto::{Minute, Provenance, Record, TaskId};
use weir_state::Mark;

/// Recorded records fetched at a time.
const AT_A_TIME: u64 = 4_096;

/// The records of a recorded line from a place on, as they stood there.
pub(super) enum Places {
    First(Scan),
    Anew {
        reader: Box<LineReader>,
        from: u64,
    },
    /// Of a line that was begun anew only behind: those of its base, up to where its reader stood then.
    Before {
        base: Box<Places>,
        until: Start,
        anew: Box<dyn FnOnce() -> Places + Send>,
    },
    /// While one takes the place of another.
    Nothing,
}

impl Places {
    pub(super) fn open(log: &Arc<dyn Log>, line: &Arc<Line>, partition: u32, from: u64) -> Self {
        let anew = match &**line {
            Line::First(id) => return Places::First(Scan::new(log.clone(), *id, partition, from, AT_A_TIME)),
            Line::Anew(anew) => anew,
        };
        let until = anew.start(partition);
        let reader = |start| Box::new(LineReader::open(log.clone(), line.clone(), partition, start));
        if from > until.position {
            return Places::Anew { reader: reader(anew.start_before(partition, from)), from };
        }
        let base = Box::new(Places::open(log, &anew.base, partition, from));
        let (log, line, start) = (log.clone(), line.clone(), until.clone());
        let anew = move || {
            let from = start.position;
            Places::Anew { reader: Box::new(LineReader::open(log, line, partition, start)), from }
        };
        Places::Before { base, until, anew: Box::new(anew) }
    }

    /// The next record with its place.
    pub(super) fn next(&mut self) -> Result<Option<(u64, Head)>, JobError> {
        loop {
            match self {
                Places::First(scan) => return Ok(scan.advance()?.map(|head| (head.offset, head))),
                Places::Anew { reader, from } => match reader.advance()? {
                    Some((place, _)) if place < *from => {}
                    other => return Ok(other),
                },
                Places::Before { base, until, .. } => match base.next()? {
                    Some((place, head)) if is_before(place, &head, until) => return Ok(Some((place, head))),
                    None if base.position() < until.position => return Ok(None),
                    _ => {
                        if let Places::Before { anew, .. } = std::mem::replace(self, Places::Nothing) {
                            *self = anew();
                        }
                    }
                },
                Places::Nothing => return Ok(None),
            }
        }
    }

    pub(super) fn position(&self) -> u64 {
        match self {
            Places::First(scan) => scan.position(),
            Places::Anew { reader, .. } => reader.position(),
            Places::Before { base, .. } => base.position(),
            Places::Nothing => 0,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self {
            Places::First(scan) => scan.bytes(),
            Places::Anew { reader, .. } => reader.bytes(),
            Places::Before { base, .. } => base.bytes(),
            Places::Nothing => &[],
        }
    }

    /// The place behind the newest recorded record.
    pub(super) fn end(&self) -> u64 {
        match self {
            Places::First(scan) => scan.position() + scan.backlog(),
            Places::Anew { reader, .. } => reader.end(),
            Places::Before { base, .. } => base.end(),
            Places::Nothing => 0,
        }
    }
}

/// Whether a reader that stood there had seen a record: of those that share its place, some.
fn is_before(place: u64, head: &Head, start: &Start) -> bool {
    let seen = || mark_of(&start.marks, head.producer.task()).is_some_and(|m| head.seq < m.next_seq);
    place < start.position || place == start.position && seen()
}

fn mark_of(marks: &[Mark], task: TaskId) -> Option<&Mark> {
    marks.iter().find(|m| m.producer.task() == task)
}

/// A place being filled.
#[derive(Clone, Copy)]
struct Pending {
    place: u64,
    task: TaskId,
    /// Up to where.
    upto: Provenance,
    /// The minute, if a tick stands there.
    tick: Option<Minute>,
}

impl Pending {
    /// Whether nothing more belongs there: the task has come as far, or to its tick of the same minute,
    /// even if it made less than was recorded and so counted less far.
    fn is_filled(&self, marks: &[Mark]) -> bool {
        let is_past =
            |m: &Mark| m.next_seq > 0 && m.last >= self.upto || self.tick.is_some_and(|t| m.tick >= t);
        mark_of(marks, self.task).is_some_and(is_past)
    }
}

enum Current {
    Place,
    Content(usize),
}

/// A walk along a recorded partition.
pub(super) struct Merge {
    log: Arc<dyn Log>,
    partition: u32,
    places: Places,
    /// The place being filled.
    pending: Option<Pending>,
    /// A recorded record whose place is not to be read yet.
    held: Option<(u64, Head)>,
    contents: Vec<(TaskId, Content)>,
    current: Current,
}

/// What a step of the walk came to.
pub(super) enum Step {
    /// A record, at a place; whether the place is done with it.
    Record { place: u64, done: bool, head: Head },
    /// It is not known yet what comes here; everything below this place is done.
    Wait(u64),
}

impl Merge {
    pub(super) fn open(log: &Arc<dyn Log>, anew: &Anew, partition: u32, from: u64) -> Self {
        Merge {
            log: log.clone(),
            partition,
            places: Places::open(log, &anew.recorded, partition, from),
            pending: None,
            held: None,
            contents: Vec::new(),
            current: Current::Place,
        }
    }

    /// The next record below a place, given what was seen of each upstream task.
    pub(super) fn next(&mut self, line: &Line, marks: &[Mark], below: u64) -> Result<Step, JobError> {
        loop {
            let Some(pending) = self.pending.filter(|p| !p.is_filled(marks)) else {
                self.pending = None;
                if self.held.is_none() && self.places.position() < below {
                    self.held = self.places.next()?;
                }
                let Some((place, head)) = self.held.take_if(|(place, _)| *place < below) else {
                    return Ok(Step::Wait(self.places.position().min(below)));
                };
                if head.producer.stage.is_source() {
                    self.current = Current::Place;
                    return Ok(Step::Record { place, done: true, head });
                }
                let (task, tick) = (head.producer.task(), Record::tick_of(self.places.bytes()));
                self.pending = Some(Pending { place, task, upto: head.provenance, tick });
                continue;
            };
            let at = self.content_of(pending.task, line, marks);
            let content = &mut self.contents[at].1;
            match content.peek()? {
                None => return Ok(Step::Wait(pending.place)),
                Some(head) if head.provenance > pending.upto => self.pending = None,
                Some(head) => {
                    content.take()?;
                    self.current = Current::Content(at);
                    let tick = Record::tick_of(content.bytes());
                    let filled =
                        head.provenance == pending.upto || pending.tick.is_some() && tick >= pending.tick;
                    let done = filled && self.places.position() > pending.place;
                    return Ok(Step::Record { place: pending.place, done, head });
                }
            }
        }
    }

    fn content_of(&mut self, task: TaskId, line: &Line, marks: &[Mark]) -> usize {
        if let Some(at) = self.contents.iter().position(|(t, _)| *t == task) {
            return at;
        }
        let mark = mark_of(marks, task).copied().unwrap_or_else(|| Mark::nothing_of(task.in_generation(0)));
        self.contents.push((task, Content::open(self.log.clone(), line, self.partition, &mark)));
        self.contents.len() - 1
    }

    pub(super) fn places(&self) -> &Places {
        &self.places
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match self.current {
            Current::Place => self.places.bytes(),
            Current::Content(at) => self.contents[at].1.bytes(),
        }
    }
}
