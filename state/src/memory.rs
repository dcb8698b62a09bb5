//! A store in memory that promises what RocksDB promises and no more, for simulations that own every
//! crash.
//!
//! Commits stand in memory in their order. A crash keeps the first so many of them: all that were flushed or
//! committed more durably than the crash reaches, and of the rest any number, since RocksDB may have flushed
//! by itself. A checkpoint flushes; it is one file, `memory`, from which a store can be opened again.

use crate::error::StateError;
use crate::store::Durability;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

const FILE: &str = "memory";

type Map = BTreeMap<Vec<u8>, Arc<[u8]>>;

/// What is about to be done to a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorePoint {
    /// A commit.
    Commit,
    /// A copy of the store.
    Checkpoint,
    /// A flush.
    Flush,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is done.
    Done,
    /// It is not done, and whoever asked is told so.
    Fails,
    /// It is done, but whoever asked never hears of it.
    DoneButFails,
}

/// Decides what becomes of each change of a store.
pub trait Faults: Send + Sync {
    /// What becomes of this one.
    fn at_store(&self, dir: &Path, point: StorePoint) -> Fate;
}

/// How much a crash takes along.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CrashOf {
    /// What the process held; what it gave to the system is still written.
    Process,
    /// What was not on disk.
    Machine,
}

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Put(Vec<u8>, Arc<[u8]>),
    Delete(Vec<u8>),
    DeleteRange(Vec<u8>, Vec<u8>),
}

/// A store's content.
#[derive(Default)]
struct Volume {
    /// What survives every crash.
    durable: Map,
    /// Commits behind it, in order.
    since: Vec<(Durability, Vec<Op>)>,
    /// What is read.
    now: Map,
}

impl Volume {
    fn commit(&mut self, ops: Vec<Op>, durability: Durability) {
        apply(&mut self.now, &ops);
        self.since.push((durability, ops));
        if durability == Durability::Disk {
            // One log of all commits: what stands before is on disk with it.
            self.flush();
        }
    }

    fn flush(&mut self) {
        for (_, ops) in self.since.drain(..) {
            apply(&mut self.durable, &ops);
        }
    }

    /// How many commits survive at least, and at most.
    fn survivors(&self, of: CrashOf) -> (usize, usize) {
        let survives = |durability: Durability| match of {
            CrashOf::Process => durability != Durability::FromLog,
            CrashOf::Machine => durability == Durability::Disk,
        };
        let least = self.since.iter().rposition(|(d, _)| survives(*d)).map_or(0, |at| at + 1);
        (least, self.since.len())
    }

    fn keeping(&self, commits: usize) -> Volume {
        let mut durable = self.durable.clone();
        self.since.iter().take(commits).for_each(|(_, ops)| apply(&mut durable, ops));
        Volume { now: durable.clone(), durable, since: Vec::new() }
    }
}

fn apply(map: &mut Map, ops: &[Op]) {
    for op in ops {
        match op {
            Op::Put(key, value) => {
                map.insert(key.clone(), value.clone());
            }
            Op::Delete(key) => {
                map.remove(key);
            }
            Op::DeleteRange(from, to) if from < to => {
                let gone: Vec<_> = map.range(from.clone()..to.clone()).map(|(key, _)| key.clone()).collect();
                gone.iter().for_each(|key| {
                    map.remove(key);
                });
            }
            Op::DeleteRange(..) => {}
        }
    }
}

struct Mounted {
    /// The directory it belongs to: one of the same name made later is another one.
    inode: u64,
    volume: Arc<Mutex<Volume>>,
}

