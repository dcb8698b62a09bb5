//! A job: the flow opened in a data directory. How it runs and stops is in `run`, how other generations are begun
//! beside the published one in `begin`, how it shares partitions with other workers in `share`.

mod begin;
mod run;
mod share;

pub use begin::Rewind;

use crate::clock::SourceClock;
use crate::commands::{Bell, Commands, Originals};
use crate::config::{self, Deliver};
use crate::data_dir::{DataDir, DataDirLock};
use crate::deliver::{self, Deliveries};
use crate::error::JobError;
use crate::fleet::Fleet;
use crate::flow::{ACCOUNTS_WRITES, COLLECT_WRITES, COMMANDS_WRITES, FLOW};
use crate::generations::{Entry, Generation, Promotion, Registry, check_settled};
use crate::group::{Afar, Coordination, Crew, Gatherer, Membership, Peer, Takeovers, Whole};
use crate::ingest::{Spool, SpoolOptions};
use crate::ledger::Ledger;
use crate::log::{Follow, LiveLog, LogChoice, LogError};
use crate::operations::OperatorLog;
use crate::retention::Keeper;
use crate::rule_set::RuleSet;
use crate::scheduler::{Scheduler, Work};
use crate::source::accounts::{AccountsProgress, AccountsTask};
use crate::source::collect::{CollectOptions, CollectProgress, CollectTask, now_ms, rules_to_go_on_with};
use crate::source::commands::CommandsTask;
use crate::source::takeovers::TakeoversTask;
use crate::source::{CollectState, FileSpec, SPOOL};
use crate::status::TaskStatus;
use crate::switches::{Attached, Name, Switches};
use crate::uploads::Uploads;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use weir_operators::Rules;
use weir_proto::{Minute, Producer, StageId, TaskId, rpc};
use weir_state::depot::Depot;
use weir_state::{Retention, Store};

/// Block cache of all stores together, in bytes.
const BLOCK_CACHE: usize = 32 << 20;

/// What a job needs to know.
pub struct JobOptions {
    /// Where it keeps everything.
    pub data_dir: PathBuf,
    /// Partitions of every topic.
    pub partitions: u32,
    /// Worker threads.
    pub threads: usize,
    /// What to read.
    pub files: Vec<FileSpec>,
    /// Whether to end with the files.
    pub finite: bool,
    /// Whether minutes are those of the events.
    pub event_time: bool,
    /// The accounts file.
    pub accounts: Option<PathBuf>,
    /// Thresholds and lists.
    pub rules: RuleSet,
    /// How the log writes.
    pub log: LogChoice,
    /// Which checkpoints are kept.
    pub retention: Retention,
    /// Accept a wall clock far ahead of the newest tick.
    pub after_outage: bool,
    /// Take nothing in: only generations are worked on.
    pub maintenance: bool,
    /// Where published outcomes are posted to, if anywhere.
    pub deliver: Option<Deliver>,
    /// The database that published outcomes are written to, if any.
    pub ledger: Option<config::Ledger>,
    /// What ingest has accepted, if there is one.
    pub spool: Option<Arc<Spool>>,
    /// What can be done without. They outlive the job.
    pub switches: Arc<Switches>,
    /// Who it is, if it is one of several workers.
    pub group: Option<Membership>,
    /// Where checkpoints are kept a second time, if anywhere.
    pub depot: Option<Arc<Depot>>,
}

