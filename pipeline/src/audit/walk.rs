//! The walk through one task: its input beside its outputs. Each event that went in must have come out
//! once, with the place of its input for provenance; at each tick the checkpoint must say where the walk
//! stands.

use super::accounts::Accounts;
use super::flights::Counts;
use super::outputs::Outputs;
use super::report::{Audit, Problem, Subject, guid_of};
use super::turns::{self, Piece, Position, Turn};
use super::{Auditor, stage_of, writes_of};
use crate::error::JobError;
use crate::input::{Head, LineReader, Start};
use weir_proto::{Minute, Outcome, Provenance, Record, StageId, TaskId, rpc};

/// Records after which it is another task's turn.
const TURN: u64 = 1 << 12;
/// Partitions that are read at once, over all tasks: of each some records are in memory.
const OPEN: usize = 4_096;

/// Why a walk ends early.
pub(super) enum Broken {
    Problem(Subject, Problem),
    Job(JobError),
}

impl<E: Into<JobError>> From<E> for Broken {
    fn from(error: E) -> Self {
        Broken::Job(error.into())
    }
}

impl Broken {
    /// Tells of it, if the others are walked through all the same.
    fn tell(self, task: TaskId, audit: &mut Audit) -> Result<(), JobError> {
        let (subject, problem) = match self {
            Broken::Problem(subject, problem) => (subject, problem),
            Broken::Job(error) => {
                let subject = match &error {
                    JobError::Log(_) | JobError::Batch(_) | JobError::Record(_) => Subject::Checksums,
                    JobError::Gap { .. } => Subject::Provenance,
                    _ => return Err(error),
                };
                let task = Some(task.to_string());
                (subject, Problem { problem: error.to_string(), task, minute: None, place: None })
            }
        };
        audit.problem(subject, problem);
        Ok(())
    }
}

/// Walks through the tasks of a stage; what is wrong goes to the audit.
pub(super) fn check(
    auditor: &Auditor,
    tasks: &[TaskId],
    audit: &mut Audit,
    progress: &mut dyn FnMut(u64),
) -> Result<(), JobError> {
    let at_once = (OPEN / auditor.dir.partitions() as usize).max(auditor.threads);
    for tasks in tasks.chunks(at_once) {
        let tours = tasks.iter().map(|task| Tour::of(auditor, *task));
        for tour in turns::finish(tours, auditor.threads, progress)? {
            audit.add(tour.walk.map_or(tour.unopened, |walk| walk.audit));
        }
    }
    Ok(())
}

/// The walk through a task, which is opened in its first turn.
struct Tour<'a> {
    auditor: &'a Auditor,
    task: TaskId,
    walk: Option<Walk<'a>>,
    /// Why it cannot be opened.
    unopened: Audit,
}

impl<'a> Tour<'a> {
    fn of(auditor: &'a Auditor, task: TaskId) -> Self {
        Tour { auditor, task, walk: None, unopened: Audit::new(&auditor.segment) }
    }
}

impl Piece for Tour<'_> {
    fn position(&self) -> Position {
        self.walk.as_ref().map_or((0, 0), |walk| walk.outputs.position())
    }

    fn go_on(&mut self) -> Result<Turn, JobError> {
        let more = match &mut self.walk {
            Some(walk) => walk.turn(),
            None => Walk::open(self.auditor, self.task).map(|walk| self.walk.insert(walk)).map(|_| true),
        };
        let records = self.walk.as_mut().map_or(0, |walk| std::mem::take(&mut walk.checked));
        let audit = self.walk.as_mut().map_or(&mut self.unopened, |walk| &mut walk.audit);
        audit.checked(Subject::Completeness, records);
        let more = more.or_else(|broken| broken.tell(self.task, audit).map(|()| false))?;
        Ok(Turn { records, more })
    }
}

/// A record that was read.
pub(super) struct Input {
    pub(super) head: Head,
    place: u64,
    pub(super) bytes: Vec<u8>,
}

pub(super) struct Walk<'a> {
    pub(super) auditor: &'a Auditor,
    /// What was found here.
    pub(super) audit: Audit,
    pub(super) task: TaskId,
    pub(super) generation: u32,
    pub(super) input: Option<LineReader>,
    pub(super) outputs: Outputs,
    pub(super) accounts: Option<Accounts>,
    at: Provenance,
    pub(super) last_tick: Minute,
    counts: Counts,
    checked: u64,
}

