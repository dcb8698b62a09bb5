//! What was appended and is not acknowledged yet, and where it stands once it is.

use super::Wake;
use crate::log::LogError;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use weir_proto::TopicId;

/// Ends that nobody has asked for are kept so many batches long.
const ENDS: usize = 4096;

/// A batch on its way.
struct UnderWay {
    topic: TopicId,
    partition: u32,
    ticket: u64,
}

#[derive(Default)]
struct OfTopic {
    issued: u64,
    under_way: BTreeSet<u64>,
    /// Ticket and end offset of what was delivered, by partition.
    ends: HashMap<u32, BTreeMap<u64, u64>>,
}

#[derive(Default)]
struct State {
    named: usize,
    batches: HashMap<usize, UnderWay>,
    topics: HashMap<TopicId, OfTopic>,
}

/// Batches by the names they were given.
pub(crate) struct Deliveries {
    state: Mutex<State>,
    failure: OnceLock<LogError>,
    wake: Wake,
}

impl Deliveries {
    pub(crate) fn new(wake: Wake) -> Self {
        Deliveries { state: Mutex::default(), failure: OnceLock::new(), wake }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A batch is to be appended; its ticket and its name, which is never 0.
    pub(crate) fn begin(&self, topic: TopicId, partition: u32) -> (u64, usize) {
        let mut state = self.state();
        let of = state.topics.entry(topic).or_default();
        of.issued += 1;
        let ticket = of.issued;
        of.under_way.insert(ticket);
        state.named += 1;
        let name = state.named;
        state.batches.insert(name, UnderWay { topic, partition, ticket });
        (ticket, name)
    }

    /// A batch is acknowledged, and what stands behind it begins at this offset.
    pub(crate) fn delivered(&self, name: usize, end: u64) {
        let mut state = self.state();
        let Some(UnderWay { topic, partition, ticket }) = state.batches.remove(&name) else { return };
        let of = state.topics.entry(topic).or_default();
        of.under_way.remove(&ticket);
        let ends = of.ends.entry(partition).or_default();
        ends.insert(ticket, end);
        if ends.len() > ENDS {
            ends.pop_first();
        }
        drop(state);
        self.wake.call();
    }

    /// The first one is the reason of the others.
    pub(crate) fn failed(&self, error: LogError) {
        let _ = self.failure.set(error);
        self.wake.call();
    }

    pub(crate) fn failure(&self) -> Option<LogError> {
        self.failure.get().cloned()
    }

    pub(crate) fn is_durable(&self, topic: TopicId, ticket: u64) -> bool {
        let state = self.state();
        state.topics.get(&topic).is_some_and(|of| of.under_way.first().is_none_or(|first| *first > ticket))
    }

    /// The end offset behind a batch that was delivered.
    pub(crate) fn end(&self, topic: TopicId, partition: u32, ticket: u64) -> Option<u64> {
        let mut state = self.state();
        state.topics.get_mut(&topic)?.ends.get_mut(&partition)?.remove(&ticket)
    }
}