impl JobOptions {
    /// To work on the generations of a data directory while no job runs in it.
    pub fn maintenance(dir: &DataDir) -> Result<Self, JobError> {
        let registry = Registry::open(dir)?;
        let published = registry.get(registry.published()).map_or(0, |(g, _)| g.rules);
        Ok(JobOptions {
            data_dir: dir.root().to_owned(),
            partitions: dir.partitions(),
            threads: std::thread::available_parallelism().map_or(1, usize::from),
            files: Vec::new(),
            finite: false,
            event_time: true,
            accounts: None,
            rules: RuleSet::load(&dir.rules(), published, &Rules::default())?,
            log: dir.topics().cluster_options().cloned().map_or_else(LogChoice::default, LogChoice::In),
            retention: Retention { every_minute_for: u32::MAX, every_hour_for: u32::MAX },
            after_outage: true,
            maintenance: true,
            deliver: None,
            ledger: None,
            spool: None,
            switches: Arc::default(),
            group: None,
            depot: None,
        })
    }
}

/// A job that is open in this process.
pub struct Job {
    threads: usize,
    scheduler: Arc<Scheduler>,
    log: Arc<dyn LiveLog>,
    dir: DataDir,
    registry: Arc<Registry>,
    fleet: Arc<Fleet>,
    promotion: Promotion,
    accounts: Arc<AccountsProgress>,
    commands: Arc<Commands>,
    operations: OperatorLog,
    sources: Vec<Arc<TaskStatus>>,
    deliveries: Arc<Deliveries>,
    ledger: Option<Arc<Ledger>>,
    keeper: Keeper,
    spool: Option<Arc<Spool>>,
    switches: Arc<Switches>,
    group: Option<(Membership, Arc<Crew>)>,
    uploads: Option<Arc<Uploads>>,
    gatherer: Option<Gatherer>,
    takeovers: Arc<Takeovers>,
    _attached: Attached,
    _lock: DataDirLock,
}

