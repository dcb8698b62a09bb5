//! The sums per minute: what was taken in is decided or on the way.
//!
//! What was decided is counted by the walk through each task. What is on the way at a cut is counted
//! apart from that: the records between what a task had handed on at the cut and what its reader had
//! read of it then.

use super::Auditor;
use super::report::{Audit, MinuteRow, Problem, Subject};
use crate::error::JobError;
use crate::flow::{self, FLOW};
use crate::generations::Cut;
use crate::input::Content;
use weir_proto::{Minute, Record, TaskId, Topic};
use weir_state::{Manifest, Mark};

/// What became of records between two ticks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) accepted: u64,
    pub(super) charged: u64,
    pub(super) refused: u64,
    pub(super) dropped: u64,
}

impl Counts {
    pub(super) fn add_to(self, row: &mut MinuteRow) {
        row.accepted += self.accepted;
        row.charged += self.charged;
        row.refused += self.refused;
        row.dropped += self.dropped;
    }
}

/// Adds the counts of each minute up and sees whether they agree.
pub(super) fn check(auditor: &Auditor, audit: &mut Audit) -> Result<(), JobError> {
    if !audit.holds(Subject::Completeness) || !audit.holds(Subject::Checksums) {
        // Where a walk had to end, nothing can be summed up; that was said.
        audit.minutes.clear();
        return Ok(());
    }
    let segment = &auditor.segment;
    if !segment.ends_at_once() {
        // What a worker that is away took in behind its last checkpoint is decided, and not counted as accepted.
        audit.minutes.clear();
        return Ok(());
    }
    let before = segment.from().map_or(Ok(0), |cut| in_flight(auditor, cut))?;
    let mut rows = std::mem::take(&mut audit.minutes);
    rows.sort_by_key(|row| row.minute.unwrap_or(Minute(u32::MAX)));
    let mut sum = MinuteRow { in_flight_before: before, ..MinuteRow::default() };
    for row in rows {
        let counts = Counts {
            accepted: row.accepted,
            charged: row.charged,
            refused: row.refused,
            dropped: row.dropped,
        };
        counts.add_to(&mut sum);
        sum.minute = row.minute;
        sum.in_flight = match row.minute {
            None => in_flight(auditor, segment.to())?,
            Some(minute) => in_flight(auditor, &cut(auditor, minute)?)?,
        };
        let outcomes = sum.charged + sum.refused + sum.dropped + sum.parked + sum.in_flight;
        sum.difference = i128::from(sum.accepted + before) - i128::from(outcomes);
        if sum.difference != 0 && audit.holds(Subject::Completeness) {
            let problem = format!(
                "{} events were accepted and {before} were on the way; {outcomes} are charged, refused, \
                 dropped or on the way",
                sum.accepted
            );
            let problem = Problem { problem, task: None, minute: row.minute, place: None };
            audit.problem(Subject::Completeness, problem);
        }
        audit.minutes.push(sum.clone());
    }
    Ok(())
}

fn cut(auditor: &Auditor, minute: Minute) -> Result<Cut, JobError> {
    let mut manifests = Vec::new();
    for task in auditor.dir.cut_tasks() {
        manifests.extend(auditor.manifest(task, minute)?);
    }
    Ok(Cut::new(manifests))
}

/// Records on the way at a cut: handed on and not read yet.
fn in_flight(auditor: &Auditor, cut: &Cut) -> Result<u64, JobError> {
    let mut count = 0;
    // What stands in `charges` is decided.
    for stage in FLOW.iter().filter(|s| s.reads != Topic::Charges) {
        for reader in auditor.dir.tasks_of(stage.id) {
            let Some(reader) = cut.of(reader) else { continue };
            for maker in auditor.dir.tasks_of(flow::maker(stage.reads)) {
                if let Some(maker) = cut.of(maker) {
                    count += between(auditor, stage.reads, maker, reader)?;
                }
            }
        }
    }
    Ok(count)
}

fn between(auditor: &Auditor, topic: Topic, maker: &Manifest, reader: &Manifest) -> Result<u64, JobError> {
    let (task, partition): (TaskId, u32) = (maker.task.task(), u32::from(reader.task.partition));
    let end = maker.next_seq(topic, partition);
    let first = || Mark::nothing_of(task.in_generation(0));
    let mark = reader.marks.iter().find(|m| m.producer.task() == task).copied().unwrap_or_else(first);
    if mark.next_seq >= end {
        return Ok(0);
    }
    let line = auditor.registry.outputs(auditor.published, task.stage, topic);
    let mut content = Content::open(auditor.log.clone(), &line, partition, &mark);
    let mut count = 0;
    while let Some(head) = content.take()?.filter(|head| head.seq < end) {
        count += u64::from(match Record::decode(content.bytes())? {
            Record::Tick(_) => false,
            // Of what deduct hands on, only the outcomes of events.
            Record::Charge(charge) => charge.kind.is_event(),
            _ => true,
        });
        if head.seq + 1 == end {
            break;
        }
    }
    Ok(count)
}
