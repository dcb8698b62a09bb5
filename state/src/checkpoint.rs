//! Checkpoints: a copy of a task's store at the first tick of a minute, with a manifest.
//!
//! `<root>/<generation>/<minute>/<stage>-<partition>/` holds the RocksDB checkpoint and `weir.json`:
//! `{"crc32c": …, "manifest": {…}}`, the checksum over the manifest as compact JSON. A directory
//! gets its name only when it is whole and on disk. The checkpoints of a minute form a consistent
//! cut; it counts only when every task's is there.

use crate::error::StateError;
use crate::meta::{Mark, TaskMeta};
use crate::store::Store;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use weir_proto::{Minute, Producer, Topic};

const FORMAT: u32 = 1;
const FILE: &str = "weir.json";

/// What a checkpoint is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// The task: stage, input partition, generation.
    pub task: Producer,
    /// The minute that began.
    pub minute: Minute,
    /// The next input offset: the minimal successful offset at that minute.
    pub position: u64,
    /// The highest record seen of each upstream task.
    pub marks: Vec<Mark>,
    /// Per output topic, the digest of all outputs so far, in hexadecimal.
    pub digests: Vec<(Topic, String)>,
    /// Per output topic, the end offset of each partition: what the task appended before the minute
    /// stands below.
    pub ends: Vec<(Topic, Vec<u64>)>,
    /// The fingerprint of the rules.
    pub rules: u64,
}

#[derive(Serialize, Deserialize)]
struct Sealed {
    crc32c: u32,
    manifest: Manifest,
}

/// Which checkpoints are kept, in minutes before the newest.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Every minute's.
    pub every_minute_for: u32,
    /// Every hour's.
    pub every_hour_for: u32,
}

impl Retention {
    /// Whether the checkpoint of a minute is kept when the newest is of `now`.
    pub fn keeps(&self, minute: Minute, now: Minute) -> bool {
        minute >= now.minus(self.every_minute_for)
            || (minute.0.is_multiple_of(60) && minute >= now.minus(self.every_hour_for))
    }
}

/// The directory of all checkpoints of a job.
#[derive(Clone, Debug)]
pub struct CheckpointDir {
    root: PathBuf,
}

impl CheckpointDir {
    /// Rooted in a directory.
    pub fn new(root: PathBuf) -> Self {
        CheckpointDir { root }
    }

    fn minute_dir(&self, generation: u32, minute: Minute) -> PathBuf {
        self.root.join(generation.to_string()).join(minute.0.to_string())
    }

    /// Where the checkpoint of a task at a minute stands.
    pub fn path(&self, task: Producer, minute: Minute) -> PathBuf {
        self.minute_dir(task.generation, minute).join(format!("{}-{}", task.stage, task.partition))
    }

    /// Takes the checkpoint of a task's newest tick, unless it is there.
    pub fn take(&self, store: &Store, meta: &TaskMeta) -> Result<(), StateError> {
        let target = self.path(meta.task, meta.last_tick);
        if target.exists() {
            return Ok(());
        }
        let parent = self.minute_dir(meta.task.generation, meta.last_tick);
        fs::create_dir_all(&parent).map_err(StateError::io("create", &parent))?;
        let unfinished = target.with_extension("unfinished");
        match fs::remove_dir_all(&unfinished) {
            Err(e) if e.kind() != std::io::ErrorKind::NotFound => {
                return Err(StateError::io("remove", &unfinished)(e));
            }
            _ => {}
        }
        store.checkpoint(&unfinished)?;
        write_manifest(&unfinished.join(FILE), manifest_of(meta))?;
        sync_dir(&unfinished)?;
        fs::rename(&unfinished, &target).map_err(StateError::io("rename", &unfinished))?;
        sync_dir(&parent)
    }

    /// The minutes of a generation that have any checkpoint, in order.
    pub fn minutes(&self, generation: u32) -> Result<Vec<Minute>, StateError> {
        let dir = self.root.join(generation.to_string());
        let entries = match fs::read_dir(&dir) {
            Ok(entries) => entries,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(e) => return Err(StateError::io("list", &dir)(e)),
        };
        let mut minutes: Vec<Minute> =
            entries.filter_map(|e| e.ok()?.file_name().to_str()?.parse().ok().map(Minute)).collect();
        minutes.sort_unstable();
        Ok(minutes)
    }

    /// The manifest of a task's checkpoint at a minute, or `None` if there is none.
    pub fn manifest(&self, task: Producer, minute: Minute) -> Result<Option<Manifest>, StateError> {
        let path = self.path(task, minute).join(FILE);
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(StateError::io("read", &path)(e)),
        };
        let sealed: Option<Sealed> = serde_json::from_slice(&text).ok();
        sealed
            .filter(|s| s.manifest.format == FORMAT && s.crc32c == checksum(&s.manifest))
            .map(|s| Some(s.manifest))
            .ok_or(StateError::Format { path, what: "a checkpoint manifest" })
    }

    /// Whether every one of `tasks` has its checkpoint of a minute.
    pub fn is_complete(&self, tasks: &[Producer], minute: Minute) -> bool {
        tasks.iter().all(|t| self.path(*t, minute).join(FILE).exists())
    }

    /// Deletes what is no longer kept; the newest complete cut always is.
    pub fn prune(&self, tasks: &[Producer], retention: Retention) -> Result<(), StateError> {
        let Some(generation) = tasks.first().map(|t| t.generation) else { return Ok(()) };
        let minutes = self.minutes(generation)?;
        let Some(newest) = minutes.iter().rev().find(|m| self.is_complete(tasks, **m)) else {
            return Ok(());
        };
        for minute in minutes.iter().filter(|m| *m < newest && !retention.keeps(**m, *newest)) {
            let dir = self.minute_dir(generation, *minute);
            fs::remove_dir_all(&dir).map_err(StateError::io("remove", &dir))?;
        }
        Ok(())
    }
}

fn manifest_of(meta: &TaskMeta) -> Manifest {
    Manifest {
        format: FORMAT,
        task: meta.task,
        minute: meta.last_tick,
        position: meta.position,
        marks: meta.marks.clone(),
        digests: meta.outputs.iter().map(|(t, o)| (*t, format!("{:032x}", o.digest))).collect(),
        ends: meta.outputs.iter().map(|(t, o)| (*t, o.ends.clone())).collect(),
        rules: meta.rules,
    }
}

fn checksum(manifest: &Manifest) -> u32 {
    // Writing plain data into memory cannot fail.
    crc32c::crc32c(&serde_json::to_vec(manifest).unwrap_or_default())
}

fn write_manifest(path: &Path, manifest: Manifest) -> Result<(), StateError> {
    let sealed = Sealed { crc32c: checksum(&manifest), manifest };
    let text = serde_json::to_vec_pretty(&sealed).unwrap_or_default();
    fs::write(path, text).map_err(StateError::io("write", path))?;
    File::open(path).and_then(|f| f.sync_all()).map_err(StateError::io("sync", path))
}

fn sync_dir(path: &Path) -> Result<(), StateError> {
    File::open(path).and_then(|f| f.sync_all()).map_err(StateError::io("sync", path))
}
