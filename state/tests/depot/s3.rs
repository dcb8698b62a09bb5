//! A server that speaks the protocol of S3, over a directory.

use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;

/// Runs until it is dropped. It has the bucket `checkpoints`.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    _dir: tempfile::TempDir,
    _runtime: Runtime,
}

impl Server {
    pub fn start() -> Self {
        Self::start_with("http", None)
    }

    /// With a certificate that nobody has signed.
    pub fn start_with_tls() -> Self {
        Self::start_with("https", Some(acceptor()))
    }

    fn start_with(scheme: &'static str, tls: Option<TlsAcceptor>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("checkpoints")).unwrap();
        let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(dir.path()).unwrap());
        builder.set_auth(SimpleAuth::from_single("weir", "right"));
        let service = builder.build();
        let runtime = Runtime::new().unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        runtime.spawn(serve(listener, service, tls));
        Server { address, scheme, _dir: dir, _runtime: runtime }
    }

    /// Of a client with this secret.
    pub fn options(&self, secret: &str) -> BTreeMap<String, String> {
        let endpoint = format!("{}://{}", self.scheme, self.address);
        [
            ("aws_endpoint", endpoint.as_str()),
            ("aws_allow_http", "true"),
            ("aws_access_key_id", "weir"),
            ("aws_secret_access_key", secret),
        ]
        .into_iter()
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .collect()
    }
}

async fn serve(listener: TcpListener, service: S3Service, tls: Option<TlsAcceptor>) {
    loop {
        let (socket, _) = listener.accept().await.unwrap();
        let (service, tls) = (service.clone(), tls.clone());
        tokio::spawn(async move {
            let connections = Builder::new(TokioExecutor::new());
            let Some(tls) = tls else {
                let _ = connections.serve_connection(TokioIo::new(socket), service).await;
                return;
            };
            if let Ok(socket) = tls.accept(socket).await {
                let _ = connections.serve_connection(TokioIo::new(socket), service).await;
            }
        });
    }
}

fn acceptor() -> TlsAcceptor {
    let own = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).unwrap();
    let key = own.signing_key.serialize_der().try_into().unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![own.cert.der().clone()], key)
        .unwrap();
    Arc::new(config).into()
}
