//! TLS for the ports: the certificate, and that of whoever signs the clients'. Changed files are read anew while
//! the job runs; what is of no use is named, and the one before stays in force.

use crate::config::{self, Port};
use rustls::crypto::{CryptoProvider, ring};
use rustls::server::{ServerConfig, WebPkiClientVerifier};
use rustls::{RootCertStore, ServerConnection};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};
use std::time::Duration;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use x509_cert::der::asn1::{PrintableStringRef, Utf8StringRef};
use x509_cert::der::{Decode, oid::ObjectIdentifier};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// How often it is looked whether the files have changed.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(30);
const COMMON_NAME: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.4.3");

/// The files of `[tls]` are of no use.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// One cannot be read.
    #[error("cannot read {path}: {source}; make it readable or correct `tls.{key}`")]
    Unreadable {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// One does not hold what it should.
    #[error("{path} holds no {what} in PEM that can be used ({problem}); correct the file or `tls.{key}`")]
    Unusable {
        /// The key of the configuration.
        key: &'static str,
        /// The file.
        path: PathBuf,
        /// What it should hold.
        what: &'static str,
        /// What is wrong; never the content.
        problem: String,
    },
    /// They do not belong together.
    #[error("the key {key} is not that of the certificate {certificate}; give the two that belong together")]
    Mismatch {
        /// The file of the certificate.
        certificate: PathBuf,
        /// The file of the key.
        key: PathBuf,
    },
    /// A port is to demand certificates, but whose?
    #[error("`tls.mutual` needs `tls.client_ca`: the certificate of whoever signs those of the clients")]
    NoClientCa,
}

/// The certificates of a job.
pub struct Certificates {
    settings: config::Tls,
    loaded: RwLock<Loaded>,
    /// The newest content of the files, if it was tried.
    tried: Mutex<Vec<Vec<u8>>>,
}

#[derive(Clone)]
struct Loaded {
    /// For ports that let everybody in.
    plain: Arc<ServerConfig>,
    /// For those that demand a certificate.
    mutual: Option<Arc<ServerConfig>>,
}

impl std::fmt::Debug for Certificates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Certificates").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Reads the files of a configuration.
    pub fn open(settings: &config::Tls) -> Result<Self, TlsError> {
        let texts = read(settings)?;
        let loaded = RwLock::new(load(settings, &texts)?);
        Ok(Certificates { settings: settings.clone(), loaded, tried: Mutex::new(texts) })
    }

    /// Reads the files anew if they have changed; whether they had, and are in force now.
    pub fn reload(&self) -> Result<bool, TlsError> {
        let texts = read(&self.settings)?;
        let mut tried = self.tried.lock().unwrap_or_else(PoisonError::into_inner);
        if *tried == texts {
            return Ok(false);
        }
        // Also if it is of no use: that is said once.
        tried.clone_from(&texts);
        let loaded = load(&self.settings, &texts)?;
        *self.loaded.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(true)
    }

    /// For a new connection to a port.
    pub(super) fn acceptor(&self, port: Port) -> TlsAcceptor {
        let loaded = self.loaded.read().unwrap_or_else(PoisonError::into_inner);
        let mutual = loaded.mutual.as_ref().filter(|_| self.settings.mutual.contains(&port));
        TlsAcceptor::from(mutual.unwrap_or(&loaded.plain).clone())
    }
}

/// Looks for changed files for as long as somebody uses them.
pub(super) async fn watch(certificates: Weak<Certificates>, every: Duration) {
    let mut unreadable = false;
    loop {
        tokio::time::sleep(every).await;
        let Some(certificates) = certificates.upgrade() else { return };
        let reloaded = tokio::task::spawn_blocking(move || certificates.reload()).await;
        match reloaded {
            Ok(Ok(true)) => tracing::info!("the changed files of [tls] are in force for new connections"),
            Ok(Err(error)) => {
                // A file that cannot be read is one and the same news each time.
                if !(unreadable && matches!(error, TlsError::Unreadable { .. })) {
                    tracing::error!("{error}. The files of before stay in force");
                }
                unreadable = matches!(error, TlsError::Unreadable { .. });
                continue;
            }
            Ok(Ok(false)) | Err(_) => {}
        }
        unreadable = false;
    }
}

