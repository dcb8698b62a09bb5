//! One task's RocksDB.
//!
//! Keys are a table's number followed by the table's own key; table 0 holds the [`TaskMeta`]. What commits add to
//! the minutes of a table, their *blobs*, stands in a column family of its own ([`crate::blobs`]).
//!
//! What a task can fold again from its log needs no write-ahead log here: such commits live in memory
//! until RocksDB flushes them, at the latest with the next checkpoint. A flush holds whole commits, so
//! after a crash the store is at some earlier commit, behind its log, and catches up. What cannot be
//! made again (the plans of collect) is committed durably.

use crate::blobs;
use crate::direct;
use crate::error::StateError;
use crate::failpoints;
use crate::memory::{MemoryDisk, MemoryStore, ops_of};
use crate::meta::TaskMeta;
use crate::rocks_files;
use rocksdb::checkpoint::Checkpoint;
use rocksdb::{BlockBasedOptions, Cache, ColumnFamily, ColumnFamilyDescriptor, DB, DBPinnableSlice};
use rocksdb::{DBCompressionType, DBRecoveryMode, Direction, FlushOptions, IteratorMode, Options};
use rocksdb::{WriteBatch, WriteOptions};
use std::collections::BTreeSet;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};
use weir_proto::Minute;

const META: &[u8] = &[0];
/// RocksDB's name of the family that every store has.
const ROWS: &str = "default";
const MIB: usize = 1 << 20;

/// What all stores of a process share.
pub struct Shared {
    cache: Cache,
    /// Whether table files are written past the page cache, once it was tried.
    direct: OnceLock<bool>,
    /// Where stores are kept instead, in a simulation.
    memory: Option<MemoryDisk>,
}

impl Shared {
    /// With a block cache of so many bytes.
    pub fn new(cache_bytes: usize) -> Self {
        Shared { cache: Cache::new_lru_cache(cache_bytes), direct: OnceLock::new(), memory: None }
    }

    /// For a simulation: stores are kept in memory.
    pub fn in_memory(disk: MemoryDisk) -> Self {
        Shared { memory: Some(disk), ..Shared::new(0) }
    }

    /// Of the store, and of the family of rows.
    fn options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(16 << 10);
        table.set_bloom_filter(10.0, false);
        table.set_cache_index_and_filter_blocks(true);
        let mut o = Options::default();
        o.create_if_missing(true);
        o.create_missing_column_families(true);
        // A commit is in both families or in none, whenever they are flushed.
        o.set_atomic_flush(true);
        o.set_block_based_table_factory(&table);
        // Rows are written again and again: a scan would meet each of them in every file.
        sizes(&mut o, 8);
        o.set_max_background_jobs(2);
        o.set_max_open_files(64);
        // Stores are opened side by side already.
        o.set_max_file_opening_threads(1);
        o.set_keep_log_file_num(2);
        o.set_max_log_file_size(MIB);
        o.set_stats_dump_period_sec(0);
        // Only what a crash left of a last write may be left out; RocksDB's own choice is to leave out all
        // that follows a damaged record.
        o.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
        o.set_compression_per_level(&[
            DBCompressionType::None,
            DBCompressionType::None,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
            DBCompressionType::Lz4,
        ]);
        o
    }

    /// Of the family of blobs: mostly ids, which do not compress, and each is larger than a block.
    fn blob_options(&self) -> Options {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&self.cache);
        table.set_block_size(16 << 10);
        let mut o = Options::default();
        o.set_block_based_table_factory(&table);
        sizes(&mut o, 24);
        o.set_compression_type(DBCompressionType::None);
        o
    }
}

/// Each checkpoint flushes a small file; so many of them are merged at a time.
fn sizes(o: &mut Options, merged: i32) {
    o.set_write_buffer_size(2 * MIB);
    o.set_max_write_buffer_number(4);
    o.set_level_zero_file_num_compaction_trigger(merged);
    o.set_level_zero_slowdown_writes_trigger(64);
    o.set_level_zero_stop_writes_trigger(96);
    o.set_target_file_size_base(16 * MIB as u64);
}

