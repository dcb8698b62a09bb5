//! Where the money went: read from the stores of a data directory, whether its job runs or not.
//!
//! The charges are counted twice, by deduct and by post-process from the `charges` topic, and the
//! books must agree: for every account opening − charged = balance, and every event has one outcome.

use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::generations::Registry;
use serde::Serialize;
use std::collections::BTreeMap;
use weir_operators::deduct::{self, Account};
use weir_operators::post_process::{self, Entry};
use weir_proto::{DropReason, Nanos, Outcome, RefuseReason, StageId};
use weir_state::{Shared, Store, Tally};

/// What became of all events and all money, in nanos.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Summary {
    /// Lines taken in.
    pub events: u64,
    /// Of these, lines that could not be read.
    pub malformed: u64,
    /// Events dropped, by reason.
    pub dropped: BTreeMap<&'static str, u64>,
    /// Events charged.
    pub charged: u64,
    /// Events refused, by reason.
    pub refused: BTreeMap<&'static str, u64>,
    /// Sum of all charges in the ledger.
    pub charged_nanos: Nanos,
    /// Sum of all opening balances.
    pub opening_nanos: Nanos,
    /// Sum of all balances.
    pub closing_nanos: Nanos,
    /// Accounts opened.
    pub accounts: u64,
    /// Whether all of the input has an outcome and the books agree.
    pub conserved: bool,
    /// What does not agree, for people.
    pub differences: Vec<String>,
}

/// One advertiser's books.
#[derive(Clone, Debug, Serialize)]
pub struct AdvertiserBooks {
    /// Who.
    pub advertiser_id: u64,
    /// Events charged.
    pub charges: u64,
    /// Events refused.
    pub refused: u64,
    /// Sum of the charges.
    pub charged_nanos: Nanos,
    /// What was refused: the platform's loss.
    pub lost_nanos: Nanos,
    /// At the opening.
    pub opening_nanos: Nanos,
    /// Now.
    pub balance_nanos: Nanos,
}

/// The books of a data directory.
pub struct Books {
    tallies: BTreeMap<StageId, Tally>,
    accounts: BTreeMap<u64, Account>,
    ledger: BTreeMap<u64, Entry>,
}

impl Books {
    /// Reads them.
    pub fn read(dir: &DataDir) -> Result<Self, JobError> {
        let shared = Shared::new(8 << 20);
        let mut books =
            Books { tallies: BTreeMap::new(), accounts: BTreeMap::new(), ledger: BTreeMap::new() };
        let registry = Registry::open(dir)?;
        let published = registry.published();
        for stage in StageId::ALL {
            let generation = if stage.folds() { registry.runs(published, stage) } else { 1 };
            for task in dir.tasks_of(stage) {
                let task = task.in_generation(generation);
                let path = dir.store(task);
                if !path.exists() {
                    continue;
                }
                let store = Store::open_read_only(&path, &shared)?;
                let Some(meta) = store.meta()? else { continue };
                books.tallies.entry(stage).or_default().add(&meta.tally);
                match stage {
                    StageId::Deduct => books.accounts.extend(deduct::accounts(&store)?),
                    StageId::PostProcess => books.ledger.extend(post_process::ledger(&store)?),
                    _ => {}
                }
            }
        }
        Ok(books)
    }

    fn tally(&self, stage: StageId) -> Tally {
        self.tallies.get(&stage).cloned().unwrap_or_default()
    }

    fn dropped(&self, reason: DropReason) -> u64 {
        self.tallies.values().map(|t| t.dropped(reason)).sum()
    }

    /// The whole in one object.
    pub fn summary(&self) -> Summary {
        let (collect, post) = (self.tally(StageId::Collect), self.tally(StageId::PostProcess));
        let reasons = DropReason::ALL.into_iter().filter(|r| *r != DropReason::Malformed);
        let mut summary = Summary {
            events: collect.taken,
            malformed: self.dropped(DropReason::Malformed),
            dropped: reasons.map(|r| (r.name(), self.dropped(r))).filter(|(_, n)| *n > 0).collect(),
            charged: post.outcome(Outcome::Charged),
            refused: RefuseReason::ALL
                .into_iter()
                .map(|r| (r.name(), post.outcome(Outcome::Refused(r))))
                .filter(|(_, n)| *n > 0)
                .collect(),
            charged_nanos: self.ledger.values().map(|e| Nanos(e.charged)).sum(),
            opening_nanos: self.accounts.values().map(|a| Nanos(a.opening)).sum(),
            closing_nanos: self.accounts.values().map(|a| Nanos(a.balance)).sum(),
            accounts: self.accounts.len() as u64,
            conserved: false,
            differences: Vec::new(),
        };
        summary.differences = self.differences(&summary);
        summary.conserved = summary.differences.is_empty();
        summary
    }

    fn differences(&self, s: &Summary) -> Vec<String> {
        let mut found = Vec::new();
        let dropped: u64 = s.dropped.values().sum();
        let refused: u64 = s.refused.values().sum();
        let accounted = s.malformed + dropped + s.charged + refused;
        if accounted != s.events {
            found.push(format!("{} events came in, {accounted} have an outcome", s.events));
        }
        for (id, account) in &self.accounts {
            let charged = self.ledger.get(id).map_or(0, |e| e.charged);
            if account.opening - charged != account.balance {
                found.push(format!(
                    "advertiser {id}: opening {} − charged {} is not the balance {}",
                    Nanos(account.opening),
                    Nanos(charged),
                    Nanos(account.balance)
                ));
            }
            if account.balance < 0 {
                found.push(format!("advertiser {id}: the balance {} is negative", Nanos(account.balance)));
            }
        }
        let strangers =
            self.ledger.iter().filter(|(id, e)| e.charged != 0 && !self.accounts.contains_key(id));
        found.extend(strangers.map(|(id, _)| format!("advertiser {id} was charged without an account")));
        found
    }

    /// The advertisers who were charged most.
    pub fn top(&self, count: usize) -> Vec<AdvertiserBooks> {
        let mut all: Vec<_> = self.ledger.iter().map(|(id, e)| self.books_of(*id, e)).collect();
        all.sort_by_key(|b| (std::cmp::Reverse(b.charged_nanos), b.advertiser_id));
        all.truncate(count);
        all
    }

    fn books_of(&self, advertiser_id: u64, entry: &Entry) -> AdvertiserBooks {
        let account = self.accounts.get(&advertiser_id);
        AdvertiserBooks {
            advertiser_id,
            charges: entry.charges,
            refused: entry.refused.iter().sum(),
            charged_nanos: Nanos(entry.charged),
            lost_nanos: Nanos(entry.lost),
            opening_nanos: Nanos(account.map_or(0, |a| a.opening)),
            balance_nanos: Nanos(account.map_or(0, |a| a.balance)),
        }
    }
}
