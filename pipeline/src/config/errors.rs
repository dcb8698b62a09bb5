//! What is wrong with a configuration.

use std::fmt;

/// One problem, and where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Line in the file, from 1; `None` if no line is at fault.
    pub line: Option<usize>,
    /// The key, such as `time.max_ahead` or `source[0].path`; empty for the
    /// file as a whole and for broken syntax.
    pub key: String,
    /// A sentence that says what is wrong and what to do.
    pub message: String,
}

/// All the problems of one configuration, in the order of their lines.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConfigErrors {
    /// The file as it was named to [`Config::load`](super::Config::load).
    pub file: String,
    /// The problems; never empty.
    pub problems: Vec<Problem>,
}

impl ConfigErrors {
    pub(super) fn new(file: &str, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.line);
        let file = file.to_owned();
        Self { file, problems }
    }

    /// Refuses `file` if there are `problems`.
    pub(super) fn refuse(file: &str, problems: Vec<Problem>) -> Result<(), Self> {
        if problems.is_empty() {
            return Ok(());
        }
        Err(Self::new(file, problems))
    }

    /// Refuses `file` as a whole.
    pub(super) fn unreadable(file: &str, line: Option<usize>, message: String) -> Self {
        let key = String::new();
        Self::new(file, vec![Problem { line, key, message }])
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, problem) in self.problems.iter().enumerate() {
            let separator = if nth == 0 { "" } else { "\n" };
            write!(f, "{separator}{}:", self.file)?;
            if let Some(line) = problem.line {
                write!(f, "{line}:")?;
            }
            write!(f, " {}", problem.message)?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
