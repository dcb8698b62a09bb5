//! `[tls]` and `[auth]`: who may come to the ports, and how; their keys and checks.

use std::net::SocketAddr;
use std::path::PathBuf;

use serde::Deserialize;

use super::Config;
use super::blame::Checker;

/// A port that Weir listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase", expecting = "\"metrics\", \"control\", \"http\" or \"grpc\"")]
pub enum Port {
    /// The metrics page.
    Metrics,
    /// The control service.
    Control,
    /// Events and beacons over HTTP.
    Http,
    /// Events over gRPC.
    Grpc,
}

impl Port {
    /// As it is called in `[listen]`.
    pub fn name(self) -> &'static str {
        match self {
            Port::Metrics => "metrics",
            Port::Control => "control",
            Port::Http => "http",
            Port::Grpc => "grpc",
        }
    }
}

impl std::fmt::Display for Port {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// `[tls]`: the certificate of all ports.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Tls {
    /// The PEM file of the certificate and of those between it and its root; required.
    pub certificate: PathBuf,
    /// The PEM file of its private key; required.
    pub key: PathBuf,
    /// The PEM file of the certificates that sign those of clients.
    pub client_ca: Option<PathBuf>,
    /// The ports that demand a certificate of their clients (default none).
    pub mutual: Vec<Port>,
}

/// `[auth]`: tokens.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default, deny_unknown_fields, expecting = "a section")]
pub struct Auth {
    /// The file of tokens; required.
    pub tokens: PathBuf,
}

impl Config {
    /// The ports that are listened on, and where.
    pub fn ports(&self) -> Vec<(Port, SocketAddr)> {
        let listen = &self.listen;
        let of_ingest = |address| self.ingest.as_ref().and(address);
        let all = [
            (Port::Metrics, listen.metrics),
            (Port::Control, listen.control),
            (Port::Http, of_ingest(listen.http)),
            (Port::Grpc, of_ingest(listen.grpc)),
        ];
        all.into_iter().filter_map(|(port, address)| Some((port, address?))).collect()
    }

    /// The files of `[tls]` and `[auth]`, with their keys.
    pub(super) fn security_files(&self) -> Vec<(&'static str, &PathBuf)> {
        let mut files = Vec::new();
        if let Some(tls) = &self.tls {
            files.extend([("tls.certificate", &tls.certificate), ("tls.key", &tls.key)]);
            files.extend(tls.client_ca.iter().map(|path| ("tls.client_ca", path)));
        }
        files.extend(self.auth.iter().map(|auth| ("auth.tokens", &auth.tokens)));
        files
    }
}

impl Checker<'_> {
    /// What contradicts itself in `[tls]`.
    pub(super) fn security(&mut self) {
        let Some(tls) = &self.config.tls else { return };
        if !tls.mutual.is_empty() && tls.client_ca.is_none() {
            let message = "`tls.mutual` demands certificates of clients, but nothing says whose; give \
                           `tls.client_ca` the certificate of whoever signs them.";
            self.blame(&["tls.mutual", "tls.client_ca"], message.to_owned());
        }
    }

    /// Whether the files of `[tls]` and `[auth]` hold what they should.
    pub(super) fn security_contents(&mut self) {
        let config = self.config;
        let unreadable = |path: &PathBuf| std::fs::File::open(path).is_err();
        if config.security_files().into_iter().any(|(_, path)| unreadable(path)) {
            return; // That was said already.
        }
        if let Some(tls) = config.tls.as_ref().filter(|tls| tls.mutual.is_empty() || tls.client_ca.is_some())
            && let Err(error) = crate::net::Certificates::open(tls)
        {
            self.blame(&["tls.certificate", "tls.key", "tls.client_ca", "tls"], format!("{error}."));
        }
        if let Some(auth) = &config.auth
            && let Err(error) = crate::auth::read_tokens(&auth.tokens)
        {
            self.blame(&["auth.tokens", "auth"], format!("{error}."));
        }
    }
}
