//! The checkpoints of a minute are one consistent cut: all of them are there, no task had read what the task
//! above it had not handed on, and their digests are those of what stands in the log.

use super::Records;
use crate::run::Broken;
use crate::world::World;
use weir_operators::outbox::digest_of;
use weir_pipeline::flow::{self, FLOW};
use weir_pipeline::generations::{Cut, Cuts};
use weir_proto::Producer;
use weir_state::{Manifest, TaskMeta};

/// Checks the published line, and where every task stands in the end.
pub fn are_consistent(world: &World, records: &Records) -> Result<(), Broken> {
    let text = |e: weir_pipeline::error::JobError| e.to_string();
    let cuts = Cuts::of(&world.dir, &world.registry, world.registry.published());
    for minute in cuts.minutes().map_err(text)? {
        let missing = cuts.info(minute).map_err(text)?.missing;
        if !missing.is_empty() {
            return Err(format!("the cut of {minute} has no checkpoints of {missing:?}"));
        }
        let cut = cuts.at(minute).map_err(text)?;
        is_consistent(world, &cut).map_err(|e| format!("the cut of {minute}: {e}"))?;
        for manifest in cut.manifests() {
            digests_agree(world, records, manifest).map_err(|e| format!("the cut of {minute}: {e}"))?;
        }
    }
    for task in &world.tasks {
        if let Some(meta) = task.store().meta().map_err(|e| e.to_string())? {
            digests_agree(world, records, &Manifest::of(&meta)).map_err(|e| format!("in the end: {e}"))?;
            adds_up(&meta)?;
        }
    }
    Ok(())
}

fn is_consistent(world: &World, cut: &Cut) -> Result<(), Broken> {
    for stage in &FLOW {
        let upstream = world.dir.tasks_of(flow::maker(stage.reads));
        for (reader, partition) in world.dir.tasks_of(stage.id).into_iter().zip(0..) {
            let Some(below) = cut.of(reader) else { continue };
            for above in &upstream {
                let (read, made) = (below.read_to(*above), cut.next_seq(*above, stage.reads, partition));
                if read > made {
                    return Err(format!("{reader} had read {read} of {above}, which had made {made}"));
                }
            }
        }
    }
    Ok(())
}

/// The digest of what a task handed on is that of what stands in the log.
fn digests_agree(world: &World, records: &Records, manifest: &Manifest) -> Result<(), Broken> {
    let task: Producer = manifest.task;
    let line = world.line_of(world.registry.published());
    let is_published =
        task.stage.is_source() || line.iter().any(|(s, g)| (s.id, *g) == (task.stage, task.generation));
    if !is_published || task.stage == weir_proto::StageId::Commands {
        return Ok(());
    }
    for (topic, seqs) in &manifest.next_seqs {
        let mut digest = 0u128;
        for (partition, next) in (0..).zip(seqs) {
            let all = records.of(world, task.task(), *topic, partition)?;
            if (all.len() as u64) < *next {
                return Err(format!("{task:?} says that {next} stand in {topic}-{partition}: {}", all.len()));
            }
            for r in &all[..*next as usize] {
                digest = digest.wrapping_add(digest_of(&r.bytes, partition, r.seq, r.provenance));
            }
        }
        if digest != manifest.digest(*topic) {
            return Err(format!("{task:?} has another digest of {topic} than the log"));
        }
    }
    Ok(())
}

/// What came in was handed on, decided or dropped.
fn adds_up(meta: &TaskMeta) -> Result<(), Broken> {
    let (taken, handed_on) = (meta.tally.taken, meta.tally.emitted + super::records::counted(&meta.tally));
    let is_filter = meta.task.stage < weir_proto::StageId::Deduct && !meta.task.stage.is_source();
    match !is_filter || taken == handed_on {
        true => Ok(()),
        false => Err(format!("{:?} has taken {taken} records and handed on {handed_on}", meta.task)),
    }
}
