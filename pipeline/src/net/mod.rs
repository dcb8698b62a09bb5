//! How every port of Weir is served: one loop that accepts, TLS if it is configured, who may ask for what, and
//! limits on everything that a stranger could hold open.
//!
//! A connection goes through [`connections`] (how many there may be), [`tls`], [`idle`] (nobody is waited for
//! for ever) and hyper, which tells HTTP/1 from HTTP/2; gRPC is a router like any other. A request goes through
//! [`request`] (size and time) and [`crate::auth`].

mod connections;
mod deadline;
mod idle;
mod request;
mod serve;
mod tls;

#[cfg(test)]
mod tests;

pub(crate) use deadline::grpc_timeout;
pub(crate) use request::is_grpc;
pub use tls::{Certificates, TlsError};

use crate::auth::{Auth, AuthError};
use crate::config::{Config, Port};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;

/// Connections to a port that are open.
pub(crate) const CONNECTIONS: &str = "weir_connections";
/// Connections to a port that were one too many.
pub(crate) const REFUSED: &str = "weir_connections_refused_total";

/// What operators ask for may open stores, or wait until a command is decided.
const OPERATION: Duration = Duration::from_secs(600);

/// Requests at a time on a connection that sends events.
const STREAMS: u32 = 16;

/// Who has sent a request; in the extensions of each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where the connection comes from.
    pub address: SocketAddr,
    /// The name in the client's certificate, where one is demanded: its common name, else its first other name.
    pub certificate: Option<String>,
}

/// What a port allows.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Connections at a time.
    pub connections: usize,
    /// Of these, from one address (one /64 of IPv6).
    pub per_address: usize,
    /// How long a TLS handshake may take.
    pub handshake: Duration,
    /// How long the head of a request may take, and how long a connection of HTTP/1 waits for the next one.
    pub head: Duration,
    /// How long nothing at all may come or go.
    pub idle: Duration,
    /// The largest head of a request, in bytes.
    pub head_bytes: usize,
    /// The largest body, in bytes; none for streams, whose messages have a limit of their own.
    pub body: Option<usize>,
    /// How long the answer to a request may take, its body included.
    pub request: Duration,
    /// Requests at a time on a connection of HTTP/2.
    pub streams: u32,
    /// How long requests under way may still take when the port is closed.
    pub drain: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            connections: 4096,
            per_address: 1024,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(20),
            idle: Duration::from_secs(75),
            head_bytes: 32 << 10,
            body: None,
            request: Duration::from_secs(30),
            streams: 256,
            drain: Duration::from_secs(3),
        }
    }
}

/// TLS and the tokens of a job, for all of its ports.
#[derive(Clone, Debug, Default)]
pub struct Security {
    tls: Option<Arc<Certificates>>,
    auth: Auth,
    limits: Limits,
}

/// The ports cannot be made safe as configured.
#[derive(Debug, thiserror::Error)]
pub enum SecurityError {
    /// The certificates are of no use.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The tokens are of no use.
    #[error(transparent)]
    Auth(#[from] AuthError),
}

impl Security {
    /// As configured, with a warning for each port that is open to others and not safe.
    pub fn open(config: &Config) -> Result<Self, SecurityError> {
        let tls = config.tls.as_ref().map(Certificates::open).transpose()?.map(Arc::new);
        let auth = config.auth.as_ref().map(|auth| Auth::open(&auth.tokens)).transpose()?.unwrap_or_default();
        let limits = Limits {
            connections: config.listen.max_connections,
            per_address: config.listen.max_connections_per_address,
            ..Limits::default()
        };
        for (port, address) in config.ports() {
            if !address.ip().is_loopback() && (tls.is_none() || config.auth.is_none()) {
                tracing::warn!(
                    "{port} listens on {address}, for more than this machine, without {}: whoever reaches it can {}",
                    if tls.is_none() { "[tls]" } else { "[auth]" },
                    if config.auth.is_none() { "do everything" } else { "read tokens on the way" },
                );
            }
        }
        Ok(Security { tls, auth, limits })
    }

    /// A listener for a port.
    pub fn listener(&self, port: Port, listener: TcpListener) -> Listener {
        let Security { tls, auth, mut limits } = self.clone();
        match port {
            Port::Control => limits.request = OPERATION,
            // Each of them may hold a message that is being read.
            Port::Grpc => limits.streams = STREAMS,
            Port::Metrics | Port::Http => {}
        }
        Listener { port, listener, tls, auth, limits }
    }

    /// How addresses of these ports begin.
    pub fn scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Has changed certificate files noticed, for as long as any port is served with them.
    pub fn watch(&self) {
        if let Some(tls) = &self.tls {
            tokio::spawn(tls::watch(Arc::downgrade(tls), tls::LOOK_EVERY));
        }
    }
}

/// A port that listens; see [`Listener::serve`].
#[derive(Debug)]
pub struct Listener {
    /// Which.
    pub port: Port,
    /// Where it listens.
    pub listener: TcpListener,
    /// With which certificate, if it has TLS.
    pub tls: Option<Arc<Certificates>>,
    /// Who may ask for what.
    pub auth: Auth,
    /// What is allowed.
    pub limits: Limits,
}
