//! Ports as clients find them, honest ones and others.

use super::*;
use crate::auth::{Caller, NewToken, Role, add_token};
use crate::config;
use axum::body::Bytes;
use axum::extract::Extension;
use axum::routing::{get, post};
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
};
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use std::path::Path;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Identity};
use weir_proto::rpc::control_client::ControlClient;
use weir_proto::rpc::{DropRequest, StatusRequest};

/// Long enough for a slow machine; nothing waits for it when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

type Ca = CertifiedIssuer<'static, KeyPair>;

fn ca(name: &str) -> Ca {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A certificate and its key, in PEM.
fn signed(ca: &Ca, common: Option<&str>, names: &[&str]) -> (String, String) {
    let names: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).unwrap();
    params.distinguished_name = rcgen::DistinguishedName::new();
    if let Some(common) = common {
        params.distinguished_name.push(DnType::CommonName, common);
    }
    params.extended_key_usages =
        vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
    let key = KeyPair::generate().unwrap();
    (params.signed_by(&key, ca).unwrap().pem(), key.serialize_pem())
}

/// Files of a server whose certificate is for localhost.
fn files(folder: &Path, ca: &Ca, clients: Option<&Ca>) -> config::Tls {
    let (certificate, key) = signed(ca, Some("weir"), &["localhost", "127.0.0.1"]);
    let write = |name: &str, text: &str| {
        std::fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    };
    config::Tls {
        certificate: write("weir.crt", &certificate),
        key: write("weir.key", &key),
        client_ca: clients.map(|ca| write("clients.crt", &ca.pem())),
        mutual: clients.map(|_| Port::Control).into_iter().collect(),
    }
}

/// A port that is open for as long as this lives.
struct Open {
    address: SocketAddr,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
}

impl Open {
    async fn new(security: &Security) -> Self {
        Self::with(security, Port::Control, |_| {}).await
    }

