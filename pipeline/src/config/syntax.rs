//! What the text of a configuration looks like: broken syntax, lines, values.

use toml::Spanned;
use toml::de::{DeValue, Error};

use super::load::Reader;

/// Errors after which the parser recovers at the end of the line.
const WITHIN_LINE: [&str; 3] = ["invalid boolean", "invalid basic string", "invalid literal string"];

impl Reader<'_> {
    /// The line of the byte `at`; the last line for what is missing at the end.
    pub(super) fn line(&self, at: usize) -> usize {
        let before = self.text.bytes().take(at);
        let line = 1 + before.filter(|byte| *byte == b'\n').count();
        line.min(self.text.lines().count().max(1))
    }

    /// Whether the rest of the document can still be judged.
    pub(super) fn syntax(&mut self, error: &Error) -> bool {
        let span = error.span().unwrap_or_default();
        let line = self.line(span.start);
        let found = self.text.get(span).unwrap_or_default();
        let unquoted = error.message().starts_with("string values must be quoted");
        let (message, harmless) = match error.message() {
            "duplicate key" => (self.duplicate(found, line), true),
            _ if unquoted && found.is_empty() => ("a value is missing after `=`.".to_owned(), true),
            _ if unquoted => {
                (format!("`{found}` is not a number, true or false; put it in quotes: \"{found}\"."), true)
            }
            other => (
                format!("this line is not TOML: {other}."),
                WITHIN_LINE.iter().any(|error| other.starts_with(error)),
            ),
        };
        if !self.broken.contains(&line) {
            self.problem(Some(line), String::new(), message);
        }
        if error.message() != "duplicate key" {
            self.broken.push(line);
        }
        harmless
    }

    fn duplicate(&self, key: &str, line: usize) -> String {
        let written = self.text.lines().nth(line - 1).unwrap_or_default().trim();
        if written.starts_with('[') {
            format!("the section [{key}] is here a second time; merge the two.")
        } else {
            format!("`{key}` is set a second time; keep one of the two.")
        }
    }

    /// A value as messages show it.
    pub(super) fn found(&self, value: &Spanned<DeValue<'_>>) -> String {
        match value.get_ref() {
            DeValue::Table(_) => "a section".to_owned(),
            DeValue::Array(_) => "a list".to_owned(),
            _ => shorten(self.text.get(value.span()).unwrap_or_default()),
        }
    }
}

/// The first line of `written`, up to 60 characters of it.
fn shorten(written: &str) -> String {
    let line = written.lines().next().unwrap_or_default();
    let shown: String = line.chars().take(60).collect();
    if shown.len() < written.len() { shown + "..." } else { shown }
}
