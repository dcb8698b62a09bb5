//! The data directory of a job.
//!
//! ```text
//! weir.json                 {"format": 3, "crc32c": …, "settings": {"partitions": n}}; with "kafka" or "fluvio" if the topics are
//!                           there and the id of their "cluster", if it has one, once a job was open with them, and in a group with the number of the
//!                           "worker", or of all "workers" where their states are gathered
//! lock                      held by the process that runs the job
//! mask.key                  see `mask`
//! credential.keys[.lock]    see `credentials::key_file`
//! credentials/              a RocksDB, see `credentials::CredentialStore`
//! control.log               which generations there are, see `generations`
//! operator.log              what operators have done, see `operations`
//! ledger.json               how far the ledger database is, see `ledger`
//! <listener>.address        where a running job listens (control, http …): the address, then `crc32c …` of it in hex
//! rules/<fingerprint>.json  see `rule_set`
//! ingest/                   see `ingest`
//! log/<topic>[.<generation>]/                 see `log`
//! state/<generation>/<stage>-<partition>/     a RocksDB each
//! state/<generation>/cut.json                 what the generation was begun from
//! checkpoints/<generation>/<minute>/<stage>-<partition>/
//! group/                    see `group::Gatherer`
//! ```
//!
//! Every file has the version of its format and a checksum; what is damaged is named and not used. The format in
//! `weir.json` is that of the directory as a whole: it is raised when a file or a topic that the version before
//! does not know must not be overlooked by it.

use crate::error::JobError;
use crate::flow::FLOW;
use crate::generations::Cut;
use crate::log::{ClusterOptions, FluvioOptions, KafkaOptions, LogPlace};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use weir_proto::{Producer, StageId, TaskId};
use weir_state::{CheckpointDir, PUBLIC, failpoints, remove_all, replace_file, sum_of_json};

const FORMAT: u32 = 3;
const CUT_FORMAT: u32 = 1;
const CUT: &str = "cut.json";
/// The listener of the control service.
const CONTROL: &str = "control";
/// Who looks whether a job runs holds the lock for a moment; a job that starts waits so long for it.
const LOCK_WAIT: Duration = Duration::from_millis(300);

#[derive(PartialEq, Eq, Serialize, Deserialize)]
struct Settings {
    partitions: u32,
    /// Where the topics are, unless in `log/`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    kafka: Option<KafkaOptions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fluvio: Option<FluvioOptions>,
    /// The id of the cluster that they are in, if it has one, once a job has opened there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cluster: Option<String>,
    /// Which worker of a group it is of, if of one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    worker: Option<u16>,
    /// The workers of the group whose state was gathered here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    workers: Vec<u16>,
}

impl Settings {
    fn new(partitions: u32, topics: Option<&ClusterOptions>, worker: Option<u16>) -> Self {
        let (mut kafka, mut fluvio) = (None, None);
        match topics {
            Some(ClusterOptions::Kafka(options)) => kafka = Some(options.clone()),
            Some(ClusterOptions::Fluvio(options)) => fluvio = Some(options.clone()),
            None => {}
        }
        Settings { partitions, kafka, fluvio, cluster: None, worker, workers: Vec::new() }
    }
}

#[derive(Serialize, Deserialize)]
struct SealedSettings {
    format: u32,
    crc32c: u32,
    settings: Settings,
}

/// A data directory that this process may read; see [`DataDir::lock`] for writing.
#[derive(Clone, Debug)]
pub struct DataDir {
    root: PathBuf,
    partitions: u32,
    topics: LogPlace,
    cluster: Option<String>,
    worker: Option<u16>,
    workers: Vec<u16>,
}

