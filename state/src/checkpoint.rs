//! Checkpoints: a copy of a task's store at the first tick of a minute, with a manifest.
//!
//! `<root>/<generation>/<minute>/<stage>-<partition>/` holds the RocksDB checkpoint and `weir.json`:
//! `{"crc32c": …, "manifest": {…}}`, the checksum over the manifest as compact JSON; the manifest has the
//! checksums of all other files. A directory gets its name only when it is whole and on disk. The checkpoints of a minute form a consistent
//! cut; it counts only when every task's is there.

use crate::error::StateError;
use crate::failpoints;
use crate::files::{self, FileSum, Sums, sync_dir};
use crate::meta::{Mark, TaskMeta};
use crate::store::{Shared, Store};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weir_proto::{Minute, Producer, TaskId, Topic};

pub(crate) const FORMAT: u32 = 3;
pub(crate) const FILE: &str = "weir.json";
/// Added to the name of a copy that is no checkpoint yet.
const UNFINISHED: &str = "unfinished";
/// Added, with a number, to the name of one that is being fetched. What a crash leaves of it goes with its minute.
const FETCHING: &str = "fetching";

/// What a checkpoint is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// Version of this format.
    pub format: u32,
    /// The task: stage, input partition, generation.
    pub task: Producer,
    /// The minute that began.
    pub minute: Minute,
    /// The minute of the tick before: this checkpoint stands for the minutes in between, too.
    pub previous: Minute,
    /// The next input offset: the minimal successful offset at that minute.
    pub position: u64,
    /// The index of the next output made at that position; see [`TaskMeta::index`].
    pub index: u32,
    /// The highest record seen of each upstream task.
    pub marks: Vec<Mark>,
    /// Per output topic, the digest of all outputs so far, in hexadecimal.
    pub digests: Vec<(Topic, String)>,
    /// Per output topic, the end offset of each partition: what the task appended before the minute
    /// stands below.
    pub ends: Vec<(Topic, Vec<u64>)>,
    /// Per output topic, the running number of the next record for each partition.
    pub next_seqs: Vec<(Topic, Vec<u64>)>,
    /// The fingerprint of the rules.
    pub rules: u64,
    /// The files of the copy.
    pub files: Vec<FileSum>,
}

impl Manifest {
    /// Where a task stands, without the files of a copy.
    pub fn of(meta: &TaskMeta) -> Self {
        Manifest {
            format: FORMAT,
            task: meta.task,
            minute: meta.last_tick,
            previous: meta.previous_tick,
            position: meta.position,
            index: meta.index,
            marks: meta.marks.clone(),
            digests: meta.outputs.iter().map(|(t, o)| (*t, format!("{:032x}", o.digest))).collect(),
            ends: meta.outputs.iter().map(|(t, o)| (*t, o.ends.clone())).collect(),
            next_seqs: meta.outputs.iter().map(|(t, o)| (*t, o.next_seq.clone())).collect(),
            rules: meta.rules,
            files: Vec::new(),
        }
    }

    /// The running number of the next record to be read of an upstream task.
    pub fn read_to(&self, task: TaskId) -> u64 {
        self.marks.iter().find(|m| m.producer.task() == task).map_or(0, |m| m.next_seq)
    }

    /// The digest of an output.
    pub fn digest(&self, topic: Topic) -> u128 {
        let hex = self.digests.iter().find(|(t, _)| *t == topic).map(|(_, hex)| hex);
        hex.and_then(|hex| u128::from_str_radix(hex, 16).ok()).unwrap_or(0)
    }

    /// Behind the newest record of this task in a partition of an output: to read on from there.
    pub fn mark(&self, topic: Topic, partition: u32) -> Mark {
        let ends = self.ends.iter().find(|(t, _)| *t == topic);
        let offset = ends.and_then(|(_, e)| e.get(partition as usize).copied()).unwrap_or(0);
        let next_seq = self.next_seq(topic, partition);
        Mark { offset, next_seq, ..Mark::nothing_of(self.task) }
    }

    /// Bytes of all files; most are shared with other checkpoints.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.bytes).sum()
    }

    /// The running number of the next record for a partition of an output.
    pub fn next_seq(&self, topic: Topic, partition: u32) -> u64 {
        let seqs = self.next_seqs.iter().find(|(t, _)| *t == topic);
        seqs.and_then(|(_, s)| s.get(partition as usize).copied()).unwrap_or(0)
    }
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
    sums: Arc<Sums>,
}

