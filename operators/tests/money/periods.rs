//! What the ledger makes of a tick: contracts by time.

use crate::events;
use crate::ledger::{Charged, Ledger, date, nanos};
use crate::machine::Output;
use weir_proto::{EntryKind, Minute, Outcome, Record, rpc};

/// Periods of a contract in all, and of them ended.
pub fn periods(terms: &rpc::Campaign, zone: &str, now: u64) -> (u64, u64) {
    let (starts, ends) = (terms.starts_ms, terms.ends_ms);
    if terms.billing == "cpt" {
        let count = (ends - starts).div_ceil(Minute::MILLIS);
        return (count, if now >= ends { count } else { now.saturating_sub(starts) / Minute::MILLIS });
    }
    let days = |ms: u64| date(starts, zone).until(date(ms, zone)).unwrap().get_days() as u64;
    let count = days(ends - 1) + 1;
    (
        count,
        if now >= ends {
            count
        } else if now < starts {
            0
        } else {
            days(now)
        },
    )
}

impl Ledger {
    pub fn set_campaign(&mut self, advertiser: u64, terms: &rpc::Campaign) {
        let id = (advertiser, terms.campaign_id);
        self.campaigns.insert(id, terms.clone());
        self.campaign_told.retain(|told| (told.0, told.1) != id);
        let contract =
            self.contracts.entry((id.0, id.1, terms.billing.clone(), terms.starts_ms)).or_default();
        contract.before = (contract.decided, contract.amount);
    }

    pub fn tick(&mut self, now: Minute, outputs: &[Output]) {
        for (_, bytes) in outputs {
            let Record::Charge(c) = Record::decode(bytes).unwrap() else { panic!("{outputs:?}") };
            assert_eq!(c.kind, EntryKind::Period);
            let name = c.guid.to_string();
            let parts: Vec<&str> = name.split('/').collect();
            let [billing, campaign, starts, _] = parts[..] else { panic!("{name}") };
            assert_eq!(campaign, c.campaign_id.to_string());
            assert!(c.event_time_ms < now.start_ms(), "a period that has not ended: {c:?}");
            let terms = &self.campaigns[&(c.advertiser_id, c.campaign_id)];
            let zone = &self.accounts[&c.advertiser_id].zone;
            let (count, _) = periods(terms, zone, now.start_ms());
            let id = (c.advertiser_id, c.campaign_id, billing.to_owned(), starts.parse().unwrap());
            let contract = self.contracts.get_mut(&id).unwrap();
            let left = terms.price.as_ref().map_or(0, nanos) - contract.before.1;
            let (left, of) = (left.max(0), i128::from(count - contract.before.0));
            assert!((c.amount.0 * of - left).abs() <= of, "about one of {of} of {left}: {c:?}");
            assert!(contract.names.insert(name.clone()), "a period twice: {c:?}");
            (contract.decided, contract.amount) = (contract.decided + 1, contract.amount + c.amount.0);
            assert!(self.decided.insert((c.advertiser_id, name.clone())));
            let why = self.speaks_against(&c);
            match c.outcome {
                Outcome::Charged => {
                    assert!(why.is_empty(), "{why:?}: {c:?}");
                    self.charged.insert((c.advertiser_id, name), Charged::of(&c, 0));
                }
                Outcome::Refused(reason) => assert!(why.contains(&reason), "{why:?}: {c:?}"),
            }
            self.book(&c);
        }
        self.now = now;
        self.check_contracts(now.start_ms());
    }

    /// All periods that have ended are decided, and those of a whole contract add up to its price.
    fn check_contracts(&self, now: u64) {
        for (id, terms) in &self.campaigns {
            if !matches!(&*terms.billing, "cpt" | "cpd") {
                continue;
            }
            let contract = &self.contracts[&(id.0, id.1, terms.billing.clone(), terms.starts_ms)];
            let (count, ended) = periods(terms, &self.accounts[&id.0].zone, now);
            assert_eq!(contract.decided, ended.max(contract.before.0), "of {count}: {terms:?}");
            let price = terms.price.as_ref().map_or(0, nanos);
            if ended == count && contract.before.0 < count {
                assert_eq!(contract.amount, price.max(contract.before.1), "in all: {terms:?}");
            }
        }
    }
}

#[test]
fn halves_go_to_the_even_nano_here_too() {
    assert_eq!([1, 3, 5, 7].map(|n| events::half_even(n, 1, 2)), [0, 2, 2, 4]);
}
