//! How commands reach a running job: with TLS, a token and a certificate, where it asks for them.

use super::Failure;
use clap::Args;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use tokio::runtime::Runtime;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::Interceptor;
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic::{Request, Status};
use weir_proto::rpc::control_client::ControlClient;

/// How long a job may take to answer at all.
const CONNECT: Duration = Duration::from_secs(10);

/// Options of every command that talks to a running job. A token is in a file or in WEIR_TOKEN, never on the command
/// line, where others could see it.
#[derive(Args, Debug, Default)]
#[command(next_help_heading = "Reaching a running job")]
pub(super) struct Access {
    /// The file with the token, if the job asks for one; it may be in WEIR_TOKEN instead.
    #[arg(long, global = true, env = "WEIR_TOKEN_FILE", value_name = "FILE", hide_short_help = true)]
    token_file: Option<PathBuf>,
    /// The PEM file of the certificate by which the job's is checked; those of this machine if not given.
    #[arg(long, global = true, env = "WEIR_CA", value_name = "FILE", hide_short_help = true)]
    ca: Option<PathBuf>,
    /// The name in the job's certificate, if it is not that of the address.
    #[arg(long, global = true, env = "WEIR_TLS_NAME", value_name = "NAME", hide_short_help = true)]
    tls_name: Option<String>,
    /// The PEM file of a certificate to show to the job.
    #[arg(
        long,
        global = true,
        env = "WEIR_CLIENT_CERT",
        value_name = "FILE",
        requires = "client_key",
        hide_short_help = true
    )]
    client_cert: Option<PathBuf>,
    /// The PEM file of its private key.
    #[arg(
        long,
        global = true,
        env = "WEIR_CLIENT_KEY",
        value_name = "FILE",
        requires = "client_cert",
        hide_short_help = true
    )]
    client_key: Option<PathBuf>,
}

/// Those of this process; commands deep down ask a job without knowing of them.
static CHOSEN: OnceLock<Access> = OnceLock::new();

/// A client of a control service.
pub(super) type Client = ControlClient<InterceptedService<Channel, Bearer>>;

/// Shows the token with each request.
#[derive(Clone)]
pub(super) struct Bearer(Option<MetadataValue<Ascii>>);

impl Interceptor for Bearer {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(token) = &self.0 {
            request.metadata_mut().insert("authorization", token.clone());
        }
        Ok(request)
    }
}

/// Has this process reach jobs so.
pub(super) fn choose(access: Access) {
    let _ = CHOSEN.set(access);
}

/// A client of the control service at an address.
pub(super) fn connect(runtime: &Runtime, address: &str) -> Result<Client, Failure> {
    let access = CHOSEN.get_or_init(Access::default);
    let endpoint = access.endpoint(address)?;
    let bearer = access.bearer(&endpoint)?;
    let channel = runtime.block_on(endpoint.connect()).map_err(|problem| {
        let hint = "Is it running, with [listen] control on that address?";
        let problem = with_causes(&problem);
        Failure::Said(format!("no answer from a job at {address}: {problem}. {hint}"), 1)
    })?;
    Ok(ControlClient::with_interceptor(channel, bearer))
}

/// What tonic says at first is only that something went wrong.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let more = error.to_string();
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}

impl Access {
    fn endpoint(&self, address: &str) -> Result<Endpoint, Failure> {
        let wrong = |problem| Failure::usage(format!("{address} is not an address of a job: {problem}"));
        let endpoint = Endpoint::from_shared(address.to_owned()).map_err(|e| wrong(e.to_string()))?;
        let endpoint = endpoint.connect_timeout(CONNECT);
        if endpoint.uri().scheme_str() != Some("https") {
            return Ok(endpoint);
        }
        let mut tls = ClientTlsConfig::new();
        tls = match &self.ca {
            Some(path) => tls.ca_certificate(Certificate::from_pem(read(path)?)),
            None => tls.with_native_roots(),
        };
        if let Some(name) = &self.tls_name {
            tls = tls.domain_name(name);
        }
        if let (Some(certificate), Some(key)) = (&self.client_cert, &self.client_key) {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        endpoint.tls_config(tls).map_err(|e| {
            let problem = with_causes(&e);
            Failure::usage(format!(
                "the certificates for {address} are of no use: {problem}. See --ca and --client-cert"
            ))
        })
    }

    fn bearer(&self, endpoint: &Endpoint) -> Result<Bearer, Failure> {
        let token = match (&self.token_file, std::env::var("WEIR_TOKEN")) {
            (Some(path), _) => String::from_utf8_lossy(&read(path)?).trim().to_owned(),
            (None, Ok(token)) => token.trim().to_owned(),
            (None, Err(_)) => return Ok(Bearer(None)),
        };
        let uri = endpoint.uri();
        let is_near = uri.host().is_some_and(|host| {
            let host = host.trim_matches(['[', ']']);
            host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
        });
        if uri.scheme_str() != Some("https") && !is_near {
            let text =
                "the token would be sent to another machine for all to read; use an address with https://";
            return Err(Failure::usage(text));
        }
        // A message about the value would give it away.
        let value = format!("Bearer {token}").parse::<MetadataValue<Ascii>>();
        let mut value = value.map_err(|_| Failure::usage("the token has characters that no token has"))?;
        value.set_sensitive(true);
        Ok(Bearer(Some(value)))
    }
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|e| Failure::usage(format!("cannot read {}: {e}", path.display())))
}
