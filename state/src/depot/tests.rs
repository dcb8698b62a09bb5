//! What happens when a storage fails in between, when two meet, and when time passes.

use super::*;
use crate::{CheckpointDir, Commit, Durability, Mark, Shared, Store, TaskMeta};
use async_trait::async_trait;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::{CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload};
use object_store::{PutMultipartOptions, PutOptions, PutPayload, PutResult, Result};
use std::collections::HashSet;
use weir_proto::{StageId, Topic};

const TASK: Producer = Producer { stage: StageId::Deduct, partition: 0, generation: 3 };
const HOUR: Duration = Duration::from_secs(3600);

/// A storage in memory that fails when it is told to, and for which time passes when it is told so.
#[derive(Debug, Default)]
struct Told {
    inner: InMemory,
    /// Nothing whose name begins so can be written.
    fails: Mutex<Option<&'static str>>,
    /// What someone else writes in front of the next write of that name.
    first: Mutex<Option<(Path, Vec<u8>)>>,
    /// How much older an object is than it seems.
    older: Mutex<HashMap<Path, Duration>>,
    written: Mutex<Vec<Path>>,
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Told")
    }
}

impl Told {
    fn aged(&self, mut meta: ObjectMeta) -> ObjectMeta {
        meta.last_modified -= lock(&self.older).get(&meta.location).copied().unwrap_or_default();
        meta
    }

    /// Lets time pass.
    fn pass(&self, time: Duration) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let all: Vec<_> = runtime.block_on(self.inner.list(None).map(|m| m.unwrap().location).collect());
        for name in all {
            *lock(&self.older).entry(name).or_default() += time;
        }
    }

    fn take_written(&self) -> HashSet<Path> {
        std::mem::take(&mut *lock(&self.written)).into_iter().collect()
    }
}

#[async_trait]
impl ObjectStore for Told {
    async fn put_opts(&self, name: &Path, payload: PutPayload, opts: PutOptions) -> Result<PutResult> {
        if lock(&self.fails).is_some_and(|prefix| name.as_ref().starts_with(prefix)) {
            return Err(Error::Generic { store: "Told", source: "it is away".into() });
        }
        let first = lock(&self.first).take_if(|(of, _)| of == name);
        if let Some((_, bytes)) = first {
            self.inner.put(name, bytes.into()).await?;
        }
        lock(&self.older).remove(name);
        lock(&self.written).push(name.clone());
        self.inner.put_opts(name, payload, opts).await
    }

    async fn put_multipart_opts(
        &self,
        name: &Path,
        opts: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(name, opts).await
    }

    async fn get_opts(&self, name: &Path, options: GetOptions) -> Result<GetResult> {
        let mut found = self.inner.get_opts(name, options).await?;
        found.meta = self.aged(found.meta);
        Ok(found)
    }

    fn delete_stream(&self, names: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(names)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let older = lock(&self.older).clone();
        let aged = move |meta: Result<ObjectMeta>| {
            let mut meta = meta?;
            meta.last_modified -= older.get(&meta.location).copied().unwrap_or_default();
            Ok(meta)
        };
        self.inner.list(prefix).map(aged).boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}

/// A task with its checkpoints, and a depot.
struct Bench {
    _dir: tempfile::TempDir,
    checkpoints: CheckpointDir,
    store: Store,
    meta: TaskMeta,
    told: Arc<Told>,
    depot: Depot,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(&dir.path().join("store"), &Shared::new(1 << 20)).unwrap();
        let checkpoints = CheckpointDir::new(dir.path().join("checkpoints"));
        let meta = TaskMeta::new(TASK, &[Topic::Charges], 1, 0);
        let told = Arc::new(Told::default());
        let depot = over(&told);
        Bench { _dir: dir, checkpoints, store, meta, told, depot }
    }

    /// Takes a checkpoint.
    fn take(&mut self, minute: Minute) {
        self.meta.ticked(minute);
        self.meta.commits += 1;
        let mut commit = Commit::new(self.meta.commits);
        commit.put(1, &minute.0.to_be_bytes(), &[7; 500]);
        commit.put_meta(&self.meta);
        self.store.commit(commit, Durability::FromLog).unwrap();
        self.checkpoints.take(&self.store, &self.meta).unwrap();
    }

    fn put(&self, minute: Minute) -> Moved {
        self.depot.put(&self.checkpoints, TASK, minute).unwrap()
    }

    fn can_be_fetched(&self, minute: Minute) -> bool {
        let dir = tempfile::tempdir().unwrap();
        let fetched = self.depot.fetch(TASK, minute, &CheckpointDir::new(dir.path().to_owned()));
        fetched.is_ok_and(|moved| moved.became == Became::Moved)
    }

    /// The names of the table files of a checkpoint in the depot.
    fn tables(&self, minute: Minute) -> HashSet<Path> {
        let manifest = self.checkpoints.manifest(TASK, minute).unwrap().unwrap();
        let tables = manifest.files.iter().filter(|f| f.name.ends_with(".sst"));
        let path = self.checkpoints.path(TASK, minute);
        tables.map(|f| names::file(blake3::hash(&std::fs::read(path.join(&f.name)).unwrap()))).collect()
    }
}

