//! The line of a generation: what each task has handed on, first in the generations before it, then in
//! its own, put together by the ticks that the task sent itself.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::path::Path;

use serde_json::Value;

use crate::ask::{Generation, minutes_of};
use crate::process::{Weir, weir};
use crate::taps::Taps;

/// The stages that a generation can begin with, in flow order.
const STAGES: [&str; 4] = ["anti-brush", "anti-fraud", "deduct", "post-process"];
/// The topics that are followed, each with the last stage that appends to it.
const TOPICS: [(&str, usize); 3] = [("charges", 2), ("dropped", 2), ("notices", 3)];

/// Who appended to what: topic, its partition, stage, input partition.
type Task = (&'static str, u64, String, u64);

/// A record as a task sent it, without the generation and the offset.
#[derive(Clone, Debug, PartialEq)]
struct Sent {
    tick: Option<u32>,
    record: Value,
}

/// What each task has sent, in order.
#[derive(Clone, Debug, Default)]
pub struct Line(BTreeMap<Task, Vec<Sent>>);

impl Line {
    /// The lines of all generations that are or were published.
    #[track_caller]
    pub fn all(data_dir: &Path, generations: &[Generation]) -> BTreeMap<u32, Self> {
        let mut lines: BTreeMap<u32, Self> = BTreeMap::new();
        for g in generations.iter().filter(|g| g.is(&["published", "superseded"])) {
            let own = Self::own(data_dir, g);
            let line = match g.id {
                1 => own,
                _ => lines[&g.base].followed_by(own, g),
            };
            lines.insert(g.id, line);
        }
        lines
    }

    fn own(data_dir: &Path, generation: &Generation) -> Self {
        let mut line = Self::default();
        for (topic, last) in TOPICS {
            if stage(&generation.from_stage) <= last {
                line.read(data_dir, topic, generation.id);
            }
        }
        line
    }

    #[track_caller]
    fn read(&mut self, data_dir: &Path, topic: &'static str, generation: u32) {
        let mut command = weir();
        command.args(["tap", topic, "--from", "start", "--until", "end", "--ticks", "--unmasked"]);
        command.args(["--format", "jsonl", "--generation", &generation.to_string(), "--data-dir"]);
        let output = Weir::start(command.arg(data_dir)).wait_for_output();
        let output = output.unwrap_or_else(|done| panic!("weir tap {topic} failed: {done:?}"));
        for line in std::io::BufReader::new(output).lines() {
            let mut record: Value = serde_json::from_str(&line.unwrap()).unwrap();
            let place = record["provenance"].as_object_mut().unwrap();
            assert_eq!(place.remove("generation"), Some(generation.into()), "a record of another generation");
            place.remove("offset");
            let number = |name: &str| place[name].as_u64().unwrap();
            let task = (topic, number("partition"), text(&place["stage"]), number("input_partition"));
            let tick = record["tick"].as_u64().map(|t| t.try_into().unwrap());
            self.0.entry(task).or_default().push(Sent { tick, record });
        }
    }

    /// This line up to the cut of a generation, and behind it what that generation sent.
    fn followed_by(&self, own: Self, generation: &Generation) -> Self {
        let (from, cut) = (stage(&generation.from_stage), minutes_of(generation.cut.as_ref().unwrap()));
        let mut line = self.clone();
        for (task, sent) in &mut line.0 {
            if STAGES.iter().position(|s| *s == task.2).is_some_and(|s| s >= from) {
                sent.truncate(behind(sent, cut));
            }
        }
        for (task, sent) in own.0 {
            line.0.entry(task).or_default().extend(sent);
        }
        line
    }

    /// Fails unless a generation with the same rules repeated, up to the tick at which it took over, what
    /// stood in the line that it followed, and that line ended there.
    #[track_caller]
    pub fn assert_repeats(&self, recorded: &Self, generation: &Generation) {
        let (from, at) =
            (stage(&generation.from_stage), minutes_of(generation.promoted_at.as_ref().unwrap()));
        let tasks = |line: &Self| -> Vec<Task> { line.0.keys().cloned().collect() };
        assert_eq!(tasks(self), tasks(recorded), "the same tasks send something: {generation:?}");
        let mut compared = 0;
        for (task, before) in &recorded.0 {
            if STAGES.iter().position(|s| *s == task.2).is_none_or(|s| s < from) {
                continue;
            }
            let now = &self.0[task];
            let (was, is) = (behind(before, at), behind(now, at));
            assert_eq!(
                was,
                before.len(),
                "{task:?} went on behind the tick at which it ended: {generation:?}"
            );
            assert_eq!(was, is, "{task:?} sent another number of records up to {at}: {generation:?}");
            let other = before[..was].iter().zip(now).find(|(a, b)| a != b);
            assert_eq!(other, None, "{task:?} sent something else: {generation:?}");
            compared += was;
        }
        assert!(compared > 0, "there was nothing to repeat: {generation:?}");
    }

    /// Charges and dropped records of events, as the audit takes them.
    pub fn taps(&self) -> Taps {
        Taps { charges: self.records("charges"), dropped: self.records("dropped") }
    }

    /// The same up to the tick of a minute of each task.
    pub fn taps_until(&self, minute: &str) -> Taps {
        let mut line = self.clone();
        line.0.values_mut().for_each(|sent| sent.truncate(behind(sent, minutes_of(minute))));
        line.taps()
    }

    fn records<T: serde::de::DeserializeOwned>(&self, topic: &str) -> Vec<T> {
        let all = self.0.iter().filter(|((t, ..), _)| *t == topic).flat_map(|(_, sent)| sent);
        let records = all.filter(|s| s.tick.is_none() && s.record["kind"] != "brought_forward");
        records.map(|s| serde_json::from_value(s.record.clone()).unwrap()).collect()
    }
}

/// The number of records up to the tick of a minute, which counts; all of them, if there is none.
fn behind(sent: &[Sent], minute: u32) -> usize {
    sent.iter().position(|s| s.tick.is_some_and(|t| t >= minute)).map_or(sent.len(), |at| at + 1)
}

fn stage(name: &str) -> usize {
    STAGES.iter().position(|s| *s == name).unwrap()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}
