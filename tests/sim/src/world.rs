//! The world of one run: a data directory, a log, a clock, and the tasks of one process after the other.

use crate::faults::Injector;
use crate::log::SimLog;
use crate::rng::Rng;
use crate::traffic::T0;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, OnceLock};
use weir_operators::Rules;
use weir_pipeline::clock::SourceClock;
use weir_pipeline::data_dir::{DataDir, DataDirLock};
use weir_pipeline::error::JobError;
use weir_pipeline::flow::{FLOW, Shared, Stage};
use weir_pipeline::generations::{Entry, Generation, Registry, Standing};
use weir_pipeline::log::Log;
use weir_pipeline::rule_set::RuleSet;
use weir_pipeline::scheduler::Work;
use weir_pipeline::source::FileSpec;
use weir_pipeline::source::accounts::AccountsProgress;
use weir_pipeline::source::collect::{CollectOptions, CollectProgress, CollectTask, rules_to_go_on_with};
use weir_pipeline::source::commands::CommandsTask;
use weir_pipeline::source::inlet::Inlet;
use weir_pipeline::source::mailbox::Mailbox;
use weir_pipeline::status::Live;
use weir_pipeline::task::{AtTick, Task, TaskOptions};
use weir_proto::{Minute, Producer, StageId, Topic, rpc};
use weir_state::{MemoryDisk, Store};

/// Something left to do that does not need its task.
pub type Rest = Box<dyn FnOnce() -> Result<(), JobError> + Send>;

/// What a process shares with its sources.
pub struct Sources {
    /// Where commands are put in.
    pub mailbox: Arc<Mailbox>,
    /// In front of them.
    pub inlet: Arc<Inlet>,
    /// In front of the log files.
    pub collect: Arc<CollectProgress>,
}

/// A command that was sent and is not acknowledged yet.
pub struct Pending {
    /// The command.
    pub command: rpc::Command,
    /// Told when it is taken in; none if it has to be sent again.
    pub taken: Option<Receiver<()>>,
}

/// The world.
pub struct World {
    /// The directory of the run; deleted with it.
    pub root: tempfile::TempDir,
    /// The data directory.
    pub dir: DataDir,
    _lock: DataDirLock,
    /// What makes operations fail.
    pub injector: Arc<Injector>,
    /// The stores.
    pub disk: MemoryDisk,
    /// What all stores share.
    pub stores: weir_state::Shared,
    /// The log.
    pub log: Arc<SimLog>,
    /// The generations.
    pub registry: Arc<Registry>,
    /// In ms since the epoch.
    pub clock: Arc<AtomicU64>,
    /// The tasks of the process; sources first.
    pub tasks: Vec<Box<dyn Work>>,
    /// Tasks whose partition has moved, and who do not know.
    pub zombies: Vec<Box<dyn Work>>,
    /// Checkpoints to be taken.
    pub rests: Vec<(Producer, Rest)>,
    /// What is shared with the sources.
    pub sources: Sources,
    /// Commands that are not acknowledged.
    pub pending: Vec<Pending>,
    ends: BTreeMap<(u32, StageId), Arc<AtomicU32>>,
    rules: BTreeMap<u64, Shared>,
    live: Arc<Live>,
}

/// The rules of the first generation: strict enough for a few events.
pub fn rules(other: bool) -> Rules {
    Rules {
        max_per_ip_ad_minute: if other { 2 } else { 4 },
        max_user_ad_minute: if other { 4 } else { 3 },
        max_user_ads_10s: 2,
        hot_minutes: 2,
        hot_entries: 64,
        ..Rules::default()
    }
}

fn shared(rules: &Rules) -> Shared {
    static LISTS: OnceLock<Shared> = OnceLock::new();
    let lists = LISTS.get_or_init(|| {
        let set = RuleSet { rules: Rules::default(), networks: Vec::new() };
        set.shared().unwrap()
    });
    Shared { rules: Arc::new(rules.clone()), lists: lists.lists.clone() }
}

