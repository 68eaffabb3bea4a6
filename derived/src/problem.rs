//! What is wrong with a project's file, and where.

use common::{Error, ErrorKind};
use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Relative to the project; empty if it is about no one file.
    pub file: String,
    /// From 1; 0: about the whole file.
    pub line: usize,
    /// From 1; 0: about the whole line.
    pub column: usize,
    /// What is wrong and what to do.
    pub message: String,
}

impl Problem {
    /// A problem with a whole file.
    pub fn in_file(file: impl Into<String>, message: impl Into<String>) -> Self {
        Self { file: file.into(), line: 0, column: 0, message: message.into() }
    }

    /// A problem with the value of a top-level key of a YAML file.
    pub fn at_key(file: impl Into<String>, text: &str, key: &str, message: impl Into<String>) -> Self {
        let line = text.lines().position(|l| l.strip_prefix(key).is_some_and(|rest| rest.trim_start().starts_with(':')));
        Self { file: file.into(), line: line.map_or(0, |l| l + 1), column: usize::from(line.is_some()), message: message.into() }
    }

    /// The same problem as an error that crosses the crate's edge.
    #[must_use]
    pub fn to_error(&self) -> Error {
        Error::new(ErrorKind::InvalidArgument, self.to_string())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.file.as_str(), self.line, self.column) {
            ("", ..) => f.write_str(&self.message),
            (file, 0, _) => write!(f, "{file}: {}", self.message),
            (file, line, 0) => write!(f, "{file}:{line}: {}", self.message),
            (file, line, column) => write!(f, "{file}:{line}:{column}: {}", self.message),
        }
    }
}
