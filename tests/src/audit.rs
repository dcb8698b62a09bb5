//! The conservation check and the oracle: what came out, held against what went in.

use std::collections::HashMap;

use crate::expect::{Expectation, Must};
use crate::input::{Event, Input};
use crate::job::{Job, Summary};
use crate::ledger::Ledger;
use crate::rules::{FLOOD_LIMIT, Reason, USER_AD_LIMIT, USER_CLICK_LIMIT, USER_SPREAD_LIMIT};
use crate::taps::{Nanos, Taps};
use crate::windows::{Key, Users, flood_key};

const MOST_FAULTS: usize = 20;

/// What became of the lines of one guid.
#[derive(Clone, Debug, Default)]
struct Fate {
    charged: usize,
    refused: usize,
    refused_as_unknown: usize,
    dropped: [usize; Reason::ALL.len()],
}

impl Fate {
    fn records(&self) -> usize {
        self.decided() + self.dropped.iter().sum::<usize>()
    }

    fn decided(&self) -> usize {
        self.charged + self.refused
    }

    fn of(&self, reason: Reason) -> usize {
        self.dropped[reason as usize]
    }

    fn by_user_rules(&self) -> usize {
        Reason::BY_USER.iter().map(|r| self.of(*r)).sum()
    }

    fn passed_anti_brush(&self) -> bool {
        self.records() > self.of(Reason::Bot) + self.of(Reason::Flood)
    }
}

/// Everything that is wrong with a result.
pub struct Audit<'a> {
    input: &'a Input,
    taps: &'a Taps,
    fates: Vec<Fate>,
    malformed: usize,
    faults: Vec<String>,
}

impl<'a> Audit<'a> {
    /// Holds the result `taps` against `input`; the answer lists the faults, a few of each kind.
    pub fn faults(input: &'a Input, taps: &'a Taps) -> Vec<String> {
        let mut audit = Self {
            input,
            taps,
            fates: vec![Fate::default(); input.guids.len()],
            malformed: 0,
            faults: Vec::new(),
        };
        audit.sort_records();
        let expectation = Expectation::of(input);
        audit.check_totals();
        audit.check_each_guid(&expectation);
        audit.check_floods(&expectation);
        audit.check_users(&expectation);
        audit.check_money(&expectation);
        audit.faults
    }

    fn fault(&mut self, fault: String) {
        if self.faults.len() < MOST_FAULTS {
            self.faults.push(fault);
        }
    }

    fn sort_records(&mut self) {
        for charge in &self.taps.charges {
            let Some(guid) = self.input.guid(&charge.guid) else {
                self.fault(format!("of no line: {charge:?}"));
                continue;
            };
            let fate = &mut self.fates[guid];
            fate.charged += usize::from(charge.is_charged());
            fate.refused += usize::from(!charge.is_charged());
            let unknown = charge.reason.as_deref() == Some("unknown_account");
            fate.refused_as_unknown += usize::from(unknown);
        }
        for dropped in &self.taps.dropped {
            let guid = dropped.guid.as_deref().and_then(|g| self.input.guid(g));
            match (Reason::named(&dropped.reason), guid) {
                (Some(Reason::Malformed), _) => self.malformed += 1,
                (Some(reason), Some(guid)) => self.fates[guid].dropped[reason as usize] += 1,
                _ => self.fault(format!("of no line or for no known reason: {dropped:?}")),
            }
        }
    }

    fn check_totals(&mut self) {
        let (lines, records) = (self.input.lines, self.taps.len());
        if lines != records {
            self.fault(format!("{lines} lines went in, {records} records came out"));
        }
        let (expected, malformed) = (self.input.malformed, self.malformed);
        if expected != malformed {
            self.fault(format!("{expected} malformed lines, {malformed} records of them"));
        }
    }

    fn check_each_guid(&mut self, expectation: &Expectation<'_>) {
        for (guid, (event, repeats)) in expectation.guids.iter().enumerate() {
            let (fate, must) = (&self.fates[guid], expectation.musts[guid]);
            if let Some(wrong) = wrong_fate(event, 1 + repeats, fate, must) {
                let name = &self.input.guids[guid];
                self.fault(format!("{name}: {wrong}; {must:?}, {fate:?}, {event:?}"));
            }
        }
    }

    fn check_floods(&mut self, expectation: &Expectation<'_>) {
        let mut dropped: HashMap<Key, usize> = HashMap::new();
        for (fate, (event, _)) in self.fates.iter().zip(&expectation.guids) {
            *dropped.entry(flood_key(event)).or_default() += fate.of(Reason::Flood);
        }
        for (key, lines) in &expectation.floods {
            let excess = lines.saturating_sub(FLOOD_LIMIT);
            if dropped[key] != excess {
                let dropped = dropped[key];
                self.fault(format!("{dropped} of {lines} lines dropped as flood in {key:?}"));
            }
        }
    }

