//! A tap under way: the wanted records of a topic, shown one by one to whoever asks.

use super::{Cursor, Filter, From, Personal, Resume, Row, TapError, Until};
use crate::data_dir::DataDir;
use crate::generations::Registry;
use crate::log::TopicReader;
use std::ops::ControlFlow;
use std::time::Duration;
use weir_proto::{Topic, TopicId};

/// How often it is looked whether there is more.
pub const POLL: Duration = Duration::from_millis(200);

/// What is wanted of a topic.
#[derive(Clone, Debug)]
pub struct Wanted {
    /// Which topic.
    pub topic: Topic,
    /// Where to begin.
    pub from: From,
    /// Where to end.
    pub until: Option<Until>,
    /// Whether to wait for more at the end, also with a limit.
    pub follow: bool,
    /// How many records.
    pub limit: Option<u64>,
    /// Of which generation; the published one if not given.
    pub generation: Option<u32>,
    /// Of which partition; all if not given.
    pub partition: Option<u32>,
    /// Only records for which this is true.
    pub filter: Option<String>,
    /// Also what is there for the job alone.
    pub ticks: bool,
}

impl Wanted {
    /// The topic of the generation that is asked for, or of the one that makes its records in the published line.
    pub fn topic_in(&self, dir: &DataDir) -> Result<TopicId, TapError> {
        let registry = Registry::open(dir)?;
        let known = registry.all().iter().any(|(g, _)| Some(g.id) == self.generation);
        let id = match self.generation {
            Some(id) if !known => {
                let text = format!("there is no generation {id}: `weir generation list` shows them");
                return Err(TapError::NotThere(text));
            }
            Some(id) => id,
            None => registry.writes(registry.published(), self.topic),
        };
        Ok(self.topic.of(id))
    }

    /// Whether it ends by itself, rather than wait for more.
    fn ends(&self) -> bool {
        self.until.is_some() || (self.limit.is_some() && !self.follow)
    }
}

/// A tap under way.
pub struct Tapping {
    wanted: Wanted,
    reader: TopicReader,
    cursors: Vec<Cursor>,
    filter: Option<Filter>,
    personal: Personal,
    /// Records that may still be shown.
    left: u64,
}

impl Tapping {
    /// Stands at the beginning of what is wanted, or where a tap before it ended.
    pub fn open(
        dir: &DataDir,
        wanted: Wanted,
        topic: TopicId,
        personal: Personal,
        resume: Option<&Resume>,
    ) -> Result<Self, TapError> {
        let filter = wanted.filter.as_ref().map(|source| Filter::new(wanted.topic, source)).transpose()?;
        let reader = TopicReader::open(&dir.topics(), topic)?;
        let partitions = match wanted.partition {
            Some(p) if p >= dir.partitions() => {
                let text = format!("there are {} partitions, counted from 0", dir.partitions());
                return Err(TapError::NotThere(text));
            }
            Some(p) => p..p + 1,
            None => 0..reader.partitions(),
        };
        // A limit alone ends where the topic ends, too.
        let until = wanted.until.or(wanted.ends().then_some(Until::End));
        let mut cursors = Vec::new();
        for partition in partitions {
            let resume = resume.map(|r| r.next(partition, reader.offsets(partition))).transpose()?;
            cursors.push(Cursor::new(&reader, partition, (wanted.from, until), resume.flatten())?);
        }
        let left = wanted.limit.unwrap_or(u64::MAX);
        Ok(Tapping { wanted, reader, cursors, filter, personal, left })
    }

    /// How many partitions it goes through.
    pub fn partitions(&self) -> usize {
        self.cursors.len()
    }

    /// Shows the next records of the partition with this index; whether there may be more of them.
    pub fn stretch(
        &mut self,
        at: usize,
        mut show: impl FnMut(&Row) -> Result<(), TapError>,
    ) -> Result<bool, TapError> {
        let Tapping { wanted, reader, cursors, filter, personal, left } = self;
        cursors[at].advance(reader, |found| {
            if found.is_internal() && !wanted.ticks {
                return Ok(ControlFlow::Continue(()));
            }
            let row = Row::new(wanted.topic, &found, personal);
            if let Some(filter) = filter
                && !filter.accepts(&row.value())?
            {
                return Ok(ControlFlow::Continue(()));
            }
            show(&row)?;
            *left -= 1;
            Ok(if *left == 0 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
        })
    }

    /// Whether as many records were shown as are wanted.
    pub fn is_full(&self) -> bool {
        self.left == 0
    }

    /// Whether it ends once every partition was gone through.
    pub fn ends(&self) -> bool {
        self.wanted.ends()
    }

    /// Waits a moment, and sees what has come meanwhile.
    pub fn refresh(&mut self) -> Result<(), TapError> {
        std::thread::sleep(POLL);
        Ok(self.reader.refresh()?)
    }

    /// Each partition and where to go on in it.
    pub fn positions(&self) -> impl Iterator<Item = (u32, u64)> {
        self.cursors.iter().map(|c| (c.partition(), c.position()))
    }
}