impl CheckpointDir {
    /// Rooted in a directory.
    pub fn new(root: PathBuf) -> Self {
        CheckpointDir { root, sums: Arc::default() }
    }

    fn minute_dir(&self, generation: u32, minute: Minute) -> PathBuf {
        self.root.join(generation.to_string()).join(minute.0.to_string())
    }

    /// Where the checkpoint of a task at a minute stands.
    pub fn path(&self, task: Producer, minute: Minute) -> PathBuf {
        self.minute_dir(task.generation, minute).join(format!("{}-{}", task.stage, task.partition))
    }

    /// Copies a store as it is at its task's newest tick, unless that checkpoint is there. What is left
    /// to do does not need the store: it may go on at once.
    pub fn begin(&self, store: &Store, meta: &TaskMeta) -> Result<Option<Unfinished>, StateError> {
        let target = self.path(meta.task, meta.last_tick);
        if target.exists() {
            return Ok(None);
        }
        let parent = self.minute_dir(meta.task.generation, meta.last_tick);
        fs::create_dir_all(&parent).map_err(StateError::io("create", &parent))?;
        let unfinished = target.with_extension(UNFINISHED);
        files::remove_all(&unfinished)?;
        let failed = |e| StateError::io("copy", &unfinished)(e);
        failpoints::before("checkpoint.copy").map_err(failed)?;
        store.checkpoint(&unfinished)?;
        failpoints::after("checkpoint.copy").map_err(failed)?;
        let (manifest, sums) = (Manifest::of(meta), self.sums.clone());
        Ok(Some(Unfinished { dir: unfinished, target, parent, manifest, sums }))
    }

    /// Takes the checkpoint of a task's newest tick, unless it is there.
    pub fn take(&self, store: &Store, meta: &TaskMeta) -> Result<(), StateError> {
        self.begin(store, meta)?.map_or(Ok(()), Unfinished::finish)
    }

    /// An empty directory for the files of a checkpoint from elsewhere; two of one checkpoint do not meet.
    pub(crate) fn begin_fetched(&self, manifest: Manifest) -> Result<Unfinished, StateError> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let target = self.path(manifest.task, manifest.minute);
        let parent = self.minute_dir(manifest.task.generation, manifest.minute);
        fs::create_dir_all(&parent).map_err(StateError::io("create", &parent))?;
        let (process, number) = (std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let dir = target.with_extension(format!("{process}-{number}.{FETCHING}"));
        files::remove_all(&dir)?;
        fs::create_dir(&dir).map_err(StateError::io("create", &dir))?;
        Ok(Unfinished { dir, target, parent, manifest, sums: self.sums.clone() })
    }

    /// Finishes what a process that ended has copied and not finished: its task may have gone on since, so
    /// that it could not be copied again. A copy that cannot be read is removed.
    pub fn finish_left(&self, shared: &Shared) -> Result<(), StateError> {
        for generation in listed(&self.root)? {
            for minute in listed(&generation)? {
                for dir in
                    listed(&minute)?.into_iter().filter(|d| d.extension().is_some_and(|e| e == UNFINISHED))
                {
                    match self.left(&dir, minute.clone(), shared) {
                        Some(unfinished) => unfinished.finish()?,
                        None => files::remove_all(&dir)?,
                    }
                }
            }
        }
        Ok(())
    }

    /// A copy that stands unfinished, if it is one of its task at that minute.
    fn left(&self, dir: &Path, parent: PathBuf, shared: &Shared) -> Option<Unfinished> {
        let meta = Store::open_read_only(dir, shared).and_then(|store| store.meta()).ok()??;
        let target = self.path(meta.task, meta.last_tick);
        let is_it = meta.at_tick && target.with_extension(UNFINISHED) == dir && !target.exists();
        let (manifest, sums, dir) = (Manifest::of(&meta), self.sums.clone(), dir.to_owned());
        is_it.then_some(Unfinished { dir, target, parent, manifest, sums })
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
        match serde_json::from_slice::<Sealed>(&text) {
            Ok(sealed) if sealed.crc32c == files::sum_of_json(&sealed.manifest) => {
                match sealed.manifest.format {
                    FORMAT => Ok(Some(sealed.manifest)),
                    _ => Err(StateError::Format { path, what: "a checkpoint manifest" }),
                }
            }
            _ => Err(StateError::Damaged { path, problem: "its checksum is wrong" }),
        }
    }

