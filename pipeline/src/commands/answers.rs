//! Waiting for an answer: in the `answers` of the published generation, and of the one that takes over
//! from it meanwhile. What the old one did not come to, the new one decides.

use crate::error::JobError;
use crate::generations::Registry;
use crate::input::Scan;
use crate::log::LiveLog;
use std::collections::BTreeMap;
use std::sync::Arc;
use weir_proto::{Answer, Outcome, Record, StageId, Topic, rpc};

/// Records read at a time.
const AT_A_TIME: u64 = 1_024;

/// Answers of a partition from a moment on.
pub(super) struct Answers<'a> {
    registry: &'a Registry,
    log: &'a Arc<dyn LiveLog>,
    partition: u32,
    /// Where the `answers` of each generation ended at that moment.
    ends: BTreeMap<u32, u64>,
    generation: u32,
    scan: Scan,
}

impl<'a> Answers<'a> {
    /// Those that come from now on.
    pub(super) fn from_now(registry: &'a Registry, log: &'a Arc<dyn LiveLog>, partition: u32) -> Self {
        let own = registry.all().into_iter().map(|(g, _)| registry.runs(g.id, StageId::Deduct));
        let ends = own.map(|id| (id, log.high_watermark(Topic::Answers.of(id), partition))).collect();
        let generation = deciding(registry);
        let scan = scan(log, generation, partition, &ends);
        Answers { registry, log, partition, ends, generation, scan }
    }

    /// The answer to a command, if it is there.
    pub(super) fn find(
        &mut self,
        advertiser_id: u64,
        key: &str,
    ) -> Result<Option<rpc::SubmitResponse>, JobError> {
        loop {
            // Asked first: an ended generation has no more answers than are found then.
            let deciding = deciding(self.registry);
            while self.scan.advance()?.is_some() {
                if let Record::Answer(answer) = Record::decode(self.scan.bytes())?
                    && (answer.advertiser_id, answer.key) == (advertiser_id, key)
                {
                    return Ok(Some(response(&answer)?));
                }
            }
            if deciding == self.generation {
                return Ok(None);
            }
            self.generation = deciding;
            self.scan = scan(self.log, deciding, self.partition, &self.ends);
        }
    }
}

/// The generation whose deduct decides for the published line.
fn deciding(registry: &Registry) -> u32 {
    registry.ends_generation(registry.published(), StageId::Deduct)
}

fn scan(log: &Arc<dyn LiveLog>, generation: u32, partition: u32, ends: &BTreeMap<u32, u64>) -> Scan {
    let topic = Topic::Answers.of(generation);
    let from = ends.get(&generation).copied().unwrap_or(0).max(log.start(topic, partition));
    Scan::new(log.clone(), topic, partition, from, AT_A_TIME)
}

fn response(answer: &Answer<'_>) -> Result<rpc::SubmitResponse, JobError> {
    let outcome = match answer.outcome {
        Outcome::Charged => "charged",
        Outcome::Refused(reason) => reason.name(),
    };
    Ok(rpc::SubmitResponse {
        outcome: outcome.to_owned(),
        amount: Some(answer.amount.to_wire(answer.currency)?),
        balance_after: Some(answer.balance_after.to_wire(answer.currency)?),
        repeated: answer.is_repeated,
    })
}
