//! From a record to the one that a stage made of it: routing tells the partition, provenance the record.

use super::Explainer;
use super::find::AT_A_TIME;
use super::hit::{Hit, guid_of};
use super::model::Waits;
use crate::error::JobError;
use crate::flow::Stage;
use crate::input::{Line, LineReader, Start};
use weir_operators::partition;
use weir_proto::{Event, Guid, Minute, Producer, Provenance, Record, StageId, TaskId, Topic};

/// What a stage made of a record.
pub(super) enum Made {
    /// A record.
    Record(Hit),
    /// Nothing yet.
    Waits(Waits),
    /// A record that is past its retention.
    NotKept,
}

impl Explainer {
    /// The task that read a record, in the line of a generation.
    pub(super) fn reader(&self, generation: u32, stage: &Stage, hit: &Hit) -> Producer {
        let task = TaskId { stage: stage.id, partition: hit.partition as u16 };
        let mut id = self.registry.runs(generation, stage.id);
        while id > 1 {
            let cut = self.registry.cut(id);
            let read_before = cut.of(task).map_or(0, |m| m.read_to(hit.producer().task()));
            let Some((known, _)) = self.registry.get(id).filter(|_| hit.seq < read_before) else { break };
            id = self.registry.runs(known.base, stage.id);
        }
        task.in_generation(id)
    }

    /// What a task made of a record of its input.
    pub(super) fn made(&self, task: Producer, stage: &Stage, hit: &Hit) -> Result<Made, JobError> {
        let Some(event) = hit.event()? else { return Ok(Made::NotKept) };
        let position = self.meta(task)?.filter(|m| m.task == task).map_or(0, |m| m.position);
        let Some(place) = self.place(task, stage, hit)? else { return self.waits(task, stage, position) };
        let handed_on = (stage.writes[0], route(stage.id, &event, self.dir.partitions()));
        let dropped = (Topic::Dropped, u32::from(task.partition));
        for (topic, partition) in [handed_on, dropped] {
            if let Some(hit) = self.output(task, topic, partition, place, event.guid())? {
                return Ok(Made::Record(hit));
            }
        }
        if place < position { Ok(Made::NotKept) } else { self.waits(task, stage, position) }
    }

    fn waits(&self, task: Producer, stage: &Stage, position: u64) -> Result<Made, JobError> {
        let line = self.registry.line(task.generation, stage.reads);
        let marks = self.meta(task)?.map(|m| m.marks).unwrap_or_default();
        let start = Start { position, marks };
        let end = LineReader::open(self.log.clone(), line, u32::from(task.partition), start).end();
        Ok(Made::Waits(Waits { position, end }))
    }

    /// The place at which a task reads a record; none if it cannot have been read yet.
    fn place(&self, task: Producer, stage: &Stage, hit: &Hit) -> Result<Option<u64>, JobError> {
        let line = self.registry.line(task.generation, stage.reads);
        if matches!(&*line, Line::First(_)) {
            return Ok(Some(hit.offset));
        }
        // The recorded order is followed: only reading along it tells the place.
        let start = self.start_before(task, hit)?;
        let mut reader = LineReader::open(self.log.clone(), line, u32::from(task.partition), start);
        while let Some((place, head)) = reader.advance()? {
            if head.producer.task() == hit.producer().task() && head.seq >= hit.seq {
                return Ok((head.seq == hit.seq).then_some(place));
            }
        }
        Ok(None)
    }

    /// The newest known state of a task in which it had not read a record.
    fn start_before(&self, task: Producer, hit: &Hit) -> Result<Start, JobError> {
        let (checkpoints, maker) = (self.dir.checkpoints(), hit.producer().task());
        for minute in checkpoints.minutes(task.generation)?.into_iter().rev() {
            let manifest = checkpoints.manifest(task, minute)?;
            if let Some(m) = manifest.filter(|m| m.read_to(maker) <= hit.seq) {
                return Ok(Start { position: m.position, marks: m.marks });
            }
        }
        Ok(self.registry.cut(task.generation).start(task.task()))
    }

    /// The output of a task with this place for provenance.
    fn output(
        &self,
        task: Producer,
        topic: Topic,
        partition: u32,
        place: u64,
        guid: Guid<'_>,
    ) -> Result<Option<Hit>, JobError> {
        let topic = topic.of(task.generation);
        let wanted = Provenance { position: place, index: 0 };
        let start = self.log.start(topic, partition);
        for head in self.log.heads(topic, partition, start)? {
            if head.producer != task || head.last < wanted {
                continue;
            }
            let batches = self.log.read(topic, partition, head.base_offset, 1, None)?.batches;
            let Some(batch) = batches.first() else { break };
            let is = |p: Provenance, r: &Record<'_>| p.position == place && guid_of(r) == Some(guid);
            if let Some(hit) = Hit::all(topic, batch, is)?.into_iter().next() {
                return Ok(Some(hit));
            }
            if head.last.position > place {
                break;
            }
        }
        Ok(None)
    }

    /// The first tick behind a record, of the task that made it: it hands each one on everywhere.
    pub(super) fn tick_behind(&self, hit: &Hit) -> Result<Option<Minute>, JobError> {
        let (topic, task) = (hit.topic, hit.producer());
        let (mut next, end) = (hit.offset, self.log.high_watermark(topic, hit.partition));
        while next < end {
            let found = self.log.read(topic, hit.partition, next, AT_A_TIME, Some(task.task()))?;
            for batch in &found.batches {
                let is_behind =
                    |p: Provenance, r: &Record<'_>| p > hit.provenance && matches!(r, Record::Tick(_));
                if let Some(Record::Tick(minute)) =
                    Hit::all(topic, batch, is_behind)?.first().map(Hit::record).transpose()?
                {
                    return Ok(Some(minute));
                }
            }
            if found.next <= next {
                break;
            }
            next = found.next;
        }
        Ok(None)
    }
}

fn route(stage: StageId, event: &Event<'_>, partitions: u32) -> u32 {
    match stage {
        StageId::AntiBrush => partition::by_user(event, partitions),
        _ => partition::by_advertiser(event.advertiser_id(), partitions),
    }
}
