//! Where a source that seldom appends is about to, said before it does. After a crash only there it is looked for what stands
//! in its topic and its store does not know of: elsewhere there can be nothing, however many records of others there are.
//!
//! In the source's store, table 9: `appends` → [`Announced`], as `version u8 = 1, postcard`.

use crate::error::JobError;
use crate::log::Log;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use weir_state::{Commit, Durability, Store, TaskMeta, versioned};

const TABLE: u8 = 9;
const KEY: &[u8] = b"appends";
const VERSION: u8 = 1;

#[derive(Serialize, Deserialize)]
struct Announced {
    /// Of which generation's topic.
    generation: u32,
    /// Partitions, and where they ended when it was said.
    from: BTreeMap<u32, u64>,
}

/// For a source that is opened, or enters a generation: moves the ends that it knows behind all that cannot be its own. A
/// source that has announced nothing yet may have a record anywhere. One that was on its way to another generation had
/// committed all that it had in this one.
pub(super) fn pass_over(store: &Store, log: &dyn Log, meta: &mut TaskMeta) -> Result<(), JobError> {
    let Some(bytes) = store.get(TABLE, KEY)? else { return Ok(()) };
    let announced: Announced = versioned::decode(store, VERSION, "what a source has announced", &bytes)?;
    let is_there = announced.generation == meta.task.generation;
    let (topic, output) = &mut meta.outputs[0];
    let topic = topic.of(meta.task.generation);
    for (partition, end) in (0..).zip(&mut output.ends) {
        let from = match announced.from.get(&partition).filter(|_| is_there) {
            Some(from) => *from,
            None => log.find_end(topic, partition)?,
        };
        *end = from.max(*end);
    }
    Ok(())
}

/// Says, durably, in which partitions the source is about to append.
pub(super) fn announce(
    store: &Store,
    log: &dyn Log,
    meta: &TaskMeta,
    partitions: impl Iterator<Item = u32>,
) -> Result<(), JobError> {
    let (topic, output) = &meta.outputs[0];
    let topic = topic.of(meta.task.generation);
    // While the log is away nobody knows its end: what is known is below.
    let from = |p: u32| log.find_end(topic, p).unwrap_or(0).max(output.ends[p as usize]);
    save(store, meta, partitions.map(|partition| (partition, from(partition))).collect())
}

/// For a source that has looked for what stands: the next time it is known.
pub(super) fn looked(store: &Store, meta: &TaskMeta) -> Result<(), JobError> {
    match store.get(TABLE, KEY)? {
        Some(_) => Ok(()),
        None => save(store, meta, BTreeMap::new()),
    }
}

/// Adds to a commit that what was announced is committed.
pub(super) fn is_done(meta: &TaskMeta, commit: &mut Commit) {
    stage(meta, BTreeMap::new(), commit);
}

fn save(store: &Store, meta: &TaskMeta, from: BTreeMap<u32, u64>) -> Result<(), JobError> {
    let mut commit = Commit::new(meta.commits);
    stage(meta, from, &mut commit);
    Ok(store.commit(commit, Durability::Disk)?)
}

fn stage(meta: &TaskMeta, from: BTreeMap<u32, u64>, commit: &mut Commit) {
    let announced = Announced { generation: meta.task.generation, from };
    commit.put(TABLE, KEY, &versioned::encode(VERSION, &announced));
}

/// The store of a source that was never there before: nothing that stands in its topics is its own.
pub fn begin_at_end(store: &Store, log: &dyn Log, mut meta: TaskMeta) -> Result<(), JobError> {
    for (topic, output) in &mut meta.outputs {
        let topic = topic.of(meta.task.generation);
        for (partition, end) in (0..).zip(&mut output.ends) {
            *end = log.find_end(topic, partition)?;
        }
    }
    let mut commit = Commit::new(meta.commits);
    commit.put_meta(&meta);
    stage(&meta, BTreeMap::new(), &mut commit);
    Ok(store.commit(commit, Durability::Disk)?)
}
