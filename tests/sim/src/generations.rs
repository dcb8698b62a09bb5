//! Generations in the middle: begun, promoted and dropped by the steps that the product takes, one at a
//! time, between which anything may happen. What decides and reads is the product's; only the waiting, which
//! there is done by threads, is done here.

use crate::world::World;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use weir_pipeline::error::JobError;
use weir_pipeline::flow::{self, FLOW};
use weir_pipeline::generations::{Cuts, Difference, Entry, Generation, Sides, Standing};
use weir_pipeline::scheduler::Work;
use weir_proto::{Minute, Producer};

/// What is under way in this process.
#[derive(Default)]
pub struct Conductor {
    /// The candidate that is to be promoted between two ticks.
    deciding: Option<u32>,
}

/// The candidate, if there is one.
pub fn candidate(world: &World) -> Option<u32> {
    let all = world.registry.all();
    all.into_iter().find(|(_, standing)| *standing == Standing::Candidate).map(|(g, _)| g.id)
}

/// The newest tick that all tasks of some have folded.
fn minute_of(world: &World, which: impl Fn(&Producer) -> bool) -> Minute {
    let statuses = world.tasks.iter().map(|t| t.status()).filter(|s| which(&s.task));
    Minute(statuses.map(|s| s.last_tick()).min().unwrap_or(0))
}

fn of_generation(id: u32) -> impl Fn(&Producer) -> bool {
    move |t| t.generation == id && !t.stage.is_source()
}

/// Begins a generation from one of the newest cuts; says which.
pub fn rewind(world: &mut World, back: u32, from: u8, other_rules: bool) -> Result<Option<String>, JobError> {
    if !world.registry.unsettled().is_empty() || candidate(world).is_some() {
        return Ok(None);
    }
    let published = world.registry.published();
    let cuts = Cuts::of(&world.dir, &world.registry, published);
    let complete: Vec<Minute> = cuts.minutes()?.into_iter().filter(|m| cuts.is_complete(*m)).collect();
    let Some(minute) = complete.iter().rev().nth(back as usize).or(complete.first()) else { return Ok(None) };
    let cut = cuts.at(*minute)?;
    let before = world.registry.get(published).map_or(0, |(g, _)| g.rules);
    let generation = Generation {
        id: world.registry.next_id(),
        base: published,
        recorded: published,
        cut: cut.minute(),
        from: FLOW[usize::from(from) % FLOW.len()].id,
        rules: if other_rules { crate::world::rules(true).fingerprint() } else { before },
        paused: false,
        begun_ms: 0,
        reason: String::new(),
    };
    world.registry.begin(&generation, &cut)?;
    for stage in FLOW.iter().filter(|s| s.id >= generation.from) {
        let tasks = world.open_stage(stage, generation.id)?;
        world.tasks.extend(tasks);
    }
    Ok(Some(format!("generation {} from {} of {}", generation.id, generation.from, generation.cut)))
}

/// Drops a candidate and all that it has.
pub fn drop_candidate(world: &mut World, id: u32) -> Result<(), JobError> {
    let generation = world.registry.check_droppable(id)?;
    world.registry.decide(&Entry::Dropped { generation: id })?;
    let from = generation.from;
    remove(world, |t| t.generation == id && t.stage >= from)?;
    flow::outputs_from(from).into_iter().for_each(|topic| world.log.remove(topic.of(id)));
    world.dir.remove_generation(id)
}

/// Lets go of tasks, once what is left to do without them is done.
fn remove(world: &mut World, which: impl Fn(&Producer) -> bool) -> Result<(), JobError> {
    let (own, others) =
        std::mem::take(&mut world.rests).into_iter().partition::<Vec<_>, _>(|(t, _)| which(t));
    world.rests = others;
    own.into_iter().try_for_each(|(_, rest)| rest())?;
    world.zombies.retain(|t| !which(&t.status().task));
    for task in world.tasks.iter().filter(|t| which(&t.status().task)) {
        task.store().flush()?;
    }
    world.tasks.retain(|t| !which(&t.status().task));
    Ok(())
}