enum Backend {
    Rocks(DB),
    Memory(MemoryStore),
}

/// A value as it stands in a store.
pub enum Value<'a> {
    /// In RocksDB.
    Rocks(DBPinnableSlice<'a>),
    /// In memory.
    Memory(Arc<[u8]>),
}

impl Deref for Value<'_> {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match self {
            Value::Rocks(bytes) => bytes,
            Value::Memory(bytes) => bytes,
        }
    }
}

/// The store of one task.
pub struct Store {
    backend: Backend,
    dir: PathBuf,
}

impl Store {
    /// Opens the store in a directory, creating it if need be.
    pub fn open(dir: &Path, shared: &Shared) -> Result<Self, StateError> {
        if let Some(disk) = &shared.memory {
            return Ok(Store { backend: Backend::Memory(disk.open(dir)?), dir: dir.to_owned() });
        }
        std::fs::create_dir_all(dir).map_err(StateError::io("create", dir))?;
        rocks_files::check(dir)?;
        let mut options = shared.options();
        // A young table is read again only at a restart.
        let direct = *shared.direct.get_or_init(|| direct::is_possible(dir));
        options.set_use_direct_io_for_flush_and_compaction(direct);
        let blobs = ColumnFamilyDescriptor::new(blobs::FAMILY, shared.blob_options());
        let rows = ColumnFamilyDescriptor::new(ROWS, options.clone());
        let db = DB::open_cf_descriptors(&options, dir, [rows, blobs])
            .map_err(|source| rocks_files::damage(dir, source))?;
        Ok(Store { backend: Backend::Rocks(db), dir: dir.to_owned() })
    }

    /// Opens a store without changing anything; a running task may own it.
    pub fn open_read_only(dir: &Path, shared: &Shared) -> Result<Self, StateError> {
        if shared.memory.is_some() {
            return Self::open(dir, shared);
        }
        rocks_files::check_beside(dir)?;
        let db = DB::open_cf_for_read_only(&shared.options(), dir, [ROWS, blobs::FAMILY], false)
            .map_err(|source| rocks_files::damage(dir, source))?;
        Ok(Store { backend: Backend::Rocks(db), dir: dir.to_owned() })
    }

