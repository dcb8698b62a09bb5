//! The control log: what was decided about generations, in order. The first decision about a change
//! wins; it is what tells, after a crash at any moment, which generation is published.
//!
//! `control.log` in the data directory: one entry a line, `{"format": 1, "crc32c": …, "entry": {…}}`, the
//! checksum over the entry as compact JSON. A last line that is cut short was never acknowledged.

use crate::error::JobError;
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use weir_proto::{Minute, StageId, Topic};
use weir_state::{failpoints, sum_of_json};

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
        ends: Vec<(Topic, Vec<u64>)>,
    },
    /// The differences to the charges of the time before are posted.
    Settled {
        /// The promoted generation.
        generation: u32,
        /// How many adjustments were posted.
        adjustments: u64,
    },
    /// A generation is given up.
    Dropped {
        /// Which.
        generation: u32,
    },
}

impl Entry {
    /// The generation that it drops, if it does.
    pub fn drops(&self) -> Option<u32> {
        match self {
            Entry::Dropped { generation } => Some(*generation),
            _ => None,
        }
    }
}

const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct Line {
    format: u32,
    crc32c: u32,
    entry: Entry,
}

/// The file.
#[derive(Debug)]
pub struct ControlLog {
    path: PathBuf,
}

impl ControlLog {
    /// In a data directory.
    pub fn new(path: PathBuf) -> Self {
        ControlLog { path }
    }

    /// Every entry, and the length of what is whole.
    pub fn read(&self) -> Result<(Vec<Entry>, u64), JobError> {
        let text = match std::fs::read(&self.path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok((Vec::new(), 0)),
            Err(e) => return Err(JobError::io("read", &self.path)(e)),
        };
        let (mut entries, mut whole) = (Vec::new(), 0);
        for (number, line) in text.split_inclusive(|b| *b == b'\n').enumerate() {
            match parse(line) {
                Some(parsed) if line.ends_with(b"\n") && parsed.format == FORMAT => {
                    entries.push(parsed.entry)
                }
                _ if whole as usize + line.len() == text.len() && is_cut_short(line) => break,
                _ => return Err(self.damaged(number + 1)),
            }
            whole += line.len() as u64;
        }
        Ok((entries, whole))
    }

    /// Appends an entry and makes it durable.
    pub fn append(&self, entry: &Entry) -> Result<(), JobError> {
        let (_, whole) = self.read()?;
        let error = |what| JobError::io(what, &self.path);
        let mut file =
            OpenOptions::new().create(true).append(true).open(&self.path).map_err(error("open"))?;
        file.set_len(whole).map_err(error("cut"))?;
        let line = Line { format: FORMAT, crc32c: sum_of_json(entry), entry: entry.clone() };
        let mut text = serde_json::to_vec(&line).unwrap_or_default();
        text.push(b'\n');
        let write = || file.write_all(&text).and_then(|()| file.sync_all());
        failpoints::io("control_log.append", write).map_err(error("write"))?;
        let dir = self.path.parent().unwrap_or(Path::new("."));
        File::open(dir).and_then(|d| d.sync_all()).map_err(JobError::io("sync", dir))
    }

    fn damaged(&self, line: usize) -> JobError {
        JobError::Control {
            path: self.path.clone(),
            problem: format!(
                "line {line} is damaged, or was written by another version of weir. Restore the file from a backup"
            ),
        }
    }
}

fn parse(line: &[u8]) -> Option<Line> {
    serde_json::from_slice::<Line>(line).ok().filter(|l| l.crc32c == sum_of_json(&l.entry))
}

/// Whether a last line ends where a write was cut off: not behind a whole entry in something else than a line
/// feed.
fn is_cut_short(line: &[u8]) -> bool {
    let without_end = line.split_last().map_or(line, |(_, rest)| rest);
    !line.ends_with(b"\n") && parse(without_end).is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_appended_is_read_and_a_torn_end_is_cut() {
        let dir = tempfile::tempdir().unwrap();
        let log = ControlLog::new(dir.path().join("control.log"));
        let (one, two) = (Entry::Dropped { generation: 2 }, Entry::Promoted { generation: 3, at: Minute(7) });
        log.append(&one).unwrap();
        let mut text = std::fs::read(&log.path).unwrap();
        text.extend_from_slice(b"{\"crc32c\": 1, \"ent");
        std::fs::write(&log.path, &text).unwrap();
        assert_eq!(log.read().unwrap().0, std::slice::from_ref(&one));
        log.append(&two).unwrap();
        assert_eq!(log.read().unwrap().0, [one, two]);
        let text = std::fs::read(&log.path).unwrap();
        for bit in 0..8 * text.len() {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&log.path, &damaged).unwrap();
            let error = log.read().unwrap_err().to_string();
            assert!(error.contains("control.log line") && error.contains("is damaged"), "{bit}: {error}");
        }
    }
}
