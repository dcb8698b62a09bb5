//! New records in a recorded order.
//!
//! Walking the recorded partition, at each record of upstream task *u* with provenance *p* the new
//! records of *u* up to and including *p* are read; the walk waits until *u* has passed *p*. What comes
//! from outside is read where it stands. The place of a record read so is the offset of the recorded
//! one, so that positions stay comparable between generations.

use super::content::Content;
use super::line::Anew;
use super::scan::{Head, Scan};
use super::{Line, LineReader};
use crate::error::JobError;
use crate::log::Log;
use std::sync::Arc;
use weir_proto::{Minute, Producer, Provenance, Record, TaskId};
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
    /// Of a line that was begun anew only behind: those of its base, up to where its readers stood then.
    Before {
        base: Box<Places>,
        until: u64,
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
        let begun = anew.start(partition).position;
        if from < begun {
            let (log_, line) = (log.clone(), line.clone());
            return Places::Before {
                base: Box::new(Places::open(log, &anew.base, partition, from)),
                until: begun,
                anew: Box::new(move || Places::open(&log_, &line, partition, begun)),
            };
        }
        let start = anew.start_before(partition, from);
        let reader = LineReader::open(log.clone(), line.clone(), partition, start);
        Places::Anew { reader: Box::new(reader), from }
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
                    Some((place, head)) if place < *until => return Ok(Some((place, head))),
                    None if base.position() < *until => return Ok(None),
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
            contents: Vec::new(),
            current: Current::Place,
        }
    }

    /// The next record, given what was seen of each upstream task.
    pub(super) fn next(&mut self, line: &Line, marks: &[Mark]) -> Result<Step, JobError> {
        loop {
            let Some(Pending { place, task, upto, tick }) = self.pending else {
                let Some((place, head)) = self.places.next()? else {
                    return Ok(Step::Wait(self.places.position()));
                };
                if head.producer.stage.is_source() {
                    self.current = Current::Place;
                    return Ok(Step::Record { place, done: true, head });
                }
                let (task, tick) = (head.producer.task(), Record::tick_of(self.places.bytes()));
                self.pending = Some(Pending { place, task, upto: head.provenance, tick });
                continue;
            };
            let at = self.content_of(task, line, marks);
            match self.contents[at].1.peek()? {
                None => return Ok(Step::Wait(place)),
                Some(head) if head.provenance > upto => self.pending = None,
                Some(head) => {
                    self.contents[at].1.take()?;
                    self.current = Current::Content(at);
                    // Behind its tick of the same minute nothing more of a task belongs here, even if it made
                    // less than was recorded and so counted less far.
                    let same_tick = tick.is_some() && Record::tick_of(self.contents[at].1.bytes()) >= tick;
                    let done = head.provenance == upto || same_tick;
                    if done {
                        self.pending = None;
                    }
                    return Ok(Step::Record { place, done, head });
                }
            }
        }
    }

    fn content_of(&mut self, task: TaskId, line: &Line, marks: &[Mark]) -> usize {
        if let Some(at) = self.contents.iter().position(|(t, _)| *t == task) {
            return at;
        }
        let mark =
            marks.iter().find(|m| m.producer.task() == task).copied().unwrap_or_else(|| nothing_of(task));
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

/// The mark of a task of which nothing was seen.
pub(super) fn nothing_of(task: TaskId) -> Mark {
    let producer = Producer { stage: task.stage, partition: task.partition, generation: 0 };
    Mark { producer, offset: 0, next_seq: 0, last: Provenance::default() }
}
