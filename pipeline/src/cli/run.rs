//! `weir run`.

use super::progress::Progress;
use super::signals::Signals;
use super::{Failure, output, report};
use crate::config::{self, ClockKind, Compression, Config, CoordinatorKind, Ledger, LogKind};
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::group::{Coordination, Membership, ZooKeeperOptions};
use crate::job::{Job, JobOptions};
use crate::log::{ClusterOptions, Codec, LogChoice, LogOptions};
use crate::rule_set::RuleSet;
use crate::source::FileSpec;
use crate::summary::Books;
use clap::{Args, ValueEnum};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weir_operators::Rules;
use weir_proto::StageId;
use weir_state::Retention;
use weir_state::depot::Depot;

#[derive(Args)]
#[command(after_help = "Examples:
  weir run --config weir.toml
  weir run --input traffic/events-*.ndjson --accounts traffic/accounts.csv --data-dir weir-data --until-end")]
pub(super) struct RunArgs {
    /// The configuration of a long-running job.
    #[arg(long, conflicts_with = "input", required_unless_present = "input")]
    config: Option<PathBuf>,
    /// Log files to read; the run ends with them.
    #[arg(long, num_args = 1.., requires = "data_dir", requires = "until_end", requires = "accounts")]
    input: Vec<PathBuf>,
    /// The accounts file: advertiser_id,daily_budget_micros,balance_micros and, if wanted, currency,time_zone.
    #[arg(long, requires = "input")]
    accounts: Option<PathBuf>,
    /// Where the job keeps everything; a second run in it goes on.
    #[arg(long, requires = "input")]
    data_dir: Option<PathBuf>,
    /// End when all of the input is charged, refused or dropped.
    #[arg(long, conflicts_with = "config")]
    until_end: bool,
    /// With --input: how many partitions every topic has, 1 to 1024 [default: 16]. With --config: which ones this worker of a
    /// group always has, such as 0-7, instead of `group.partitions`.
    #[arg(long)]
    partitions: Option<String>,
    /// The database to write what is charged and refused to, such as postgres://user@host/database; the
    /// password may be in PGPASSWORD. The run ends when all of it is there.
    #[arg(long, requires = "input", value_name = "URL")]
    ledger: Option<String>,
    /// Worker threads; 0 is one for each core.
    #[arg(long, default_value_t = 0, requires = "input")]
    threads: usize,
    /// How to print what became of everything at the end.
    #[arg(long, value_enum, default_value_t = SummaryFormat::Text)]
    summary: SummaryFormat,
    /// The same as --summary json.
    #[arg(long)]
    json: bool,
    /// The number of this worker of a group, instead of `group.worker`: for those who give all workers one configuration.
    #[arg(long, requires = "config", value_parser = clap::value_parser!(u16).range(..=999))]
    worker: Option<u16>,
    /// Accept that the clock is more than a day ahead of the newest tick.
    #[arg(long, requires = "config")]
    after_outage: bool,
}

/// Partitions of the topics of a finite run.
const PARTITIONS: u32 = 16;

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SummaryFormat {
    /// For people.
    Text,
    /// One JSON object.
    Json,
}

/// What a worker of a group is told apart from the configuration that all have.
pub(super) struct Own {
    pub(super) worker: Option<u16>,
    pub(super) partitions: Option<String>,
}

impl Own {
    /// It comes before what the configuration says.
    pub(super) fn tell(self, group: &mut config::Group, all: u32) -> Result<(), Failure> {
        group.worker = self.worker.unwrap_or(group.worker);
        let Some(partitions) = self.partitions else { return Ok(()) };
        if config::partitions(&partitions, all).is_none() {
            return Err(Failure::usage(format!(
                "--partitions is '{partitions}'; with --config it must name some of the partitions 0 to {}, such as 0-7,12",
                all.saturating_sub(1)
            )));
        }
        (group.coordinator, group.partitions) = (CoordinatorKind::Static, partitions);
        Ok(())
    }
}

fn partitions(count: Option<&str>) -> Result<u32, Failure> {
    let Some(count) = count else { return Ok(PARTITIONS) };
    let refused =
        || Failure::usage(format!("--partitions is '{count}'; with --input it must be from 1 to 1024"));
    count.parse().ok().filter(|count| (1..=1024).contains(count)).ok_or_else(refused)
}

pub(super) fn run(args: RunArgs) -> Result<(), Failure> {
    match &args.config {
        Some(path) => {
            let own = Own { worker: args.worker, partitions: args.partitions.clone() };
            super::live::run(path, args.after_outage, own)
        }
        None => run_finite(&args),
    }
}

