//! What a replay or a rewind reports, and the difference between two results worked out by hand.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::taps::{Charge, Nanos};

/// What became of an event: `charged` or why it was refused, and what was paid.
pub type Fate = (String, i128);

/// Per guid what became of it before and after; none where there is no record.
pub type Changes = BTreeMap<String, (Option<Fate>, Option<Fate>)>;

/// The output of `weir replay --changes --json`.
#[derive(Debug, Deserialize)]
pub struct Comparison {
    /// `identical` or `different`.
    pub result: String,
    /// All charges now less all charges before.
    pub money_difference_nanos: Nanos,
    #[serde(default)]
    changes: Vec<Change>,
}

#[derive(Debug, Deserialize)]
struct Change {
    guid: String,
    before: Option<Side>,
    after: Option<Side>,
}

#[derive(Debug, Deserialize)]
struct Side {
    outcome: String,
    charged_nanos: Nanos,
}

/// An adjustment, as `weir tap adjustments` prints it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Adjustment {
    /// `charge`, `reversal` or `change`.
    pub adjustment: String,
    /// The event.
    pub guid: String,
    /// What was charged for it so far.
    pub before_nanos: Nanos,
    /// What is charged for it from now on.
    pub after_nanos: Nanos,
    /// The second less the first.
    pub amount_nanos: Nanos,
    /// Why it was posted.
    pub reason: String,
    /// Who posted it.
    pub provenance: Poster,
}

/// For which generation something was posted.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
pub struct Poster {
    /// Its number.
    pub generation: u32,
}

impl Comparison {
    /// The changes by guid, each of which may come once.
    #[track_caller]
    pub fn changes(&self) -> Changes {
        let fate = |side: &Option<Side>| side.as_ref().map(|s| (s.outcome.clone(), s.charged_nanos.0));
        let mut all = Changes::new();
        for change in &self.changes {
            let twice = all.insert(change.guid.clone(), (fate(&change.before), fate(&change.after)));
            assert_eq!(twice, None, "{} is reported twice", change.guid);
        }
        all
    }
}

/// The events of which two lists of charges tell something else.
pub fn difference(before: &[Charge], after: &[Charge]) -> Changes {
    let (before, after) = (fates(before), fates(after));
    let guids = before.keys().chain(after.keys());
    let both = guids.map(|guid| (guid.clone(), (before.get(guid).cloned(), after.get(guid).cloned())));
    both.filter(|(_, (before, after))| before != after).collect()
}

/// Of each change that moves money what was paid before and after.
pub fn money(changes: &Changes) -> BTreeMap<String, (i128, i128)> {
    let paid = |fate: &Option<Fate>| fate.as_ref().map_or(0, |(_, paid)| *paid);
    let all = changes.iter().map(|(guid, (before, after))| (guid.clone(), (paid(before), paid(after))));
    all.filter(|(_, (before, after))| before != after).collect()
}

fn fates(charges: &[Charge]) -> BTreeMap<String, Fate> {
    let fate = |c: &Charge| match &c.reason {
        None => (c.outcome.clone(), c.amount_nanos.0),
        Some(reason) => (reason.clone(), 0),
    };
    charges.iter().map(|c| (c.guid.clone(), fate(c))).collect()
}
