//! Naming the record that breaks a rule.

use super::report::{Place, Problem, Subject};
use super::stage_of;
use super::walk::{Broken, Input, Walk};
use weir_proto::{Topic, TopicId};

impl Walk<'_> {
    /// The output taken last comes from nothing that went in.
    pub(super) fn unfounded(&self) -> Broken {
        let problem = "it was made of nothing that went into its task".to_owned();
        self.broken(Subject::Completeness, problem, self.output_place())
    }

    pub(super) fn place_of(&self, input: &Input) -> Place {
        let reads = stage_of(self.task).map_or(Topic::Raw, |s| s.reads);
        let topic = TopicId { topic: reads, generation: input.head.producer.generation };
        Place::of(topic, u32::from(self.task.partition), input.head.offset, &input.bytes)
    }

    pub(super) fn output_place(&self) -> Option<Place> {
        let (topic, partition, offset) = self.outputs.place()?;
        Some(Place::of(topic, partition, offset, self.outputs.bytes()))
    }

    pub(super) fn problem(&self, problem: String, place: Option<Place>) -> Problem {
        let task = Some(self.task.in_generation(self.generation).to_string());
        let minute = (self.last_tick.0 > 0).then_some(self.last_tick);
        Problem { problem, task, minute, place }
    }

    pub(super) fn broken(&self, subject: Subject, problem: String, place: Option<Place>) -> Broken {
        Broken::Problem(subject, self.problem(problem, place))
    }
}
