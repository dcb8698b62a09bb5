//! The same records give the same outputs: every task is folded again, from nothing and from one of its
//! checkpoints, days later, and has to come to the same digests.

use crate::run::Broken;
use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64};
use weir_pipeline::flow::Stage;
use weir_pipeline::log::Log;
use weir_pipeline::scheduler::{Need, Work};
use weir_pipeline::task::{AtTick, Task, TaskOptions};
use weir_proto::Producer;
use weir_state::{Store, TaskMeta};

/// Days later, in ms.
const LATER: u64 = 3 * 24 * 3_600_000;

/// Replays every task of the published line, and of a candidate.
pub fn is_exact(world: &mut World) -> Result<(), Broken> {
    world.advance(LATER);
    #[cfg(feature = "sabotage")]
    weir_state::sabotage::set_clock(world.now_ms());
    let tasks: Vec<Producer> =
        world.tasks.iter().map(|t| t.status().task).filter(|t| t.stage.folds()).collect();
    for task in tasks {
        let stage = weir_pipeline::flow::FLOW.iter().find(|s| s.id == task.stage).unwrap();
        let Some(live) = world.tasks.iter().find(|t| t.status().task == task) else { continue };
        let live = live.store().meta().map_err(|e| e.to_string())?.unwrap();
        if task.generation == 1 {
            compare(&live, &again(world, stage, task, None)?, "from nothing")?;
        }
        let checkpoints = world.dir.checkpoints();
        let minutes = checkpoints.minutes(task.generation).map_err(|e| e.to_string())?;
        if let Some(minute) = minutes.get(minutes.len() / 2) {
            let replayed = again(world, stage, task, Some(*minute))?;
            compare(&live, &replayed, &format!("from its checkpoint of {minute}"))?;
        }
    }
    Ok(())
}

fn again(
    world: &World,
    stage: &Stage,
    task: Producer,
    from: Option<weir_proto::Minute>,
) -> Result<TaskMeta, Broken> {
    let text = |e: weir_pipeline::error::JobError| format!("a replay of {task:?}: {e}");
    let to = world.root.path().join(format!("replay/{}-{}-{}", task.task(), task.generation, from.is_some()));
    std::fs::create_dir_all(to.parent().unwrap()).unwrap();
    if let Some(minute) = from {
        let checkpoints = world.dir.checkpoints();
        let manifest = checkpoints.manifest(task, minute).map_err(|e| e.to_string())?;
        let manifest = manifest.ok_or(format!("{task:?} has no checkpoint of {minute}"))?;
        checkpoints.restore(&manifest, &to).map_err(|e| e.to_string())?;
    }
    let options = TaskOptions {
        task,
        partitions: world.dir.partitions(),
        line: world.registry.line(task.generation, stage.reads),
        shared: world.rules_of(task.generation),
        at_tick: AtTick::Nothing,
        ends_at: Arc::new(AtomicU32::new(0)),
        limit: Arc::new(AtomicU64::new(u64::MAX)),
    };
    let store = Arc::new(Store::open(&to, &world.stores).map_err(|e| e.to_string())?);
    let log: Arc<dyn Log> = world.log.clone();
    let mut replayed = Task::open(stage, options, store.clone(), log).map_err(text)?;
    loop {
        match replayed.need() {
            Need::Nothing if replayed.is_idle() => break,
            Need::Nothing => world.log.sync_all(),
            need => drop(replayed.work(need).map_err(text)?),
        }
    }
    Ok(store.meta().map_err(|e| e.to_string())?.unwrap())
}

fn compare(live: &TaskMeta, replayed: &TaskMeta, how: &str) -> Result<(), Broken> {
    for ((topic, one), (_, other)) in live.outputs.iter().zip(&replayed.outputs) {
        if one.digest != other.digest || one.next_seq != other.next_seq {
            return Err(format!("{:?} replayed {how} hands other records to {topic}", live.task));
        }
    }
    let stands = |m: &TaskMeta| (m.position, m.index, m.last_tick, m.tally.clone());
    match stands(live) == stands(replayed) {
        true => Ok(()),
        false => Err(format!("{:?} replayed {how} comes to stand elsewhere", live.task)),
    }
}