    fn blobs_of<'a>(&self, db: &'a DB) -> Result<&'a ColumnFamily, StateError> {
        let missing = || StateError::Format { path: self.dir.clone(), what: "a store with blobs" };
        db.cf_handle(blobs::FAMILY).ok_or_else(missing)
    }

    fn rocks<T>(&self, result: Result<T, rocksdb::Error>) -> Result<T, StateError> {
        result.map_err(|source| rocks_files::damage(&self.dir, source))
    }

    /// The store's directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Where the task stands, or `None` if it never committed.
    pub fn meta(&self) -> Result<Option<TaskMeta>, StateError> {
        match self.get_whole(META)? {
            Some(bytes) => TaskMeta::decode(&bytes)
                .map(Some)
                .ok_or(StateError::Format { path: self.dir.clone(), what: "a task position" }),
            None => Ok(None),
        }
    }

    fn get_whole(&self, key: &[u8]) -> Result<Option<Value<'_>>, StateError> {
        match &self.backend {
            Backend::Rocks(db) => Ok(self.rocks(db.get_pinned(key))?.map(Value::Rocks)),
            Backend::Memory(store) => Ok(store.get(key).map(Value::Memory)),
        }
    }

    /// The value of a key.
    pub fn get(&self, table: u8, key: &[u8]) -> Result<Option<Value<'_>>, StateError> {
        self.get_whole(&with_table(table, key))
    }

    /// Calls `visit` with each key and value of a table whose key starts with `prefix`, in key order.
    pub fn scan(
        &self,
        table: u8,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]),
    ) -> Result<(), StateError> {
        self.scan_while(table, prefix, |key, value| {
            visit(key, value);
            true
        })
    }

    /// Like [`Store::scan`], until `visit` answers false.
    pub fn scan_while(
        &self,
        table: u8,
        prefix: &[u8],
        mut visit: impl FnMut(&[u8], &[u8]) -> bool,
    ) -> Result<(), StateError> {
        let from = with_table(table, prefix);
        let db = match &self.backend {
            Backend::Rocks(db) => db,
            Backend::Memory(store) => {
                let rows = store.scan(&from);
                let _ = rows.iter().all(|(key, value)| visit(&key[1..], value));
                return Ok(());
            }
        };
        for item in db.iterator(IteratorMode::From(&from, Direction::Forward)) {
            let (key, value) = self.rocks(item)?;
            if !key.starts_with(&from) || !visit(&key[1..], &value) {
                break;
            }
        }
        Ok(())
    }

    /// Adds to a commit what it adds to a minute of a table.
    pub fn put_blob(
        &self,
        commit: &mut Commit,
        table: u8,
        minute: Minute,
        blob: &[u8],
    ) -> Result<(), StateError> {
        let key = blobs::key(minute, table, commit.number);
        match &self.backend {
            Backend::Rocks(db) => commit.batch.put_cf(self.blobs_of(db)?, key, blob),
            Backend::Memory(_) => commit.batch.put(blobs::beside_rows(&key), blob),
        }
        Ok(())
    }

    /// Deletes all that commits added to a minute of a table.
    pub fn delete_blobs(&self, commit: &mut Commit, table: u8, minute: Minute) -> Result<(), StateError> {
        let (from, to) = (blobs::key(minute, table, 0), blobs::key(minute, table + 1, 0));
        match &self.backend {
            Backend::Rocks(db) => commit.batch.delete_range_cf(self.blobs_of(db)?, from, to),
            Backend::Memory(_) => {
                commit.batch.delete_range(blobs::beside_rows(&from), blobs::beside_rows(&to))
            }
        }
        Ok(())
    }

    /// Calls `visit` with each blob of a minute of a table, in the order of commits.
    pub fn scan_blobs(
        &self,
        table: u8,
        minute: Minute,
        mut visit: impl FnMut(&[u8]),
    ) -> Result<(), StateError> {
        match &self.backend {
            Backend::Rocks(db) => self.rocks(blobs::scan(db, self.blobs_of(db)?, table, minute, visit)),
            Backend::Memory(store) => {
                let prefix = blobs::beside_rows(&blobs::key(minute, table, 0)[..5]);
                store.scan(&prefix).iter().for_each(|(_, blob)| visit(blob));
                Ok(())
            }
        }
    }

    /// The minutes of a table that have any blobs, from one on.
    pub fn minutes_of_blobs(&self, table: u8, from: Minute) -> Result<BTreeSet<Minute>, StateError> {
        match &self.backend {
            Backend::Rocks(db) => self.rocks(blobs::minutes(db, self.blobs_of(db)?, table, from)),
            Backend::Memory(store) => {
                let keys = store.scan(&[blobs::BESIDE_ROWS]).into_iter().map(|(key, _)| key);
                let own = keys.filter_map(|key| blobs::parse(&key[1..]));
                Ok(own.filter(|(m, of)| *of == table && *m >= from).map(|(m, _)| m).collect())
            }
        }
    }

    /// Writes a commit as one: the step of this name.
    pub fn commit_as(
        &self,
        step: &'static str,
        commit: Commit,
        durability: Durability,
    ) -> Result<(), StateError> {
        let failed = |e| StateError::io("commit to", &self.dir)(e);
        failpoints::before(step).map_err(failed)?;
        self.commit(commit, durability)?;
        failpoints::after(step).map_err(failed)
    }

    /// Writes a commit as one.
    pub fn commit(&self, commit: Commit, durability: Durability) -> Result<(), StateError> {
        let db = match &self.backend {
            Backend::Rocks(db) => db,
            Backend::Memory(store) => {
                let ops = ops_of(commit.batch.data());
                let unknown = StateError::Format { path: self.dir.clone(), what: "a write batch" };
                return store.commit(&self.dir, ops.ok_or(unknown)?, durability);
            }
        };
        let mut options = WriteOptions::default();
        match durability {
            Durability::FromLog => options.disable_wal(true),
            Durability::Process => {}
            Durability::Disk => options.set_sync(true),
        }
        self.rocks(db.write_opt(commit.batch, &options))
    }

    /// Makes a copy of the store as it is now, by hard links, in a directory that must not exist.
    pub fn checkpoint(&self, to: &Path) -> Result<(), StateError> {
        match &self.backend {
            Backend::Rocks(db) => {
                let checkpoint = self.rocks(Checkpoint::new(db))?;
                self.rocks(checkpoint.create_checkpoint(to))
            }
            Backend::Memory(store) => store.checkpoint(&self.dir, to),
        }
    }

    /// Makes all commits durable.
    pub fn flush(&self) -> Result<(), StateError> {
        let failed = |e| StateError::io("flush", &self.dir)(e);
        failpoints::before("store.flush").map_err(failed)?;
        match &self.backend {
            Backend::Rocks(db) => {
                let rows = db.cf_handle(ROWS).into_iter();
                let families: Vec<&ColumnFamily> = rows.chain([self.blobs_of(db)?]).collect();
                self.rocks(db.flush_cfs_opt(&families, &FlushOptions::default()))?;
            }
            Backend::Memory(store) => store.flush(&self.dir)?,
        }
        failpoints::after("store.flush").map_err(failed)
    }

    /// A RocksDB property that is a number, of rows and blobs together.
    pub fn property(&self, name: &str) -> u64 {
        let Backend::Rocks(db) = &self.backend else { return 0 };
        let families = [ROWS, blobs::FAMILY].into_iter().filter_map(|name| db.cf_handle(name));
        families.filter_map(|family| db.property_int_value_cf(family, name).ok().flatten()).sum()
    }
}

