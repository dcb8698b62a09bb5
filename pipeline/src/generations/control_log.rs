//! The control log: what was decided about generations, and how switches have changed, in order. The first decision
//! about a change wins; it is what tells, after a crash at any moment, which generation is published.
//!
//! `control.log` in the data directory is a [`LineFile`].

use crate::error::JobError;
use crate::line_file::LineFile;
use crate::switches::SwitchEntry;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;
use weir_proto::{Minute, StageId, Topic};

/// A generation, as it was begun.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Generation {
    /// Counted from 1.
    pub id: u32,
    /// Whose line its checkpoints are taken from.
    pub base: u32,
    /// Whose line was published when it was begun: it follows its recorded order.
    pub recorded: u32,
    /// The minute of the cut.
    pub cut: Minute,
    /// The first stage that it runs anew; the stages above stay as they are.
    pub from: StageId,
    /// The fingerprint of its rules.
    pub rules: u64,
    /// Whether nothing is taken in until it is promoted or dropped.
    pub paused: bool,
    /// When it was begun, in ms since the epoch.
    pub begun_ms: u64,
    /// Why, in the words of the operator.
    pub reason: String,
}

/// Places at which topics end, per partition.
pub type Ends = Vec<(Topic, Vec<u64>)>;

/// A decision.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Entry {
    /// A generation runs.
    Begun(Generation),
    /// From the tick of this minute on a generation is the published one.
    Promoted {
        /// Which.
        generation: u32,
        /// The tick at which the one before ends.
        at: Minute,
    },
    /// The generation before has ended: the places at which its topics end, per partition.
    Ended {
        /// The promoted generation.
        generation: u32,
        /// Per topic that it makes anew.
        ends: Ends,
    },
    /// The differences to the charges of the time before are posted.
    Settled {
        /// The promoted generation.
        generation: u32,
        /// How many adjustments were posted.
        adjustments: u64,
    },
    /// A promotion was decided too late for all workers of a group to know it in time, so there is none.
    TooLate {
        /// Which generation.
        generation: u32,
    },
    /// A generation is given up.
    Dropped {
        /// Which.
        generation: u32,
    },
    /// A switch has changed. It decides nothing about generations.
    Switch(SwitchEntry),
}

impl Entry {
    /// Whether the workers of a group decide it together.
    pub fn is_shared(&self) -> bool {
        !matches!(self, Entry::Switch(_))
    }

    /// The generation that it drops, if it does.
    pub fn drops(&self) -> Option<u32> {
        match self {
            Entry::Dropped { generation } => Some(*generation),
            _ => None,
        }
    }
}

/// The file.
#[derive(Debug)]
pub struct ControlLog(LineFile<Entry>);

impl ControlLog {
    /// In a data directory.
    pub fn new(path: PathBuf) -> Self {
        ControlLog(LineFile::new(path, "control_log.append"))
    }

    /// Every entry, and the length of what is whole.
    pub fn read(&self) -> Result<(Vec<Entry>, u64), JobError> {
        self.0.read()
    }

    /// Appends an entry and makes it durable.
    pub fn append(&self, entry: &Entry) -> Result<(), JobError> {
        self.0.append(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::switches::{Change, Setting};

    /// Logs of before there were switches, and those of today.
    #[test]
    fn entries_stand_there_as_ever() {
        let dir = tempfile::tempdir().unwrap();
        let log = ControlLog::new(dir.path().join("control.log"));
        let change = SwitchEntry {
            name: "ledger".to_owned(),
            change: Change::Set(Setting::Off),
            at_ms: 7,
            by: "me".to_owned(),
            why: "the database moves".to_owned(),
        };
        let entries = [Entry::Dropped { generation: 2 }, Entry::Switch(change)];
        let text = concat!(
            r#"{"format":1,"crc32c":3430709707,"entry":{"dropped":{"generation":2}}}"#,
            "\n",
            r#"{"format":1,"crc32c":2536177644,"entry":{"switch":{"name":"ledger","change":{"set":"off"},"at_ms":7,"#,
            r#""by":"me","why":"the database moves"}}}"#,
            "\n"
        );
        for entry in &entries {
            log.append(entry).unwrap();
        }
        assert_eq!(std::fs::read_to_string(log.0.path()).unwrap(), text);
        assert_eq!(log.read().unwrap().0, entries);
    }

    #[test]
    fn what_is_appended_is_read_and_a_torn_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let log = ControlLog::new(dir.path().join("control.log"));
        let (one, two) = (Entry::Dropped { generation: 2 }, Entry::Promoted { generation: 3, at: Minute(7) });
        log.append(&one).unwrap();
        let mut text = std::fs::read(log.0.path()).unwrap();
        text.extend_from_slice(b"{\"crc32c\": 1, \"ent");
        std::fs::write(log.0.path(), &text).unwrap();
        assert_eq!(log.read().unwrap().0, std::slice::from_ref(&one));
        log.append(&two).unwrap();
        assert_eq!(log.read().unwrap().0, [one, two]);
        let text = std::fs::read(log.0.path()).unwrap();
        for bit in 0..8 * text.len() {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(log.0.path(), &damaged).unwrap();
            let error = log.read().unwrap_err().to_string();
            assert!(error.contains("control.log line") && error.contains("is damaged"), "{bit}: {error}");
        }
    }
}
