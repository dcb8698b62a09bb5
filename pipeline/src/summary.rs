//! Where the money went: read from the stores of a data directory, whether its job runs or not.
//!
//! The money is counted twice, by deduct and by post-process from the `charges` topic, and the books
//! must agree: every event has one outcome, and for every account
//! opening + deposited − withdrawn − charged + credited = balance. The opening is what a line of an accounts
//! file brought forward; an opening balance that came with a command is a deposit.

use crate::books::check::{Money, difference};
use crate::books::stores::Stores;
use crate::data_dir::DataDir;
use crate::error::JobError;
use serde::Serialize;
use std::collections::BTreeMap;
use weir_operators::deduct::{self, Account};
use weir_operators::post_process::{self, Entry};
use weir_proto::{Currency, DropReason, Nanos, Outcome, RefuseReason, StageId};
use weir_state::Tally;

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
    /// The money in all currencies taken together, which says something where there is one.
    #[serde(flatten)]
    pub total: Money,
    /// The money in each currency.
    pub currencies: BTreeMap<String, Money>,
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
    /// The currency of the account.
    pub currency: Currency,
    /// How many charges.
    pub charges: u64,
    /// How much was refused, of events and of anything else.
    pub refused: u64,
    /// Sum of the charges.
    pub charged_nanos: Nanos,
    /// What was given back of them.
    pub credited_nanos: Nanos,
    /// What was refused: the platform's loss.
    pub lost_nanos: Nanos,
    /// What was brought forward.
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
        let mut books =
            Books { tallies: BTreeMap::new(), accounts: BTreeMap::new(), ledger: BTreeMap::new() };
        let stores = Stores::open(dir)?;
        for stage in StageId::ALL {
            for found in stores.all(stage) {
                let (store, meta) = found?;
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
            accounts: self.accounts.len() as u64,
            ..Summary::default()
        };
        for (_, entry, account) in self.advertisers() {
            summary.total.add(&entry, account);
            summary.currencies.entry(entry.currency.to_string()).or_default().add(&entry, account);
        }
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
        found.extend(self.advertisers().filter_map(|(id, entry, account)| difference(id, &entry, account)));
        let overdrawn = self.accounts.iter().filter(|(_, a)| a.balance < a.credit_line.saturating_neg());
        found.extend(overdrawn.map(|(id, a)| {
            format!("advertiser {id}: the balance {} is below its credit line", Nanos(a.balance))
        }));
        found
    }

    /// Everyone who has an account or was charged.
    fn advertisers(&self) -> impl Iterator<Item = (u64, Entry, Option<&Account>)> {
        let mut ids: Vec<u64> = self.accounts.keys().chain(self.ledger.keys()).copied().collect();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter()
            .map(|id| (id, self.ledger.get(&id).cloned().unwrap_or_default(), self.accounts.get(&id)))
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
            currency: entry.currency,
            charges: entry.charges,
            refused: entry.refused.iter().sum(),
            charged_nanos: Nanos(entry.charged),
            credited_nanos: Nanos(entry.credited),
            lost_nanos: Nanos(entry.lost),
            opening_nanos: Nanos(entry.opened),
            balance_nanos: Nanos(account.map_or(0, |a| a.balance)),
        }
    }
}
