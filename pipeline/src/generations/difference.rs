//! What two generations make of the same time: which charges appear, vanish or change, and how much
//! money that is.

use crate::error::JobError;
use crate::input::{Content, Head, Line};
use crate::log::{Log, LogError};
use serde::Serialize;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use weir_proto::{
    Adjustment, AdjustmentKind, Charge, ChargeRef, Currency, EntryKind, Guid, Minute, MoneyError, Nanos,
    Outcome, Provenance, Record, StageId, TaskId, Topic,
};
use weir_state::Mark;

use super::{Cut, Registry};

/// What becomes of a charge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ChangeKind {
    /// Charged now and not before.
    Appears,
    /// Charged before and not now.
    Vanishes,
    /// Charged with another amount.
    Changes,
    /// No money moves: a refusal appears, vanishes, or has another reason.
    Refusal,
}

/// An outcome in one of the generations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Side {
    /// `charged`, or the reason of the refusal.
    pub outcome: &'static str,
    /// What was charged; 0 if refused.
    pub charged_nanos: Nanos,
    /// The currency of the account.
    pub currency: Currency,
    /// The generation whose `charges` it stands in.
    pub generation: u32,
    /// Its offset there.
    pub offset: u64,
}

/// One event that comes out differently.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Change {
    /// What becomes of it.
    pub kind: ChangeKind,
    /// The event.
    pub guid: String,
    /// Who pays.
    pub advertiser_id: u64,
    /// When it happened.
    pub event_time_ms: u64,
    /// The partition of `charges`.
    pub partition: u32,
    /// As it was.
    pub before: Option<Side>,
    /// As it would be.
    pub after: Option<Side>,
    #[serde(skip)]
    order: Provenance,
}

impl Change {
    fn amount(side: &Option<Side>) -> Nanos {
        side.as_ref().map_or(Nanos::ZERO, |s| s.charged_nanos)
    }

    /// What is posted for it; `None` if no money moves.
    pub fn adjustment(&self) -> Option<Adjustment<'_>> {
        let kind = match self.kind {
            ChangeKind::Appears => AdjustmentKind::Charge,
            ChangeKind::Vanishes => AdjustmentKind::Reversal,
            ChangeKind::Changes => AdjustmentKind::Change,
            ChangeKind::Refusal => return None,
        };
        let at = |side: &Option<Side>| {
            let at = |s: &Side| ChargeRef { generation: s.generation, offset: s.offset };
            side.as_ref().map_or_else(ChargeRef::default, at)
        };
        Some(Adjustment {
            kind,
            guid: Guid::parse(&self.guid)?,
            advertiser_id: self.advertiser_id,
            event_time_ms: self.event_time_ms,
            partition: self.partition,
            original: at(&self.before),
            new: at(&self.after),
            before: Self::amount(&self.before),
            after: Self::amount(&self.after),
            currency: self.before.as_ref().or(self.after.as_ref())?.currency,
        })
    }
}

/// Sums over changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Totals {
    /// Charges that appear.
    pub appear: u64,
    /// Charges that vanish.
    pub vanish: u64,
    /// Charges with another amount.
    pub change: u64,
    /// Refusals that appear, vanish or have another reason, without a charge being concerned.
    pub refusals: u64,
    /// Charged now and not before.
    pub appear_nanos: Nanos,
    /// Charged before and not now.
    pub vanish_nanos: Nanos,
    /// All of it: charged now − charged before.
    pub net_nanos: Nanos,
}

impl Totals {
    fn add(&mut self, change: &Change) -> Result<(), MoneyError> {
        let (before, after) = (Change::amount(&change.before), Change::amount(&change.after));
        match change.kind {
            ChangeKind::Appears => {
                self.appear += 1;
                self.appear_nanos = self.appear_nanos.checked_add(after)?;
            }
            ChangeKind::Vanishes => {
                self.vanish += 1;
                self.vanish_nanos = self.vanish_nanos.checked_add(before)?;
            }
            ChangeKind::Changes => self.change += 1,
            ChangeKind::Refusal => self.refusals += 1,
        }
        self.net_nanos = self.net_nanos.checked_add(after)?.checked_sub(before)?;
        Ok(())
    }
}

