//! Finds the line to blame for a problem between settings.

use std::collections::BTreeMap;

use super::{Config, Problem};

/// What is known of the keys from the text.
#[derive(Default)]
pub(super) struct Places {
    /// The line of each key present.
    pub(super) lines: BTreeMap<String, usize>,
    /// Keys left out because they were refused already.
    pub(super) refused: Vec<String>,
}

impl Places {
    /// Whether the value of `key` is a default that stands in for a refused one.
    fn doubtful(&self, key: &str) -> bool {
        self.refused.iter().any(|refused| {
            let rest = key.strip_prefix(refused.as_str());
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
        })
    }
}

pub(super) struct Checker<'c> {
    pub(super) config: &'c Config,
    places: Places,
    pub(super) problems: Vec<Problem>,
}

impl<'c> Checker<'c> {
    pub(super) fn new(config: &'c Config, places: Places, problems: Vec<Problem>) -> Self {
        Self { config, places, problems }
    }

    /// Names the first of `keys` that is in the text. Says nothing if one of
    /// them was refused: its real value is not known.
    pub(super) fn blame(&mut self, keys: &[&str], message: String) {
        if keys.iter().any(|key| self.places.doubtful(key)) {
            return;
        }
        let lines = &self.places.lines;
        let present = keys.iter().find(|key| lines.contains_key(**key));
        let key = present.or(keys.first()).copied().unwrap_or_default();
        self.problems.push(Problem { line: lines.get(key).copied(), key: key.to_owned(), message });
    }
}