impl Job {
    /// Opens a job where it stopped, or begins it.
    pub fn open(options: JobOptions) -> Result<Self, JobError> {
        if let Some(path) = &options.accounts {
            crate::source::accounts::read(path)?;
        }
        let worker = options.group.as_ref().map(|group| group.worker);
        let (mut dir, lock) =
            DataDir::lock(&options.data_dir, options.partitions, options.log.cluster(), worker)?;
        let registry = Registry::open(&dir)?;
        let registry = Arc::new(match options.depot.clone().filter(|_| worker.is_some()) {
            Some(depot) => registry.share(depot)?,
            None => registry,
        });
        choose_rules(&dir, &registry, &options.rules)?;
        let begun = dir.store(dir.source(StageId::Collect).in_generation(1)).exists();
        let follow = if worker.is_some() { Follow::AsTold } else { Follow::All };
        let log = options.log.open(&dir.log(), options.partitions, begun, dir.cluster(), follow)?;
        dir.set_cluster(log.cluster()?);
        check_settled(&registry, &*log, options.partitions)?;
        let stores = weir_state::Shared::new(BLOCK_CACHE);
        dir.checkpoints().finish_left(&stores)?;
        let source = |stage| Store::open(&dir.store(dir.source(stage).in_generation(1)), &stores);
        let (accounts_store, collect_store) = (source(StageId::Accounts)?, source(StageId::Collect)?);
        let commands_store = source(StageId::Commands)?;
        let takeovers_store = worker.map(|_| source(StageId::Takeovers)).transpose()?;
        if let Some(depot) = options.depot.as_ref().filter(|_| worker.is_some()) {
            let stores = [
                (&accounts_store, StageId::Accounts, ACCOUNTS_WRITES),
                (&commands_store, StageId::Commands, COMMANDS_WRITES),
                (&collect_store, StageId::Collect, COLLECT_WRITES),
            ];
            share::begin_new_worker(depot, &dir, &registry, &*log, &stores)?;
        }
        let (switches, attached) = (options.switches.clone(), options.switches.attach(registry.clone()));
        let switch = |name| switches.get(name).clone();
        let (deliveries, delivering) =
            deliver::open(options.deliver.as_ref(), &dir, &stores, &log, &registry, switch(Name::Deliver))?;
        let ledger = options.ledger.as_ref();
        let ledger =
            ledger.map(|o| Ledger::open(o, &dir, &log, &registry, switch(Name::Ledger))).transpose()?;
        let ledger = ledger.map(Arc::new);
        let like = options.rules.rules.clone();
        let fleet = Fleet::new(dir.clone(), log.clone(), stores, registry.clone(), like);
        let afar = options.depot.clone().filter(|_| worker.is_some());
        let afar = afar.map(|depot| Arc::new(Afar::new(dir.clone(), registry.clone(), depot)));
        let gatherer = afar.clone().map(Gatherer::new);
        let uploads = options.depot.map(|depot| Arc::new(Uploads::new(depot, dir.checkpoints())));
        let fleet = Arc::new(fleet.of_worker(worker.is_some()).uploading(uploads.clone()));
        if worker.is_some() {
            fleet.remove_ended_stores()?;
        }
        let (mut tasks, beside) = fleet.open_all()?;
        let published = registry.published();
        let judged = registry.ends_generation(published, StageId::AntiFraud);
        let accounts = AccountsTask::open(
            options.accounts.as_deref(),
            options.partitions,
            accounts_store,
            log.clone(),
            dir.source(StageId::Accounts).in_generation(judged),
            registry.clone(),
        )?;
        let accounts_progress = accounts.progress();
        let commands = CommandsTask::open(
            options.partitions,
            commands_store,
            log.clone(),
            dir.source(StageId::Commands).in_generation(judged),
            registry.clone(),
            accounts_progress.clone(),
        )?;
        let spool = spool_of(options.spool.clone(), &dir, &collect_store)?;
        let collect = CollectOptions {
            task: dir.source(StageId::Collect).in_generation(1),
            files: options.files,
            finite: options.finite,
            event_time: options.event_time,
            after_outage: options.after_outage,
            maintenance: options.maintenance,
            pressure: deliveries.pressure.clone(),
            clock: SourceClock::System,
            spool: spool.clone(),
            uploads: uploads.clone(),
        };
        let own = fleet.rules_of(published)?.rules.fingerprint();
        let rules = fleet.rules_by(rules_to_go_on_with(&collect_store, own)?)?.rules;
        let collect = CollectTask::open(
            collect,
            options.partitions,
            collect_store,
            log.clone(),
            dir.checkpoints(),
            rules,
            fleet.live(),
        )?;
        // Not before what the stores have read was found there.
        dir.save()?;
        let (inlets, mailbox) = (vec![accounts_progress.inlet.clone(), commands.inlet()], commands.mailbox());
        let collect_progress = collect.progress();
        let mut from_outside: Vec<Box<dyn Work>> =
            vec![Box::new(accounts), Box::new(commands), Box::new(collect)];
        let takeovers: Arc<Takeovers> = Arc::default();
        if let (Some(worker), Some(store)) = (worker, takeovers_store) {
            let (log, takeovers, registry) = (log.clone(), takeovers.clone(), registry.clone());
            let task = TakeoversTask::open(worker, options.partitions, store, log, takeovers, registry)?;
            from_outside.push(Box::new(task));
        }
        let sources = from_outside.iter().map(|t| t.status()).collect();
        tasks.extend(from_outside);
        tasks.extend(delivering);
        let scheduler = Arc::new(Scheduler::new(tasks));
        deliveries.wake(&scheduler);
        scheduler.add(beside, true);
        let promotion = Promotion {
            registry: registry.clone(),
            fleet: fleet.clone(),
            scheduler: scheduler.clone(),
            log: log.clone(),
            collect: collect_progress,
            inlets,
            partitions: options.partitions,
            ticks_come: !options.event_time,
            topics: dir.topics(),
            group: afar,
            turn: Mutex::default(),
            dropped: Mutex::default(),
        };
        promotion.clean_up()?;
        promotion.go_on();
        let keeper = Keeper::new(dir.clone(), registry.clone(), options.retention, options.finite)
            .delivering(deliveries.clone())
            .ledger(ledger.clone());
        let commands = Commands {
            registry: registry.clone(),
            log: log.clone(),
            scheduler: scheduler.clone(),
            mailbox,
            originals: Originals { dir: dir.clone(), registry: registry.clone(), log: log.clone() },
            bell: Arc::new(Bell::default()),
            under_way: Default::default(),
            partitions: options.partitions,
        };
        let commands = Arc::new(commands);
        let replies = Arc::downgrade(&commands);
        deliveries.on_reply(move |command| match replies.upgrade() {
            Some(commands) => commands.take(command).map_err(|e| e.to_string()),
            None => Err("the job is stopping".to_owned()),
        });
        let threads = options.threads;
        let operations = OperatorLog::new(dir.operator_log());
        Ok(Job {
            threads,
            scheduler,
            log,
            dir,
            registry,
            fleet,
            promotion,
            accounts: accounts_progress,
            commands,
            operations,
            sources,
            deliveries,
            ledger,
            keeper,
            spool,
            switches,
            group: options.group.map(|membership| (membership, Arc::default())),
            uploads,
            gatherer,
            takeovers,
            _attached: attached,
            _lock: lock,
        })
    }

