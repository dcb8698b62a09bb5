//! The whole story: every copy, in every generation.

use super::find::{Stretch, Wanted};
use super::follow::Made;
use super::hit::Hit;
use super::model::{Copy, Decision, Life, Step, Story, Unread};
use super::{Explainer, rules};
use crate::error::JobError;
use crate::flow::{FLOW, Stage};
use crate::generations::Standing;
use crate::rule_set::RuleSet;
use serde_json::Value;
use std::collections::BTreeSet;
use weir_operators::{Rules, partition};
use weir_proto::{Charge, DropReason, Minute, Nanos, Outcome, Producer, Record, StageId, Topic};
use weir_state::Manifest;

impl Explainer {
    /// Tells the life of an event. `progress` is told how many records
    /// were looked through.
    pub fn tell(&self, wanted: Wanted<'_>, progress: &mut dyn FnMut(u64)) -> Result<Story, JobError> {
        let found = self.find(wanted, progress)?;
        let mut story = Story {
            guid: wanted.guid.to_string(),
            published: self.registry.published(),
            copies: Vec::new(),
            unread: Vec::new(),
            adjustments: Vec::new(),
            searched: found.searched,
        };
        for hit in &found.unread {
            let line = self.line(hit)?;
            story.unread.push(Unread { line, record: hit.row(self)? });
        }
        let mut advertisers = Vec::new();
        for hit in &found.raw {
            story.copies.push(self.copy(hit, wanted)?);
            advertisers.extend(hit.event()?.map(|e| e.advertiser_id()));
        }
        advertisers.sort_unstable();
        advertisers.dedup();
        for id in advertisers {
            story.adjustments.extend(self.adjustments(id, wanted)?);
        }
        Ok(story)
    }

    fn copy(&self, raw: &Hit, wanted: Wanted<'_>) -> Result<Copy, JobError> {
        let published = self.registry.published();
        let mut lives = vec![self.life(published, raw, wanted)?];
        for (generation, standing) in self.registry.all().into_iter().rev() {
            if generation.id == published || standing == Standing::Dropped {
                continue;
            }
            let life = self.life(generation.id, raw, wanted)?;
            // What was decided before generations parted is the same record.
            let is_known = |l: &Life| l.steps.last() == life.steps.last();
            if !lives.iter().any(is_known) {
                lives.push(life);
            }
        }
        let before_tick = self.tick_behind(raw)?;
        let rules = match self.manifest_behind(raw.producer(), before_tick)? {
            Some(manifest) => Some(manifest.rules),
            None => self.meta(raw.producer())?.map(|m| m.rules),
        };
        Ok(Copy {
            line: self.line(raw)?,
            raw: raw.row(self)?,
            before_tick,
            rules: rules.map(|r| format!("{r:016x}")),
            lives,
        })
    }

    /// The oldest checkpoint of a task that is kept, from a tick on.
    fn manifest_behind(&self, task: Producer, tick: Option<Minute>) -> Result<Option<Manifest>, JobError> {
        let Some(tick) = tick else { return Ok(None) };
        let checkpoints = self.dir.checkpoints();
        for minute in checkpoints.minutes(task.generation)?.into_iter().filter(|minute| *minute >= tick) {
            if let Some(manifest) = checkpoints.manifest(task, minute)? {
                return Ok(Some(manifest));
            }
        }
        Ok(None)
    }

    /// Follows a copy through the line of a generation.
    fn life(&self, generation: u32, raw: &Hit, wanted: Wanted<'_>) -> Result<Life, JobError> {
        let standing = self.registry.get(generation).map_or("published", |(_, s)| s.name());
        let mut life = Life { generation, standing, steps: Vec::new() };
        let mut current = raw.clone();
        for stage in FLOW.iter().filter(|s| s.id != StageId::PostProcess) {
            let task = self.reader(generation, stage, &current);
            let made = self.made(task, stage, &current)?;
            let step = self.step(task, stage, &made, wanted)?;
            let goes_on = step.decision == Decision::Passed;
            life.steps.push(step);
            match made {
                Made::Record(hit) if goes_on => current = hit,
                _ => break,
            }
        }
        Ok(life)
    }

