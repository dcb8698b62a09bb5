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
use weir_proto::{Minute, Record, StageId, TaskId, Topic};
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
    pub(super) fn of(row: &MinuteRow) -> Self {
        Counts { accepted: row.accepted, charged: row.charged, refused: row.refused, dropped: row.dropped }
    }

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
    let before = match segment.from() {
        Some(cut) if !is_summable(auditor, cut) => {
            audit.not_summed.extend(audit.minutes.drain(..).filter_map(|row| row.minute));
            return Ok(());
        }
        from => from.map_or(Ok(0), |cut| in_flight(auditor, cut))?,
    };
    let mut rows = std::mem::take(&mut audit.minutes);
    rows.sort_by_key(|row| row.minute.unwrap_or(Minute(u32::MAX)));
    let mut sum = MinuteRow { in_flight_before: before, ..MinuteRow::default() };
    for row in rows {
        Counts::of(&row).add_to(&mut sum);
        sum.minute = row.minute;
        let at = match row.minute {
            None => segment.to().clone(),
            Some(minute) => cut(auditor, minute)?,
        };
        if !is_summable(auditor, &at) {
            // It is in the sum of the next one.
            audit.not_summed.extend(row.minute);
            continue;
        }
        sum.in_flight = in_flight(auditor, &at)?;
        compare(&mut sum, audit);
        audit.minutes.push(sum.clone());
    }
    Ok(())
}

/// Sees whether all that was accepted is decided or on the way.
fn compare(sum: &mut MinuteRow, audit: &mut Audit) {
    let outcomes = sum.charged + sum.refused + sum.dropped + sum.parked + sum.in_flight;
    sum.difference = i128::from(sum.accepted + sum.in_flight_before) - i128::from(outcomes);
    if sum.difference != 0 && audit.holds(Subject::Completeness) {
        let problem = format!(
            "{} events were accepted and {} were on the way; {outcomes} are charged, refused, dropped or on the way",
            sum.accepted, sum.in_flight_before
        );
        let problem = Problem { problem, task: None, minute: sum.minute, place: None };
        audit.problem(Subject::Completeness, problem);
    }
}

/// Whether nothing was read of what a collect took in behind its checkpoint in a cut: of a worker that was away then the
/// others may have read more than is counted as accepted.
fn is_summable(auditor: &Auditor, cut: &Cut) -> bool {
    let readers = cut.manifests().iter().filter(|m| m.task.stage == StageId::AntiBrush);
    let mut marks = readers.flat_map(|m| m.marks.iter().map(|mark| (mark, u32::from(m.task.partition))));
    !auditor.dir.is_whole()
        || marks.all(|(mark, partition)| {
            mark.next_seq <= cut.next_seq(mark.producer.task(), Topic::Raw, partition)
        })
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