    /// Has a command decided; returns once it is.
    pub fn submit(&self, command: rpc::Command) -> Result<rpc::SubmitResponse, JobError> {
        self.commands.submit(command)
    }

    /// Where it is written down what operators do.
    pub fn operations(&self) -> &OperatorLog {
        &self.operations
    }

    /// How generations are published and dropped.
    pub fn promotion(&self) -> &Promotion {
        &self.promotion
    }

    /// The generations.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The workers of the group that it is in, in order; none if it is in none.
    pub fn peers(&self) -> Result<Vec<Peer>, LogError> {
        match &self.group {
            Some((membership, crew)) if membership.by != Coordination::Log => Ok(crew.seen()),
            _ => self.log.peers(),
        }
    }

    /// Whether a finite input was carried through to its end.
    pub fn is_finished(&self) -> bool {
        let is_in_ledger = self.ledger.as_ref().is_none_or(|ledger| !ledger.is_owed_to());
        self.promotion.collect.ended.load(Ordering::Acquire) && self.fleet.live().lag() == 0 && is_in_ledger
    }

    /// Whether all stages of the published line have folded what came in.
    pub fn is_at_rest(&self) -> bool {
        let published = self.registry.published();
        let runs = |task: Producer| {
            FLOW.iter().any(|s| s.id == task.stage && self.registry.runs(published, s.id) == task.generation)
        };
        self.scheduler.are_idle(runs)
    }

    /// Lets go of old checkpoints, generations and log segments.
    pub fn keep(&self) -> Result<(), JobError> {
        self.keeper.keep(&*self.log)?;
        // One of the workers does it for all.
        if let Some(uploads) = self.uploads.as_ref().filter(|_| self.fleet.holds(0)) {
            uploads.sweep(self.keeper.retention(), &self.registry)?;
            self.promotion.delete_what_was_dropped()?;
        }
        self.gatherer.as_ref().map_or(Ok(()), Gatherer::forget)
    }

    /// Writes the books to disk: first those of post-process, so that deduct's are not behind them.
    pub fn flush_books(&self) -> Result<(), JobError> {
        self.fleet.flush(StageId::PostProcess)?;
        self.fleet.flush(StageId::Deduct)
    }

    /// Gathers the state of the whole group that it is in, with the checkpoints of other minutes.
    pub fn gather(&self, others: &[Minute]) -> Result<Whole, JobError> {
        let alone = || JobError::Refused("the job is in no group: all of its state is its own".to_owned());
        self.gatherer.as_ref().ok_or_else(alone)?.gather(others)
    }

    /// The minutes of which the state of the whole group that it is in can be gathered.
    pub fn minutes_of_group(&self) -> Result<BTreeSet<Minute>, JobError> {
        self.gatherer.as_ref().map_or(Ok(BTreeSet::new()), Gatherer::minutes)
    }