impl<'a> Walk<'a> {
    fn open(auditor: &'a Auditor, task: TaskId) -> Result<Self, Broken> {
        let start = auditor.segment.start(task);
        let last_tick = start.map_or(Minute(0), |m| m.minute);
        let mut walk = Walk {
            auditor,
            task,
            generation: 0,
            input: None,
            outputs: Outputs::open(auditor, task, start)?,
            accounts: None,
            at: start
                .map_or_else(Provenance::default, |m| Provenance { position: m.position, index: m.index }),
            last_tick,
            counts: Counts::default(),
            checked: 0,
            audit: Audit::new(&auditor.segment),
        };
        if task.stage == StageId::Deduct {
            walk.accounts = Some(match start {
                Some(manifest) => {
                    let (accounts, campaigns) = walk.accounts_at(manifest)?;
                    Accounts::from(accounts, campaigns)
                }
                None => Accounts::default(),
            });
        }
        let start = start.map(|m| Start { position: m.position, marks: m.marks.clone() });
        walk.enter(Minute(last_tick.0 + 1), start.unwrap_or_default());
        Ok(walk)
    }

    /// The generation that runs behind a minute goes on from here.
    fn enter(&mut self, minute: Minute, start: Start) {
        let generation = self.auditor.generation(self.task.stage, minute);
        if let Some(stage) = stage_of(self.task).filter(|_| generation != self.generation) {
            let line = self.auditor.registry.line(generation, stage.reads);
            let partition = u32::from(self.task.partition);
            self.input = Some(LineReader::open(self.auditor.log.clone(), line, partition, start));
        }
        self.generation = generation;
    }

