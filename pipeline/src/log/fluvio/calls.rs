//! Requests to the servers of the cluster. The client waits for some of them without end, and tells some answers only in
//! part; so its protocol is spoken directly, each request has its time, and a connection that failed is never used again.

use super::options::FluvioOptions;
use fluvio_protocol::api::Request;
use fluvio_socket::{ClientConfig, MultiplexerSocket, VersionedSerialSocket};
use futures_util::future::{Either, select};
use std::collections::HashMap;
use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Connections to a server that are kept for the next request.
const KEPT: usize = 8;
/// How often it is said that a server does not answer.
const SAID_EVERY: Duration = Duration::from_secs(30);
static SAID: Mutex<Option<Instant>> = Mutex::new(None);

/// Waits for what is asked, but not longer than this.
pub(super) fn wait<T, E: std::fmt::Display>(
    most: Duration,
    asked: impl Future<Output = Result<T, E>>,
) -> Result<T, String> {
    let timer = fluvio_future::timer::sleep(most);
    match futures_executor::block_on(select(pin!(asked), pin!(timer))) {
        Either::Left((answer, _)) => answer.map_err(|error| error.to_string()),
        Either::Right(_) => Err(format!("there was no answer within {} seconds", most.as_secs())),
    }
}

/// Says that the cluster does not answer, now and then.
pub(super) fn tell(reason: &str) {
    tracing::debug!("{reason}");
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if said.is_none_or(|at| at.elapsed() > SAID_EVERY) {
        *said = Some(Instant::now());
        tracing::error!("Fluvio does not answer: {reason}. The job goes on when it does");
    }
}

/// Connections to the SPUs, by address. Each takes one request at a time.
pub(super) struct Connections {
    timeout: Duration,
    idle: Mutex<HashMap<String, Vec<VersionedSerialSocket>>>,
}

impl Connections {
    pub(super) fn new(options: &FluvioOptions) -> Self {
        Connections { timeout: options.timeout, idle: Mutex::default() }
    }

    /// Sends a request and waits for the answer.
    pub(super) fn call<R: Request + Send + Sync>(
        &self,
        address: &str,
        request: R,
    ) -> Result<R::Response, String> {
        let kept = self.idle().get_mut(address).and_then(Vec::pop).filter(|socket| !socket.is_stale());
        let asked = async {
            let socket = match kept {
                Some(socket) => socket,
                None => connect(address).await?,
            };
            let answer = socket.send_receive(request).await?;
            Ok::<_, fluvio_socket::SocketError>((socket, answer))
        };
        let (socket, answer) = wait(self.timeout, asked)
            .map_err(|error| format!("the SPU at {address} cannot be asked: {error}"))?;
        let mut idle = self.idle();
        let kept = idle.entry(address.to_owned()).or_default();
        if kept.len() < KEPT {
            kept.push(socket);
        }
        Ok(answer)
    }

    fn idle(&self) -> MutexGuard<'_, HashMap<String, Vec<VersionedSerialSocket>>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn connect(address: &str) -> Result<VersionedSerialSocket, fluvio_socket::SocketError> {
    let mut config = ClientConfig::with_addr(address.to_owned());
    config.set_client_id("weir");
    let (socket, config, versions) = config.connect().await?.split();
    Ok(VersionedSerialSocket::new(MultiplexerSocket::shared(socket), config, versions))
}