    /// The manifests of a task's checkpoints in all generations, but for those that cannot be read.
    pub(crate) fn manifests_of(&self, task: TaskId) -> Vec<Manifest> {
        let generations = listed(&self.root).unwrap_or_default();
        let generations = generations.iter().filter_map(|dir| dir.file_name()?.to_str()?.parse().ok());
        let of_one = |generation: u32| {
            let minutes = self.minutes(generation).unwrap_or_default().into_iter();
            minutes.filter_map(move |minute| self.manifest(task.in_generation(generation), minute).ok()?)
        };
        generations.flat_map(of_one).collect()
    }

    /// Makes a store, in a directory that must not exist, of a checkpoint whose files are all as they
    /// were written.
    pub fn restore(&self, manifest: &Manifest, to: &Path) -> Result<(), StateError> {
        let from = self.path(manifest.task, manifest.minute);
        files::verify(&from, &manifest.files)?;
        let unfinished = to.with_extension("restoring");
        files::remove_all(&unfinished)?;
        files::link(&from, &manifest.files, &unfinished)?;
        failpoints::io("restore.rename", || fs::rename(&unfinished, to))
            .map_err(StateError::io("rename", &unfinished))
    }

    /// Whether all files of a checkpoint are as they were written.
    pub fn verify(&self, manifest: &Manifest) -> Result<(), StateError> {
        files::verify(&self.path(manifest.task, manifest.minute), &manifest.files)
    }

    /// Whether every one of `tasks` has its checkpoint of a minute.
    pub fn is_complete(&self, tasks: &[Producer], minute: Minute) -> bool {
        tasks.iter().all(|t| self.path(*t, minute).join(FILE).exists())
    }

    /// Deletes the checkpoints of a minute in a generation.
    pub fn remove(&self, generation: u32, minute: Minute) -> Result<(), StateError> {
        let dir = self.minute_dir(generation, minute);
        failpoints::before("checkpoint.remove").map_err(StateError::io("remove", &dir))?;
        files::remove_all(&dir)?;
        failpoints::after("checkpoint.remove").map_err(StateError::io("remove", &dir))
    }

    /// Deletes one checkpoint of a task, and its minute if that was the last one.
    pub fn remove_task(&self, task: Producer, minute: Minute) -> Result<(), StateError> {
        files::remove_all(&self.path(task, minute))?;
        // Others stand there, or one is being written.
        let _ = fs::remove_dir(self.minute_dir(task.generation, minute));
        Ok(())
    }

    /// Deletes all checkpoints of a generation.
    pub fn remove_generation(&self, generation: u32) -> Result<(), StateError> {
        files::remove_all(&self.root.join(generation.to_string()))
    }
}

/// A copied store that is no checkpoint yet.
pub struct Unfinished {
    dir: PathBuf,
    target: PathBuf,
    parent: PathBuf,
    manifest: Manifest,
    sums: Arc<Sums>,
}

impl Unfinished {
    /// Sums its files, writes the manifest, makes all durable and gives it its name.
    pub fn finish(mut self) -> Result<(), StateError> {
        self.manifest.files = self.sums.of_dir(&self.dir)?;
        self.seal()
    }

    /// Where its files are to stand.
    pub(crate) fn dir(&self) -> &Path {
        &self.dir
    }

    /// The same when the manifest has the sums of its files.
    pub(crate) fn seal(self) -> Result<(), StateError> {
        write_manifest(&self.dir.join(FILE), self.manifest)?;
        sync_dir(&self.dir)?;
        failpoints::before("checkpoint.rename").map_err(StateError::io("rename", &self.dir))?;
        fs::rename(&self.dir, &self.target).map_err(StateError::io("rename", &self.dir))?;
        sync_dir(&self.parent)?;
        failpoints::after("checkpoint.rename").map_err(StateError::io("sync", &self.parent))
    }
}

/// What stands in a directory; nothing if it is not there.
fn listed(dir: &Path) -> Result<Vec<PathBuf>, StateError> {
    match fs::read_dir(dir) {
        Ok(entries) => Ok(entries.filter_map(|e| e.ok().map(|e| e.path())).collect()),
        Err(e) if matches!(e.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
            Ok(Vec::new())
        }
        Err(e) => Err(StateError::io("list", dir)(e)),
    }
}

fn write_manifest(path: &Path, manifest: Manifest) -> Result<(), StateError> {
    let sealed = Sealed { crc32c: files::sum_of_json(&manifest), manifest };
    let text = serde_json::to_vec_pretty(&sealed).unwrap_or_default();
    let write = || {
        fs::write(path, text)?;
        File::open(path)?.sync_all()
    };
    failpoints::io("checkpoint.manifest", write).map_err(StateError::io("write", path))
}
