//! What checkpoints and stores say, beside where a walk stands.

use super::report::{Problem, Subject};
use super::walk::{Broken, Walk};
use std::collections::HashMap;
use weir_operators::deduct;
use weir_state::{Manifest, Shared, Store};

/// Accounts and campaigns of a deduct task.
type State = (HashMap<u64, deduct::Account>, HashMap<deduct::CampaignId, deduct::Campaign>);

impl Walk<'_> {
    /// Compares a checkpoint with where the walk stands.
    pub(super) fn compare(&mut self, manifest: &Manifest) {
        let minute = Some(manifest.minute);
        for (topic, sum) in &self.outputs.digests {
            let said = manifest.digest(*topic);
            if said != *sum {
                let problem = format!(
                    "the checkpoint's digest of {topic} is {said:032x}; that of the records is {sum:032x}"
                );
                let task = Some(manifest.task.to_string());
                self.audit.problem(Subject::Digests, Problem { problem, task, minute, place: None });
            }
        }
        let other = (self.outputs.next_seqs != manifest.next_seqs)
            .then_some("how many records it had appended")
            .or_else(|| self.input.is_some().then(|| self.reads_otherwise(manifest)).flatten());
        if let Some(what) = other {
            let problem = format!("the checkpoint says otherwise than the log {what}");
            let task = Some(manifest.task.to_string());
            self.audit.problem(Subject::Digests, Problem { problem, task, minute, place: None });
        }
    }

    fn reads_otherwise(&self, manifest: &Manifest) -> Option<&'static str> {
        let reader = self.input.as_ref()?;
        let read_to = |m: &weir_state::Mark| manifest.read_to(m.producer.task()) == m.next_seq;
        let same = reader.position() == manifest.position && reader.marks().iter().all(read_to);
        (!same).then_some("how far it had read")
    }

    /// The end of the segment is reached.
    pub(super) fn finish(&mut self) -> Result<(), Broken> {
        let Some(end) = self.auditor.segment.end(self.task) else { return Ok(()) };
        if self.auditor.segment.ends_at_stores() {
            if self.outputs.take()? {
                return Err(self.unfounded());
            }
            self.flush(None);
            for (topic, sum) in &self.outputs.digests {
                if end.digest(*topic) != *sum {
                    let problem = format!(
                        "the digest of {topic} in the store is {:032x}; that of the records is {sum:032x}",
                        end.digest(*topic)
                    );
                    let found = self.problem(problem, None);
                    self.audit.problem(Subject::Digests, found);
                    break;
                }
            }
        } else if self.auditor.segment.end_minute(self.task) != Some(self.last_tick) {
            let problem =
                "the log ends before the tick of the cut: records are missing at its end".to_owned();
            return Err(self.broken(Subject::Completeness, problem, None));
        } else {
            // Of a worker that is away: at a tick that the others have no checkpoint of.
            let next = self.auditor.segment.minutes().range(self.last_tick..).next().copied();
            next.into_iter().for_each(|minute| self.flush(Some(minute)));
        }
        if let Some(accounts) = self.accounts.take() {
            accounts.add_to(&mut self.audit.money);
            self.audit.checked(Subject::Conservation, accounts.len());
            if let Some(problem) = accounts.compare(self.accounts_at(end)?.0) {
                let found = self.problem(problem, None);
                self.audit.problem(Subject::Conservation, found);
            }
        }
        Ok(())
    }

    /// The accounts and campaigns of a checkpoint, or of the store of a stopped job.
    pub(super) fn accounts_at(&self, manifest: &Manifest) -> Result<State, Broken> {
        let dir = &self.auditor.dir;
        let is_store = manifest.files.is_empty();
        let path = match is_store {
            true => {
                let runs = self.auditor.registry.runs(self.auditor.published, self.task.stage);
                dir.store(self.task.in_generation(runs))
            }
            false => dir.checkpoints().path(manifest.task, manifest.minute),
        };
        if is_store && !path.exists() {
            return Ok(Default::default());
        }
        if !is_store {
            dir.checkpoints().verify(manifest)?;
        }
        let store = Store::open_read_only(&path, &Shared::new(8 << 20))?;
        let (accounts, campaigns) = (deduct::accounts(&store)?, deduct::campaigns(&store)?);
        Ok((accounts.into_iter().collect(), campaigns.into_iter().collect()))
    }
}