    /// Whether there is more after this turn.
    fn turn(&mut self) -> Result<bool, Broken> {
        for _ in 0..TURN {
            let more = match self.input {
                Some(_) => self.fold()?,
                None => self.collected()?,
            };
            if !more {
                self.finish()?;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Where the walk stands in the segment: whether it ends at a tick.
    fn is_end(&self, tick: Minute) -> bool {
        self.auditor.segment.end_minute(self.task) == Some(tick)
    }

    /// One record of the input with what was made of it; whether there is more.
    fn fold(&mut self) -> Result<bool, Broken> {
        let Some(input) = self.next_input()? else { return Ok(false) };
        if input.place != self.at.position {
            self.at = Provenance { position: input.place, index: 0 };
        }
        self.checked += 1;
        match Record::decode(&input.bytes)? {
            Record::Tick(minute) if minute > self.last_tick => {
                self.tick(minute, Some(&input))?;
                Ok(!self.is_end(minute))
            }
            Record::Tick(_) => Ok(true),
            Record::Charge(charge) => {
                self.notices(charge.advertiser_id)?;
                Ok(true)
            }
            Record::Command(command) => {
                self.command(&input, &command.read()?)?;
                Ok(true)
            }
            _ => {
                self.one_output(Some(&input))?;
                self.outcome(&input)?;
                Ok(true)
            }
        }
    }

    /// Takes what a command moved, and its answer.
    fn command(&mut self, input: &Input, command: &rpc::Command) -> Result<(), Broken> {
        self.moved()?;
        self.one_output(Some(input))?;
        match Record::decode(self.outputs.bytes())? {
            Record::Answer(answer) if answer.key == command.key => {
                if let Some(accounts) = self.accounts.as_mut().filter(|_| answer.outcome == Outcome::Charged)
                {
                    accounts.done(command);
                }
                Ok(())
            }
            _ => {
                let problem = format!("it is not the answer to the command {}", command.key);
                Err(self.broken(Subject::Provenance, problem, self.output_place()))
            }
        }
    }

    /// Takes what was moved by no event: by a command, or by contracts at a tick.
    fn moved(&mut self) -> Result<(), Broken> {
        while self.outputs.peek()? == Some(self.at) {
            let Record::Charge(_) = Record::decode(self.outputs.next_bytes())? else { break };
            self.outputs.take()?;
            self.at.index += 1;
            self.audit.checked(Subject::Conservation, 1);
            let Record::Charge(charge) = Record::decode(self.outputs.bytes())? else { break };
            if let Some(Err(problem)) = self.accounts.as_mut().map(|a| a.moved(&charge)) {
                self.break_chain(problem);
            }
        }
        Ok(())
    }

    /// The balances are wrong from here on.
    fn break_chain(&mut self, problem: String) {
        self.accounts = None;
        let found = self.problem(problem, self.output_place());
        self.audit.problem(Subject::Conservation, found);
    }

    /// Takes what an advertiser was told; mostly nothing.
    fn notices(&mut self, advertiser_id: u64) -> Result<(), Broken> {
        // Records that share a place number their outputs on: what is next may be of the one behind.
        while self.outputs.peek()? == Some(self.at) {
            match Record::decode(self.outputs.next_bytes())? {
                Record::Notice(notice) if notice.advertiser_id == advertiser_id => {}
                _ => break,
            }
            self.outputs.take()?;
            self.at.index += 1;
        }
        Ok(())
    }

    /// The next record of the input, as far as the task has read.
    fn next_input(&mut self) -> Result<Option<Input>, Broken> {
        let Some(reader) = &mut self.input else { return Ok(None) };
        let end = self.auditor.segment.end(self.task);
        let Some((place, head)) = reader.advance()? else {
            let missing = end.and_then(|m| {
                let behind = |task: TaskId| {
                    let mark = reader.marks().iter().find(|mark| mark.producer.task() == task);
                    mark.map_or(0, |mark| mark.next_seq) < m.read_to(task)
                };
                m.marks.iter().find(|mark| behind(mark.producer.task())).map(|mark| mark.producer)
            });
            return match missing {
                None => Ok(None),
                Some(producer) => {
                    let topic = reader.topic();
                    let problem = format!(
                        "the log ends before what the task has read of {producer} in {topic}: records are \
                         missing at its end"
                    );
                    Err(self.broken(Subject::Completeness, problem, None))
                }
            };
        };
        if end.is_some_and(|m| head.seq >= m.read_to(head.producer.task())) {
            return Ok(None);
        }
        Ok(Some(Input { head, place, bytes: reader.bytes().to_vec() }))
    }

    /// One line or tick of collect, which reads no topic.
    fn collected(&mut self) -> Result<bool, Broken> {
        let Some(next) = self.outputs.peek()? else { return Ok(false) };
        self.at = Provenance { position: next.position, index: 0 };
        self.one_output(None)?;
        self.checked += 1;
        match Record::decode(self.outputs.bytes())? {
            Record::Tick(minute) => {
                self.tick(minute, None)?;
                Ok(!self.is_end(minute))
            }
            Record::Dropped(_) => {
                self.counts.accepted += 1;
                self.counts.dropped += 1;
                Ok(true)
            }
            _ => {
                self.counts.accepted += 1;
                Ok(true)
            }
        }
    }

    /// Takes the output that is due.
    fn one_output(&mut self, input: Option<&Input>) -> Result<(), Broken> {
        match self.outputs.peek()? {
            Some(next) if next == self.at => {
                self.outputs.take()?;
                self.at.index += 1;
                Ok(())
            }
            Some(next) if next < self.at => {
                self.outputs.take()?;
                Err(self.unfounded())
            }
            _ => {
                let place = input.map(|input| self.place_of(input));
                Err(self.broken(
                    Subject::Completeness,
                    "it has no outcome: nothing was made of it".to_owned(),
                    place,
                ))
            }
        }
    }

    /// Counts the output taken last, which must be of the event that went in.
    fn outcome(&mut self, input: &Input) -> Result<(), Broken> {
        let made = Record::decode(self.outputs.bytes())?;
        let (was, is) = (guid_of(&input.bytes), guid_of(self.outputs.bytes()));
        if was != is {
            let problem =
                format!("it is not of the event {} that its provenance names", was.unwrap_or_default());
            return Err(self.broken(Subject::Provenance, problem, self.output_place()));
        }
        match made {
            Record::Dropped(_) => self.counts.dropped += 1,
            Record::Charge(charge) => {
                match charge.outcome {
                    Outcome::Charged => self.counts.charged += 1,
                    Outcome::Refused(_) => self.counts.refused += 1,
                }
                self.audit.checked(Subject::Conservation, 1);
                if let (Record::Event(event), Some(accounts)) =
                    (Record::decode(&input.bytes)?, &mut self.accounts)
                    && let Err(problem) = accounts.decided(&event, &charge)
                {
                    self.break_chain(problem);
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// A tick came: it is handed on everywhere, and a checkpoint belongs to it.
    fn tick(&mut self, minute: Minute, input: Option<&Input>) -> Result<(), Broken> {
        self.moved()?;
        let partitions = self.auditor.dir.partitions() as usize;
        let taken = usize::from(input.is_none());
        for _ in taken..writes_of(self.task.stage).len() * partitions {
            self.one_output(input)?;
            if !matches!(Record::decode(self.outputs.bytes())?, Record::Tick(m) if m == minute) {
                let problem = format!("the tick of {minute} is due in its place");
                return Err(self.broken(Subject::Provenance, problem, self.output_place()));
            }
        }
        self.last_tick = minute;
        if self.auditor.segment.minutes().contains(&minute) {
            self.flush(Some(minute));
            if let Some(manifest) = self.auditor.manifest(self.task, minute)? {
                self.compare(&manifest);
                self.audit.checked(Subject::Digests, 1);
            }
        }
        if let Some(reader) = &self.input {
            let start = Start { position: reader.position(), marks: reader.marks().to_vec() };
            self.enter(Minute(minute.0 + 1), start);
        }
        Ok(())
    }

    pub(super) fn flush(&mut self, minute: Option<Minute>) {
        std::mem::take(&mut self.counts).add_to(self.audit.row(minute));
    }
}
