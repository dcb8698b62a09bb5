//! What an audit says.

use super::Segment;
use super::flights::Counts;
use serde::Serialize;
use std::collections::BTreeMap;
use weir_proto::{Minute, Nanos, Record, TopicId};

/// What is checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// The checksum of every frame.
    Checksums,
    /// Running numbers and offsets without gaps, provenance strictly rising.
    Provenance,
    /// Every record that went into a stage has its outcome there, and the sums per minute agree.
    Completeness,
    /// Opening + deposits − charges = balance, for each account after each record.
    Conservation,
    /// What the checkpoints say of the log is what stands there.
    Digests,
}

impl Subject {
    /// In the order in which they are reported.
    pub const ALL: [Subject; 5] = [
        Subject::Checksums,
        Subject::Provenance,
        Subject::Completeness,
        Subject::Conservation,
        Subject::Digests,
    ];

    /// The name in tables, and what is counted.
    pub fn names(self) -> (&'static str, &'static str) {
        match self {
            Subject::Checksums => ("checksums", "frames"),
            Subject::Provenance => ("provenance", "records"),
            Subject::Completeness => ("completeness", "records"),
            Subject::Conservation => ("conservation", "outcomes"),
            Subject::Digests => ("digests", "checkpoints"),
        }
    }
}

/// Where something stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Place {
    /// The topic, with its generation if it is not the first.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The offset.
    pub offset: u64,
    /// The event, if there is one.
    pub guid: Option<String>,
}

impl Place {
    /// Of a record.
    pub fn of(topic: TopicId, partition: u32, offset: u64, bytes: &[u8]) -> Self {
        Place { topic: topic.to_string(), partition, offset, guid: guid_of(bytes) }
    }
}

/// The guid of a record that has one.
pub fn guid_of(bytes: &[u8]) -> Option<String> {
    match Record::decode(bytes).ok()? {
        Record::Event(event) => Some(event.guid().to_string()),
        Record::Charge(charge) => Some(charge.guid.to_string()),
        Record::Dropped(dropped) => dropped.event.map(|e| e.guid().to_string()),
        Record::Adjustment(adjustment) => Some(adjustment.guid.to_string()),
        _ => None,
    }
}

/// Something that is not as it must be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// What does not hold.
    pub problem: String,
    /// The stage, partition and generation concerned.
    pub task: Option<String>,
    /// The tick behind which it was found.
    #[serde(serialize_with = "rfc3339")]
    pub minute: Option<Minute>,
    /// The first record that breaks it.
    pub place: Option<Place>,
}

/// What came of one check.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Check {
    /// How much was checked.
    pub checked: u64,
    /// What is wrong; of each task the first only.
    pub problems: Vec<Problem>,
}

/// The sums up to the tick of a minute, counted from the beginning of the segment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct MinuteRow {
    /// The tick; none for what stands behind the newest one of a stopped job.
    #[serde(serialize_with = "rfc3339")]
    pub minute: Option<Minute>,
    /// Lines taken in: records of `raw` and what collect dropped.
    pub accepted: u64,
    /// Charged.
    pub charged: u64,
    /// Refused.
    pub refused: u64,
    /// Dropped, by any stage.
    pub dropped: u64,
    /// Set aside for people to look at.
    pub parked: u64,
    /// On the way when the segment began.
    pub in_flight_before: u64,
    /// On the way at this tick.
    pub in_flight: u64,
    /// What is missing; negative if there is too much.
    pub difference: i128,
}

/// The money of all accounts in one currency.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Money {
    /// Accounts known.
    pub accounts: u64,
    /// At the beginning of the segment, or brought forward in it.
    pub opening_nanos: Nanos,
    /// Paid in in the segment, less what was paid out; opening balances that came with commands, too.
    pub deposited_nanos: Nanos,
    /// Charged in the segment, less what was given back.
    pub charged_nanos: Nanos,
    /// At its end.
    pub closing_nanos: Nanos,
}

impl Money {
    pub(super) fn add(&mut self, other: &Money) {
        self.accounts += other.accounts;
        self.opening_nanos.0 += other.opening_nanos.0;
        self.deposited_nanos.0 += other.deposited_nanos.0;
        self.charged_nanos.0 += other.charged_nanos.0;
        self.closing_nanos.0 += other.closing_nanos.0;
    }
}

/// The whole.
#[derive(Clone, Debug, Serialize)]
pub struct Audit {
    /// The cut at which it begins; none: the start of the log.
    #[serde(serialize_with = "rfc3339")]
    pub from: Option<Minute>,
    /// The cut at which it ends; none: the end of the log.
    #[serde(serialize_with = "rfc3339")]
    pub to: Option<Minute>,
    /// Whether nothing is wrong.
    pub ok: bool,
    /// What came of each check.
    pub checks: BTreeMap<Subject, Check>,
    /// The sums of the minutes of which there are cuts, and at the end.
    pub minutes: Vec<MinuteRow>,
    /// Minutes at which a worker of a group was away with what it had taken in: they have no sum of their own.
    #[serde(skip_serializing_if = "Vec::is_empty", serialize_with = "minutes")]
    pub not_summed: Vec<Minute>,
    /// The money, by currency.
    pub money: BTreeMap<String, Money>,
}

impl Audit {
    pub(super) fn new(segment: &Segment) -> Self {
        Audit {
            from: segment.from_minute(),
            to: segment.to_minute(),
            ok: true,
            checks: Subject::ALL.map(|s| (s, Check::default())).into(),
            minutes: Vec::new(),
            not_summed: Vec::new(),
            money: BTreeMap::new(),
        }
    }

    pub(super) fn checked(&mut self, subject: Subject, count: u64) {
        self.checks.entry(subject).or_default().checked += count;
    }

    /// Takes a problem in, unless it is known: damage is met again by each task that reads there.
    pub(super) fn problem(&mut self, subject: Subject, problem: Problem) {
        self.ok = false;
        let problems = &mut self.checks.entry(subject).or_default().problems;
        let is_known = |p: &Problem| subject == Subject::Checksums && p.problem == problem.problem;
        if !problems.iter().any(is_known) {
            problems.push(problem);
        }
    }

    /// The sums of a minute.
    pub(super) fn row(&mut self, minute: Option<Minute>) -> &mut MinuteRow {
        let at = self.minutes.iter().position(|row| row.minute == minute).unwrap_or_else(|| {
            self.minutes.push(MinuteRow { minute, ..MinuteRow::default() });
            self.minutes.len() - 1
        });
        &mut self.minutes[at]
    }

    /// Takes in what was found in a part of it.
    pub(super) fn add(&mut self, part: Audit) {
        for (subject, check) in part.checks {
            self.checked(subject, check.checked);
            check.problems.into_iter().for_each(|problem| self.problem(subject, problem));
        }
        part.minutes.iter().for_each(|row| Counts::of(row).add_to(self.row(row.minute)));
        for (currency, money) in part.money {
            self.money.entry(currency).or_default().add(&money);
        }
    }

    pub(super) fn holds(&self, subject: Subject) -> bool {
        self.checks.get(&subject).is_none_or(|c| c.problems.is_empty())
    }
}

fn minutes<S: serde::Serializer>(minutes: &[Minute], s: S) -> Result<S::Ok, S::Error> {
    s.collect_seq(minutes.iter().map(Minute::to_string))
}

fn rfc3339<S: serde::Serializer>(minute: &Option<Minute>, s: S) -> Result<S::Ok, S::Error> {
    match minute {
        Some(minute) => s.collect_str(minute),
        None => s.serialize_none(),
    }
}
