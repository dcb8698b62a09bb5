//! The heads of what was appended lately, remembered while many tasks are opened at once: each looks for its own records
//! behind its checkpoint, in the same stretches of the same topics, and a cluster has no heads without the records.

use crate::log::{FrameHead, LogError};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Longer stretches are not remembered.
const MOST_RECORDS: u64 = 2_000_000;

/// A stretch of a partition.
struct Known {
    from: u64,
    to: u64,
    heads: Vec<FrameHead>,
}

type OfPartition = Arc<Mutex<Option<Known>>>;

#[derive(Default)]
struct State {
    /// How many want them to be remembered.
    wanted: usize,
    known: HashMap<(String, u32), OfPartition>,
}

/// The stretches that were read since somebody has wanted them to be remembered.
#[derive(Default)]
pub(crate) struct Heads(Mutex<State>);

impl Heads {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on what is read is remembered; or, once nobody wants that any more, all is forgotten.
    pub(crate) fn remember(&self, wanted: bool) {
        let mut state = self.state();
        state.wanted = if wanted { state.wanted + 1 } else { state.wanted.saturating_sub(1) };
        if state.wanted == 0 {
            state.known.clear();
        }
    }

    /// The heads of a stretch, of which only what is not remembered is read. Whoever wants the same meanwhile waits for that.
    pub(crate) fn read(
        &self,
        topic: &str,
        partition: u32,
        (from, to): (u64, u64),
        mut read: impl FnMut(u64, u64) -> Result<Vec<FrameHead>, LogError>,
    ) -> Result<Vec<FrameHead>, LogError> {
        let of_partition = match self.of(topic, partition) {
            Some(of) if to.saturating_sub(from) <= MOST_RECORDS => of,
            _ => return read(from, to),
        };
        let mut remembered = of_partition.lock().unwrap_or_else(PoisonError::into_inner);
        let joins = |known: &Known| from <= known.to && to >= known.from;
        let mut known = match remembered.take().filter(joins) {
            Some(known) => known,
            None => Known { from, to, heads: read(from, to)? },
        };
        if from < known.from {
            let mut heads = read(from, known.from)?;
            heads.append(&mut known.heads);
            (known.from, known.heads) = (from, heads);
        }
        if known.to < to {
            known.heads.extend(read(known.to, to)?);
            known.to = to;
        }
        let wanted = known.heads.iter().filter(|head| head.end() > from && head.base_offset < to);
        let wanted = wanted.copied().collect();
        *remembered = Some(known);
        Ok(wanted)
    }

    fn of(&self, topic: &str, partition: u32) -> Option<OfPartition> {
        let mut state = self.state();
        (state.wanted > 0).then(|| state.known.entry((topic.to_owned(), partition)).or_default().clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::log::NewBatch;
    use weir_proto::{Producer, Provenance, StageId};

    /// Batches of ten records.
    fn heads(from: u64, to: u64) -> Vec<FrameHead> {
        let producer = Producer { stage: StageId::Deduct, partition: 0, generation: 1 };
        let head = |at: u64| {
            let (count, last) = (10.min(to - at) as u32, Provenance { position: at, index: 0 });
            FrameHead::of(
                0,
                at,
                &NewBatch { producer, first_seq: at, count, last, bytes: Default::default() },
            )
        };
        (from..to).step_by(10).map(head).collect()
    }

    #[test]
    fn while_it_is_wanted_nothing_is_read_twice() {
        let (known, mut asked) = (Heads::default(), Vec::new());
        let mut read = |from, to| {
            let found = known.read("t", 0, (from, to), |from, to| {
                asked.push((from, to));
                Ok(heads(from, to))
            });
            found.unwrap().iter().map(|head| head.base_offset).collect::<Vec<_>>()
        };
        assert_eq!([read(100, 120), read(100, 120)], [[100, 110], [100, 110]]);
        known.remember(true);
        assert_eq!(read(100, 130), [100, 110, 120]);
        assert_eq!(read(100, 130), [100, 110, 120]);
        assert_eq!(read(80, 150), [80, 90, 100, 110, 120, 130, 140]);
        assert_eq!(read(115, 125), [110, 120]);
        assert_eq!(read(150, 150), [0; 0]);
        // It lies apart.
        assert_eq!(read(300, 310), [300]);
        known.remember(true);
        known.remember(false);
        assert_eq!(read(300, 310), [300]);
        known.remember(false);
        assert_eq!(read(300, 310), [300]);
        let first = [(100, 120), (100, 120), (100, 130), (80, 100), (130, 150), (300, 310)];
        assert_eq!(asked, [&first[..], &[(300, 310)]].concat());
    }

    #[test]
    fn what_fails_is_read_again() {
        let known = Heads::default();
        known.remember(true);
        let away = || LogError::Away { what: "read", topic: None };
        known.read("t", 0, (0, 10), |_, _| Err(away())).unwrap_err();
        assert_eq!(known.read("t", 0, (0, 10), |from, to| Ok(heads(from, to))).unwrap().len(), 1);
        known.read("t", 0, (0, 20), |_, _| Err(away())).unwrap_err();
        assert_eq!(known.read("t", 0, (0, 20), |from, to| Ok(heads(from, to))).unwrap().len(), 2);
    }
}
