//! Who may ask a job for what: bearer tokens, each with a name and a role.
//!
//! Tokens are known by their SHA-256 alone (see [`tokens`]), so that the file that lists them is no secret; they
//! are 256 random bits, for which a fast hash is as good as a slow one. What each request needs is written down
//! in [`need`]; what is not named there needs an operator.

mod guard;
mod need;
mod tokens;

#[cfg(test)]
mod tests;

pub use need::{Need, need_of};
pub use tokens::{AuthError, NewToken, TokenEntry, add_token, read_tokens};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use subtle::ConstantTimeEq;

/// How often it is looked whether the file has changed, at most.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a caller is trusted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Hands events in, and sees nothing.
    Collector,
    /// Looks: status, metrics, taps with masks. Changes nothing.
    Analyst,
    /// Does everything.
    Operator,
}

impl Role {
    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Role::Collector => "collector",
            Role::Analyst => "analyst",
            Role::Operator => "operator",
        }
    }
}

/// Who has sent a request; in its extensions if it was let through as more than a stranger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The name of the token; without `[auth]` the name in the client's certificate, or `local`.
    pub name: String,
    /// What it may do.
    pub role: Role,
    /// Where the connection comes from, if it is one.
    pub address: Option<SocketAddr>,
}

impl Caller {
    /// Who needs no token: this process itself, or anybody where there is no `[auth]`.
    pub fn local() -> Self {
        Caller { name: "local".to_owned(), role: Role::Operator, address: None }
    }
}

/// The tokens of a job; the default lets everybody do everything.
#[derive(Clone, Default)]
pub struct Auth(Option<Arc<Tokens>>);

struct Tokens {
    path: PathBuf,
    state: Mutex<State>,
}

struct State {
    entries: Arc<[TokenEntry]>,
    /// What the file held when it was read last, if it could be.
    text: Option<Vec<u8>>,
    looked: Instant,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Auth").field(&self.0.as_ref().map(|tokens| &tokens.path)).finish()
    }
}

impl Auth {
    /// With the tokens of a file.
    pub fn open(path: &Path) -> Result<Self, AuthError> {
        let (text, entries) = tokens::read(path)?;
        let state = State { entries: entries.into(), text: Some(text), looked: Instant::now() };
        Ok(Auth(Some(Arc::new(Tokens { path: path.to_owned(), state: Mutex::new(state) }))))
    }

    /// Whether tokens are asked for at all.
    pub fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// The name and role of a token that is valid now.
    pub fn check(&self, token: &[u8]) -> Option<(String, Role)> {
        let entries = self.0.as_ref()?.entries();
        let digest: [u8; 32] = Sha256::digest(token).into();
        // All of them are compared, and each as a whole: the time it takes says nothing.
        let mut found = None;
        for entry in entries.iter() {
            if bool::from(entry.sha256.ct_eq(&digest)) {
                found = Some(entry);
            }
        }
        let found = found.filter(|entry| entry.expires.is_none_or(|end| Timestamp::now() < end))?;
        Some((found.name.clone(), found.role))
    }
}

impl Tokens {
    /// Those of the file, which is looked at every second. While it is of no use, those of before are valid.
    fn entries(&self) -> Arc<[TokenEntry]> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.looked.elapsed() >= LOOK_EVERY {
            state.looked = Instant::now();
            let text = std::fs::read(&self.path).ok();
            if text != state.text {
                state.text = text;
                match tokens::read(&self.path) {
                    Ok((text, entries)) => {
                        tracing::info!("{} has changed: {} tokens", self.path.display(), entries.len());
                        (state.text, state.entries) = (Some(text), entries.into());
                    }
                    Err(error) => tracing::error!("{error}. The tokens of before stay valid"),
                }
            }
        }
        state.entries.clone()
    }
}
