//! Nothing acknowledged is lost, nothing is decided twice: each line has exactly one outcome in its minute,
//! each acknowledged command one decision.

use super::Records;
use crate::facts::Facts;
use crate::run::Broken;
use crate::world::World;
use std::collections::{BTreeMap, BTreeSet};
use weir_proto::{Minute, Record, StageId, Topic};

/// Advertiser and guid of an event as texts, with its minute; a line that is no event by itself.
fn identity(line: &str) -> (String, u64) {
    let field = |name: &str| {
        let at = line.find(&format!("\"{name}\":"))? + name.len() + 3;
        Some(line[at..].trim_start_matches('"').split(['"', ',', '}']).next().unwrap_or("").to_owned())
    };
    match (field("guid"), field("advertiser_id"), field("event_time_ms")) {
        (Some(guid), Some(advertiser), Some(time)) => {
            (format!("{advertiser}/{guid}"), time.parse().unwrap_or(0) / Minute::MILLIS)
        }
        _ => (line.to_owned(), 0),
    }
}

type Counts = BTreeMap<(String, u64), u64>;

/// Each line that stands whole in a file has one outcome.
pub fn every_line_has_one(world: &World, facts: &Facts, records: &Records) -> Result<(), Broken> {
    let (mut put_in, mut came_out): (Counts, Counts) = Default::default();
    for line in &facts.lines {
        *put_in.entry(identity(line)).or_default() += 1;
    }
    let mut decided = BTreeSet::new();
    let stages = [StageId::Collect, StageId::AntiBrush, StageId::AntiFraud, StageId::Deduct];
    for stage in stages {
        for record in records.of_stage(world, stage, Topic::Dropped)? {
            let Ok(Record::Dropped(dropped)) = Record::decode(&record.bytes) else { continue };
            let id = match dropped.event {
                Some(e) => {
                    (format!("{}/{}", e.advertiser_id(), e.guid()), e.event_time_ms() / Minute::MILLIS)
                }
                None => identity(std::str::from_utf8(dropped.raw).unwrap()),
            };
            *came_out.entry(id).or_default() += 1;
        }
    }
    for record in records.of_stage(world, StageId::Deduct, Topic::Charges)? {
        let Ok(Record::Charge(c)) = Record::decode(&record.bytes) else { continue };
        if c.kind.is_event() {
            let id = (format!("{}/{}", c.advertiser_id, c.guid), c.event_time_ms / Minute::MILLIS);
            if !decided.insert(id.0.clone()) {
                return Err(format!("{} is decided twice", id.0));
            }
            *came_out.entry(id).or_default() += 1;
        }
    }
    for id in put_in.keys().chain(came_out.keys()) {
        let (had, has) = (put_in.get(id).unwrap_or(&0), came_out.get(id).unwrap_or(&0));
        if had != has {
            return Err(format!("{} came in {had} times and has {has} outcomes", id.0));
        }
    }
    Ok(())
}

/// Each acknowledged command was decided, and each command once.
pub fn every_command_has_an_answer(world: &World, facts: &Facts, records: &Records) -> Result<(), Broken> {
    let mut decided = BTreeSet::new();
    for record in records.of_stage(world, StageId::Deduct, Topic::Answers)? {
        let Ok(Record::Answer(answer)) = Record::decode(&record.bytes) else { continue };
        let id = (answer.advertiser_id, answer.key.to_owned());
        if !facts.commands.contains_key(&id) {
            return Err(format!("command {id:?} is answered and was never sent"));
        }
        if !answer.is_repeated && !decided.insert(id) {
            return Err(format!("command {} is decided twice", answer.key));
        }
    }
    match facts.acknowledged.iter().find(|id| !decided.contains(*id)) {
        Some(id) => Err(format!("command {id:?} was acknowledged and is not decided")),
        None => Ok(()),
    }
}
