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
        Self::at_path(file, text, &[key], message)
    }

    /// A problem with what lies at a path of keys and item numbers in a YAML file, or else with the deepest part of it that is there.
    pub fn at_path(file: impl Into<String>, text: &str, path: &[&str], message: impl Into<String>) -> Self {
        let path: Vec<String> = path.iter().map(|p| (*p).to_owned()).collect();
        let (line, column) = crate::yaml::Places::of(text).nearest(&path).unwrap_or((0, 0));
        Self { file: file.into(), line, column, message: message.into() }
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
