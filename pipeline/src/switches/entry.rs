//! What the control log holds about switches, and what it comes to.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a switch is set to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Setting {
    /// The work is done, whatever becomes of it.
    On,
    /// The work rests.
    Off,
    /// The work is done unless its breaker is open.
    #[default]
    Auto,
}

impl Setting {
    /// All of them.
    pub const ALL: [Setting; 3] = [Setting::On, Setting::Off, Setting::Auto];

    /// The word for it.
    pub fn name(self) -> &'static str {
        match self {
            Setting::On => "on",
            Setting::Off => "off",
            Setting::Auto => "auto",
        }
    }

    /// What a word stands for.
    pub fn parse(word: &str) -> Option<Self> {
        Setting::ALL.into_iter().find(|setting| setting.name() == word)
    }
}

/// How a switch has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Somebody has set it; its breaker begins anew, closed.
    Set(Setting),
    /// Its breaker has opened.
    Opened,
    /// Its breaker has closed.
    Closed,
}

/// An entry of the control log.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SwitchEntry {
    /// Which switch. One that this binary does not know is carried along.
    pub name: String,
    /// How it has changed.
    pub change: Change,
    /// When, in ms since the epoch.
    pub at_ms: u64,
    /// Who has changed it; `breaker` for its own.
    pub by: String,
    /// Why, in their words or in those of the failure.
    pub why: String,
}

/// What the control log says of one switch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Who has set it last, if anybody has.
    pub set: Option<SwitchEntry>,
    /// How its breaker has opened, if it has and has not closed since.
    pub opened: Option<SwitchEntry>,
}

impl Recorded {
    /// What it is set to.
    pub fn setting(&self) -> Setting {
        match self.set.as_ref().map(|entry| entry.change) {
            Some(Change::Set(setting)) => setting,
            _ => Setting::default(),
        }
    }

    /// An entry counts from now on.
    pub fn apply(&mut self, entry: &SwitchEntry) {
        match entry.change {
            Change::Set(_) => *self = Recorded { set: Some(entry.clone()), opened: None },
            Change::Opened => self.opened = Some(entry.clone()),
            Change::Closed => self.opened = None,
        }
    }
}

/// What the control log says of all of them.
pub type AllRecorded = BTreeMap<String, Recorded>;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_setting_counts_and_begins_the_breaker_anew() {
        let mut recorded = Recorded::default();
        let entry = |change| SwitchEntry {
            name: "ledger".to_owned(),
            change,
            at_ms: 1,
            by: "me".to_owned(),
            why: String::new(),
        };
        assert_eq!(recorded.setting(), Setting::Auto);
        recorded.apply(&entry(Change::Opened));
        assert!(recorded.opened.is_some() && recorded.set.is_none());
        recorded.apply(&entry(Change::Set(Setting::Off)));
        assert_eq!((recorded.setting(), &recorded.opened), (Setting::Off, &None));
        recorded.apply(&entry(Change::Set(Setting::Auto)));
        recorded.apply(&entry(Change::Opened));
        recorded.apply(&entry(Change::Closed));
        assert_eq!((recorded.setting(), &recorded.opened), (Setting::Auto, &None));
        assert_eq!(Setting::ALL.map(|s| Setting::parse(s.name())), Setting::ALL.map(Some));
        assert_eq!(Setting::parse("On"), None);
    }
}