impl World {
    /// A new one, with a process in it.
    pub fn new(partitions: u32) -> Result<Self, JobError> {
        let shm = std::path::Path::new("/dev/shm");
        let root = if shm.is_dir() { tempfile::tempdir_in(shm) } else { tempfile::tempdir() }.unwrap();
        std::fs::create_dir(root.path().join("in")).unwrap();
        let (dir, lock) = DataDir::lock(&root.path().join("data"), partitions, None, None)?;
        let registry = Arc::new(Registry::open(&dir)?);
        let rules: BTreeMap<u64, Shared> =
            [rules(false), rules(true)].iter().map(|r| (r.fingerprint(), shared(r))).collect();
        registry.decide(&Entry::Begun(Generation {
            id: 1,
            base: 1,
            recorded: 1,
            cut: Minute(0),
            from: StageId::Collect,
            rules: self::rules(false).fingerprint(),
            paused: false,
            begun_ms: 0,
            reason: String::new(),
        }))?;
        let injector = Arc::new(Injector::default());
        let disk = MemoryDisk::new(injector.clone());
        let log = Arc::new(SimLog::new(partitions, injector.clone()));
        Topic::ALL.into_iter().for_each(|topic| log.add(topic.of(1)));
        let progress = AccountsProgress::default();
        let mut world = World {
            root,
            dir,
            _lock: lock,
            injector,
            stores: weir_state::Shared::in_memory(disk.clone()),
            disk,
            log,
            registry,
            clock: Arc::new(AtomicU64::new(T0)),
            tasks: Vec::new(),
            zombies: Vec::new(),
            rests: Vec::new(),
            sources: Sources { mailbox: Arc::default(), inlet: progress.inlet, collect: Arc::default() },
            pending: Vec::new(),
            ends: BTreeMap::new(),
            rules,
            live: Arc::default(),
        };
        world.start()?;
        Ok(world)
    }

    /// The clock, in ms since the epoch.
    pub fn now_ms(&self) -> u64 {
        self.clock.load(Ordering::Acquire)
    }

    /// Time passes.
    pub fn advance(&self, ms: u64) {
        self.clock.fetch_add(ms, Ordering::AcqRel);
    }

    /// Where log files come in.
    pub fn input_dir(&self) -> PathBuf {
        self.root.path().join("in")
    }

