//! The file of tokens, TOML: for each token a section
//!
//! ```text
//! [[token]]
//! name = "ads-eu"                     who; unique
//! role = "collector"                  collector, analyst or operator
//! sha256 = "9f86…"                    of the token, 64 hexadecimal digits
//! expires = 2027-01-01T00:00:00Z      not valid from then on; may be left out
//! ```
//!
//! The tokens themselves are never in it.

use super::{Caller, Role};
use jiff::Timestamp;
use serde::Deserialize;
use sha2::{Digest, Sha256};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use weir_state::{PUBLIC, replace_file};

/// What is known of a token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenEntry {
    /// Whose it is.
    pub name: String,
    /// What it is for.
    pub role: Role,
    /// Its SHA-256.
    pub sha256: [u8; 32],
    /// From when on it is not valid.
    pub expires: Option<Timestamp>,
}

/// The file of tokens is of no use.
#[derive(Debug, thiserror::Error)]
pub enum AuthError {
    /// It cannot be read or written.
    #[error("cannot {what} the tokens {path}: {source}; `weir token new --file` makes the file")]
    Io {
        /// What was tried.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// It is wrong.
    #[error("the tokens {path} are of no use: {problem}")]
    Wrong {
        /// The file.
        path: PathBuf,
        /// What is wrong and what to do; never more of the content than a name.
        problem: String,
    },
    /// The system has no randomness.
    #[error("the system gives no random bytes: {0}")]
    NoRandomness(getrandom::Error),
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    #[serde(default)]
    token: Vec<Section>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Section {
    name: String,
    role: String,
    sha256: String,
    expires: Option<toml::Value>,
}

/// The tokens of a file.
pub fn read_tokens(path: &Path) -> Result<Vec<TokenEntry>, AuthError> {
    Ok(read(path)?.1)
}

/// The text of a file, and the tokens in it.
pub(super) fn read(path: &Path) -> Result<(Vec<u8>, Vec<TokenEntry>), AuthError> {
    let text = fs::read(path).map_err(io("read", path))?;
    let entries = parse(&text).map_err(|problem| AuthError::Wrong { path: path.to_owned(), problem })?;
    Ok((text, entries))
}

fn parse(text: &[u8]) -> Result<Vec<TokenEntry>, String> {
    let text = std::str::from_utf8(text).map_err(|_| "the file is not UTF-8".to_owned())?;
    let document: Document = toml::from_str(text).map_err(|error| {
        // The message of the parser, without the line that it quotes: somebody may have put a token there.
        let line = error.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
        format!("line {line} is not as it should be. A section is [[token]] with name, role, sha256 and, if wanted, expires")
    })?;
    let mut entries: Vec<TokenEntry> = Vec::new();
    for section in document.token {
        let entry = entry(section)?;
        if entries.iter().any(|e| e.name == entry.name) {
            return Err(format!("there are two tokens named {:?}; give each a name of its own", entry.name));
        }
        if let Some(same) = entries.iter().find(|e| e.sha256 == entry.sha256) {
            return Err(format!("{:?} and {:?} are the same token; make another one", same.name, entry.name));
        }
        entries.push(entry);
    }
    Ok(entries)
}

fn entry(section: Section) -> Result<TokenEntry, String> {
    let Section { name, role, sha256, expires } = section;
    check_name(&name)?;
    let role = [Role::Collector, Role::Analyst, Role::Operator].into_iter().find(|r| r.name() == role);
    let role = role.ok_or_else(|| {
        format!("the role of the token {name:?} is none of collector, analyst and operator")
    })?;
    let sha256 = from_hex(&sha256).ok_or_else(|| {
        format!(
            "sha256 of the token {name:?} is not 64 hexadecimal digits; `weir token new` prints the section"
        )
    })?;
    let time = |value: toml::Value| value.to_string().trim_matches('"').parse::<Timestamp>();
    let expires = expires.map(time).transpose().map_err(|_| {
        format!("expires of the token {name:?} is no time with a zone, such as 2027-01-01T00:00:00Z")
    })?;
    Ok(TokenEntry { name, role, sha256, expires })
}

/// Names stand in logs and answers: they are short and plain.
fn check_name(name: &str) -> Result<(), String> {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.@".contains(&b);
    match (1..=64).contains(&name.len()) && name.bytes().all(plain) {
        true if name == Caller::local().name => {
            Err("`local` is whoever needs no token; name this one otherwise".to_owned())
        }
        true => Ok(()),
        false => Err("the name of a token is 1 to 64 letters, digits, `-`, `_`, `.` or `@`".to_owned()),
    }
}

/// A token that was just made: this is the only time that it can be seen.
pub struct NewToken {
    /// The token.
    pub token: String,
    /// Its section in the file.
    pub section: String,
}

impl NewToken {
    /// Makes one of 256 random bits.
    pub fn make(name: &str, role: Role, expires: Option<Timestamp>) -> Result<Self, AuthError> {
        let path = || PathBuf::from("--name");
        check_name(name).map_err(|problem| AuthError::Wrong { path: path(), problem })?;
        let mut random = [0; 32];
        getrandom::fill(&mut random).map_err(AuthError::NoRandomness)?;
        // With a beginning by which those who search for leaked secrets know it.
        let token = format!("weir_{}", hex(&random));
        let sha256 = hex(&Sha256::digest(&token));
        let expires = expires.map_or(String::new(), |end| format!("expires = {end:.0}\n"));
        let section = format!(
            "[[token]]\nname = \"{name}\"\nrole = \"{}\"\nsha256 = \"{sha256}\"\n{expires}",
            role.name()
        );
        Ok(NewToken { token, section })
    }
}

/// Adds a section to a file, which need not exist; all of it or nothing.
pub fn add_token(path: &Path, section: &str) -> Result<(), AuthError> {
    let mut text = match fs::read(path) {
        Ok(text) => text,
        Err(e) if e.kind() == ErrorKind::NotFound => Vec::new(),
        Err(e) => return Err(io("read", path)(e)),
    };
    if !text.is_empty() {
        text.extend_from_slice(if text.ends_with(b"\n") { b"\n" } else { b"\n\n" });
    }
    text.extend_from_slice(section.as_bytes());
    parse(&text).map_err(|problem| AuthError::Wrong { path: path.to_owned(), problem })?;
    // A link is followed: the file behind it is the one to replace.
    let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
    replace_file(&path, &text, PUBLIC, None).map_err(io("write", &path))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

fn from_hex(text: &str) -> Option<[u8; 32]> {
    let digits: Vec<u8> =
        text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<Vec<_>>>()?;
    let bytes: Vec<u8> = digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect();
    (digits.len() == 64).then(|| bytes.try_into().ok()).flatten()
}

fn io(what: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> AuthError {
    let path = path.to_owned();
    move |source| AuthError::Io { what, path, source }
}
