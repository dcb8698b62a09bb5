//! Generations that are begun beside the published one.

use super::Job;
use crate::error::JobError;
use crate::generations::{Cut, Cuts, Generation};
use crate::rule_set::RuleSet;
use crate::source::collect::now_ms;
use weir_proto::{Minute, StageId};

/// A new generation, as it is asked for.
#[derive(Clone, Debug)]
pub struct Rewind {
    /// The minute of the cut to begin from.
    pub to: Minute,
    /// The first stage to run anew.
    pub from: StageId,
    /// Other rules.
    pub rules: Option<RuleSet>,
    /// Whether nothing is taken in until it is promoted or dropped.
    pub pause: bool,
    /// Why.
    pub reason: String,
}

impl Job {
    /// Begins a generation that runs beside the published one from now on.
    pub fn rewind(&self, rewind: &Rewind) -> Result<Generation, JobError> {
        let _turn = self.promotion.turn();
        self.promotion.take_in()?;
        let published = self.registry.published();
        let cut = self.cut(published, rewind.to)?;
        let rules = match &rewind.rules {
            Some(set) => {
                set.save(&self.dir.rules())?;
                set.fingerprint()
            }
            None => self.registry.get(published).map_or(0, |(g, _)| g.rules),
        };
        let base = published;
        let generation = self.new_generation(base, cut.minute(), rewind.from, rules, rewind);
        self.begin(generation, &cut)
    }

    /// Begins a generation that goes on where one that was published before has ended.
    pub fn go_back(&self, id: u32, rewind: &Rewind) -> Result<Generation, JobError> {
        let _turn = self.promotion.turn();
        self.promotion.take_in()?;
        let refused = |text: String| Err(JobError::Refused(text));
        let Some((former, _)) = self.registry.get(id) else {
            return refused(format!("there is no generation {id}"));
        };
        let Some(ended) = self.registry.ended_at(id) else {
            return refused(format!("generation {id} was never published: there is nothing to go back to"));
        };
        let cut = self.cut(id, ended)?;
        let from = self.registry.first_difference(id, self.registry.published());
        let generation = self.new_generation(id, cut.minute(), from, former.rules, rewind);
        self.begin(generation, &cut)
    }

    /// The cut of a minute in the line of a generation; in a group, of all workers.
    fn cut(&self, line: u32, minute: Minute) -> Result<Cut, JobError> {
        match &self.promotion.group {
            Some(afar) => afar.cut(line, minute),
            None => Cuts::of(&self.dir, &self.registry, line).at(minute),
        }
    }

    fn new_generation(
        &self,
        base: u32,
        cut: Minute,
        from: StageId,
        rules: u64,
        rewind: &Rewind,
    ) -> Generation {
        Generation {
            id: self.registry.next_id(),
            base,
            recorded: self.registry.published(),
            cut,
            from,
            rules,
            paused: rewind.pause,
            begun_ms: now_ms(),
            reason: rewind.reason.clone(),
        }
    }

    fn begin(&self, generation: Generation, cut: &Cut) -> Result<Generation, JobError> {
        if !self.registry.unsettled().is_empty() {
            let text = "a promotion is under way: begin another generation when it is settled";
            return Err(JobError::Refused(text.to_owned()));
        }
        self.promotion.begin(&generation, cut)?;
        Ok(generation)
    }
}