/// The content of the certificate, the key, and the certificate of the clients' signer.
fn read(settings: &config::Tls) -> Result<Vec<Vec<u8>>, TlsError> {
    let read = |key, path: &Path| {
        std::fs::read(path).map_err(|source| TlsError::Unreadable { key, path: path.to_owned(), source })
    };
    let mut texts = vec![read("certificate", &settings.certificate)?, read("key", &settings.key)?];
    if let Some(path) = &settings.client_ca {
        texts.push(read("client_ca", path)?);
    }
    Ok(texts)
}

fn load(settings: &config::Tls, texts: &[Vec<u8>]) -> Result<Loaded, TlsError> {
    let [certificate, key, client_ca @ ..] = texts else { return Err(TlsError::NoClientCa) };
    let chain = certificates("certificate", &settings.certificate, certificate)?;
    let private =
        PrivateKeyDer::from_pem_slice(key).map_err(|e| unusable("key", &settings.key, "private key", &e))?;
    let provider = Arc::new(ring::default_provider());
    let config = |verifier| -> Result<Arc<ServerConfig>, TlsError> {
        let builder = ServerConfig::builder_with_provider(provider.clone())
            .with_safe_default_protocol_versions()
            .map_err(|e| unusable("certificate", &settings.certificate, "certificate", &e))?;
        let builder = match verifier {
            Some(verifier) => builder.with_client_cert_verifier(verifier),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(chain.clone(), private.clone_key())
            .map_err(|e| refused(settings, &e))?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Arc::new(config))
    };
    let mutual = match (&settings.client_ca, client_ca) {
        (Some(path), [text]) => Some(config(Some(verifier(path, text, &provider)?))?),
        _ if settings.mutual.is_empty() => None,
        _ => return Err(TlsError::NoClientCa),
    };
    Ok(Loaded { plain: config(None)?, mutual })
}

fn refused(settings: &config::Tls, error: &rustls::Error) -> TlsError {
    match error {
        rustls::Error::InconsistentKeys(_) => {
            TlsError::Mismatch { certificate: settings.certificate.clone(), key: settings.key.clone() }
        }
        rustls::Error::InvalidCertificate(_) => {
            unusable("certificate", &settings.certificate, "certificate", error)
        }
        _ => unusable("key", &settings.key, "private key", error),
    }
}

fn verifier(
    path: &Path,
    text: &[u8],
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn rustls::server::danger::ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    let wrong = |e: &dyn std::fmt::Display| unusable("client_ca", path, "certificate", e);
    for certificate in certificates("client_ca", path, text)? {
        roots.add(certificate).map_err(|e| wrong(&e))?;
    }
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone()).build();
    built.map_err(|e| wrong(&e))
}

fn certificates(
    key: &'static str,
    path: &Path,
    text: &[u8],
) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text).collect();
    let all = all.map_err(|e| unusable(key, path, "certificate", &e))?;
    match all.is_empty() {
        true => Err(unusable(key, path, "certificate", &"there is none in it")),
        false => Ok(all),
    }
}

fn unusable(key: &'static str, path: &Path, what: &'static str, problem: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unusable { key, path: path.to_owned(), what, problem: problem.to_string() }
}

/// The name in the certificate of the client, which was checked.
pub(super) fn client_name<S>(stream: &TlsStream<S>) -> Option<String> {
    let connection: &ServerConnection = stream.get_ref().1;
    name_of(connection.peer_certificates()?.first()?)
}

/// The common name; without one, the first other name.
fn name_of(certificate: &CertificateDer<'_>) -> Option<String> {
    let certificate = x509_cert::Certificate::from_der(certificate).ok()?;
    let certificate = certificate.tbs_certificate;
    let parts = certificate.subject.0.iter().flat_map(|part| part.0.iter());
    let common = parts.filter(|part| part.oid == COMMON_NAME).find_map(|part| {
        let text = part.value.decode_as::<Utf8StringRef<'_>>().map(|t| t.as_str().to_owned());
        text.or_else(|_| part.value.decode_as::<PrintableStringRef<'_>>().map(|t| t.as_str().to_owned())).ok()
    });
    common.or_else(|| {
        let (_, SubjectAltName(names)) = certificate.get::<SubjectAltName>().ok()??;
        names.into_iter().find_map(|name| match name {
            GeneralName::DnsName(name) => Some(name.to_string()),
            GeneralName::Rfc822Name(name) => Some(name.to_string()),
            GeneralName::UniformResourceIdentifier(name) => Some(name.to_string()),
            _ => None,
        })
    })
}