fn run_finite(args: &RunArgs) -> Result<(), Failure> {
    let started = Instant::now();
    for input in &args.input {
        std::fs::File::open(input)
            .map_err(|e| Failure::usage(format!("cannot read {}: {e}", input.display())))?;
    }
    let config = Config {
        data_dir: args.data_dir.clone().unwrap_or_default(),
        partitions: partitions(args.partitions.as_deref())?,
        threads: args.threads,
        ledger: args.ledger.clone().map(|url| Ledger { url, ..Ledger::default() }),
        ..Config::default()
    };
    let mut options = options_of(&config).map_err(refused)?;
    options.files = args.input.iter().cloned().map(FileSpec).collect();
    options.accounts.clone_from(&args.accounts);
    (options.finite, options.event_time) = (true, true);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let context = runtime.enter();
    let signals = Signals::catch()?;
    let job = Job::open(options).map_err(refused)?;
    signals.stop_scheduler(&job.scheduler());
    let progress = Progress::start(&args.input, job.progress());
    let result = job.run();
    drop(progress);
    result?;
    let elapsed = started.elapsed();
    if !job.is_finished() {
        return Err(Failure::Said("stopped before the end; start it again to go on".to_owned(), 130));
    }
    if let Some(lag) = job.ledger().map(|ledger| ledger.lag()).filter(|lag| *lag > 0) {
        tracing::warn!(
            "the switch ledger is off: {lag} records are not in the database. Set it to auto and start the same run \
             again to write them"
        );
    }
    job.keep()?;
    let stages = stage_times(&job);
    drop(job);
    drop(context);
    drop(runtime);
    summarize(args, elapsed, &stages, &config.data_dir)
}

fn summarize(args: &RunArgs, elapsed: Duration, stages: &[StageTimes], dir: &Path) -> Result<(), Failure> {
    let books = Books::read(&DataDir::open(dir)?)?;
    let summary = books.summary();
    let seconds = elapsed.as_secs_f64();
    if args.json || args.summary == SummaryFormat::Json {
        let mut object = serde_json::to_value(&summary)?;
        object["elapsed_s"] = seconds.into();
        object["events_per_s"] = (summary.events as f64 / seconds).into();
        object["stages"] = serde_json::to_value(stages)?;
        output::line(&object.to_string())?;
    } else {
        output::line(&report::text(&summary, &books.top(10)))?;
        eprintln!("{:.1} s, {} events/s", seconds, output::grouped((summary.events as f64 / seconds) as u64));
    }
    if summary.conserved { Ok(()) } else { Err(Failure::Said("the books do not agree".to_owned(), 3)) }
}

/// What a stage took, all partitions together.
#[derive(Default, serde::Serialize)]
struct StageTimes {
    stage: &'static str,
    cpu_s: f64,
    records: u64,
    /// The longest time that taking a checkpoint has held a task up.
    longest_checkpoint_pause_s: f64,
}

fn stage_times(job: &Job) -> Vec<StageTimes> {
    let mut stages: BTreeMap<StageId, StageTimes> = BTreeMap::new();
    for status in job.published_statuses() {
        let sum = stages.entry(status.task.stage).or_default();
        sum.stage = status.task.stage.name();
        sum.cpu_s += status.cpu_ns() as f64 / 1e9;
        sum.records += status.records();
        let pause = status.longest_pause().as_secs_f64();
        sum.longest_checkpoint_pause_s = sum.longest_checkpoint_pause_s.max(pause);
    }
    stages.into_values().collect()
}

/// What keeps a job from starting is mostly something that the user can put right.
pub(super) fn refused(error: JobError) -> Failure {
    match error {
        JobError::Accounts { .. }
        | JobError::OtherSettings { .. }
        | JobError::OtherRules { .. }
        | JobError::Setup(_)
        | JobError::Refused(_)
        | JobError::NoCut { .. }
        | JobError::ClockJump { .. } => Failure::usage(error),
        other => other.into(),
    }
}

fn log_of(log: &config::Log) -> LogChoice {
    match log.kind {
        LogKind::Kafka => LogChoice::In(ClusterOptions::Kafka(log.kafka.clone())),
        LogKind::Fluvio => LogChoice::In(ClusterOptions::Fluvio(log.fluvio.clone())),
        LogKind::Embedded => LogChoice::Embedded(LogOptions {
            codec: if log.compression == Compression::None { Codec::None } else { Codec::Lz4 },
            plain_when_behind: log.compression == Compression::Auto,
            segment_bytes: log.segment_mb << 20,
            sync_interval: log.sync_interval,
            ..LogOptions::default()
        }),
    }
}

