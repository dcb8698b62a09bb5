//! The log as its readers are to see it: what each task handed to each partition, without repeats. A repeat
//! must say what was said first, nothing may be missing, and where records come from only rises.

use crate::run::Broken;
use crate::world::World;
use std::collections::BTreeMap;
use weir_pipeline::log::Log;
use weir_proto::{Batch, Producer, Provenance, Record, TaskId, Topic, TopicId};
use weir_state::Tally;

/// A record, by its running number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rec {
    /// Its running number.
    pub seq: u64,
    /// What it was made from.
    pub provenance: Provenance,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

/// Who, to which topic, in which partition.
type Stretch = (Producer, TopicId, u32);

/// All records of a log.
pub struct Records {
    stretches: BTreeMap<Stretch, Vec<Rec>>,
}

impl Records {
    /// Reads a log.
    pub fn read(world: &World) -> Result<Self, Broken> {
        let mut stretches: BTreeMap<Stretch, Vec<Rec>> = BTreeMap::new();
        for topic in world.log.all() {
            for partition in 0..world.dir.partitions() {
                let found = world.log.read(topic, partition, 0, u64::MAX, None).map_err(|e| e.to_string())?;
                for batch in found.batches {
                    let stretch = stretches.entry((batch.head.producer, topic, partition)).or_default();
                    for (at, record) in Batch::open(&batch.bytes).unwrap().enumerate() {
                        let record = record.unwrap();
                        let (seq, bytes) = (batch.head.first_seq + at as u64, record.bytes.to_vec());
                        add(stretch, Rec { seq, provenance: record.provenance, bytes })
                            .map_err(|e| format!("{topic}-{partition}, {:?}: {e}", batch.head.producer))?;
                    }
                }
            }
        }
        Ok(Records { stretches })
    }

    /// What a task handed to one partition in the published line, over all its generations.
    pub fn of(&self, world: &World, task: TaskId, topic: Topic, partition: u32) -> Result<Vec<&Rec>, Broken> {
        let published = world.registry.published();
        let line = world.registry.outputs(published, task.stage, topic);
        let segments = line.segments(task, partition);
        let mut all: Vec<&Rec> = Vec::new();
        for (at, (from, id)) in segments.iter().enumerate() {
            let to = segments.get(at + 1).map_or(u64::MAX, |(next, _)| *next);
            let own = self.stretches.get(&(task.in_generation(id.generation), *id, partition));
            all.extend(own.into_iter().flatten().filter(|r| (*from..to).contains(&r.seq)));
        }
        match all.iter().enumerate().find(|(at, r)| r.seq != *at as u64) {
            Some((at, r)) => {
                Err(format!("{task} to {topic}-{partition}: {} stands where {at} should", r.seq))
            }
            None => Ok(all),
        }
    }

    /// What a stage handed to a topic in the published line.
    pub fn of_stage(
        &self,
        world: &World,
        stage: weir_proto::StageId,
        topic: Topic,
    ) -> Result<Vec<&Rec>, Broken> {
        let mut all = Vec::new();
        for task in world.dir.tasks_of(stage) {
            for partition in 0..world.dir.partitions() {
                all.extend(self.of(world, task, topic, partition)?);
            }
        }
        Ok(all)
    }

    /// All stretches.
    pub fn all(&self) -> impl Iterator<Item = (&Stretch, &Vec<Rec>)> {
        self.stretches.iter()
    }
}

fn add(stretch: &mut Vec<Rec>, record: Rec) -> Result<(), String> {
    let Some(first) = stretch.first().map(|r| r.seq) else {
        stretch.push(record);
        return Ok(());
    };
    let last = &stretch[stretch.len() - 1];
    match record.seq {
        seq if seq < first => Err(format!("record {seq} comes after it began with {first}")),
        seq if seq > last.seq + 1 => Err(format!("record {seq} follows {}", last.seq)),
        seq if seq <= last.seq => match stretch[(seq - first) as usize] == record {
            true => Ok(()),
            false => Err(format!(
                "record {seq} was {:?} and is {:?}",
                Record::decode(&stretch[(seq - first) as usize].bytes),
                Record::decode(&record.bytes)
            )),
        },
        seq if record.provenance <= last.provenance => Err(format!(
            "record {seq} comes from {:?}, the one before from {:?}",
            record.provenance, last.provenance
        )),
        _ => {
            stretch.push(record);
            Ok(())
        }
    }
}

/// What a tally counts of outcomes and drops.
pub fn counted(tally: &Tally) -> u64 {
    tally.dropped.iter().sum()
}
