//! The loop that accepts connections, and what is done with each.

use super::connections::{Connections, Counted, TooMany};
use super::idle::Idle;
use super::{Limits, Listener, Peer, request};
use axum::Router;
use axum::body::Body;
use axum::http::Request;
use axum::middleware::from_fn_with_state;
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use std::future::Future;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tower_service::Service;

/// How long to wait when there are no file descriptors left for another connection.
const NO_MORE_FILES: Duration = Duration::from_millis(500);
/// How often a client of HTTP/2 is asked whether it is still there, and how long it has to answer.
const PING: Duration = Duration::from_secs(20);
/// Bytes that may have come over a connection of HTTP/2, and for one request of it, before anybody reads them; and
/// those of an answer that wait for the client. No budget of memory counts them.
const CONNECTION_WINDOW: u32 = 256 << 10;
const STREAM_WINDOW: u32 = 128 << 10;
const SEND_BUFFER: usize = 128 << 10;

impl Listener {
    /// Serves a router until told to stop; then what is under way is brought to its end, within a limit.
    pub async fn serve(self, router: Router, stop: impl Future<Output = ()> + Send) {
        let Listener { port, listener, tls, auth, limits } = self;
        let connections = Connections::new(limits.connections, limits.per_address);
        // Whoever may not ask is told so before anything of the request is read.
        let router = auth.guard(router).layer(from_fn_with_state(limits.clone(), request::limit));
        let server = Arc::new(Server { builder: builder(&limits), router, limits });
        let tls = tls.map(|certificates| (certificates, port));
        let graceful = GracefulShutdown::new();
        // With it goes what is still open at the end.
        let mut open = JoinSet::new();
        let mut stop = std::pin::pin!(stop);
        loop {
            let accepted = tokio::select! {
                accepted = listener.accept() => accepted,
                () = &mut stop => break,
            };
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    not_accepted(port.name(), &error).await;
                    continue;
                }
            };
            match connections.count(address.ip()) {
                Ok(counted) => {
                    let connection = Connection { stream, address, counted, watcher: graceful.watcher() };
                    let (server, tls) = (server.clone(), tls.clone());
                    let gauge = metrics::gauge!(super::CONNECTIONS, "port" => port.name());
                    gauge.set(connections.total() as f64);
                    let connections = connections.clone();
                    while open.try_join_next().is_some() {}
                    open.spawn(async move {
                        server.connection(connection, tls).await;
                        gauge.set(connections.total() as f64);
                    });
                }
                Err(why) => refused(port.name(), why),
            }
        }
        drop(listener);
        let drain = server.limits.drain;
        if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
            tracing::warn!("requests to the {port} port were cut off: they took longer than {drain:?}");
        }
    }
}

fn refused(port: &'static str, why: TooMany) {
    metrics::counter!(super::REFUSED, "port" => port, "reason" => why.name()).increment(1);
    tracing::debug!("a connection to the {port} port was refused: {why:?}");
}

/// The client has gone already, or there are too many files open: the next one may have more luck.
async fn not_accepted(port: &str, error: &std::io::Error) {
    use ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    if !matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset) {
        tracing::error!("cannot accept a connection to the {port} port: {error}");
        tokio::time::sleep(NO_MORE_FILES).await;
    }
}

fn builder(limits: &Limits) -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .initial_stream_window_size(STREAM_WINDOW)
        .max_send_buf_size(SEND_BUFFER)
        .max_header_list_size(u32::try_from(limits.head_bytes).unwrap_or(u32::MAX))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// What connections of a port have in common.
struct Server {
    builder: auto::Builder<TokioExecutor>,
    router: Router,
    limits: Limits,
}

struct Connection {
    stream: TcpStream,
    address: SocketAddr,
    /// Held until the end.
    counted: Counted,
    watcher: Watcher,
}

type Tls = (Arc<super::Certificates>, crate::config::Port);

impl Server {
    async fn connection(&self, connection: Connection, tls: Option<Tls>) {
        let Connection { stream, address, counted, watcher } = connection;
        // Answers are short: they shall not wait for more.
        let _ = stream.set_nodelay(true);
        let Some((certificates, port)) = tls else {
            self.requests(stream, Peer { address, certificate: None }, watcher).await;
            return drop(counted);
        };
        let handshake = certificates.acceptor(port).accept(stream);
        match tokio::time::timeout(self.limits.handshake, handshake).await {
            Ok(Ok(stream)) => {
                let certificate = super::tls::client_name(&stream);
                self.requests(stream, Peer { address, certificate }, watcher).await;
            }
            Ok(Err(error)) => tracing::debug!("no TLS with {address} on the {port} port: {error}"),
            Err(_) => tracing::debug!("no TLS with {address} on the {port} port: it is too slow"),
        }
        drop(counted);
    }

    async fn requests<S>(&self, stream: S, peer: Peer, watcher: Watcher)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let address = peer.address;
        let service = hyper::service::service_fn(move |mut request: Request<Incoming>| {
            request.extensions_mut().insert(peer.clone());
            // A router is always ready.
            self.router.clone().call(request.map(Body::new))
        });
        let stream = TokioIo::new(Idle::new(stream, self.limits.head, self.limits.idle));
        let connection = self.builder.serve_connection(stream, service);
        if let Err(error) = watcher.watch(connection).await {
            tracing::debug!("the connection of {address} has ended: {error}");
        }
    }
}