    async fn with(security: &Security, port: Port, change: impl FnOnce(&mut Limits)) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut listener = security.listener(port, listener);
        change(&mut listener.limits);
        let (stop, mut stopped) = watch::channel(false);
        let stopping = async move {
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let serving = tokio::spawn(listener.serve(router(), stopping));
        Open { address, stop, serving }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    async fn get(&self, path: &str, headers: &str) -> String {
        ask(self.connect().await, path, headers).await.unwrap()
    }
}

fn router() -> axum::Router {
    let who = |Extension(peer): Extension<Peer>, caller: Option<Extension<Caller>>| async move {
        let caller = caller.map(|Extension(caller)| format!("{} {:?}", caller.name, caller.role));
        format!("{:?} {caller:?}", peer.certificate)
    };
    tonic::service::Routes::default()
        .into_axum_router()
        .route("/healthz", get(|| async { "ok" }))
        .route("/metrics", get(who))
        .route("/v1/events", post(|body: Bytes| async move { format!("{} bytes", body.len()) }))
        .route("/slow", get(std::future::pending::<&'static str>))
}

/// Sends a request and reads the answer to the end of the connection.
async fn ask(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    path: &str,
    headers: &str,
) -> std::io::Result<String> {
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n{headers}\r\n");
    stream.write_all(request.as_bytes()).await?;
    rest(stream).await
}

async fn rest(mut stream: impl AsyncRead + Unpin) -> std::io::Result<String> {
    let mut answer = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut answer)).await.expect("it is cut off")?;
    Ok(String::from_utf8(answer).unwrap())
}

/// Asks over TLS for `/metrics`.
async fn ask_tls(port: &Open, trusted: &Ca, own: Option<&(String, String)>) -> std::io::Result<String> {
    let mut roots = RootCertStore::empty();
    roots.add(trusted.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder =
        ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let builder = builder.with_root_certificates(roots);
    let config = match own {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let certificate = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    };
    let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
    let name = ServerName::try_from("localhost").unwrap();
    let stream = connector.connect(name, port.connect().await).await?;
    ask(stream, "/metrics", "").await
}

fn with_tls(settings: &config::Tls) -> Security {
    Security { tls: Some(Arc::new(Certificates::open(settings).unwrap())), ..Security::default() }
}

#[tokio::test]
async fn tls_is_spoken_with_those_who_know_the_signer() {
    let (folder, ours, theirs) = (tempfile::tempdir().unwrap(), ca("ours"), ca("theirs"));
    let port = Open::new(&with_tls(&files(folder.path(), &ours, None))).await;
    let answer = ask_tls(&port, &ours, None).await.unwrap();
    assert!(answer.ends_with("None Some(\"local Operator\")"), "{answer}");
    let refused = ask_tls(&port, &theirs, None).await.unwrap_err().to_string();
    assert!(refused.contains("UnknownIssuer"), "{refused}");
    // Whoever does not speak TLS hears nothing of what is behind it.
    let plain = port.get("/metrics", "").await;
    assert!(!plain.contains("200 OK"), "{plain}");
}

#[tokio::test]
async fn mutual_tls_lets_in_who_shows_a_certificate_and_tells_its_name() {
    let (folder, server, clients) = (tempfile::tempdir().unwrap(), ca("server"), ca("clients"));
    let settings = files(folder.path(), &server, Some(&clients));
    let security = with_tls(&settings);
    let port = Open::new(&security).await;
    let named = signed(&clients, Some("ops-laptop"), &["laptop.example.com"]);
    let answer = ask_tls(&port, &server, Some(&named)).await.unwrap();
    assert!(answer.ends_with("Some(\"ops-laptop\") Some(\"ops-laptop Operator\")"), "{answer}");
    let unnamed = signed(&clients, None, &["laptop.example.com"]);
    let answer = ask_tls(&port, &server, Some(&unnamed)).await.unwrap();
    assert!(answer.contains("Some(\"laptop.example.com\")"), "{answer}");
    let refused = ask_tls(&port, &server, None).await.unwrap_err().to_string();
    assert!(refused.contains("CertificateRequired"), "{refused}");
    let stranger = signed(&server, Some("ops-laptop"), &[]);
    let refused = ask_tls(&port, &server, Some(&stranger)).await.unwrap_err().to_string();
    assert!(refused.contains("UnknownCA") || refused.contains("DecryptError"), "{refused}");
    // Only the ports that are named ask for it.
    let metrics = Open::with(&security, Port::Metrics, |_| {}).await;
    assert!(ask_tls(&metrics, &server, None).await.unwrap().contains("200 OK"));
}

#[tokio::test]
async fn a_new_certificate_is_taken_and_a_broken_one_is_not() {
    let (folder, old, new) = (tempfile::tempdir().unwrap(), ca("old"), ca("new"));
    let settings = files(folder.path(), &old, None);
    let security = with_tls(&settings);
    let certificates = security.tls.clone().unwrap();
    let port = Open::new(&security).await;
    assert!(!certificates.reload().unwrap());
    let key = std::fs::read(&settings.key).unwrap();
    std::fs::write(&settings.key, "-----BEGIN PRIVATE KEY-----\nVERYSECRET\n-----END PRIVATE KEY-----\n")
        .unwrap();
    let error = certificates.reload().unwrap_err().to_string();
    assert!(error.contains("weir.key holds no private key") && !error.contains("VERYSECRET"), "{error}");
    assert!(!certificates.reload().unwrap(), "the same trouble is told once");
    assert!(ask_tls(&port, &old, None).await.is_ok());
    std::fs::write(&settings.key, key).unwrap();
    files(folder.path(), &new, None);
    tokio::spawn(tls::watch(Arc::downgrade(&certificates), Duration::from_millis(10)));
    let changed = async {
        while ask_tls(&port, &new, None).await.is_err() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, changed).await.unwrap();
    assert!(ask_tls(&port, &old, None).await.is_err());
}

#[test]
fn files_that_do_not_belong_together_are_refused() {
    let (folder, ours) = (tempfile::tempdir().unwrap(), ca("ours"));
    let settings = files(folder.path(), &ours, None);
    std::fs::write(&settings.key, KeyPair::generate().unwrap().serialize_pem()).unwrap();
    assert!(matches!(Certificates::open(&settings), Err(TlsError::Mismatch { .. })));
    std::fs::write(&settings.certificate, "").unwrap();
    let error = Certificates::open(&settings).unwrap_err().to_string();
    assert!(
        error.contains("weir.crt holds no certificate") && error.contains("`tls.certificate`"),
        "{error}"
    );
    std::fs::remove_file(&settings.certificate).unwrap();
    assert!(matches!(Certificates::open(&settings), Err(TlsError::Unreadable { key: "certificate", .. })));
}

/// A file of tokens with one of each role, and these.
fn tokens(folder: &Path) -> (std::path::PathBuf, [String; 3]) {
    let path = folder.join("tokens.toml");
    let roles = [Role::Collector, Role::Analyst, Role::Operator];
    let tokens = roles.map(|role| {
        let made = NewToken::make(role.name(), role, None).unwrap();
        add_token(&path, &made.section).unwrap();
        made.token
    });
    (path, tokens)
}

#[tokio::test]
async fn a_method_is_for_those_whose_role_is_enough() {
    use tonic::Code::{PermissionDenied, Unauthenticated, Unimplemented};
    let (folder, server) = (tempfile::tempdir().unwrap(), ca("server"));
    let (path, [collector, analyst, operator]) = tokens(folder.path());
    let security =
        Security { auth: Auth::open(&path).unwrap(), ..with_tls(&files(folder.path(), &server, None)) };
    let port = Open::new(&security).await;
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(server.pem())).domain_name("localhost");
    let endpoint =
        Channel::from_shared(format!("https://{}", port.address)).unwrap().tls_config(tls).unwrap();
    let channel = endpoint.connect().await.unwrap();
    // The port has no such service: whoever hears so was let through.
    for (token, status, drop) in [
        (None, Unauthenticated, Unauthenticated),
        (Some("weir_00"), Unauthenticated, Unauthenticated),
        (Some(&*collector), PermissionDenied, PermissionDenied),
        (Some(&*analyst), Unimplemented, PermissionDenied),
        (Some(&*operator), Unimplemented, Unimplemented),
    ] {
        let mut client =
            ControlClient::with_interceptor(channel.clone(), |mut request: tonic::Request<()>| {
                if let Some(token) = token {
                    request
                        .metadata_mut()
                        .insert("authorization", format!("Bearer {token}").parse().unwrap());
                }
                Ok(request)
            });
        let answer = client.status(StatusRequest {}).await.unwrap_err();
        assert_eq!(answer.code(), status, "{token:?} {answer}");
        let answer = client.drop(DropRequest { generation: 1 }).await.unwrap_err();
        assert_eq!(answer.code(), drop, "{token:?} {answer}");
        assert!(token.is_none_or(|token| !format!("{answer:?}").contains(token)));
    }
}

#[tokio::test]
async fn pages_are_for_those_whose_role_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    let (path, [collector, analyst, operator]) = tokens(folder.path());
    let security = Security { auth: Auth::open(&path).unwrap(), ..Security::default() };
    let port = Open::with(&security, Port::Http, |_| {}).await;
    let get =
        async |path: &str, token: &str| port.get(path, &format!("authorization: bearer {token}\r\n")).await;
    assert!(port.get("/healthz", "").await.contains("200 OK"));
    let answer = port.get("/metrics", "").await;
    assert!(answer.contains("401 Unauthorized") && answer.contains("www-authenticate: Bearer"), "{answer}");
    assert!(get("/metrics", "weir_11").await.contains("401 Unauthorized"));
    assert!(get("/metrics", &collector).await.contains("403 Forbidden"));
    assert!(get("/metrics", &analyst).await.ends_with("Some(\"analyst Analyst\")"));
    assert!(get("/v1/events", &analyst).await.contains("403 Forbidden"));
    // It is let through, and must POST.
    assert!(get("/v1/events", &collector).await.contains("405 Method Not Allowed"));
    // What is not there is not told to strangers.
    assert!(get("/secret", &analyst).await.contains("403 Forbidden"));
    assert!(port.get("/secret", "").await.contains("401 Unauthorized"));
    assert!(
        get("/secret", &operator).await.contains("404 Not Found")
            || get("/secret", &operator).await.contains("grpc-status: 12")
    );
}