    /// Opens everything where it stopped, as a job does.
    pub fn start(&mut self) -> Result<(), JobError> {
        self.registry.reload()?;
        self.dir.checkpoints().finish_left(&self.stores)?;
        self.ends.clear();
        let published = self.registry.published();
        let mut stages: Vec<(&'static Stage, u32)> = self.line_of(published);
        for unsettled in self.registry.unsettled().into_iter().filter(|id| !self.registry.has_ends(*id)) {
            stages.extend(self.predecessors(unsettled));
        }
        for (generation, standing) in self.registry.all() {
            if standing == Standing::Candidate {
                stages.extend(FLOW.iter().filter(|s| s.id >= generation.from).map(|s| (s, generation.id)));
            }
        }
        let mut tasks = Vec::new();
        for (stage, generation) in stages {
            tasks.extend(self.open_stage(stage, generation)?);
        }
        let sources = self.open_sources()?;
        self.tasks = sources.into_iter().chain(tasks).collect();
        self.follow_line();
        self.pending.iter_mut().for_each(|p| p.taken = None);
        Ok(())
    }

    /// The stages of a line with the generations that run them.
    pub fn line_of(&self, id: u32) -> Vec<(&'static Stage, u32)> {
        FLOW.iter().map(|s| (s, self.registry.runs(id, s.id))).collect()
    }

    /// The stages that a promoted generation takes over, with the generations that end.
    pub fn predecessors(&self, id: u32) -> Vec<(&'static Stage, u32)> {
        let Some((generation, _)) = self.registry.get(id) else { return Vec::new() };
        let stages = FLOW.iter().filter(|s| s.id >= generation.from);
        stages.map(|s| (s, self.registry.runs(generation.recorded, s.id))).collect()
    }

    /// Collect waits for the tasks of the published line.
    pub fn follow_line(&self) {
        let line = self.line_of(self.registry.published());
        let of_line = |t: &Producer| line.iter().any(|(s, g)| (s.id, *g) == (t.stage, t.generation));
        self.live.set(self.tasks.iter().map(|t| t.status()).filter(|s| of_line(&s.task)).collect());
    }

    fn open_sources(&mut self) -> Result<Vec<Box<dyn Work>>, JobError> {
        let published = self.registry.published();
        let partitions = self.dir.partitions();
        let judged = self.registry.ends_generation(published, StageId::AntiFraud);
        let source = |stage, generation| self.dir.source(stage).in_generation(generation);
        let accounts = Arc::new(AccountsProgress::default());
        accounts.loaded.store(true, Ordering::Release);
        let store = self.source_store(StageId::Commands)?;
        let commands = CommandsTask::open(
            partitions,
            store,
            self.log.clone(),
            source(StageId::Commands, judged),
            self.registry.clone(),
            accounts,
        )?;
        let options = CollectOptions {
            task: source(StageId::Collect, 1),
            spool: None,
            uploads: None,
            files: vec![FileSpec(self.input_dir())],
            finite: false,
            event_time: false,
            after_outage: true,
            maintenance: false,
            pressure: Arc::default(),
            clock: SourceClock::Set(self.clock.clone()),
        };
        let collect_store = self.source_store(StageId::Collect)?;
        let rules = rules_to_go_on_with(&collect_store, self.rules_of(published).rules.fingerprint())?;
        let rules = self.rules[&rules].rules.clone();
        let collect = CollectTask::open(
            options,
            partitions,
            collect_store,
            self.log.clone(),
            self.dir.checkpoints(),
            rules,
            self.live.clone(),
        )?;
        let progress = collect.progress();
        progress.open.store(true, Ordering::Release);
        self.sources = Sources { mailbox: commands.mailbox(), inlet: commands.inlet(), collect: progress };
        Ok(vec![Box::new(commands), Box::new(collect)])
    }

    fn source_store(&self, stage: StageId) -> Result<Store, JobError> {
        Ok(Store::open(&self.dir.store(self.dir.source(stage).in_generation(1)), &self.stores)?)
    }

    /// Opens the tasks of a stage in a generation.
    pub fn open_stage(
        &mut self,
        stage: &'static Stage,
        generation: u32,
    ) -> Result<Vec<Box<dyn Work>>, JobError> {
        for topic in self.registry.line(generation, stage.reads).topics() {
            self.log.add(topic);
        }
        stage.writes.iter().for_each(|topic| self.log.add(topic.of(generation)));
        let tasks = self.dir.tasks_of(stage.id).into_iter();
        tasks.map(|t| self.open_task(stage, t.in_generation(generation))).collect()
    }

    /// Opens one task.
    pub fn open_task(&mut self, stage: &'static Stage, task: Producer) -> Result<Box<dyn Work>, JobError> {
        let store = weir_pipeline::recover::open_store(&self.dir, task, &self.stores)?;
        let options = TaskOptions {
            task,
            partitions: self.dir.partitions(),
            line: self.registry.line(task.generation, stage.reads),
            shared: self.rules_of(task.generation),
            at_tick: AtTick::Checkpoint(self.dir.checkpoints(), None),
            ends_at: self.ends_at(task.generation, stage.id),
            limit: Arc::new(AtomicU64::new(u64::MAX)),
        };
        let log: Arc<dyn Log> = self.log.clone();
        Ok(Box::new(Task::open(stage, options, Arc::new(store), log)?))
    }

    /// Rules and lists of a generation.
    pub fn rules_of(&self, generation: u32) -> Shared {
        let fingerprint = self.registry.get(generation).map_or(0, |(g, _)| g.rules);
        self.rules[&fingerprint].clone()
    }

    /// The cell that says at which tick a stage of a generation ends.
    pub fn ends_at(&mut self, generation: u32, stage: StageId) -> Arc<AtomicU32> {
        let cell = self.ends.entry((generation, stage)).or_default().clone();
        for unsettled in self.registry.unsettled() {
            if self.predecessors(unsettled).iter().any(|(s, g)| (*g, s.id) == (generation, stage)) {
                let at = self.registry.promoted_at(unsettled).unwrap_or_default();
                cell.store(at.0, Ordering::Release);
            }
        }
        cell
    }

    /// The process is gone. Of what it had not made durable, chance keeps some.
    pub fn stop(&mut self, of: weir_state::CrashOf, rng: &mut Rng) -> usize {
        (self.tasks, self.zombies, self.rests) = Default::default();
        self.injector.disarm_single();
        self.disk.crash(of, |least, most| rng.between(least as u64, most as u64) as usize);
        self.log.crash(rng)
    }
}
