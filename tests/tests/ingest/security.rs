//! Who may ask a running job for what, on every port: bearer tokens with roles, TLS, and certificates of clients.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use tonic::Code;
use ureq::tls::{Certificate, ClientCert, PrivateKey, RootCerts, TlsConfig};
use weir_tests::rpc::{CollectRequest, CollectResponse, IssueRequest, Rpc, event};
use weir_tests::{Ad, Http, Reply, Scratch, Target, Weir, now_ms, wait_for, weir};

const ROLES: [&str; 3] = ["collector", "analyst", "operator"];

/// `Status` of the control service takes nothing.
#[derive(Clone, PartialEq, prost::Message)]
struct Nothing {}

/// Asks with a token, or without.
type Ask<'a> = &'a dyn Fn(Option<&str>) -> Reply;

#[test]
fn every_port_asks_for_a_token_with_the_right_role() {
    let mut tokens = Vec::new();
    let mut file = PathBuf::new();
    let mut target = Target::start_with("security-tokens", "", |job, scratch| {
        file = scratch.path("tokens.toml");
        tokens = ROLES.map(|role| token(&file, role, &[])).into();
        tokens.push(token(&file, "gone", &["--expires", "2020-01-01T00:00:00Z"]));
        job.configure(&format!("\n[auth]\ntokens = {file:?}\n"));
        job.open_control();
    });
    let token = |name: &str| tokens[ROLES.iter().position(|role| *role == name).unwrap_or(3)].clone();
    let wrong = format!("{}0", token("operator"));
    let strangers = [None, Some(""), Some(wrong.as_str()), Some(tokens[3].as_str())];
    let (http, grpc) = target.ports();
    let metrics = target.job.metrics_port();
    let body = || format!("[{}]", Ad::click(1_000_000, now_ms()).line().replace("\"click\"", "\"tap\""));

    // HTTP: what is asked for, who may, and what he gets.
    let events = |token: Option<&str>| {
        Http::connect(http).unwrap().post("/v1/events", &bearer(token), body().as_bytes()).unwrap()
    };
    let page = |token: Option<&str>| Http::connect(metrics).unwrap().get("/metrics", &bearer(token)).unwrap();
    let other = |token: Option<&str>| Http::connect(http).unwrap().get("/other", &bearer(token)).unwrap();
    let asked: [(Ask<'_>, [u16; 3]); 3] =
        [(&events, [422, 403, 422]), (&page, [403, 200, 200]), (&other, [403, 403, 404])];
    for (ask, statuses) in asked {
        for stranger in strangers {
            let reply = ask(stranger);
            assert_eq!(
                (reply.status, reply.header("www-authenticate")),
                (401, Some("Bearer")),
                "{stranger:?}"
            );
        }
        for (role, status) in ROLES.iter().zip(statuses) {
            assert_eq!(ask(Some(&token(role))).status, status, "{role}");
        }
    }
    // What browsers ask for needs none, nor does whoever looks whether it lives.
    for (port, path, status) in
        [(http, "/healthz", 200), (metrics, "/healthz", 200), (http, "/c?t=x", 400), (http, "/i.gif", 400)]
    {
        assert_eq!(Http::connect(port).unwrap().get(path, &[]).unwrap().status, status, "{path}");
    }

    // gRPC, the same.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let control = control_port(target.job.data_dir());
    let call = |port: u16, path: &'static str, token: Option<&str>| {
        runtime.block_on(async {
            let mut rpc = Rpc::connect(port, token).await?;
            rpc.unary::<_, Nothing>(path, Nothing {}).await.map(|_| ())
        })
    };
    for (port, path, roles) in [
        (grpc, "/weir.v1.Collector/Collect", [true, false, true]),
        (control, "/weir.v1.Control/Status", [false, true, true]),
        (control, "/weir.v1.Control/Generations", [false, true, true]),
        (control, "/weir.v1.Control/Erase", [false, false, true]),
    ] {
        for stranger in strangers {
            assert_eq!(
                call(port, path, stranger).unwrap_err().code(),
                Code::Unauthenticated,
                "{path} {stranger:?}"
            );
        }
        for (role, may) in ROLES.iter().zip(roles) {
            let code =
                call(port, path, Some(&token(role))).map_or_else(|status| status.code(), |()| Code::Ok);
            assert_eq!(code != Code::PermissionDenied, may, "{path} {role}: {code:?}");
            assert_ne!(code, Code::Unauthenticated, "{path} {role}");
        }
    }
    let issue = |token: &str| {
        runtime
            .block_on(async { Rpc::connect(grpc, Some(token)).await?.issue(IssueRequest::default()).await })
    };
    assert_eq!(issue(&token("analyst")).unwrap_err().code(), Code::PermissionDenied);
    assert_eq!(issue(&token("collector")).unwrap_err().code(), Code::InvalidArgument, "of no advertiser");

    // The collector's events are taken, until his token is taken back.
    let (good, role) = (target.next_good(), token("collector"));
    let sent: Result<CollectResponse, _> = runtime.block_on(async {
        let request = CollectRequest { batch_id: 1, events: vec![event(&good)] };
        Rpc::connect(grpc, Some(&role)).await?.collect(request).await
    });
    assert_eq!(sent.unwrap().results[0].status, 1);
    let text = std::fs::read_to_string(&file).unwrap();
    let without: Vec<&str> =
        text.split("[[token]]").filter(|section| !section.contains("\"collector\"")).collect();
    std::fs::write(&file, without.join("[[token]]")).unwrap();
    wait_for("the token to be of no use", || events(Some(&role)).status == 401);

    // No secret is told to anybody.
    let (said, shown) = (target.job.said(), page(Some(&token("operator"))).text());
    for secret in tokens.iter().map(|token| token.as_str()).chain([wrong.as_str()]) {
        assert!(!said.contains(secret) && !shown.contains(secret), "a token is in the log or the metrics");
    }
    let reasons: Vec<String> = target.end().into_iter().map(|dropped| dropped.reason).collect();
    assert_eq!(reasons, ["bad_credential"], "of the click above");
}

#[test]
fn with_tls_there_is_nothing_in_plain_text() {
    let mut pki = None;
    let mut target = Target::start_with("security-tls", "", |job, scratch| {
        let made = Pki::make(scratch);
        let Pki { certificate, key, authority, .. } = &made;
        job.configure(&format!(
            "\n[tls]\ncertificate = {certificate:?}\nkey = {key:?}\nclient_ca = {authority:?}\nmutual = [\"grpc\", \"metrics\"]\n"
        ));
        pki = Some(made);
    });
    let pki = pki.unwrap();
    let (http, grpc) = target.ports();
    let metrics = target.job.metrics_port();
    for port in [http, grpc, metrics] {
        let mut plain = Http::connect(port).unwrap();
        plain.send("GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").unwrap();
        plain.finish();
        let rest = plain.rest();
        assert!(!rest.contains("HTTP/"), "{rest}");
    }
    let [stranger, anybody, friend] =
        [pki.agent(false, false), pki.agent(true, false), pki.agent(true, true)];
    let url = |port: u16, path: &str| format!("https://localhost:{port}{path}");
    assert!(stranger.get(url(http, "/healthz")).call().is_err(), "nobody has signed that");
    assert_eq!(anybody.get(url(http, "/healthz")).call().unwrap().status(), 200);
    let good = target.next_good();
    let sent = anybody.post(url(http, "/v1/events")).send(good.line()).unwrap();
    assert_eq!(sent.status(), 200);
    // Where certificates are demanded of clients, nobody gets in without.
    for port in [grpc, metrics] {
        assert!(anybody.get(url(port, "/healthz")).call().is_err(), "{port}");
    }
    assert_eq!(friend.get(url(metrics, "/metrics")).call().unwrap().status(), 200);
    target.job.assert_alive();
    assert!(target.end().is_empty());
}

#[track_caller]
fn token(file: &Path, name: &str, more: &[&str]) -> String {
    let role = if ROLES.contains(&name) { name } else { "operator" };
    let mut command = weir();
    command.args(["token", "new", "--role", role, "--name", name, "--file"]).arg(file).args(more);
    Weir::start(&mut command).wait().ok().stdout.trim().to_owned()
}

fn bearer(token: Option<&str>) -> Vec<(&'static str, &'static str)> {
    // Leaked, so that a header is two texts; there are few.
    let header = |token: &str| ("authorization", &*format!("Bearer {token}").leak());
    token.map(header).into_iter().collect()
}

fn control_port(data_dir: &Path) -> u16 {
    let announced = std::fs::read_to_string(data_dir.join("control.address")).unwrap();
    announced.lines().next().unwrap().rsplit_once(':').unwrap().1.parse().unwrap()
}

/// An authority, the certificate of a job and that of a client.
struct Pki {
    certificate: PathBuf,
    key: PathBuf,
    authority: PathBuf,
    authority_pem: String,
    client: (String, String),
}

impl Pki {
    fn make(scratch: &Scratch) -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let signed = |name: &str| {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
            (params.signed_by(&key, &authority).unwrap().pem(), key.serialize_pem())
        };
        let (certificate, key) = signed("localhost");
        Pki {
            certificate: scratch.write("weir.crt", certificate),
            key: scratch.write("weir.key", key),
            authority: scratch.write("authority.crt", authority.pem()),
            authority_pem: authority.pem(),
            client: signed("friend"),
        }
    }

    /// A client that knows the authority, or has a certificate of its own.
    fn agent(&self, knows: bool, has: bool) -> ureq::Agent {
        let mut tls = TlsConfig::builder();
        if knows {
            let root = Certificate::from_pem(self.authority_pem.as_bytes()).unwrap();
            tls = tls.root_certs(RootCerts::new_with_certs(&[root]));
        }
        if has {
            let (certificate, key) = &self.client;
            let certificate = Certificate::from_pem(certificate.as_bytes()).unwrap();
            let key = PrivateKey::from_pem(key.as_bytes()).unwrap();
            tls = tls.client_cert(Some(ClientCert::new_with_certs(&[certificate], key)));
        }
        ureq::Agent::config_builder().tls_config(tls.build()).build().new_agent()
    }
}