/// A depot of another process: it remembers nothing.
fn over(told: &Arc<Told>) -> Depot {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Depot::over(told.clone(), "memory:///", runtime)
}

#[test]
fn what_is_cut_off_before_its_manifest_is_not_there_and_goes_on() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    *lock(&bench.told.fails) = Some("manifests/");
    let error = bench.depot.put(&bench.checkpoints, TASK, Minute(1)).unwrap_err();
    assert!(error.is_away() && error.to_string().contains("memory:///manifests/3/deduct-0/"), "{error}");
    assert_eq!(bench.depot.minutes(TASK).unwrap(), []);
    assert_eq!(bench.depot.keep(|_, _| true, HOUR).unwrap(), Removed::default());
    *lock(&bench.told.fails) = None;
    let moved = bench.put(Minute(1));
    assert_eq!((moved.became, moved.files), (Became::Moved, 0));
    assert!(bench.can_be_fetched(Minute(1)));
}

#[test]
fn what_was_cut_off_long_ago_is_removed_or_written_again() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    *lock(&bench.told.fails) = Some("manifests/");
    bench.depot.put(&bench.checkpoints, TASK, Minute(1)).unwrap_err();
    *lock(&bench.told.fails) = None;
    bench.told.pass(HOUR / 2);
    // It may be about to be removed: so it is made young.
    let moved = bench.put(Minute(1));
    assert!(moved.files > 0 && moved.reused_files == 0);

    bench.take(Minute(2));
    *lock(&bench.told.fails) = Some("manifests/");
    bench.depot.put(&bench.checkpoints, TASK, Minute(2)).unwrap_err();
    *lock(&bench.told.fails) = None;
    assert_eq!(bench.depot.keep(|_, _| true, HOUR).unwrap().files, 0);
    bench.told.pass(HOUR);
    assert!(bench.depot.keep(|_, _| true, HOUR).unwrap().files > 0);
    assert!(bench.can_be_fetched(Minute(1)));
    bench.put(Minute(2));
    assert!(bench.can_be_fetched(Minute(2)));
}

#[test]
fn what_the_newest_manifest_refers_to_is_relied_upon_however_old() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    bench.put(Minute(1));
    bench.told.pass(100 * HOUR);
    bench.take(Minute(2));
    bench.told.take_written();
    for depot in [over(&bench.told), over(&bench.told)] {
        depot.put(&bench.checkpoints, TASK, Minute(2)).unwrap();
        let written = bench.told.take_written();
        assert!(written.is_disjoint(&bench.tables(Minute(1))), "{written:?}");
    }
    // The first minute leaves while an upload that has just read its manifest is under way.
    let removed = bench.depot.keep(|_, _| false, HOUR).unwrap();
    assert!(removed.manifests == 2 && bench.depot.minutes(TASK).unwrap().is_empty());
    let there = |name: &Path| bench.depot.handle.block_on(bench.told.head(name)).is_ok();
    assert!(bench.tables(Minute(1)).iter().all(there));
    bench.told.pass(HOUR);
    bench.depot.keep(|_, _| true, HOUR).unwrap();
    assert!(!bench.tables(Minute(1)).iter().any(there));
    // What the depot saw there once is not relied upon now.
    assert_eq!(bench.put(Minute(2)).reused_files, 0);
    assert!(bench.can_be_fetched(Minute(2)));
}

#[test]
fn another_generation_begins_with_the_files_of_the_one_before() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    bench.put(Minute(1));
    bench.told.pass(100 * HOUR);
    bench.meta.enter(4, 0);
    bench.take(Minute(2));
    let task = Producer { generation: 4, ..TASK };
    let moved = bench.depot.put(&bench.checkpoints, task, Minute(2)).unwrap();
    assert!(moved.reused_files >= bench.tables(Minute(1)).len() as u64);
    let dir = tempfile::tempdir().unwrap();
    let there = CheckpointDir::new(dir.path().to_owned());
    bench.depot.fetch(TASK, Minute(1), &there).unwrap();
    assert!(bench.depot.fetch(task, Minute(2), &there).unwrap().reused_files > 0);
}

#[test]
fn a_damaged_manifest_is_not_the_end_of_later_ones() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    bench.put(Minute(1));
    let name = names::manifest(TASK, Minute(1));
    bench.depot.handle.block_on(bench.told.put(&name, "{".into())).unwrap();
    bench.take(Minute(2));
    bench.put(Minute(2));
    assert!(bench.can_be_fetched(Minute(2)) && !bench.can_be_fetched(Minute(1)));
    assert!(bench.depot.keep(|_, _| true, HOUR).unwrap_err().to_string().contains(name.as_ref()));
    assert_eq!(bench.depot.keep(|_, minute| minute != Minute(1), HOUR).unwrap().manifests, 1);
}