    /// What it has taken over of a group.
    pub fn takeovers(&self) -> &Takeovers {
        &self.takeovers
    }

    /// To stop the job from elsewhere.
    pub fn scheduler(&self) -> Arc<Scheduler> {
        self.scheduler.clone()
    }

    /// What every task shows of itself.
    pub fn statuses(&self) -> Vec<Arc<TaskStatus>> {
        let outside = self.sources.iter().chain(self.deliveries.statuses());
        self.fleet.statuses().iter().chain(outside).cloned().collect()
    }

    /// What the tasks of the published line show of themselves.
    pub fn published_statuses(&self) -> Vec<Arc<TaskStatus>> {
        let mut all = self.fleet.live().tasks();
        all.extend(self.sources.iter().chain(self.deliveries.statuses()).cloned());
        all
    }

    /// Delivery to the account system.
    pub fn deliveries(&self) -> &Deliveries {
        &self.deliveries
    }

    /// What can be done without.
    pub fn switches(&self) -> &Switches {
        &self.switches
    }

    /// How checkpoints get into object storage, if they do.
    pub fn uploads(&self) -> Option<&Uploads> {
        self.uploads.as_deref()
    }

    /// The ledger, if there is one.
    pub fn ledger(&self) -> Option<&Ledger> {
        self.ledger.as_deref()
    }

    /// The data directory.
    pub fn dir(&self) -> &DataDir {
        &self.dir
    }

    /// The log.
    pub fn log(&self) -> &Arc<dyn LiveLog> {
        &self.log
    }

    /// How far collect is.
    pub fn progress(&self) -> Arc<CollectProgress> {
        self.promotion.collect.clone()
    }
}

/// The spool to take from: that of ingest, or one that was left behind with records that were accepted.
fn spool_of(
    spool: Option<Arc<Spool>>,
    dir: &DataDir,
    collect: &Store,
) -> Result<Option<Arc<Spool>>, JobError> {
    let files = CollectState::load(collect)?.files;
    let left = files.into_iter().find(|f| f.id == SPOOL).map_or_else(|| dir.spool(), |f| f.path);
    match spool {
        None if left.exists() => Spool::open(SpoolOptions::of(left)).map(|spool| Some(Arc::new(spool))),
        spool => Ok(spool),
    }
}

/// The rules in force are those of the published generation. Others in the configuration are refused,
/// unless they are those of a generation that was published before: then the file is only out of date.
fn choose_rules(dir: &DataDir, registry: &Registry, rules: &RuleSet) -> Result<(), JobError> {
    rules.save(&dir.rules())?;
    let Some((generation, _)) = registry.get(registry.published()) else {
        let first = Generation {
            id: 1,
            base: 1,
            recorded: 1,
            cut: Minute(0),
            from: StageId::AntiBrush,
            rules: rules.fingerprint(),
            paused: false,
            begun_ms: now_ms(),
            reason: "the first".to_owned(),
        };
        return match registry.decide(&Entry::Begun(first)) {
            // Another worker of a new group was faster.
            Err(JobError::Overtaken) => {
                registry.take_in(|_| Ok(()))?;
                choose_rules(dir, registry, rules)
            }
            decided => decided,
        };
    };
    let published = generation.id;
    if generation.rules == rules.fingerprint() {
        return Ok(());
    }
    let formerly = |id: u32| registry.get(id).is_some_and(|(g, _)| g.rules == rules.fingerprint());
    if registry.was_published().into_iter().any(formerly) {
        tracing::warn!(
            "the configuration has the rules of a former generation; those of generation {published} are in \
             force. Put them into the configuration: `weir generation rules {published}` prints them"
        );
        return Ok(());
    }
    let task = TaskId { stage: StageId::AntiBrush, partition: 0 }.in_generation(published);
    Err(JobError::OtherRules { task })
}