    /// The excess of a window depends on the order of arrival, its size does not.
    fn check_users(&mut self, expectation: &Expectation<'_>) {
        let those = |is: fn(&Fate) -> bool| {
            let all = expectation.guids.iter().zip(&self.fates);
            Users::of(all.filter(move |(_, fate)| is(fate)).map(|((event, _), _)| *event))
        };
        let arrived = those(Fate::passed_anti_brush);
        let most = those(|f| f.decided() > 0).fullest();
        let by_ad = arrived.overdone_by_ad(&those(|f| f.of(Reason::UserAdRate) > 0));
        let clicks = arrived.overdone_clicks(&those(|f| f.of(Reason::UserClickRate) > 0));
        let spread = arrived.overdone_spread(&those(|f| f.of(Reason::UserAdSpread) > 0));
        let limits = [USER_AD_LIMIT, USER_CLICK_LIMIT, USER_SPREAD_LIMIT];
        if most.iter().zip(limits).any(|(most, limit)| *most > limit) {
            self.fault(format!("a user got through with {most:?}, over {limits:?}"));
        }
        for (reason, windows) in Reason::BY_USER.iter().zip([by_ad, clicks, spread]) {
            if windows > 0 {
                self.fault(format!("{reason:?} took more than the excess in {windows} windows"));
            }
        }
    }

    fn check_money(&mut self, expectation: &Expectation<'_>) {
        let mut ledger = Ledger::open(self.input);
        for charge in &self.taps.charges {
            let Some(guid) = self.input.guid(&charge.guid) else {
                continue;
            };
            if let Err(wrong) = ledger.apply(charge, expectation.guids[guid].0) {
                self.fault(format!("{wrong}: {charge:?}"));
            }
        }
    }
}

fn wrong_fate(event: &Event, lines: usize, fate: &Fate, must: Must) -> Option<&'static str> {
    let duplicates = fate.of(Reason::Duplicate);
    let unbillable = fate.of(Reason::NotBillable);
    let elsewhere = fate.of(Reason::Datacenter) + fate.of(Reason::TooLate);
    let is_as_it_must = match must {
        Must::BeDroppedAsBot => fate.of(Reason::Bot) == lines,
        Must::BeCharged => fate.charged == 1 && duplicates == lines - 1,
        Must::BeRefusedAsUnknown => fate.refused_as_unknown == 1 && duplicates == lines - 1,
        Must::BeDecided => fate.decided() == 1 && duplicates == lines - 1,
        Must::Anything => fate.of(Reason::Bot) == 0,
    };
    match fate {
        f if f.charged > 1 => Some("charged more than once"),
        f if f.records() != lines => Some("not one record for each of its lines"),
        f if f.decided() > 1 => Some("decided more than once"),
        f if f.decided() > 0 && f.by_user_rules() > 0 => Some("once fraudulent, once not"),
        f if f.decided() == 0 && duplicates > 0 => Some("a duplicate of nothing"),
        _ if elsewhere > 0 => Some("dropped for a reason that this input gives nobody"),
        _ if unbillable > 0 && event.nanos.is_some() => Some("it was billable"),
        _ if !is_as_it_must => Some("not what it must be"),
        _ => None,
    }
}

/// Fails unless the result is one that the rules allow for this input.
#[track_caller]
pub fn assert_sound(input: &Input, taps: &Taps) {
    let faults = Audit::faults(input, taps);
    assert!(faults.is_empty(), "the result is wrong:\n{}", faults.join("\n"));
}

/// Runs a job to its end and holds its topics and its summary against the input.
#[track_caller]
pub fn run_soundly(job: &Job<'_>, input: &Input) -> Taps {
    let summary = job.run();
    let taps = Taps::read(&job.data_dir);
    assert_sound(input, &taps);
    assert_summary(&summary, input, &taps);
    taps
}

/// Fails unless a summary says the same as the topics do.
#[track_caller]
pub fn assert_summary(summary: &Summary, input: &Input, taps: &Taps) {
    let mut dropped = std::collections::BTreeMap::new();
    for record in taps.dropped.iter().filter(|d| d.reason != "malformed") {
        *dropped.entry(record.reason.clone()).or_default() += 1;
    }
    let mut refused = std::collections::BTreeMap::new();
    for record in taps.charges.iter().filter(|c| !c.is_charged()) {
        *refused.entry(record.reason.clone().unwrap()).or_default() += 1;
    }
    let charged = taps.charges.iter().filter(|c| c.is_charged());
    let charged_nanos = charged.clone().map(|c| c.amount_nanos.0).sum();
    let opening = Ledger::open(input).total();
    let expected = Summary {
        events: input.lines as u64,
        malformed: input.malformed as u64,
        dropped,
        charged: charged.count() as u64,
        refused,
        charged_nanos: Nanos(charged_nanos),
        opening_nanos: Nanos(opening),
        closing_nanos: Nanos(opening - charged_nanos),
    };
    assert_eq!(summary.without_zeros(), expected);
}