#[test]
fn a_file_that_is_gone_or_cut_is_written_again() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    bench.put(Minute(1));
    let table = bench.tables(Minute(1)).into_iter().next().unwrap();
    for depot in [over(&bench.told), over(&bench.told)] {
        depot.handle.block_on(bench.told.put(&table, "x".into())).unwrap();
        bench.take(Minute(bench.meta.last_tick.0 + 1));
        bench.told.take_written();
        depot.put(&bench.checkpoints, TASK, bench.meta.last_tick).unwrap();
        assert!(bench.told.take_written().contains(&table));
    }
}

#[test]
fn a_manifest_that_comes_in_between_wins() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    let name = names::manifest(TASK, Minute(1));
    let mut checkpoint = bench.checkpoints.manifest(TASK, Minute(1)).unwrap().unwrap();
    checkpoint.files.clear();
    let text = manifest::seal(&Stored { checkpoint, hashes: Vec::new() });
    *lock(&bench.told.first) = Some((name.clone(), text.clone()));
    let moved = bench.put(Minute(1));
    assert_eq!(moved.became, Became::AnotherStays { same_state: true });
    assert!(moved.files > 0);
    assert_eq!(bench.depot.handle.block_on(bench.depot.read(&name)).unwrap(), Some(text));
    // Its own, of which the answer was lost.
    bench.take(Minute(2));
    let name = names::manifest(TASK, Minute(2));
    bench.put(Minute(2));
    let text = bench.depot.handle.block_on(bench.depot.read(&name)).unwrap().unwrap();
    bench.depot.handle.block_on(bench.told.delete(&name)).unwrap();
    *lock(&bench.told.first) = Some((name, text));
    assert_eq!(bench.put(Minute(2)).became, Became::WasThere);
}

#[test]
fn a_manifest_cannot_lead_out_of_its_directory() {
    let mut bench = Bench::new();
    bench.take(Minute(1));
    let mut checkpoint = bench.checkpoints.manifest(TASK, Minute(1)).unwrap().unwrap();
    let name = names::manifest(TASK, Minute(1));
    let hashes = vec![blake3::hash(b""); checkpoint.files.len()];
    for bad in ["../x", "/x", "..", "", "a/b", "weir.json"] {
        checkpoint.files[0].name = bad.to_owned();
        let text = manifest::seal(&Stored { checkpoint: checkpoint.clone(), hashes: hashes.clone() });
        assert!(manifest::open(&text, &name, String::new).unwrap_err().is_damage(), "{bad}");
    }
}

#[test]
fn a_depot_can_end_in_asynchronous_code() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async { drop(Depot::open("memory:///", &BTreeMap::new()).unwrap()) });
}

#[test]
fn a_decision_is_made_once() {
    let bench = Bench::new();
    assert_eq!(bench.depot.decision(1).unwrap(), None);
    assert!(bench.depot.decide(1, b"one".to_vec()).unwrap());
    assert!(!bench.depot.decide(1, b"two".to_vec()).unwrap());
    // Whoever did not hear the answer finds that it is made.
    assert!(bench.depot.decide(1, b"one".to_vec()).unwrap());
    assert_eq!(bench.depot.decision(1).unwrap().unwrap().text, b"one");
    assert_eq!(bench.depot.decision(2).unwrap(), None);
    bench.told.pass(HOUR * 1_000);
    bench.depot.keep(|_, _| false, HOUR).unwrap();
    assert!(bench.depot.decision(1).unwrap().is_some(), "it stays");
    *lock(&bench.told.fails) = Some("decisions/");
    assert!(bench.depot.decide(2, b"two".to_vec()).unwrap_err().is_away());
}

#[test]
fn a_worker_is_new_once_and_not_where_anything_of_it_was_seen() {
    let mut bench = Bench::new();
    let put = |bench: &mut Bench, task: Producer, marks: &[Producer]| {
        bench.meta = TaskMeta::new(task, &[Topic::Raw], 1, 0);
        bench.meta.marks = marks.iter().map(|of| Mark { next_seq: 1, ..Mark::nothing_of(*of) }).collect();
        bench.take(Minute(1));
        bench.depot.put(&bench.checkpoints, task, Minute(1)).unwrap();
    };
    let collect = |partition| Producer { stage: StageId::Collect, partition, generation: 1 };
    let reader = Producer { stage: StageId::AntiBrush, partition: 0, generation: 1 };
    assert!(!bench.depot.is_new_worker(2, 1).unwrap(), "nothing is known of the group");
    put(&mut bench, reader, &[collect(1), collect(6)]);
    assert!(bench.depot.is_new_worker(3, 1).unwrap());
    assert!(!bench.depot.is_new_worker(3, 1).unwrap());
    assert!(bench.depot.is_new_worker(4, 1).unwrap());
    put(&mut bench, collect(5), &[]);
    assert!(!bench.depot.is_new_worker(5, 1).unwrap(), "it was there before that was remembered");
    assert!(!bench.depot.is_new_worker(6, 1).unwrap(), "what it has taken in was seen");
    *lock(&bench.told.fails) = Some("workers/");
    assert!(bench.depot.is_new_worker(7, 1).unwrap_err().is_away());
}