/// All changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Charges and refusals compared: as they were.
    pub compared: u64,
    /// Sums over all.
    pub total: Totals,
    /// Sums by advertiser.
    pub by_advertiser: BTreeMap<u64, Totals>,
    /// Each of them, by partition and in recorded order.
    #[serde(skip)]
    pub changes: Vec<Change>,
}

/// What is compared.
pub struct Sides {
    /// The log that holds both.
    pub log: Arc<dyn Log>,
    /// `charges` as they were.
    pub before: Arc<Line>,
    /// `charges` as they would be.
    pub after: Arc<Line>,
    /// From where on.
    pub cut: Arc<Cut>,
    /// Up to the tick of this minute.
    pub until: Minute,
    /// Whether that tick must stand there: a log that is away is not one without charges.
    pub to_the_tick: bool,
}

impl Sides {
    /// The published line against a generation, from where they begin to differ up to a tick; `None` if
    /// their charges cannot differ.
    pub fn of(registry: &Registry, log: Arc<dyn Log>, id: u32, until: Minute) -> Option<Self> {
        let recorded = registry.get(id).map_or(1, |(g, _)| g.recorded);
        Some(Sides {
            log,
            before: registry.line(recorded, Topic::Charges),
            after: registry.line(id, Topic::Charges),
            cut: registry.divergence(recorded, id)?,
            until,
            to_the_tick: false,
        })
    }

    /// Compares all partitions. `progress` is told how many records were compared.
    pub fn compare(&self, partitions: u32, progress: &mut dyn FnMut(u64)) -> Result<Difference, JobError> {
        let mut all = Difference::default();
        // Nothing lies between a tick and itself.
        let partitions = if self.until > self.cut.minute() { partitions } else { 0 };
        for partition in 0..partitions {
            let mut found = self.compare_partition(partition, &mut all.compared, progress)?;
            found.sort_by(|a, b| (a.order, &a.guid).cmp(&(b.order, &b.guid)));
            for change in found {
                let money = |source| weir_operators::OperatorError::Money {
                    advertiser_id: change.advertiser_id,
                    source,
                };
                all.total.add(&change).map_err(money)?;
                all.by_advertiser.entry(change.advertiser_id).or_default().add(&change).map_err(money)?;
                all.changes.push(change);
            }
        }
        progress(all.compared);
        Ok(all)
    }

    fn compare_partition(
        &self,
        partition: u32,
        compared: &mut u64,
        progress: &mut dyn FnMut(u64),
    ) -> Result<Vec<Change>, JobError> {
        let mut before = self.outcomes(&self.before, partition)?;
        let mut after = self.outcomes(&self.after, partition)?;
        let mut open: HashMap<Key, (Option<Decided>, Option<Decided>)> = HashMap::new();
        loop {
            // The one that comes first is taken; two at the same place together.
            let (take_old, take_new) = match (before.at(), after.at()) {
                (None, None) => break,
                (Some(a), Some(b)) => (a <= b, b <= a),
                (a, b) => (a.is_some(), b.is_some()),
            };
            let same = take_old && take_new && before.is_same(&after);
            if take_old {
                if !same {
                    let old = before.decided()?;
                    let entry = open.entry(old.key.clone()).or_default();
                    entry.0 = Some(old);
                }
                before.advance()?;
                *compared += 1;
                if compared.is_multiple_of(1 << 14) {
                    progress(*compared);
                }
            }
            if take_new {
                if !same {
                    let new = after.decided()?;
                    let entry = open.entry(new.key.clone()).or_default();
                    entry.1 = Some(new);
                }
                after.advance()?;
            }
        }
        Ok(open.into_values().filter_map(|(old, new)| change(partition, old, new)).collect())
    }

