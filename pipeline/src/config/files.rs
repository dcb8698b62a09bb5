//! The files and directories a configuration names.

use std::fs::{self, File};
use std::io;
use std::path::{Component, Path, PathBuf};

use super::Config;
use super::blame::Checker;

impl Config {
    /// Makes relative paths start from `folder`.
    pub(super) fn resolve(&mut self, folder: &Path) {
        let sources = self.sources.iter_mut().map(|source| &mut source.path);
        let accounts = self.accounts.iter_mut().map(|accounts| &mut accounts.file);
        let networks = self.anti_brush.datacenter_networks.iter_mut();
        let keys = self.credentials.iter_mut().map(|credentials| &mut credentials.key_file);
        let data_dir = std::iter::once(&mut self.data_dir);
        let spool = self.ingest.iter_mut().map(|ingest| &mut ingest.spool);
        let tls = self
            .tls
            .iter_mut()
            .flat_map(|tls| [&mut tls.certificate, &mut tls.key].into_iter().chain(tls.client_ca.as_mut()));
        let tokens = self.auth.iter_mut().map(|auth| &mut auth.tokens);
        let security = tls.chain(tokens);
        let inputs = sources.chain(accounts).chain(networks);
        let regions = self.enrichment.iter_mut().map(|enrichment| &mut enrichment.regions);
        let ingest = spool.chain(regions);
        let zookeeper = self.group.iter_mut().map(|group| &mut group.zookeeper.auth_file);
        let kafka = std::iter::once(&mut self.log.kafka.client_file).chain(zookeeper);
        for path in data_dir.chain(inputs).chain(ingest).chain(security).chain(keys).chain(kafka) {
            // An empty path would become the folder itself, and pass for one given.
            if !path.as_os_str().is_empty() {
                *path = folder.join(&*path);
            }
        }
    }
}

/// Every path in `config`, with its key.
pub(super) fn named(config: &Config) -> Vec<(String, &Path)> {
    let mut named = vec![("data_dir".to_owned(), config.data_dir.as_path())];
    for (index, source) in config.sources.iter().enumerate() {
        named.push((format!("source[{index}].path"), &source.path));
    }
    named.extend(inputs(config));
    named
}

/// The files that must be there before Weir starts, with their keys.
fn inputs(config: &Config) -> Vec<(String, &Path)> {
    let mut inputs = Vec::new();
    if let Some(accounts) = &config.accounts {
        inputs.push(("accounts.file".to_owned(), accounts.file.as_path()));
    }
    if let Some(enrichment) = &config.enrichment {
        inputs.push(("enrichment.regions".to_owned(), enrichment.regions.as_path()));
    }
    let networks = config.anti_brush.datacenter_networks.iter();
    for (index, path) in networks.enumerate() {
        let key = format!("anti_brush.datacenter_networks[{index}]");
        inputs.push((key, path));
    }
    let security = config.security_files().into_iter();
    inputs.extend(security.map(|(key, path)| (key.to_owned(), path.as_path())));
    inputs
}

impl Checker<'_> {
    /// Tries the files, and the directories of the sources.
    pub(super) fn files(&mut self) {
        let config = self.config;
        for (key, path) in inputs(config) {
            self.input(&key, path);
        }
        for (index, source) in config.sources.iter().enumerate() {
            let key = format!("source[{index}].path");
            self.source(&key, &source.path);
        }
        self.security_contents();
    }

    fn input(&mut self, key: &str, path: &Path) {
        if path.as_os_str().is_empty() {
            return;
        }
        // The section, for a key left at its default.
        let section = key.split('.').next().unwrap_or(key);
        if let Err(error) = readable(path) {
            let path = path.display();
            let message = format!("cannot read {path}: {error}; make it readable or correct `{key}`.");
            self.blame(&[key, section], message);
        }
    }

    fn source(&mut self, key: &str, path: &Path) {
        let Some(parent) = path.parent() else {
            return;
        };
        if parent.as_os_str().is_empty() || parent.is_dir() {
            if path.is_file() {
                self.input(key, path);
            }
            return;
        }
        let shown = parent.display();
        let wild = parent.to_string_lossy().contains(['*', '?']);
        let message = if wild {
            format!(
                "the directory {shown} has a wildcard; \
                 only the last component of `{key}` may have one."
            )
        } else {
            format!("the directory {shown} does not exist; create it or correct `{key}`.")
        };
        self.blame(&[key], message);
    }
}

fn readable(path: &Path) -> io::Result<()> {
    // Asked first, because opening a pipe would wait for its writer.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    File::open(path).map(drop)
}

/// `path` without `.` and `..`.
pub(super) fn tidy(path: &Path) -> PathBuf {
    let mut tidy = PathBuf::new();
    for component in path.components() {
        let named = matches!(tidy.components().next_back(), Some(Component::Normal(_)));
        match component {
            Component::CurDir => {}
            Component::ParentDir if named => {
                tidy.pop();
            }
            Component::ParentDir if tidy.has_root() => {}
            other => tidy.push(other),
        }
    }
    tidy
}

/// `path` with the links followed in as much of it as exists.
pub(super) fn real(path: &Path) -> PathBuf {
    let tidy = tidy(path);
    for ancestor in tidy.ancestors() {
        let Ok(found) = ancestor.canonicalize() else {
            continue;
        };
        let rest = tidy.strip_prefix(ancestor).unwrap_or(Path::new(""));
        return found.components().chain(rest.components()).collect();
    }
    tidy
}
