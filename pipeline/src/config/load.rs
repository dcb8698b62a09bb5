//! Reads a configuration, and remembers the line of each key.

use std::fs;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::blame::{Checker, Places};
use super::names;
use super::probe::{LIST, Probe, Refusal, SECTION, Step};
use super::{Config, ConfigErrors, Problem};

impl Config {
    /// Reads the file at `path`, resolves relative paths against its directory
    /// and checks everything, the files it names included.
    ///
    /// # Errors
    /// All the problems found.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, ConfigErrors> {
        let path = path.as_ref();
        let name = path.display().to_string();
        let bytes = fs::read(path).map_err(|error| {
            let message = format!("cannot read the configuration: {error}; name a readable file.");
            ConfigErrors::unreadable(&name, None, message)
        })?;
        let text = utf8(&name, &bytes)?;
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        read(&name, text, path.parent())
    }

    /// Reads `text`, leaving its paths as they are and looking at no file;
    /// `file_name` is for the messages.
    ///
    /// # Errors
    /// All the problems found.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, ConfigErrors> {
        read(file_name, text, None)
    }
}

fn utf8<'t>(name: &str, bytes: &'t [u8]) -> Result<&'t str, ConfigErrors> {
    std::str::from_utf8(bytes).map_err(|error| {
        let before = &bytes[..error.valid_up_to()];
        let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
        let message = "this line is not UTF-8; save the file in that encoding.".to_owned();
        ConfigErrors::unreadable(name, Some(line), message)
    })
}

/// Checks the files too if there is a `folder` to find them from.
fn read(name: &str, text: &str, folder: Option<&Path>) -> Result<Config, ConfigErrors> {
    let (table, errors) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(text);
    let mut readable = true;
    for error in &errors {
        readable &= reader.syntax(error);
    }
    if !readable {
        return Err(ConfigErrors::new(name, reader.problems));
    }
    let mut document = DeValue::Table(table.into_inner());
    reader.descend(&mut Vec::new(), &mut document);
    let mut config = reader.config(&document);
    if let Some(folder) = folder {
        config.resolve(folder);
    }
    let mut checker = Checker::new(&config, reader.places, reader.problems);
    checker.contradictions(folder.is_some());
    if folder.is_some() {
        checker.files();
    }
    ConfigErrors::refuse(name, checker.problems)?;
    Ok(config)
}

pub(super) struct Reader<'t> {
    pub(super) text: &'t str,
    places: Places,
    problems: Vec<Problem>,
    /// Lines whose syntax is broken: what they say is not judged further.
    pub(super) broken: Vec<usize>,
}

impl<'t> Reader<'t> {
    fn new(text: &'t str) -> Self {
        Self { text, places: Places::default(), problems: Vec::new(), broken: Vec::new() }
    }

    fn config(&mut self, document: &DeValue<'_>) -> Config {
        Config::deserialize(Probe::whole(document)).unwrap_or_else(|refusal| {
            self.problem(None, String::new(), format!("{refusal}."));
            Config::default()
        })
    }

    pub(super) fn problem(&mut self, line: Option<usize>, key: String, message: String) {
        self.problems.push(Problem { line, key, message });
    }

    /// Removes what is refused from `value`; whether all of a list was kept.
    fn descend(&mut self, path: &mut Vec<Step>, value: &mut DeValue<'_>) -> bool {
        match value {
            DeValue::Table(table) => {
                let mut refused = Vec::new();
                for (key, value) in table.iter_mut() {
                    let step = Step::Key(key.get_ref().to_string());
                    if !self.accept(path, step, key.span().start, value) {
                        refused.push(key.get_ref().to_string());
                    }
                }
                for key in &refused {
                    table.remove(key.as_str());
                }
                true
            }
            DeValue::Array(list) => {
                let mut kept = true;
                for (index, item) in list.iter_mut().enumerate() {
                    let at = item.span().start;
                    kept &= self.accept(path, Step::Index(index), at, item);
                }
                kept
            }
            _ => true,
        }
    }

    fn accept(
        &mut self,
        path: &mut Vec<Step>,
        step: Step,
        at: usize,
        value: &mut Spanned<DeValue<'_>>,
    ) -> bool {
        path.push(step);
        let key = names::dotted(path);
        let line = self.line(at);
        self.places.lines.insert(key.clone(), line);
        let broken = self.broken.contains(&self.line(value.span().start));
        let tried = Config::deserialize(Probe::only(path, value.get_ref()));
        let kept = match tried {
            _ if broken => false,
            Ok(_) => self.descend(path, value.get_mut()),
            Err(refusal) => {
                self.refuse(path, line, value, refusal);
                false
            }
        };
        if !kept {
            self.places.refused.push(key);
        }
        path.pop();
        kept
    }

    fn refuse(&mut self, path: &[Step], line: usize, value: &Spanned<DeValue<'_>>, refusal: Refusal) {
        let key = names::dotted(path);
        let message = match refusal {
            Refusal::Unknown(_) => {
                let (message, meant) = names::unknown(path, value.get_ref());
                self.places.refused.extend(meant);
                message
            }
            Refusal::Expected(wanted) if wanted == LIST && path.len() == 1 => {
                format!("`{key}` is not a list; write each of its sections as [[{key}]].")
            }
            Refusal::Expected(wanted) if wanted == SECTION => {
                let (found, header) = (self.found(value), names::header(path));
                format!("`{key}` is {found}; it must be a section, written {header}.")
            }
            Refusal::Expected(wanted) => {
                let found = self.found(value);
                format!("`{key}` is {found}; it must be {wanted}.")
            }
            Refusal::Other(message) => format!("`{key}` is refused: {message}."),
        };
        self.problem(Some(line), key, message);
    }
}