#[tokio::test]
async fn a_head_that_comes_too_slowly_is_cut_off() {
    let short = |limits: &mut Limits| limits.head = Duration::from_millis(300);
    let port = Open::with(&Security::default(), Port::Http, short).await;
    for said in
        ["", "P", "PRI * HT", "GET / HTTP/1.1\r\nhost: x\r\n", "GET /healthz HTTP/1.1\r\nx: aaaaaaaaaaaaaaaa"]
    {
        let mut slow = port.connect().await;
        slow.write_all(said.as_bytes()).await.unwrap();
        let answer = rest(slow).await.unwrap_or_default();
        assert!(!answer.contains("200 OK"), "{said:?}: {answer}");
    }
    // Who sends a byte now and then is no better off.
    let (mut read, mut write) = port.connect().await.into_split();
    let dribble = tokio::spawn(async move {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let answer = rest(&mut read).await.unwrap_or_default();
    assert!(!answer.contains("200 OK"), "{answer}");
    dribble.abort();
    assert!(port.get("/healthz", "").await.contains("200 OK"));
}

#[tokio::test]
async fn a_body_that_comes_too_slowly_and_an_answer_that_takes_too_long_are_cut_off() {
    let short = |limits: &mut Limits| limits.request = Duration::from_millis(300);
    let port = Open::with(&Security::default(), Port::Http, short).await;
    let mut slow = port.connect().await;
    slow.write_all(b"POST /v1/events HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc").await.unwrap();
    let answer = rest(slow).await.unwrap();
    assert!(answer.contains("408 Request Timeout"), "{answer}");
    assert!(port.get("/slow", "").await.contains("408 Request Timeout"));
    // The client's own deadline is kept as well, in the words of gRPC.
    let port = Open::new(&Security::default()).await;
    let answer = port.get("/slow", "content-type: application/grpc\r\ngrpc-timeout: 200m\r\n").await;
    assert!(answer.contains("grpc-status: 4"), "{answer}");
}

#[tokio::test]
async fn too_much_is_not_read() {
    let port = Open::with(&Security::default(), Port::Http, |limits| {
        (limits.head_bytes, limits.body) = (16 << 10, Some(1000));
    })
    .await;
    let answer = port.get("/healthz", &format!("x: {}\r\n", "a".repeat(20 << 10))).await;
    assert!(answer.contains("431 Request Header Fields Too Large"), "{answer}");
    let post = async |head: &str, body: &str| {
        let mut stream = port.connect().await;
        let head =
            format!("POST /v1/events HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{head}\r\n\r\n{body}");
        stream.write_all(head.as_bytes()).await.unwrap();
        rest(stream).await.unwrap_or_default()
    };
    assert!(post("content-length: 1000", &"a".repeat(1000)).await.ends_with("1000 bytes"));
    assert!(post("content-length: 1001", "").await.contains("413 Payload Too Large"));
    let chunk = format!("3e9\r\n{}\r\n0\r\n\r\n", "a".repeat(1001));
    assert!(post("transfer-encoding: chunked", &chunk).await.contains("413 Payload Too Large"));
}

#[tokio::test]
async fn connections_past_the_limit_are_closed_and_make_room_when_they_end() {
    let two = |limits: &mut Limits| limits.per_address = 2;
    let port = Open::with(&Security::default(), Port::Http, two).await;
    let mut kept = Vec::new();
    for _ in 0..2 {
        let mut stream = port.connect().await;
        stream.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
        let mut first = [0; 15];
        stream.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        kept.push(stream);
    }
    assert_eq!(rest(port.connect().await).await.unwrap_or_default(), "");
    drop(kept);
    let again = async {
        while !ask(port.connect().await, "/healthz", "").await.unwrap_or_default().contains("200 OK") {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, again).await.unwrap();
}

#[tokio::test]
async fn a_port_that_is_closed_ends_idle_connections_and_cuts_off_what_takes_too_long() {
    let short = |limits: &mut Limits| limits.drain = Duration::from_millis(300);
    let port = Open::with(&Security::default(), Port::Http, short).await;
    let mut idle = port.connect().await;
    idle.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 15];
    idle.read_exact(&mut first).await.unwrap();
    let mut busy = port.connect().await;
    busy.write_all(b"GET /slow HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    port.stop.send(true).unwrap();
    assert!(rest(idle).await.unwrap().ends_with("ok"));
    tokio::time::timeout(PATIENCE, port.serving).await.unwrap().unwrap();
    assert!(TcpStream::connect(port.address).await.is_err());
}

/// Not used by a client without a certificate of its own.
#[tokio::test]
async fn grpc_clients_can_show_certificates() {
    let (folder, server, clients) = (tempfile::tempdir().unwrap(), ca("server"), ca("clients"));
    let port = Open::new(&with_tls(&files(folder.path(), &server, Some(&clients)))).await;
    let (certificate, key) = signed(&clients, Some("ops"), &[]);
    let tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(server.pem()));
    let connect = async |tls: ClientTlsConfig| {
        let endpoint = Channel::from_shared(format!("https://localhost:{}", port.address.port())).unwrap();
        let channel = endpoint.tls_config(tls).unwrap().connect().await.map_err(|e| e.to_string())?;
        let answer = ControlClient::new(channel).status(StatusRequest {}).await;
        Ok::<_, String>(answer.unwrap_err().code())
    };
    let shown = connect(tls.clone().identity(Identity::from_pem(certificate, key))).await;
    assert_eq!(shown, Ok(tonic::Code::Unimplemented));
    assert_ne!(connect(tls).await, Ok(tonic::Code::Unimplemented));
}
