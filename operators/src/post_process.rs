//! Post-process: keeps the ledger from `charges` alone, so that it checks what deduct did, and tells
//! advertisers when an account ran dry or a budget is reached, once per crossing.

use crate::outbox::Outbox;
use crate::partition;
use crate::{Operator, OperatorError, unexpected};
use hashbrown::{HashMap, HashSet};
use serde::{Deserialize, Serialize};
use weir_proto::{Charge, Minute, Nanos, Notice, NoticeKind, Outcome, Record, RefuseReason, StageId};
use weir_state::versioned::ById;
use weir_state::{Commit, StateError, Store};

/// Ledger entries by advertiser.
const LEDGER: ById = ById { table: 1, version: 1, what: "a ledger entry" };

/// What was charged to one advertiser.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// Sum of all charges, in nanos.
    pub charged: i128,
    /// How many charges.
    pub charges: u64,
    /// Events refused, by the code of the outcome.
    pub refused: [u64; 24],
    /// Sum of what was refused: the platform's loss, in nanos.
    pub lost: i128,
    /// The advertiser was told that the account is exhausted.
    pub told_exhausted: bool,
    /// The days, since the epoch, on which the advertiser was told that the budget is reached.
    pub told_budget: Vec<u32>,
}

impl Entry {
    /// Adds an outcome; the notice that it gives rise to, if any.
    fn add(&mut self, charge: &Charge<'_>) -> Result<Option<NoticeKind>, OperatorError> {
        let money = |source| OperatorError::Money { advertiser_id: charge.advertiser_id, source };
        let Outcome::Refused(reason) = charge.outcome else {
            self.charges += 1;
            self.charged = Nanos(self.charged).checked_add(charge.amount).map_err(money)?.0;
            return Ok(None);
        };
        self.refused[reason as usize] += 1;
        self.lost = Nanos(self.lost).checked_add(charge.amount).map_err(money)?.0;
        let day = Minute::of_ms(charge.event_time_ms).day();
        Ok(match reason {
            RefuseReason::InsufficientBalance if !self.told_exhausted => {
                self.told_exhausted = true;
                Some(NoticeKind::Exhausted)
            }
            RefuseReason::DailyBudget if !self.told_budget.contains(&day) => {
                self.told_budget.push(day);
                Some(NoticeKind::BudgetReached)
            }
            _ => None,
        })
    }
}

/// Every entry of a post-process store.
pub fn ledger(store: &Store) -> Result<HashMap<u64, Entry>, StateError> {
    LEDGER.load(store)
}

/// The operator.
pub struct PostProcess {
    ledger: HashMap<u64, Entry>,
    touched: HashSet<u64>,
}

impl PostProcess {
    /// Loads the operator's state.
    pub fn load(store: &Store) -> Result<Self, StateError> {
        Ok(PostProcess { ledger: ledger(store)?, touched: HashSet::new() })
    }
}

impl Operator for PostProcess {
    fn fold(&mut self, _: &Store, record: Record<'_>, out: &mut Outbox) -> Result<(), OperatorError> {
        let Record::Charge(charge) = record else { return Err(unexpected(StageId::PostProcess, &record)) };
        let advertiser_id = charge.advertiser_id;
        self.touched.insert(advertiser_id);
        if charge.kind.is_event() {
            out.outcome(charge.outcome);
        }
        if let Some(kind) = self.ledger.entry(advertiser_id).or_default().add(&charge)? {
            let event_time_ms = charge.event_time_ms;
            let notice = Notice {
                kind,
                advertiser_id,
                event_time_ms,
                balance: charge.balance_after,
                campaign_id: charge.campaign_id,
            };
            out.emit(partition::by_advertiser(advertiser_id, out.partitions()), &[&notice.encode()]);
        }
        Ok(())
    }

    fn tick(&mut self, _: &Store, _: Minute, _: &mut Outbox) -> Result<(), OperatorError> {
        Ok(())
    }

    fn stage(&mut self, _: &Store, commit: &mut Commit) -> Result<(), StateError> {
        for id in self.touched.drain() {
            if let Some(entry) = self.ledger.get(&id) {
                LEDGER.put(id, entry, commit);
            }
        }
        Ok(())
    }
}
