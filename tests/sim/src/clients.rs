//! The outside: front ends that write log files, and whoever sends commands until they are acknowledged.

use crate::facts::Facts;
use crate::rng::Rng;
use crate::traffic::{Input, Timed};
use crate::world::{Pending, World};
use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc::channel;
use weir_pipeline::log::Log;
use weir_pipeline::source::mailbox::Submission;
use weir_proto::rpc::command::Action;
use weir_proto::{Batch, Outcome, Record, Topic, rpc};

/// How often a charge that commands are about is looked for, and how long it is waited between.
const LOOKS: u32 = 4;
const BETWEEN_MS: u64 = 15_000;

/// All of them.
pub struct Clients {
    inputs: VecDeque<Timed>,
    dir: PathBuf,
    file: File,
    files: u32,
    /// The rest of a line that was written in part.
    torn: Option<(String, usize)>,
    later: VecDeque<(u64, u32, Input)>,
}

fn open(dir: &std::path::Path) -> File {
    OpenOptions::new().create(true).append(true).open(dir.join("events.log")).unwrap()
}

impl Clients {
    /// With what they will send.
    pub fn new(world: &World, inputs: Vec<Timed>) -> Self {
        let dir = world.input_dir();
        let file = open(&dir);
        Clients { inputs: inputs.into(), file, dir, files: 0, torn: None, later: VecDeque::new() }
    }

    /// Whether all is sent and acknowledged.
    pub fn is_done(&self, world: &World) -> bool {
        self.inputs.is_empty() && self.torn.is_none() && self.later.is_empty() && world.pending.is_empty()
    }

    /// What is due is sent; what they say of it.
    pub fn act(&mut self, world: &mut World, facts: &mut Facts, rng: &mut Rng) -> Vec<String> {
        let mut said = Vec::new();
        self.hear(world, facts, rng, &mut said);
        if rng.percent(50)
            && let Some((line, at)) = self.torn.take()
        {
            self.file.write_all(&line.as_bytes()[at..]).unwrap();
            facts.lines.push(line.trim_end().to_owned());
        }
        if self.torn.is_none() && rng.percent(1) {
            self.files += 1;
            let to = self.dir.join(format!("events.log.{}", self.files));
            std::fs::rename(self.dir.join("events.log"), to).unwrap();
            self.file = open(&self.dir);
            said.push("the log file is rotated".to_owned());
        }
        let now = world.now_ms();
        while self.torn.is_none() && self.inputs.front().is_some_and(|t| t.at_ms <= now) {
            let Some(Timed { input, .. }) = self.inputs.pop_front() else { break };
            self.send(world, facts, input, LOOKS, &mut said);
        }
        while self.later.front().is_some_and(|(at, ..)| *at <= now) {
            let Some((_, looks, input)) = self.later.pop_front() else { break };
            self.send(world, facts, input, looks, &mut said);
        }
        said
    }

    /// What was acknowledged is done; what the process that ended did not acknowledge is sent again.
    fn hear(&mut self, world: &mut World, facts: &mut Facts, rng: &mut Rng, said: &mut Vec<String>) {
        world.pending.retain(|p| {
            let taken = p.taken.as_ref().is_some_and(|t| t.try_recv().is_ok());
            if taken {
                facts.acknowledged.insert((p.command.advertiser_id, p.command.key.clone()));
                said.push(format!("{} is acknowledged", p.command.key));
            }
            !taken
        });
        for pending in world.pending.iter_mut().filter(|p| p.taken.is_none()) {
            if rng.percent(30) {
                let (taken, told) = channel();
                world.sources.mailbox.put(Submission { command: pending.command.clone(), taken });
                pending.taken = Some(told);
            }
        }
    }

    fn send(
        &mut self,
        world: &mut World,
        facts: &mut Facts,
        input: Input,
        looks: u32,
        said: &mut Vec<String>,
    ) {
        let command = match &input {
            Input::Line { text, torn_at } => {
                said.push(format!("a line: {}", text.trim_end()));
                if *torn_at > 0 {
                    self.file.write_all(&text.as_bytes()[..*torn_at]).unwrap();
                    self.torn = Some((text.clone(), *torn_at));
                } else {
                    self.file.write_all(text.as_bytes()).unwrap();
                    facts.lines.push(text.trim_end().to_owned());
                }
                return;
            }
            Input::Command(command) => Some(command.clone()),
            Input::Refund { advertiser_id, guid, .. } | Input::Reply { advertiser_id, guid, .. } => {
                let original = original(world, *advertiser_id, guid);
                if original.is_none() && looks > 0 {
                    self.later.push_back((world.now_ms() + BETWEEN_MS, looks - 1, input));
                    return;
                }
                original.map(|original| about(&input, original, world.now_ms()))
            }
        };
        let Some(command) = command else { return };
        said.push(format!("command {} of {}: {}", command.key, command.advertiser_id, command.action_name()));
        facts.commands.insert((command.advertiser_id, command.key.clone()), command.clone());
        world.pending.push(Pending { command, taken: None });
    }
}

/// The charge of an event, as it stands in the log.
fn original(world: &World, advertiser_id: u64, guid: &str) -> Option<rpc::Original> {
    let topics = world.log.all().into_iter().filter(|id| id.topic == Topic::Charges);
    for (topic, partition) in topics.flat_map(|t| (0..world.dir.partitions()).map(move |p| (t, p))) {
        for batch in world.log.read(topic, partition, 0, u64::MAX, None).ok()?.batches {
            for record in Batch::open(&batch.bytes).ok()? {
                let Ok(Record::Charge(c)) = Record::decode(record.ok()?.bytes) else { continue };
                let is_it = c.advertiser_id == advertiser_id && c.guid.to_string() == guid;
                if is_it && c.kind.is_event() && c.outcome == Outcome::Charged && c.amount.0 > 0 {
                    return Some(rpc::Original {
                        id: String::new(),
                        amount: c.amount.to_wire(c.currency).ok(),
                        event_time_ms: c.event_time_ms,
                        ad_id: c.ad_id,
                        campaign_id: c.campaign_id,
                        guid: guid.to_owned(),
                    });
                }
            }
        }
    }
    None
}

fn about(input: &Input, original: rpc::Original, time_ms: u64) -> rpc::Command {
    let amount = original.amount.as_ref().and_then(rpc::Money::read).map_or(0, |(nanos, _)| nanos.0);
    let (advertiser_id, key, action) = match input {
        Input::Refund { advertiser_id, guid, key, is_part } => {
            let part = weir_proto::Nanos(amount / 3).to_wire(weir_proto::Currency::default()).ok();
            let refund = rpc::Refund {
                guid: guid.clone(),
                amount: part.filter(|_| *is_part),
                reason: String::new(),
                original: Some(original),
            };
            (*advertiser_id, key.clone(), Action::Refund(refund))
        }
        Input::Reply { advertiser_id, key, status, .. } => {
            let reply = rpc::Reply {
                message_id: key.clone(),
                status: *status as i32,
                amount: amount as i64,
                scale: 9,
                currency_code: "USD".to_owned(),
                reason: String::new(),
                original: Some(original),
            };
            (*advertiser_id, key.clone(), Action::Reply(reply))
        }
        Input::Line { .. } | Input::Command(_) => {
            (0, String::new(), Action::Freeze(rpc::Freeze { frozen: false }))
        }
    };
    rpc::Command { key, advertiser_id, time_ms, action: Some(action) }
}
