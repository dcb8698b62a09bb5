//! Bit rot: the kinds of file in a data directory, and flips of single bits in copies of it.

use std::fs;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use crate::scratch::Rng;

/// What a file of a data directory is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// `weir.json`: the settings of the directory.
    Settings,
    /// `mask.key`.
    MaskKey,
    /// `control.log`: what was decided about generations.
    ControlLog,
    /// `operator.log`: what operators have done.
    OperatorLog,
    /// `control.address`: where a running job can be asked.
    Address,
    /// `ledger.json`: how far the ledger database is.
    LedgerCopy,
    /// `rules/*.json`.
    Rules,
    /// `state/*/cut.json`: what a generation was begun from.
    Cut,
    /// A segment of a topic.
    Segment,
    /// `weir.json` of a checkpoint.
    CheckpointManifest,
    /// Any other file of a checkpoint.
    CheckpointFile,
    /// A table of a store.
    Table,
    /// Which tables a store has.
    Manifest,
    /// The write-ahead log of a store.
    WriteAhead,
    /// Which manifest a store has.
    Current,
    /// What is written for people and scripts, by RocksDB or of where ports are: nobody reads it back.
    Notes,
    /// Files that are locked, and have no bytes.
    Lock,
}

impl Kind {
    /// That of a file, by its path in the data directory; none if nothing is known of such a file.
    pub fn of(path: &Path) -> Option<Self> {
        let parts: Vec<&str> = path.iter().map(|p| p.to_str().unwrap()).collect();
        match parts[..] {
            ["weir.json"] => Some(Kind::Settings),
            ["mask.key"] => Some(Kind::MaskKey),
            ["control.log"] => Some(Kind::ControlLog),
            ["operator.log"] => Some(Kind::OperatorLog),
            ["control.address"] => Some(Kind::Address),
            [name] if name.ends_with(".address") => Some(Kind::Notes),
            ["ledger.json"] => Some(Kind::LedgerCopy),
            ["lock"] => Some(Kind::Lock),
            ["rules", name] if name.ends_with(".json") => Some(Kind::Rules),
            ["log", _, name] if name.ends_with(".seg") => Some(Kind::Segment),
            ["state", _, "cut.json"] => Some(Kind::Cut),
            ["state", _, _, name] => Self::of_rocks(name),
            ["checkpoints", _, _, _, "weir.json"] => Some(Kind::CheckpointManifest),
            ["checkpoints", _, _, _, name] => Self::of_rocks(name).map(|_| Kind::CheckpointFile),
            _ => None,
        }
    }

    fn of_rocks(name: &str) -> Option<Self> {
        match name {
            "CURRENT" => Some(Kind::Current),
            "LOCK" => Some(Kind::Lock),
            "IDENTITY" | "LOG" => Some(Kind::Notes),
            _ if name.starts_with("LOG.old.") || name.starts_with("OPTIONS-") => Some(Kind::Notes),
            _ if name.starts_with("MANIFEST-") => Some(Kind::Manifest),
            _ if name.ends_with(".sst") => Some(Kind::Table),
            _ if name.ends_with(".log") => Some(Kind::WriteAhead),
            _ => None,
        }
    }

    /// Whether Weir may write to such a file again, so that a copy must have bytes of its own.
    fn is_written_again(self) -> bool {
        !matches!(self, Kind::Table | Kind::CheckpointFile | Kind::CheckpointManifest)
    }
}

/// A bit of a file.
#[derive(Clone, Debug)]
pub struct Flip {
    /// The file, by its path in the data directory.
    pub file: PathBuf,
    /// Its kind.
    pub kind: Kind,
    /// Counted from the first bit of its first byte.
    pub bit: u64,
}

/// The files of a data directory with their kinds; fails if there is one of no known kind.
#[track_caller]
pub fn files_by_kind(root: &Path) -> Vec<(Kind, PathBuf)> {
    let mut files: Vec<PathBuf> = crate::tree::tree(root).into_keys().collect();
    files.sort();
    let kind = |path: PathBuf| {
        let path = path.strip_prefix(root).unwrap().to_owned();
        let kind = Kind::of(&path).unwrap_or_else(|| panic!("{path:?} is of no known kind"));
        (kind, path)
    };
    files.into_iter().map(kind).collect()
}

/// So many flips in files of a kind that have any bytes: files in turn, bits at random.
pub fn flips(root: &Path, files: &[(Kind, PathBuf)], kind: Kind, count: usize, rng: &mut Rng) -> Vec<Flip> {
    let length = |path: &Path| fs::metadata(root.join(path)).unwrap().len();
    let own = files.iter().filter(|(k, path)| *k == kind && length(path) > 0);
    let mut own: Vec<&PathBuf> = own.map(|(_, path)| path).collect();
    for at in (1..own.len()).rev() {
        own.swap(at, (rng.bits() % (at as u64 + 1)) as usize);
    }
    let flip = |file: &&PathBuf| {
        let bit = rng.bits() % (8 * length(file));
        Flip { file: PathBuf::clone(file), kind, bit }
    };
    own.iter().cycle().take(if own.is_empty() { 0 } else { count }).map(flip).collect()
}

impl Flip {
    /// Makes a copy of a data directory with this bit flipped. What is never written again is linked.
    pub fn copy(&self, from: &Path, files: &[(Kind, PathBuf)], to: &Path) {
        for (kind, path) in files {
            let (source, target) = (from.join(path), to.join(path));
            fs::create_dir_all(target.parent().unwrap()).unwrap();
            if kind.is_written_again() || *path == self.file {
                fs::copy(&source, &target).unwrap();
            } else {
                fs::hard_link(&source, &target).unwrap();
            }
        }
        self.flip(&to.join(&self.file));
    }

    /// Flips the bit in a file.
    pub fn flip(&self, path: &Path) {
        let file = fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
        let mut byte = [0];
        file.read_exact_at(&mut byte, self.bit / 8).unwrap();
        byte[0] ^= 1 << (self.bit % 8);
        file.write_all_at(&byte, self.bit / 8).unwrap();
    }
}
