//! `weir run --config`: the long-running job, and what it serves.

use super::run::{Own, options_of, refused};
use super::signals::Signals;
use super::{Failure, session};
use crate::config::{Config, Port};
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::host::Host;
use crate::ingest::{Ingest, Spool, SpoolOptions};
use crate::job::{Job, JobOptions};
use crate::net::Security;
use crate::server;
use crate::switches::Switches;
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// How often old checkpoints and segments are let go of.
const KEEP_EVERY: Duration = Duration::from_secs(30);
/// How often ingest forgets who has not come lately.
const TEND_EVERY: Duration = Duration::from_secs(10);
/// Ports whose addresses the data directory has while they listen.
const ANNOUNCED: [Port; 4] = [Port::Metrics, Port::Control, Port::Http, Port::Grpc];

pub(super) fn run(path: &Path, after_outage: bool, own: Own) -> Result<(), Failure> {
    let mut config = Config::load(path).map_err(Failure::usage)?;
    let all = config.partitions;
    match &mut config.group {
        Some(group) => own.tell(group, all)?,
        None if own.worker.is_some() || own.partitions.is_some() => {
            let text =
                format!("--worker and --partitions are for a group: {} has no [group]", path.display());
            return Err(Failure::usage(text));
        }
        None => {}
    }
    if config.sources.is_empty() && config.ingest.is_none() {
        tracing::warn!("{} has neither [[source]] nor [ingest]: nothing will come in", path.display());
    }
    let security = Security::open(&config).map_err(Failure::usage)?;
    let metrics = crate::metrics::install()?;
    let threads = if config.ingest.is_some() { std::thread::available_parallelism()?.get() } else { 1 };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads).enable_all().build()?;
    let context = runtime.enter();
    let signals = Signals::catch()?;
    drop(context);
    let live = Live::open(config, after_outage).map_err(refused)?;
    let result = runtime.block_on(live.serve(security, metrics, signals));
    live.close();
    drop(runtime);
    result?;
    tracing::info!("stopped cleanly; a second start goes on from here");
    Ok(())
}

/// A job that runs until it is stopped.
struct Live {
    config: Config,
    switches: Arc<Switches>,
    spool: Option<Arc<Spool>>,
    ingest: Option<Ingest>,
    host: Arc<Host>,
    dir: DataDir,
}

impl Live {
    fn open(config: Config, after_outage: bool) -> Result<Self, JobError> {
        let switches = Arc::new(Switches::default());
        let options =
            config.ingest.as_ref().map(|options| SpoolOptions::configured(options, &config.data_dir));
        let spool = options.map(Spool::open).transpose()?.map(Arc::new);
        let options = options_for(&config, &spool, &switches, after_outage)?;
        let rules = options.rules.rules.clone();
        let job = Job::open(options)?;
        let dir = job.dir().clone();
        let host = Arc::new(Host::new(job, spool.clone()));
        let ingest = spool.clone().map(|spool| Ingest::open(&config, spool, rules, &switches)).transpose()?;
        Ok(Live { config, switches, spool, ingest, host, dir })
    }

    /// Opens the ports and runs the job.
    async fn serve(
        &self,
        security: Security,
        metrics: PrometheusHandle,
        signals: Signals,
    ) -> Result<(), Failure> {
        let (stop, stopped) = watch::channel(());
        security.watch();
        let mut doors = Doors { live: self, security, stopped, open: Vec::new() };
        doors.open_all(metrics).await?;
        self.look_after();
        signals.stop(&self.host);
        tracing::info!("running in {}; stop with SIGTERM or ctrl-c", self.config.data_dir.display());
        let result = self.run().await;
        self.ingest.iter().for_each(|ingest| ingest.front.stop());
        ANNOUNCED.iter().for_each(|port| self.dir.forget_address(port.name()));
        // Dropping the sender is the sign to close.
        drop(stop);
        for door in doors.open {
            door.await?;
        }
        result
    }

    async fn run(&self) -> Result<(), Failure> {
        let (host, config) = (self.host.clone(), self.config.clone());
        let (spool, switches) = (self.spool.clone(), self.switches.clone());
        let running = tokio::task::spawn_blocking(move || {
            // It was closed by this process: however long that took, the clock is not to be doubted for it.
            host.run(&|| Job::open(options_for(&config, &spool, &switches, true)?))
        });
        Ok(running.await??)
    }

    fn look_after(&self) {
        let host = Arc::downgrade(&self.host);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(KEEP_EVERY).await;
                let Some(host) = host.upgrade() else { return };
                let kept = tokio::task::spawn_blocking(move || host.job().map_or(Ok(()), |job| job.keep()));
                if let Ok(Err(error)) = kept.await {
                    tracing::error!("{error}");
                }
            }
        });
        if let Some(ingest) = &self.ingest {
            let front = Arc::downgrade(&ingest.front);
            tokio::spawn(async move {
                while let Some(front) = front.upgrade() {
                    front.tend();
                    drop(front);
                    tokio::time::sleep(TEND_EVERY).await;
                }
            });
        }
    }

    /// What still waits is answered, and every store is closed, before the process ends.
    fn close(self) {
        self.ingest.into_iter().for_each(Ingest::close);
        self.host.close();
    }
}

fn options_for(
    config: &Config,
    spool: &Option<Arc<Spool>>,
    switches: &Arc<Switches>,
    after_outage: bool,
) -> Result<JobOptions, JobError> {
    let options = options_of(config)?;
    Ok(JobOptions { after_outage, spool: spool.clone(), switches: switches.clone(), ..options })
}

/// The ports of a job.
struct Doors<'a> {
    live: &'a Live,
    security: Security,
    stopped: watch::Receiver<()>,
    open: Vec<JoinHandle<()>>,
}

impl Doors<'_> {
    async fn open_all(&mut self, metrics: PrometheusHandle) -> Result<(), Failure> {
        let (listen, host) = (&self.live.config.listen, &self.live.host);
        let front = self.live.ingest.as_ref().map(|ingest| &ingest.front);
        if let Some(address) = listen.metrics {
            let router = server::metrics(host.clone(), front.cloned(), metrics);
            self.open(Port::Metrics, address, router).await?;
        }
        if let Some(ingest) = &self.live.ingest {
            if let Some(address) = listen.http {
                self.open(Port::Http, address, server::http(&ingest.front)).await?;
            }
            if let Some(address) = listen.grpc {
                let router = server::grpc(ingest).await.map_err(std::io::Error::other)?;
                self.open(Port::Grpc, address, router).await?;
            }
        }
        // Last: whoever finds its address finds all of the job.
        if let Some(address) = listen.control {
            let router =
                server::control(host.clone(), front.cloned()).await.map_err(std::io::Error::other)?;
            self.open(Port::Control, address, router).await?;
        }
        Ok(())
    }

    async fn open(&mut self, port: Port, address: SocketAddr, router: Router) -> Result<(), Failure> {
        let listener = TcpListener::bind(address).await.map_err(|e| cannot_listen(address, &e))?;
        let serving = session::serve(port, listener, router, &self.live.dir, &self.security, self.stop())?;
        self.open.push(serving);
        Ok(())
    }

    fn stop(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut stopped = self.stopped.clone();
        async move { while stopped.changed().await.is_ok() {} }
    }
}

fn cannot_listen(address: SocketAddr, error: &std::io::Error) -> Failure {
    Failure::Said(format!("cannot listen on {address}: {error}. Choose another address in [listen]"), 1)
}