/// Where stores in memory are kept: what is left of them when whoever opened them is gone.
#[derive(Clone)]
pub struct MemoryDisk {
    mounted: Arc<Mutex<BTreeMap<PathBuf, Mounted>>>,
    faults: Arc<dyn Faults>,
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl MemoryDisk {
    /// An empty one.
    pub fn new(faults: Arc<dyn Faults>) -> Self {
        MemoryDisk { mounted: Arc::default(), faults }
    }

    pub(crate) fn open(&self, dir: &Path) -> Result<MemoryStore, StateError> {
        fs::create_dir_all(dir).map_err(StateError::io("create", dir))?;
        let inode = fs::metadata(dir).map_err(StateError::io("read", dir))?.ino();
        let mut mounted = locked(&self.mounted);
        let known = mounted.get(dir).filter(|m| m.inode == inode).map(|m| m.volume.clone());
        let volume = match known {
            Some(volume) => volume,
            None => Arc::new(Mutex::new(read(dir)?)),
        };
        mounted.insert(dir.to_owned(), Mounted { inode, volume: volume.clone() });
        Ok(MemoryStore { volume, faults: self.faults.clone() })
    }

    /// All that is open now is lost to whoever holds it, who goes on with a copy that nobody else sees. Of
    /// each store so many commits are kept as `keep` chooses, given the least and the most.
    pub fn crash(&self, of: CrashOf, mut keep: impl FnMut(usize, usize) -> usize) {
        let dirs: Vec<PathBuf> = locked(&self.mounted).keys().cloned().collect();
        dirs.iter().for_each(|dir| self.part(dir, of, &mut keep));
    }

    /// The same for the store of one directory.
    pub fn part(&self, dir: &Path, of: CrashOf, mut keep: impl FnMut(usize, usize) -> usize) {
        if let Some(mounted) = locked(&self.mounted).get_mut(dir) {
            let left = {
                let volume = locked(&mounted.volume);
                let (least, most) = volume.survivors(of);
                volume.keeping(keep(least, most).clamp(least, most))
            };
            mounted.volume = Arc::new(Mutex::new(left));
        }
    }
}

/// One store.
pub(crate) struct MemoryStore {
    volume: Arc<Mutex<Volume>>,
    faults: Arc<dyn Faults>,
}

impl MemoryStore {
    fn change(
        &self,
        dir: &Path,
        point: StorePoint,
        change: impl FnOnce(&mut Volume) -> Result<(), StateError>,
    ) -> Result<(), StateError> {
        let fate = self.faults.at_store(dir, point);
        if fate != Fate::Fails {
            change(&mut locked(&self.volume))?;
        }
        match fate {
            Fate::Done => Ok(()),
            _ => Err(StateError::io("write", dir)(std::io::ErrorKind::StorageFull.into())),
        }
    }

    pub(crate) fn get(&self, key: &[u8]) -> Option<Arc<[u8]>> {
        locked(&self.volume).now.get(key).cloned()
    }

    /// Keys and values from a key on that start with it.
    pub(crate) fn scan(&self, prefix: &[u8]) -> Vec<(Vec<u8>, Arc<[u8]>)> {
        let volume = locked(&self.volume);
        let all = volume.now.range(prefix.to_vec()..).take_while(|(key, _)| key.starts_with(prefix));
        all.map(|(key, value)| (key.clone(), value.clone())).collect()
    }

    pub(crate) fn commit(&self, dir: &Path, ops: Vec<Op>, durability: Durability) -> Result<(), StateError> {
        self.change(dir, StorePoint::Commit, |volume| {
            volume.commit(ops, durability);
            Ok(())
        })
    }

    pub(crate) fn flush(&self, dir: &Path) -> Result<(), StateError> {
        self.change(dir, StorePoint::Flush, |volume| {
            volume.flush();
            Ok(())
        })
    }

    pub(crate) fn checkpoint(&self, dir: &Path, to: &Path) -> Result<(), StateError> {
        self.change(dir, StorePoint::Checkpoint, |volume| {
            volume.flush();
            fs::create_dir(to).map_err(StateError::io("create", to))?;
            let rows = volume.now.iter().map(|(k, v)| (&k[..], &v[..])).collect();
            let bytes = postcard::to_stdvec(&File { rows }).unwrap_or_default();
            fs::write(to.join(FILE), bytes).map_err(StateError::io("write", to))
        })
    }
}

#[derive(Serialize, Deserialize)]
struct File<'a> {
    #[serde(borrow)]
    rows: Vec<(&'a [u8], &'a [u8])>,
}

fn read(dir: &Path) -> Result<Volume, StateError> {
    let path = dir.join(FILE);
    let bytes = match fs::read(&path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(Volume::default()),
        Err(e) => return Err(StateError::io("read", &path)(e)),
    };
    let file: File<'_> = postcard::from_bytes(&bytes)
        .map_err(|_| StateError::Damaged { path: path.clone(), problem: "it is not whole" })?;
    let now: Map = file.rows.iter().map(|(k, v)| (k.to_vec(), Arc::from(*v))).collect();
    Ok(Volume { durable: now.clone(), now, since: Vec::new() })
}

/// The changes of a write batch, from the bytes that RocksDB writes to its log: `sequence u64, count u32`,
/// then per change a tag and its byte strings, each behind its length as a varint.
pub(crate) fn ops_of(batch: &[u8]) -> Option<Vec<Op>> {
    const DELETE: u8 = 0;
    const PUT: u8 = 1;
    const DELETE_RANGE: u8 = 15;
    let mut rest = batch.get(12..)?;
    let mut ops = Vec::new();
    while let Some((tag, after)) = rest.split_first() {
        rest = after;
        let key = string(&mut rest)?.to_vec();
        ops.push(match *tag {
            PUT => Op::Put(key, string(&mut rest)?.into()),
            DELETE => Op::Delete(key),
            DELETE_RANGE => Op::DeleteRange(key, string(&mut rest)?.to_vec()),
            _ => return None,
        });
    }
    Some(ops)
}

fn string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (mut len, mut shift) = (0usize, 0);
    loop {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        len |= usize::from(byte & 127) << shift;
        shift += 7;
        if byte & 128 == 0 {
            break;
        }
    }
    let (found, after) = rest.split_at_checked(len)?;
    *rest = after;
    Some(found)
}