/// What a commit survives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Nothing by itself: it is folded again from the log. All commits of a store must be of this kind
    /// or none.
    FromLog,
    /// The end of the process.
    Process,
    /// The end of the machine.
    Disk,
}

/// What one commit changes.
pub struct Commit {
    batch: WriteBatch,
    /// Rises with each commit of a task; orders what several commits say of one key.
    pub number: u64,
}

impl Commit {
    /// An empty commit with its running number.
    pub fn new(number: u64) -> Self {
        Self::with_room(number, 0)
    }

    /// Like [`Commit::new`], with room for so many bytes.
    pub fn with_room(number: u64, bytes: usize) -> Self {
        Commit { batch: WriteBatch::with_capacity_bytes(bytes), number }
    }

    /// Bytes of what it changes.
    pub fn size(&self) -> usize {
        self.batch.size_in_bytes()
    }

    /// Sets a key.
    pub fn put(&mut self, table: u8, key: &[u8], value: &[u8]) {
        self.batch.put(with_table(table, key), value);
    }

    /// Deletes a key.
    pub fn delete(&mut self, table: u8, key: &[u8]) {
        self.batch.delete(with_table(table, key));
    }

    /// Deletes the keys from `from` up to but not including `to`.
    pub fn delete_range(&mut self, table: u8, from: &[u8], to: &[u8]) {
        self.batch.delete_range(with_table(table, from), with_table(table, to));
    }

    /// Sets where the task stands.
    pub fn put_meta(&mut self, meta: &TaskMeta) {
        self.batch.put(META, meta.encode());
    }
}

fn with_table(table: u8, key: &[u8]) -> Vec<u8> {
    debug_assert!(table > 0 && table != blobs::BESIDE_ROWS);
    let mut full = Vec::with_capacity(1 + key.len());
    full.push(table);
    full.extend_from_slice(key);
    full
}
