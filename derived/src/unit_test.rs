//! `tests/*.yaml`: rows in, rows out, for one derived table.

use crate::problem::Problem;
use crate::yaml;
use common::time::Micros;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// A row as a JSON object; what it leaves out is null.
pub type FixtureRow = Map<String, Value>;

/// A file of `tests/`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(title = "Test")]
pub struct TestWords {
    /// The derived table, `dataset.name`.
    pub table: String,
    /// For people: what is shown.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The times to compute; default: all of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub window: Option<TestWindow>,
    /// Rows of inputs, by table; an input that is left out is empty.
    #[serde(default)]
    pub inputs: BTreeMap<String, Vec<FixtureRow>>,
    /// The rows that come out, in any order.
    pub expect: Vec<FixtureRow>,
    /// Only the columns that expected rows name are compared.
    #[serde(default, skip_serializing_if = "is_false")]
    pub partial: bool,
}

/// A range of times.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TestWindow {
    /// A date or an RFC 3339 time, at which a window begins.
    pub start: String,
    /// Exclusive, at which a window ends; default: the end of the window that begins at `start`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<String>,
}

#[allow(clippy::trivially_copy_pass_by_ref, reason = "serde hands fields by reference")]
fn is_false(value: &bool) -> bool {
    !value
}

/// A unit test of a derived table.
#[derive(Clone, Debug, PartialEq)]
pub struct UnitTest {
    /// Relative to the project.
    pub file: String,
    /// What it says.
    pub words: TestWords,
    /// The times to compute, as written: `None` is all, an open end is that of the window that begins there.
    pub window: Option<(Micros, Option<Micros>)>,
}

impl UnitTest {
    /// Reads one file.
    ///
    /// # Errors
    /// What is wrong, with line and column.
    pub fn parse(file: &str, text: &str) -> Result<Self, Problem> {
        let words: TestWords = yaml::read(file, text)?;
        let time = |key: &str, text_of: &str| {
            Micros::parse(text_of).map_err(|e| Problem::at_path(file, text, &["window", key], format!("window.{key}: {e}")))
        };
        let window = match &words.window {
            None => None,
            Some(w) => Some((time("start", &w.start)?, w.end.as_deref().map(|end| time("end", end)).transpose()?)),
        };
        if let Some((start, Some(end))) = window
            && end <= start
        {
            return Err(Problem::at_path(file, text, &["window", "end"], "window.end: it does not lie after window.start"));
        }
        Ok(Self { file: file.into(), words, window })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = "table: a.x\nwindow: {start: 2026-01-01}\ninputs:\n  raw.events:\n    - {user_id: u, at: 2026-01-01T10:00:00Z}\nexpect:\n  - {user_id: u, n: 1}\n";

    #[test]
    fn a_test_is_read_and_what_is_wrong_with_it_told() {
        let test = UnitTest::parse("tests/x.yaml", WHOLE).unwrap();
        assert_eq!(test.window, Some((Micros::parse("2026-01-01").unwrap(), None)));
        assert_eq!(test.words.inputs["raw.events"][0]["at"], "2026-01-01T10:00:00Z");
        for (from, to, place, says) in [
            ("expect", "expected", "6:1", "did you mean 'expect'"),
            ("start: 2026-01-01", "start: soon", "2:10", "window.start"),
            ("2026-01-01}", "2026-01-01, end: 2025-01-01}", "2:29", "after"),
        ] {
            let e = UnitTest::parse("tests/x.yaml", &WHOLE.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(e.starts_with(&format!("tests/x.yaml:{place}")) && e.contains(says), "{e}");
        }
    }
}
