//! Where a tap stands, kept in a file between its runs: `{"version": 2, "crc32c": …, "position": {…}}`, the
//! checksum over the position as compact JSON.

use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;
use weir_proto::TopicId;
use weir_state::{beside, sum_of_json};

const VERSION: u32 = 2;

/// A tap cannot go on from a file.
#[derive(Debug, thiserror::Error)]
pub enum ResumeError {
    /// It is about something else.
    #[error("{path} says where a tap of {theirs} stands, not one of {ours}; name another file with --resume")]
    OtherTap {
        /// The file.
        path: PathBuf,
        /// What it is about.
        theirs: String,
        /// What it should be about.
        ours: String,
    },
    /// It cannot be understood.
    #[error(
        "{path} is no file that --resume has written: {problem}. Name another one, or remove it to begin anew"
    )]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        problem: String,
    },
    /// What it points to has gone.
    #[error(
        "{path} goes on at offset {offset} of {topic}-{partition}, but the oldest one left is {start}: what is in \
         between is past its retention. Remove the file to begin anew at --from"
    )]
    Trimmed {
        /// The file.
        path: PathBuf,
        /// The topic.
        topic: TopicId,
        /// The partition.
        partition: u32,
        /// The offset in the file.
        offset: u64,
        /// The oldest offset left.
        start: u64,
    },
    /// It cannot be read or written.
    #[error("cannot {what} {path}: {source}")]
    Io {
        /// What was tried.
        what: &'static str,
        /// On what.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
}