/// What a job is to do, by its configuration.
pub(super) fn options_of(config: &Config) -> Result<JobOptions, JobError> {
    let minutes = |d: Duration| d.as_secs().div_ceil(60) as u32;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    Ok(JobOptions {
        data_dir: config.data_dir.clone(),
        partitions: config.partitions,
        threads: if config.threads == 0 { cores } else { config.threads },
        files: config.sources.iter().map(|s| FileSpec(s.path.clone())).collect(),
        finite: false,
        event_time: config.time.clock == ClockKind::Events,
        accounts: config.accounts.as_ref().map(|a| a.file.clone()),
        rules: rules_of(config)?,
        log: log_of(&config.log),
        retention: Retention {
            every_minute_for: minutes(config.checkpoints.every_minute_for),
            every_hour_for: minutes(config.checkpoints.every_hour_for),
        },
        after_outage: false,
        maintenance: false,
        deliver: config.deliver.clone(),
        ledger: config.ledger.clone(),
        spool: None,
        switches: Arc::default(),
        group: config.group.as_ref().map(|group| membership(group, config)).transpose()?,
        depot: depot_of(&config.checkpoints)?,
    })
}

/// Where checkpoints are kept a second time, if anywhere.
fn depot_of(checkpoints: &config::Checkpoints) -> Result<Option<Arc<Depot>>, JobError> {
    match checkpoints.remote.as_str() {
        "" => Ok(None),
        url => Ok(Some(Arc::new(Depot::open(url, &checkpoints.remote_options)?))),
    }
}

/// Who a worker is to the others.
fn membership(group: &config::Group, config: &Config) -> Result<Membership, JobError> {
    let scheme = if config.tls.is_some() { "https" } else { "http" };
    let own = || config.listen.control.map_or_else(String::new, |address| format!("{scheme}://{address}"));
    let (by, session_timeout) = match group.coordinator {
        CoordinatorKind::Kafka => (Coordination::Log, group.session_timeout),
        CoordinatorKind::ZooKeeper => {
            (Coordination::ZooKeeper(zookeeper(&group.zookeeper)?), group.zookeeper.session_timeout)
        }
        CoordinatorKind::Static => {
            let own = config::partitions(&group.partitions, config.partitions).unwrap_or_default();
            (Coordination::Fixed(own), group.session_timeout)
        }
    };
    let address = if group.address.is_empty() { own() } else { group.address.clone() };
    Ok(Membership { worker: group.worker, session_timeout, address, by })
}

fn zookeeper(section: &config::ZooKeeper) -> Result<ZooKeeperOptions, JobError> {
    let path = &section.auth_file;
    let auth = match path.as_os_str().is_empty() {
        true => None,
        false => Some(std::fs::read_to_string(path).map_err(JobError::io("read", path))?.trim().to_owned()),
    };
    let (servers, site) = (section.servers.clone(), section.site.clone());
    Ok(ZooKeeperOptions { servers, path: section.path.clone(), site, auth })
}

/// The rules of a configuration.
pub(super) fn rules_of(config: &Config) -> Result<RuleSet, JobError> {
    let mut networks = Vec::new();
    let mut fingerprint = 0;
    for file in &config.anti_brush.datacenter_networks {
        let text = std::fs::read_to_string(file).map_err(JobError::io("read", file))?;
        fingerprint = u64::from(crc32c::crc32c(text.as_bytes())) | fingerprint << 32;
        networks.push((file.display().to_string(), text));
    }
    let minutes = |d: Duration| d.as_secs().div_ceil(60) as u32;
    let limit = |n: u32| u16::try_from(n).unwrap_or(u16::MAX - 1);
    let rules = Rules {
        allowed_lateness: minutes(config.time.allowed_lateness),
        dedup_retention: minutes(config.time.dedup_retention),
        max_ahead: minutes(config.time.max_ahead),
        bots: config.anti_brush.bots,
        networks: fingerprint,
        max_per_ip_ad_minute: limit(config.anti_brush.max_per_ip_ad_minute),
        max_user_ad_minute: limit(config.anti_fraud.max_user_ad_minute),
        max_user_clicks_minute: limit(config.anti_fraud.max_user_clicks_minute),
        max_user_ads_10s: limit(config.anti_fraud.max_user_ads_10s),
        hot_minutes: config.state.hot_minutes,
        hot_entries: config.state.hot_entries,
    };
    let set = RuleSet { rules, networks };
    set.shared()?;
    Ok(set)
}