    fn step(&self, task: Producer, stage: &Stage, made: &Made, wanted: Wanted<'_>) -> Result<Step, JobError> {
        let fingerprint = self.registry.get(task.generation).map_or(0, |(g, _)| g.rules);
        let like = Rules::default();
        let rules = RuleSet::load(&self.dir.rules(), fingerprint, &like).map_or(like, |set| set.rules);
        let mut step = Step {
            stage: task.stage.name(),
            partition: task.partition,
            generation: task.generation,
            rules: format!("{fingerprint:016x}"),
            decision: Decision::NotKept,
            reason: None,
            rule: String::new(),
            before_tick: None,
            record: None,
            balance_before_nanos: None,
            earlier: None,
            waits: None,
        };
        match made {
            Made::Record(hit) => {
                step.record = Some(hit.row(self)?);
                step.before_tick = self.tick_behind(hit)?;
                self.decided(&mut step, stage, hit, &rules, wanted)?;
            }
            Made::Waits(waits) => {
                step.decision = Decision::Waits;
                step.rule = format!("{} has not come to it yet", task.stage);
                step.waits = Some(*waits);
            }
            Made::NotKept => step.rule = "it was decided; the record is past its retention".to_owned(),
        }
        Ok(step)
    }

    fn decided(
        &self,
        step: &mut Step,
        stage: &Stage,
        hit: &Hit,
        rules: &Rules,
        wanted: Wanted<'_>,
    ) -> Result<(), JobError> {
        match hit.record()? {
            Record::Dropped(dropped) => {
                step.decision = Decision::Dropped;
                step.reason = Some(dropped.reason.name());
                step.rule = rules::drop_rule(dropped.reason, rules);
                if dropped.reason == DropReason::Duplicate {
                    step.earlier = self.earlier(hit, wanted)?;
                } else if stage.id == StageId::AntiFraud && dropped.reason != DropReason::TooLate {
                    step.earlier = self.first_verdict(hit, wanted)?;
                }
            }
            Record::Charge(charge) => charged(step, &charge),
            _ => {
                step.decision = Decision::Passed;
                let is_reported = hit.event()?.is_some_and(|event| event.is_reported());
                step.rule = rules::passed(stage.id, rules, is_reported);
            }
        }
        Ok(())
    }

    /// The decision that a duplicate repeats: the record of `charges` in the line of its task.
    fn earlier(&self, hit: &Hit, wanted: Wanted<'_>) -> Result<Option<Value>, JobError> {
        let Some(event) = hit.event()? else { return Ok(None) };
        let (id, task) = (event.advertiser_id(), hit.producer());
        let partition = partition::by_advertiser(id, self.dir.partitions());
        let wanted = Wanted { advertiser: Some(id), ..wanted };
        for generation in self.registry.ancestors(task.generation) {
            let topic = Topic::Charges.of(generation);
            let decided = self.in_partition(topic, partition, wanted)?;
            let before = decided.into_iter().find(|d| d.provenance < hit.provenance);
            if let Some(found) = before {
                return found.row(self).map(Some);
            }
        }
        Ok(None)
    }

    /// The first verdict of anti-fraud on the same guid, if this one repeats it.
    fn first_verdict(&self, hit: &Hit, wanted: Wanted<'_>) -> Result<Option<Value>, JobError> {
        let same = self.in_partition(hit.topic, hit.partition, wanted)?;
        let first = same
            .into_iter()
            .find(|d| d.producer().task() == hit.producer().task() && d.provenance < hit.provenance);
        first.map(|d| d.row(self)).transpose()
    }

    fn in_partition(
        &self,
        topic: weir_proto::TopicId,
        partition: u32,
        wanted: Wanted<'_>,
    ) -> Result<Vec<Hit>, JobError> {
        let (from, to) = (self.log.start(topic, partition), self.log.high_watermark(topic, partition));
        let stretch = Stretch { topic, partition, from, to, of: None };
        self.scan(&stretch, &wanted.bytes(), &|r| wanted.is(r), &mut |_| {})
    }

    fn adjustments(&self, advertiser_id: u64, wanted: Wanted<'_>) -> Result<Vec<Value>, JobError> {
        let topic = Topic::Adjustments.of(1);
        let partition = partition::by_advertiser(advertiser_id, self.dir.partitions());
        let wanted = Wanted { advertiser: Some(advertiser_id), ..wanted };
        let hits = self.in_partition(topic, partition, wanted)?;
        // Two workers may have posted them.
        let mut seen = BTreeSet::new();
        hits.iter().filter(|hit| seen.insert(hit.identity())).map(|hit| hit.row(self)).collect()
    }
}

fn charged(step: &mut Step, charge: &Charge<'_>) {
    let taken = match charge.outcome {
        Outcome::Charged => {
            step.decision = Decision::Charged;
            step.rule = "the balance and the budget of the day pay for it".to_owned();
            charge.amount
        }
        Outcome::Refused(reason) => {
            step.decision = Decision::Refused;
            step.reason = Some(reason.name());
            step.rule = rules::refuse_rule(reason);
            Nanos::ZERO
        }
    };
    step.balance_before_nanos = charge.balance_after.checked_add(taken).ok();
}