    fn outcomes(&self, line: &Line, partition: u32) -> Result<Outcomes, JobError> {
        let task = TaskId { stage: StageId::Deduct, partition: partition as u16 };
        let manifest = self.cut.of(task);
        let end = |m: &weir_state::Manifest| {
            let ends = m.ends.iter().find(|(t, _)| *t == Topic::Charges);
            ends.and_then(|(_, e)| e.get(partition as usize).copied()).unwrap_or(0)
        };
        let mark = Mark {
            offset: manifest.map_or(0, end),
            next_seq: self.cut.next_seq(task, Topic::Charges, partition),
            ..Mark::nothing_of(manifest.map_or(task.in_generation(1), |m| m.task))
        };
        let content = Content::open(self.log.clone(), line, partition, &mark);
        let mut outcomes = Outcomes { content, until: self.until, to_the_tick: self.to_the_tick, head: None };
        outcomes.advance()?;
        Ok(outcomes)
    }
}

/// Whose, and of what: the same text may be the guid of an event and the key of a command.
type Key = (u64, EntryKind, String);

struct Decided {
    order: Provenance,
    key: Key,
    event_time_ms: u64,
    side: Side,
}

/// The outcomes of one deduct task up to a tick.
struct Outcomes {
    content: Content,
    until: Minute,
    /// Whether that tick must stand there.
    to_the_tick: bool,
    head: Option<Head>,
}

impl Outcomes {
    /// Where the current one comes from.
    fn at(&self) -> Option<Provenance> {
        self.head.map(|h| h.provenance)
    }

    /// Moves to the next one.
    fn advance(&mut self) -> Result<(), JobError> {
        self.head = None;
        let mut has_ended = false;
        while let Some(head) = self.content.take()? {
            match Record::decode(self.content.bytes())? {
                Record::Charge(_) => {
                    self.head = Some(head);
                    break;
                }
                Record::Tick(minute) if minute >= self.until => {
                    has_ended = true;
                    break;
                }
                _ => {}
            }
        }
        if self.to_the_tick && self.head.is_none() && !has_ended {
            return Err(LogError::Away { what: "find the last charges in", topic: None }.into());
        }
        Ok(())
    }

    /// Whether two current ones say the same, the balance aside.
    fn is_same(&self, other: &Outcomes) -> bool {
        Charge::is_same_outcome(self.content.bytes(), other.content.bytes())
    }

    fn decided(&self) -> Result<Decided, JobError> {
        let (Some(head), Record::Charge(charge)) = (&self.head, Record::decode(self.content.bytes())?) else {
            return Err(JobError::Setup("there is no outcome at this place".to_owned()));
        };
        let (outcome, charged_nanos) = match charge.outcome {
            Outcome::Charged => ("charged", charge.amount),
            Outcome::Refused(reason) => (reason.name(), Nanos::ZERO),
        };
        let (generation, offset) = (head.producer.generation, head.offset);
        Ok(Decided {
            order: head.provenance,
            key: (charge.advertiser_id, charge.kind, charge.guid.to_string()),
            event_time_ms: charge.event_time_ms,
            side: Side { outcome, charged_nanos, currency: charge.currency, generation, offset },
        })
    }
}

fn change(partition: u32, before: Option<Decided>, after: Option<Decided>) -> Option<Change> {
    let is_charged = |d: &Option<Decided>| d.as_ref().is_some_and(|d| d.side.outcome == "charged");
    let kind = match (is_charged(&before), is_charged(&after)) {
        (false, true) => ChangeKind::Appears,
        (true, false) => ChangeKind::Vanishes,
        (true, true) => {
            let amount = |d: &Option<Decided>| d.as_ref().map(|d| d.side.charged_nanos);
            if amount(&before) == amount(&after) {
                return None;
            }
            ChangeKind::Changes
        }
        (false, false) => {
            let reason = |d: &Option<Decided>| d.as_ref().map(|d| d.side.outcome);
            if reason(&before) == reason(&after) {
                return None;
            }
            ChangeKind::Refusal
        }
    };
    let any = before.as_ref().or(after.as_ref())?;
    Some(Change {
        kind,
        guid: any.key.2.clone(),
        advertiser_id: any.key.0,
        event_time_ms: any.event_time_ms,
        partition,
        order: any.order,
        before: before.map(|d| d.side),
        after: after.map(|d| d.side),
    })
}