impl Conductor {
    /// Asks for a promotion of the candidate at the next tick.
    pub fn promote(&mut self, world: &World) -> Option<u32> {
        let id = candidate(world)?;
        if self.deciding.is_some() || world.registry.check_promotable(id).is_err() {
            return None;
        }
        world.sources.collect.gate.close();
        self.deciding = Some(id);
        Some(id)
    }

    /// Does the next step of what is under way, if it can be done now; says which.
    pub fn advance(&mut self, world: &mut World) -> Result<Option<String>, JobError> {
        if let Some(id) = self.deciding
            && world.sources.collect.gate.is_at_rest()
        {
            self.deciding = None;
            let said = decide(world, id)?;
            world.sources.collect.gate.open();
            return Ok(Some(said));
        }
        for id in world.registry.unsettled() {
            let at = world.registry.promoted_at(id).unwrap_or_default();
            if !world.registry.has_ends(id) {
                return end(world, id, at);
            } else if minute_of(world, of_generation(id)) >= at {
                return settle(world, id, at).map(Some);
            }
        }
        Ok(None)
    }
}

fn decide(world: &mut World, id: u32) -> Result<String, JobError> {
    let line = world.line_of(world.registry.published());
    let published = minute_of(world, |t| line.iter().any(|(s, g)| (s.id, *g) == (t.stage, t.generation)));
    if candidate(world) != Some(id) || minute_of(world, of_generation(id)) < published {
        return Ok(format!("generation {id} has not caught up"));
    }
    let at = Minute(world.sources.collect.last_tick.load(Ordering::Acquire) + 1);
    world.registry.decide(&Entry::Promoted { generation: id, at })?;
    for (stage, generation) in world.predecessors(id) {
        world.ends_at(generation, stage.id);
    }
    Ok(format!("generation {id} takes over at {at}"))
}

fn end(world: &mut World, id: u32, at: Minute) -> Result<Option<String>, JobError> {
    let predecessors = world.predecessors(id);
    let ours = |t: &Producer| predecessors.iter().any(|(s, g)| (s.id, *g) == (t.stage, t.generation));
    let busy = |t: &dyn Work| ours(&t.status().task) && (t.status().last_tick() < at.0 || !t.is_idle());
    if world.tasks.iter().any(|t| busy(&**t)) {
        return Ok(None);
    }
    world.sources.inlet.close();
    if !world.sources.inlet.is_at_rest() {
        return Ok(None);
    }
    let Some((generation, _)) = world.registry.get(id) else { return Ok(None) };
    let end = |topic, p| world.registry.line(generation.recorded, topic).end(&*world.log, p);
    let ends = flow::topics_from(generation.from)
        .map(|t| (t, (0..world.dir.partitions()).map(|p| end(t, p)).collect()))
        .collect();
    world.registry.decide(&Entry::Ended { generation: id, ends })?;
    world.sources.inlet.go_on_in(world.registry.runs(id, weir_proto::StageId::AntiFraud));
    remove(world, ours)?;
    world.follow_line();
    Ok(Some(format!("generation {id} has taken over")))
}

fn settle(world: &mut World, id: u32, at: Minute) -> Result<String, JobError> {
    let sides = Sides::of(&world.registry, Arc::clone(&world.log) as Arc<_>, id, at);
    let difference =
        sides.map_or(Ok(Difference::default()), |s| s.compare(world.dir.partitions(), &mut |_| {}))?;
    let rules = |id| world.registry.get(id).map_or(0, |(g, _)| g.rules);
    let recorded = world.registry.get(id).map_or(1, |(g, _)| g.recorded);
    if rules(id) == rules(recorded) && !difference.changes.is_empty() {
        let text =
            format!("generation {id} has the same rules and {} other outcomes", difference.changes.len());
        return Err(JobError::Refused(text));
    }
    world.registry.decide(&Entry::Settled { generation: id, adjustments: 0 })?;
    Ok(format!("generation {id} is settled with {} changes", difference.changes.len()))
}