/// Of what a tap is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Origin {
    topic: TopicId,
    data_dir: PathBuf,
    /// When the data directory was made, in ns since 1970: another one may stand at its path now.
    made_ns: Option<u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Position {
    origin: Origin,
    next: BTreeMap<u32, u64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Saved {
    version: u32,
    crc32c: u32,
    position: Position,
}

/// The file, and what it says.
#[derive(Debug)]
pub struct Resume {
    path: PathBuf,
    origin: Origin,
    next: BTreeMap<u32, u64>,
}

impl Resume {
    /// Reads the file of a tap; it need not exist yet.
    pub fn open(path: &Path, topic: TopicId, data_dir: &Path) -> Result<Self, ResumeError> {
        let origin = Origin::of(topic, data_dir)?;
        let next = match fs::read(path) {
            Ok(text) => next_of(path, &text, &origin)?,
            Err(e) if e.kind() == ErrorKind::NotFound => BTreeMap::new(),
            Err(e) => return Err(io("read", path)(e)),
        };
        Ok(Resume { path: path.to_owned(), origin, next })
    }

    /// Where to go on in a partition that holds these offsets; `None` if it was not tapped before.
    pub fn next(&self, partition: u32, (start, end): (u64, u64)) -> Result<Option<u64>, ResumeError> {
        let path = self.path.clone();
        match self.next.get(&partition).copied() {
            Some(offset) if offset < start => {
                Err(ResumeError::Trimmed { path, topic: self.origin.topic, partition, offset, start })
            }
            Some(offset) if offset > end => {
                let problem = format!(
                    "it goes on at offset {offset} of {}-{partition}, which ends at {end}",
                    self.origin.topic
                );
                Err(ResumeError::Damaged { path, problem })
            }
            found => Ok(found),
        }
    }

    /// Keeps where the tap stands. Not fsynced: the output is not either, and a tap must not make the
    /// job wait for the disk.
    pub fn save(&mut self, positions: impl Iterator<Item = (u32, u64)>) -> Result<(), ResumeError> {
        let before = self.next.clone();
        self.next.extend(positions);
        if self.next == before && self.path.exists() {
            return Ok(());
        }
        let position = Position { origin: self.origin.clone(), next: self.next.clone() };
        let saved = Saved { version: VERSION, crc32c: sum_of_json(&position), position };
        // Plain data can always be written as JSON.
        let text = serde_json::to_vec(&saved).unwrap_or_default();
        let temporary = beside(&self.path, ".new");
        fs::write(&temporary, text).map_err(io("write", &temporary))?;
        fs::rename(&temporary, &self.path).map_err(io("replace", &self.path))
    }
}

impl Origin {
    fn of(topic: TopicId, data_dir: &Path) -> Result<Self, ResumeError> {
        let path = data_dir.canonicalize().map_err(io("find", data_dir))?;
        // The mask key is written once, when the directory is made.
        let made = fs::metadata(crate::mask::key_path(&path)).and_then(|m| m.modified()).ok();
        let made_ns = made.and_then(|t| u64::try_from(t.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok());
        Ok(Origin { topic, data_dir: path, made_ns })
    }

    fn is_same(&self, other: &Origin) -> bool {
        let both_known = self.made_ns.is_some() && other.made_ns.is_some();
        let same_age = self.made_ns == other.made_ns || !both_known;
        (self.topic, &self.data_dir) == (other.topic, &other.data_dir) && same_age
    }

    fn describe(&self) -> String {
        let made = self.made_ns.and_then(|ns| jiff::Timestamp::from_nanosecond(ns.into()).ok());
        let made = made.map_or(String::new(), |time| format!(" (made {time:.0})"));
        format!("{} in {}{made}", self.topic, self.data_dir.display())
    }
}

fn next_of(path: &Path, text: &[u8], ours: &Origin) -> Result<BTreeMap<u32, u64>, ResumeError> {
    let damaged = |problem| ResumeError::Damaged { path: path.to_owned(), problem };
    #[derive(Deserialize)]
    struct Version {
        version: u32,
    }
    let Version { version } = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    if version != VERSION {
        return Err(damaged(format!("it has version {version}, not {VERSION}")));
    }
    let saved: Saved = serde_json::from_slice(text).map_err(|e| damaged(e.to_string()))?;
    if saved.crc32c != sum_of_json(&saved.position) {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    let Position { origin, next } = saved.position;
    if !origin.is_same(ours) {
        let (path, theirs, ours) = (path.to_owned(), origin.describe(), ours.describe());
        return Err(ResumeError::OtherTap { path, theirs, ours });
    }
    Ok(next)
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> ResumeError {
    let path = path.to_owned();
    move |source| ResumeError::Io { what, path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use weir_proto::Topic;

    const CHARGES: TopicId = TopicId { topic: Topic::Charges, generation: 1 };

    #[test]
    fn what_is_saved_is_found_again() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tap.resume");
        let mut resume = Resume::open(&file, CHARGES, dir.path()).unwrap();
        assert_eq!(resume.next(1, (0, 9)).unwrap(), None);
        resume.save([(0, 5), (1, 7)].into_iter()).unwrap();
        resume.save([(1, 8)].into_iter()).unwrap();
        let resume = Resume::open(&file, CHARGES, dir.path()).unwrap();
        assert_eq!(resume.next(0, (0, 9)).unwrap(), Some(5));
        assert_eq!(resume.next(1, (0, 9)).unwrap(), Some(8));
        assert!(matches!(resume.next(1, (9, 12)), Err(ResumeError::Trimmed { start: 9, .. })));
        assert!(matches!(resume.next(1, (0, 7)), Err(ResumeError::Damaged { .. })));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("tap.resume");
        Resume::open(&file, CHARGES, dir.path()).unwrap().save([(0, 5), (1, 7)].into_iter()).unwrap();
        let text = fs::read(&file).unwrap();
        for bit in 0..8 * text.len() {
            let mut damaged = text.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, damaged).unwrap();
            let error = Resume::open(&file, CHARGES, dir.path()).unwrap_err();
            assert!(matches!(error, ResumeError::Damaged { .. }), "{bit}: {error}");
        }
    }

    #[test]
    fn the_file_of_another_tap_is_refused() {
        let [dir, other] = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let file = dir.path().join("tap.resume");
        Resume::open(&file, CHARGES, dir.path()).unwrap().save([(0, 5)].into_iter()).unwrap();
        let refused = |topic: TopicId, dir: &Path| Resume::open(&file, topic, dir).unwrap_err();
        assert!(matches!(refused(Topic::Raw.of(1), dir.path()), ResumeError::OtherTap { .. }));
        assert!(matches!(refused(CHARGES, other.path()), ResumeError::OtherTap { .. }));
        for text in ["", "{}", "no"] {
            fs::write(&file, text).unwrap();
            assert!(matches!(refused(CHARGES, dir.path()), ResumeError::Damaged { .. }));
        }
    }
}
