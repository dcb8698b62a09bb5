//! Talking to the job of a data directory: the one that runs, or one in this process that takes nothing
//! in, if none does.

use super::access::{Client, connect};
use super::{Failure, whole};
use crate::config::Port;
use crate::data_dir::DataDir;
use crate::error::JobError;
use crate::host::Host;
use crate::job::{Job, JobOptions};
use crate::net::Security;
use axum::Router;
use std::future::Future;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;
use weir_proto::rpc::{
    Command, FlushRequest, Generation, GenerationsRequest, GenerationsResponse, SubmitRequest, SubmitResponse,
};

/// How often it is asked how far something is.
const POLL: Duration = Duration::from_millis(100);
/// How often it is looked whether a job is at rest.
const REST: Duration = Duration::from_millis(5);
/// Commands that are waited for at a time.
const SIDE_BY_SIDE: usize = 32;

/// Serves a port of a job until told to stop, and says where in its data directory.
pub(super) fn serve(
    port: Port,
    listener: TcpListener,
    router: Router,
    dir: &DataDir,
    security: &Security,
    stop: impl Future<Output = ()> + Send + 'static,
) -> Result<tokio::task::JoinHandle<()>, JobError> {
    let mut address = listener.local_addr().map_err(JobError::io("listen for", dir.root()))?;
    if address.ip().is_unspecified() {
        // How it is reached from this machine.
        address.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    dir.announce(port.name(), &format!("{}://{address}", security.scheme()))?;
    Ok(tokio::spawn(security.listener(port, listener).serve(router, stop)))
}

/// A worker that is asked for what all of them know.
pub(super) fn rests(worker: u16) -> Failure {
    Failure::Said(format!("worker {worker} of a group does not run: ask one that does, or start it"), 1)
}

/// A data directory whose books are to be read. A job that runs and can be asked writes them to disk first;
/// of one that cannot, they are as of the last minute's tick.
pub(super) fn books_of(dir: &Path) -> Result<DataDir, Failure> {
    let dir = whole::of(dir)?;
    if let Some(mut session) = running(&dir)? {
        session.ask(|mut client| async move { client.flush(FlushRequest {}).await })?;
    }
    Ok(dir)
}

/// Asks the running job of a data directory; `None` if none runs.
pub(super) fn running(dir: &DataDir) -> Result<Option<Session>, Failure> {
    if !dir.is_in_use() {
        return Ok(None);
    }
    let Some(address) = dir.address()? else { return Ok(None) };
    let runtime = runtime()?;
    let client = connect(&runtime, &address)?;
    Ok(Some(Session { client, runtime, local: None }))
}

/// To wait for answers in.
pub(super) fn runtime() -> Result<Runtime, Failure> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

/// A connection to a job.
pub(super) struct Session {
    client: Client,
    runtime: Runtime,
    local: Option<Local>,
}

/// A job that runs in this process.
type Local = (Arc<Host>, DataDir, JoinHandle<Result<(), JobError>>);

impl Session {
    /// Of the running job, or of one that runs in this process for as long as it is needed.
    pub(super) fn open(dir: &DataDir) -> Result<Self, Failure> {
        if let Some(session) = running(dir)? {
            return Ok(session);
        }
        if dir.is_in_use() {
            let text = "a job runs here without a control service: set [listen] control in its configuration, or \
                        wait for its end if it is a finite run";
            return Err(Failure::Said(text.to_owned(), 1));
        }
        if let Some(worker) = dir.worker() {
            return Err(rests(worker));
        }
        let runtime = runtime()?;
        let host = Arc::new(Host::new(Job::open(JobOptions::maintenance(dir)?)?, None));
        let address = runtime.block_on(async {
            let router = crate::server::control(host.clone(), None).await.map_err(std::io::Error::other)?;
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            serve(Port::Control, listener, router, dir, &Security::default(), std::future::pending())?;
            Ok::<_, Failure>(address)
        })?;
        let running = host.clone();
        let thread = std::thread::Builder::new()
            .name("job".to_owned())
            .spawn(move || running.job().map_or(Ok(()), |job| job.run()))?;
        let client = connect(&runtime, &format!("http://{address}"))?;
        Ok(Session { client, runtime, local: Some((host, dir.clone(), thread)) })
    }

    /// To wait for answers of others in.
    pub(super) fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Asks something.
    pub(super) fn ask<T, F: Future<Output = Result<tonic::Response<T>, tonic::Status>>>(
        &mut self,
        question: impl FnOnce(Client) -> F,
    ) -> Result<T, Failure> {
        let answer = self.runtime.block_on(question(self.client.clone()));
        answer.map(tonic::Response::into_inner).map_err(said)
    }

    /// Has commands decided, some at a time; `done` sees each with its answer. Ends at the first error.
    pub(super) fn submit_all(
        &mut self,
        commands: impl IntoIterator<Item = Command>,
        mut done: impl FnMut(&Command, &SubmitResponse) -> Result<(), Failure>,
    ) -> Result<(), Failure> {
        let (client, mut commands) = (self.client.clone(), commands.into_iter());
        self.runtime.block_on(async {
            let mut asked = JoinSet::new();
            loop {
                while asked.len() < SIDE_BY_SIDE
                    && let Some(command) = commands.next()
                {
                    let mut client = client.clone();
                    asked.spawn(async move {
                        let request = SubmitRequest { command: Some(command.clone()) };
                        (command, client.submit(request).await)
                    });
                }
                let Some(answered) = asked.join_next().await else { return Ok(()) };
                let (command, answer) = answered?;
                done(&command, answer.map_err(said)?.get_ref())?;
            }
        })
    }

    /// Which generations there are.
    pub(super) fn generations(&mut self) -> Result<GenerationsResponse, Failure> {
        self.ask(|mut client| async move { client.generations(GenerationsRequest {}).await })
    }

    /// Asks about a generation until it is as wanted; `look` sees each answer.
    pub(super) fn wait(
        &mut self,
        id: u32,
        mut look: impl FnMut(&Generation, &GenerationsResponse) -> bool,
    ) -> Result<(), Failure> {
        loop {
            if let Some((_, _, thread)) = &self.local
                && thread.is_finished()
            {
                return self.end();
            }
            let all = self.generations()?;
            let Some(found) = all.generations.iter().find(|g| g.id == id) else {
                return Err(Failure::Said(format!("there is no generation {id} any more"), 1));
            };
            if found.standing == "dropped" {
                return Err(Failure::Said(format!("generation {id} was dropped meanwhile"), 1));
            }
            if look(found, &all) {
                return Ok(());
            }
            std::thread::sleep(POLL);
        }
    }

    /// Ends a job that ran in this process, once every stage has folded what was done: the books are read next.
    pub(super) fn close(&mut self) -> Result<(), Failure> {
        let is_working = |(host, _, thread): &Local| {
            !thread.is_finished() && host.job().is_some_and(|job| !job.is_at_rest())
        };
        while self.local.as_ref().is_some_and(is_working) {
            std::thread::sleep(REST);
        }
        self.end()
    }

    /// Ends a job that ran in this process; what it did is durable.
    fn end(&mut self) -> Result<(), Failure> {
        let Some((host, dir, thread)) = self.local.take() else { return Ok(()) };
        host.stop();
        dir.forget_address(Port::Control.name());
        match thread.join() {
            Ok(result) => Ok(result?),
            Err(_) => Err(JobError::Panicked.into()),
        }
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // An error was said before, or is the cause of this.
        let _ = self.end();
    }
}

/// What a job says when it does not do what it is asked for.
pub(super) fn said(status: tonic::Status) -> Failure {
    use tonic::Code::{FailedPrecondition, InvalidArgument, NotFound};
    match status.code() {
        FailedPrecondition | InvalidArgument | NotFound => Failure::usage(status.message()),
        _ => Failure::Said(status.message().to_owned(), 1),
    }
}