/// Held while a job runs in a data directory.
#[derive(Debug)]
pub struct DataDirLock(#[allow(dead_code)] File);

impl DataDir {
    /// Opens the directory of an existing job.
    pub fn open(root: &Path) -> Result<Self, JobError> {
        let path = root.join("weir.json");
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                let problem =
                    "is not a data directory of weir: it has no weir.json. Name one with --data-dir";
                return Err(other(root, problem.to_owned()));
            }
            Err(e) => return Err(JobError::io("read", &path)(e)),
        };
        let Settings { partitions, kafka, fluvio, cluster, worker, workers } =
            parse_settings(&text).map_err(|problem| other(&path, problem))?;
        let topics = kafka.map(ClusterOptions::Kafka).or(fluvio.map(ClusterOptions::Fluvio));
        let topics = topics.map_or_else(|| LogPlace::Files(root.join("log")), LogPlace::cluster);
        Ok(DataDir { root: root.to_owned(), partitions, topics, cluster, worker, workers })
    }

    /// Opens or creates the directory for running a job in it, with its topics in a cluster or in the directory.
    pub fn lock(
        root: &Path,
        partitions: u32,
        topics: Option<&ClusterOptions>,
        worker: Option<u16>,
    ) -> Result<(Self, DataDirLock), JobError> {
        fs::create_dir_all(root).map_err(JobError::io("create", root))?;
        let path = root.join("lock");
        let file = File::create(&path).map_err(JobError::io("create", &path))?;
        let began = Instant::now();
        while flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if began.elapsed() > LOCK_WAIT {
                return Err(JobError::InUse(root.to_owned()));
            }
            std::thread::sleep(LOCK_WAIT / 30);
        }
        let settings = root.join("weir.json");
        if !settings.exists() {
            write_settings(&settings, Settings::new(partitions, topics, worker))?;
        }
        let mut dir = Self::open(root)?;
        if dir.partitions != partitions {
            let problem = format!(
                "was made with {} partitions and cannot go on with {partitions}: which partition an event \
                 goes to would change. Run it with --partitions {}, or start a new data directory",
                dir.partitions, dir.partitions
            );
            return Err(other(root, problem));
        }
        if dir.worker != worker {
            let named = |worker: Option<u16>| match worker {
                None => "a job of one process".to_owned(),
                Some(worker) => format!("worker {worker} of a group"),
            };
            let problem = format!(
                "is that of {} and cannot go on as that of {}: set [group] as it was, or start a new data directory",
                named(dir.worker),
                named(worker)
            );
            return Err(other(root, problem));
        }
        dir.go_on_with(topics)?;
        crate::mask::ensure(root)?;
        Ok((dir, DataDirLock(file)))
    }

    /// Takes over other addresses of the same topics, but no other topics. They are [written down](Self::save)
    /// once it is known that they are of the same cluster.
    fn go_on_with(&mut self, topics: Option<&ClusterOptions>) -> Result<(), JobError> {
        let known = self.topics.cluster_options();
        if known == topics {
            return Ok(());
        }
        let named = |topics: Option<&ClusterOptions>| match topics {
            None => "the directory itself (`log.kind` \"embedded\")".to_owned(),
            Some(cluster) => {
                let (name, kind) = (cluster.name(), cluster.name().to_lowercase());
                format!("{name} (`log.kind` \"{kind}\", `log.{kind}.prefix` {:?})", cluster.prefix())
            }
        };
        if known.map(|c| (c.name(), c.prefix())) != topics.map(|c| (c.name(), c.prefix())) {
            let problem = format!(
                "was made with its topics in {} and cannot go on with others, in {}: name those again, or start a new data \
                 directory",
                named(known),
                named(topics)
            );
            return Err(other(&self.root, problem));
        }
        if let Some(cluster) = topics {
            self.topics = LogPlace::cluster(cluster.clone());
        }
        Ok(())
    }

    /// The cluster that the log was opened in. It is written down by [`save`](Self::save).
    pub fn set_cluster(&mut self, cluster: Option<String>) {
        self.cluster = cluster;
    }

    /// Writes down where the topics are, if that is not what stands there.
    pub fn save(&self) -> Result<(), JobError> {
        let (path, own) = (self.root.join("weir.json"), self.settings());
        let text = fs::read(&path).map_err(JobError::io("read", &path))?;
        let written = parse_settings(&text).map_err(|problem| other(&path, problem))?;
        if written != own { write_settings(&path, own) } else { Ok(()) }
    }

    fn settings(&self) -> Settings {
        let Self { ref topics, ref cluster, ref workers, .. } = *self;
        let settings = Settings::new(self.partitions, topics.cluster_options(), self.worker);
        Settings { cluster: cluster.clone(), workers: workers.clone(), ..settings }
    }

    /// Makes a directory in `group/` that is read as that of a whole group: with the generations and rules that this worker
    /// knows, and the gathered checkpoints. The stores are still to come.
    pub fn begin_whole(&self, name: &str, workers: Vec<u16>) -> Result<Self, JobError> {
        let root = &self.group().join(name);
        let whole = DataDir { root: root.clone(), worker: None, workers, ..self.clone() };
        remove_all(root)?;
        fs::create_dir_all(whole.state(1)).map_err(JobError::io("create", root))?;
        self.tell_whole(&whole)?;
        let checkpoints = root.join("checkpoints");
        std::os::unix::fs::symlink("../checkpoints", &checkpoints)
            .map_err(JobError::io("link", &checkpoints))?;
        write_settings(&root.join("weir.json"), whole.settings())?;
        Ok(whole)
    }

    /// Copies what this worker knows of generations and rules to the directory of a whole group. What is read there stays
    /// readable: it is replaced, or it is new.
    pub fn tell_whole(&self, whole: &DataDir) -> Result<(), JobError> {
        let read = |from: &Path| fs::read(from).map_err(JobError::io("read", from));
        let write =
            |to: &Path, text: &[u8]| replace_file(to, text, PUBLIC, None).map_err(JobError::io("write", to));
        // What it speaks of is there before it.
        let decided = read(&self.control_log())?;
        fs::create_dir_all(whole.rules()).map_err(JobError::io("create", &whole.rules()))?;
        for rules in fs::read_dir(self.rules()).map_err(JobError::io("list", &self.rules()))? {
            let rules = rules.map_err(JobError::io("list", &self.rules()))?;
            write(&whole.rules().join(rules.file_name()), &read(&rules.path())?)?;
        }
        let states = self.root.join("state");
        fs::create_dir_all(&states).map_err(JobError::io("create", &states))?;
        for generation in fs::read_dir(&states).map_err(JobError::io("list", &states))? {
            let generation = generation.map_err(JobError::io("list", &states))?;
            let cut = generation.path().join(CUT);
            if cut.exists() && generation.path().extension().is_none() {
                let target = whole.root.join("state").join(generation.file_name());
                fs::create_dir_all(&target).map_err(JobError::io("create", &target))?;
                write(&target.join(CUT), &read(&cut)?)?;
            }
        }
        write(&whole.control_log(), &decided)
    }

    /// Partitions of every topic.
    pub fn partitions(&self) -> u32 {
        self.partitions
    }

    /// The id of the cluster that the topics are in, if that is known.
    pub fn cluster(&self) -> Option<&str> {
        self.cluster.as_deref()
    }

    /// Which worker of a group it is of, if of one.
    pub fn worker(&self) -> Option<u16> {
        self.worker
    }

    /// Whether it is of a job of one process.
    pub fn is_of_one(&self) -> bool {
        self.worker.is_none() && !self.is_whole()
    }

    /// Whether the state of a whole group was gathered here.
    pub fn is_whole(&self) -> bool {
        !self.workers.is_empty()
    }

    /// A task that takes in from outside. In a group each worker has its own.
    pub fn source(&self, stage: StageId) -> TaskId {
        TaskId { stage, partition: self.worker.unwrap_or(0) }
    }

    /// Whether a process runs a job here now.
    pub fn is_in_use(&self) -> bool {
        let Ok(file) = File::open(self.root.join("lock")) else { return false };
        flock(&file, FlockOperation::NonBlockingLockShared).is_err()
    }

    /// Says where a listener of the job is.
    pub fn announce(&self, listener: &str, address: &str) -> Result<(), JobError> {
        let path = self.root.join(format!("{listener}.address"));
        let temporary = path.with_extension("new");
        let text = format!("{address}\ncrc32c {:08x}\n", crc32c::crc32c(address.as_bytes()));
        fs::write(&temporary, text).map_err(JobError::io("write", &temporary))?;
        fs::rename(&temporary, &path).map_err(JobError::io("rename", &temporary))
    }

    /// Where the job can be asked, if it said so.
    pub fn address(&self) -> Result<Option<String>, JobError> {
        let path = self.root.join(format!("{CONTROL}.address"));
        let text = match fs::read(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(JobError::io("read", &path)(e)),
        };
        let address = parse_address(&text).ok_or_else(|| JobError::Control {
            path,
            problem: "is damaged. Restart the job, which writes it anew".to_owned(),
        })?;
        Ok(Some(address.to_owned()))
    }

    /// A listener is closed.
    pub fn forget_address(&self, listener: &str) {
        // A stale one is noticed: nobody holds the lock.
        let _ = fs::remove_file(self.root.join(format!("{listener}.address")));
    }

    /// The control log.
    pub fn control_log(&self) -> PathBuf {
        self.root.join("control.log")
    }

    /// The log of what operators have done.
    pub fn operator_log(&self) -> PathBuf {
        self.root.join("operator.log")
    }

    /// How far the ledger database is.
    pub fn ledger_copy(&self) -> PathBuf {
        self.root.join("ledger.json")
    }

    /// The directory itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The rules of all generations.
    pub fn rules(&self) -> PathBuf {
        self.root.join("rules")
    }

    /// The state of a generation.
    pub fn state(&self, generation: u32) -> PathBuf {
        self.root.join("state").join(generation.to_string())
    }

    /// The topics, if they are here.
    pub fn log(&self) -> PathBuf {
        self.root.join("log")
    }

    /// Where the topics are.
    pub fn topics(&self) -> LogPlace {
        self.topics.clone()
    }

    /// The spool of ingest, unless it is elsewhere.
    pub fn spool(&self) -> PathBuf {
        self.root.join("ingest")
    }

    /// The store of a task.
    pub fn store(&self, task: Producer) -> PathBuf {
        let name = format!("{}-{}", task.stage, task.partition);
        self.state(task.generation).join(name)
    }

    /// What was gathered of the whole group.
    pub fn group(&self) -> PathBuf {
        self.root.join("group")
    }

    /// The checkpoints.
    pub fn checkpoints(&self) -> CheckpointDir {
        CheckpointDir::new(self.root.join("checkpoints"))
    }

    /// What a generation was begun from.
    pub fn read_cut(&self, generation: u32) -> Result<Cut, JobError> {
        let path = self.state(generation).join(CUT);
        let text = fs::read(&path).map_err(JobError::io("read", &path))?;
        let sealed: Option<SealedCut> = serde_json::from_slice(&text).ok();
        let whole = sealed.filter(|s| s.format == CUT_FORMAT && s.crc32c == sum_of_json(&s.cut));
        whole.map(|s| s.cut).ok_or_else(|| JobError::Control {
            path,
            problem: "is damaged. Restore the file from a backup, or drop the generation".to_owned(),
        })
    }

    /// Makes the stores of a generation, those of some stages, of the checkpoints of a cut: links, no copies. They get their
    /// name when all are whole.
    pub fn begin_state(
        &self,
        generation: u32,
        cut: &Cut,
        here: impl Fn(StageId) -> bool,
    ) -> Result<(), JobError> {
        let target = self.state(generation);
        let unfinished = target.with_extension("unfinished");
        remove_all(&unfinished)?;
        remove_all(&target)?;
        fs::create_dir_all(&unfinished).map_err(JobError::io("create", &unfinished))?;
        for manifest in cut.manifests().iter().filter(|m| here(m.task.stage)) {
            self.checkpoints().restore(manifest, &unfinished.join(manifest.task.task().to_string()))?;
        }
        let path = unfinished.join(CUT);
        let sealed = SealedCut { format: CUT_FORMAT, crc32c: sum_of_json(cut), cut: cut.clone() };
        let write = || {
            fs::write(&path, serde_json::to_vec(&sealed).unwrap_or_default())?;
            [&path, &unfinished].into_iter().try_for_each(|path| File::open(path)?.sync_all())
        };
        failpoints::io("cut.write", write).map_err(JobError::io("write", &path))?;
        let parent = self.root.join("state");
        let rename = || fs::rename(&unfinished, &target).and_then(|()| File::open(&parent)?.sync_all());
        failpoints::io("generation.rename", rename).map_err(JobError::io("rename", &unfinished))
    }

    /// Deletes what a generation has but its topics.
    pub fn remove_generation(&self, generation: u32) -> Result<(), JobError> {
        let state = self.state(generation);
        failpoints::before("generation.remove").map_err(JobError::io("remove", &state))?;
        self.checkpoints().remove_generation(generation)?;
        remove_all(&state)?;
        failpoints::after("generation.remove").map_err(JobError::io("remove", &state))
    }

    /// Deletes the stores of a generation but those of some stages. The cut stays: others may go back to
    /// it.
    pub fn remove_stores(&self, generation: u32, keep: impl Fn(StageId) -> bool) -> Result<(), JobError> {
        for stage in FLOW.iter().map(|s| s.id).filter(|s| !keep(*s)) {
            for task in self.tasks_of(stage) {
                remove_all(&self.store(task.in_generation(generation)))?;
            }
        }
        Ok(())
    }

    /// The tasks of a stage.
    pub fn tasks_of(&self, stage: StageId) -> Vec<TaskId> {
        if stage.is_source() && self.is_whole() {
            return self.workers.iter().map(|worker| TaskId { stage, partition: *worker }).collect();
        }
        if stage.is_source() {
            return vec![self.source(stage)];
        }
        (0..self.partitions).map(|p| TaskId { stage, partition: p as u16 }).collect()
    }

    /// The tasks whose checkpoints make a cut, in flow order.
    pub fn cut_tasks(&self) -> Vec<TaskId> {
        let stages = [StageId::Collect].into_iter().chain(FLOW.iter().map(|s| s.id));
        stages.flat_map(|s| self.tasks_of(s)).collect()
    }
}

