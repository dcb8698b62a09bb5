//! Finding a guid in `raw`, and in what collect dropped.
//!
//! A batch whose bytes do not hold those of the guid is not looked into. A ULID names its own time: the
//! search begins at a cut before it, and goes back to the oldest record only if nothing is found.

use super::hit::{Hit, advertiser_of, guid_of};
use super::{Explainer, Searched};
use crate::error::JobError;
use crate::generations::{Cut, Cuts};
use crate::log::Log;
use memchr::memmem::Finder;
use weir_proto::{Guid, Record, StageId, TaskId, Topic, TopicId};

/// Records read at a time.
pub(super) const AT_A_TIME: u64 = 1 << 16;
/// How far the time of an event may be ahead of the pipeline's when it is taken in, in minutes.
const AHEAD: u32 = 2 * 60;

/// What is looked for.
#[derive(Clone, Copy)]
pub struct Wanted<'a> {
    /// The guid.
    pub guid: Guid<'a>,
    /// Only events of this advertiser.
    pub advertiser: Option<u64>,
}

impl Wanted<'_> {
    pub(crate) fn is(&self, record: &Record<'_>) -> bool {
        guid_of(record) == Some(self.guid)
            && (self.advertiser.is_none() || advertiser_of(record) == self.advertiser)
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        match self.guid {
            Guid::Ulid(id) => id.to_le_bytes().to_vec(),
            Guid::Text(text) => text.as_bytes().to_vec(),
        }
    }
}

/// What was found of a guid.
pub(super) struct FoundCopies {
    pub(super) raw: Vec<Hit>,
    pub(super) unread: Vec<Hit>,
    pub(super) searched: Vec<Searched>,
}

impl Explainer {
    /// Every copy in `raw`, and every line that collect could not take in and that holds the guid's text.
    pub(super) fn find(
        &self,
        wanted: Wanted<'_>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<FoundCopies, JobError> {
        let cut = self.cut_before(wanted.guid)?;
        let mut found = self.find_from(wanted, cut.as_ref(), None, progress)?;
        if found.raw.is_empty() && found.unread.is_empty() && cut.is_some() {
            let before = self.find_from(wanted, None, cut.as_ref(), progress)?;
            found.raw = before.raw;
            found.unread = before.unread;
            for (whole, part) in found.searched.iter_mut().zip(before.searched) {
                whole.from = part.from;
            }
        }
        found.raw.sort_by_key(|hit| hit.provenance);
        Ok(found)
    }

    fn find_from(
        &self,
        wanted: Wanted<'_>,
        from: Option<&Cut>,
        to: Option<&Cut>,
        progress: &mut dyn FnMut(u64),
    ) -> Result<FoundCopies, JobError> {
        let mut found = FoundCopies { raw: Vec::new(), unread: Vec::new(), searched: Vec::new() };
        let needle = wanted.bytes();
        for partition in 0..self.dir.partitions() {
            let topic = Topic::Raw.of(1);
            let (first, end) = self.bounds(topic, partition, from, to);
            let stretch = Stretch { topic, partition, from: first, to: end, of: None };
            found.raw.extend(self.scan(&stretch, &needle, &|r| wanted.is(r), progress)?);
            let oldest = self.log.start(topic, partition);
            found.searched.push(Searched { partition, from: first, to: end, oldest });
        }
        let topic = Topic::Dropped.of(1);
        let (first, end) = self.bounds(topic, 0, from, to);
        // In a group every worker has a collect of its own.
        let of = self.dir.is_of_one().then(|| self.dir.source(StageId::Collect));
        let stretch = Stretch { topic, partition: 0, from: first, to: end, of };
        let text = wanted.guid.to_string();
        let unread = |r: &Record<'_>| match r {
            Record::Dropped(d) => d.stage == StageId::Collect && holds(d.raw, text.as_bytes()),
            _ => false,
        };
        found.unread = self.scan(&stretch, text.as_bytes(), &unread, progress)?;
        Ok(found)
    }

    fn bounds(&self, topic: TopicId, partition: u32, from: Option<&Cut>, to: Option<&Cut>) -> (u64, u64) {
        let collects = self.dir.tasks_of(StageId::Collect);
        let at = |cut: &Cut, task: &TaskId| cut.of(*task).map(|m| m.mark(topic.topic, partition).offset);
        let from = from.map(|cut| collects.iter().filter_map(|task| at(cut, task)).min().unwrap_or(0));
        let to = to.and_then(|cut| collects.iter().filter_map(|task| at(cut, task)).max());
        let (start, end) = (self.log.start(topic, partition), self.log.high_watermark(topic, partition));
        (from.unwrap_or(0).max(start), to.unwrap_or(u64::MAX).min(end))
    }

    fn cut_before(&self, guid: Guid<'_>) -> Result<Option<Cut>, JobError> {
        cut_before(&Cuts::of(&self.dir, &self.registry, self.registry.published()), guid)
    }

    /// The wanted records of a stretch, of those batches that hold some bytes.
    pub(super) fn scan(
        &self,
        stretch: &Stretch,
        needle: &[u8],
        wanted: &dyn Fn(&Record<'_>) -> bool,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Hit>, JobError> {
        scan(&*self.log, stretch, needle, wanted, progress)
    }
}

/// A cut before anything with this guid can have come in.
pub(crate) fn cut_before(cuts: &Cuts<'_>, guid: Guid<'_>) -> Result<Option<Cut>, JobError> {
    let Some(minute) = guid.minute() else { return Ok(None) };
    let mut before = cuts.minutes()?.into_iter().rev().filter(|m| *m <= minute.minus(AHEAD));
    let found = before.find(|m| cuts.is_complete(*m));
    found.map(|minute| cuts.at(minute)).transpose()
}

/// The wanted records of a stretch, of those batches that hold some bytes.
pub(crate) fn scan(
    log: &dyn Log,
    stretch: &Stretch,
    needle: &[u8],
    wanted: &dyn Fn(&Record<'_>) -> bool,
    progress: &mut dyn FnMut(u64),
) -> Result<Vec<Hit>, JobError> {
    let (mut hits, mut next) = (Vec::new(), stretch.from);
    let finder = Finder::new(needle);
    while next < stretch.to {
        let found = log.read(stretch.topic, stretch.partition, next, AT_A_TIME, stretch.of)?;
        for batch in &found.batches {
            if finder.find(&batch.bytes).is_some() {
                hits.extend(Hit::all(stretch.topic, batch, |_, record| wanted(record))?);
            }
        }
        if found.next <= next {
            break;
        }
        progress(found.next - next);
        next = found.next;
    }
    Ok(hits)
}

/// A part of a partition.
pub(crate) struct Stretch {
    pub(crate) topic: TopicId,
    pub(crate) partition: u32,
    pub(crate) from: u64,
    pub(crate) to: u64,
    pub(crate) of: Option<TaskId>,
}

fn holds(raw: &[u8], text: &[u8]) -> bool {
    memchr::memmem::find(raw, text).is_some()
}