#[derive(Serialize, Deserialize)]
struct SealedCut {
    format: u32,
    crc32c: u32,
    cut: Cut,
}

fn write_settings(path: &Path, settings: Settings) -> Result<(), JobError> {
    let sealed = SealedSettings { format: FORMAT, crc32c: sum_of_json(&settings), settings };
    let text = serde_json::to_vec(&sealed).unwrap_or_default();
    replace_file(path, &text, PUBLIC, Some("settings.write")).map_err(JobError::io("write", path))
}

fn other(dir: &Path, problem: String) -> JobError {
    JobError::OtherSettings { dir: dir.to_owned(), problem }
}

/// What `weir.json` says, or what is wrong with it.
fn parse_settings(text: &[u8]) -> Result<Settings, String> {
    #[derive(Deserialize)]
    struct Format {
        format: u32,
    }
    let damaged = || "is damaged. Restore it from a backup".to_owned();
    let Format { format } = serde_json::from_slice(text).map_err(|_| damaged())?;
    if format != FORMAT {
        return Err(format!(
            "has format {format}, this version of weir reads {FORMAT}: use the version that made the directory"
        ));
    }
    let sealed: Option<SealedSettings> = serde_json::from_slice(text).ok();
    let whole = sealed.filter(|s| s.crc32c == sum_of_json(&s.settings));
    whole.map(|s| s.settings).ok_or_else(damaged)
}

fn parse_address(text: &[u8]) -> Option<&str> {
    let (address, sum) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once("\ncrc32c ")?;
    (sum == format!("{:08x}", crc32c::crc32c(address.as_bytes()))).then_some(address)
}

#[cfg(test)]
#[path = "data_dir_tests.rs"]
mod tests;
