//! YAML files of a project: read strictly, and what is wrong with its place.

use crate::problem::Problem;
use saphyr_parser::{Event, Parser};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Segment, Track};
use serde_yaml_ng::Value;
use serde_yaml_ng::with::singleton_map_recursive;
use std::collections::HashMap;

/// Names that are this alike are taken for one another.
const ALIKE: f64 = 0.75;

/// Reads a file as `T`, whose maps refuse unknown keys.
///
/// # Errors
/// What is wrong, at the line and column of the key or value that it is about; for an unknown name with the known ones.
pub(crate) fn read<T: DeserializeOwned>(file: &str, text: &str) -> Result<T, Problem> {
    let value: Value = serde_yaml_ng::from_str(text).map_err(|e| of_syntax(file, &e))?;
    let mut track = Track::new();
    let tracked = serde_path_to_error::Deserializer::new(value, &mut track);
    singleton_map_recursive::deserialize(tracked).map_err(|e| {
        let path: Vec<String> = track.path().iter().map_while(segment).collect();
        fault(file, text, path, &e.to_string())
    })
}

fn segment(segment: &Segment) -> Option<String> {
    match segment {
        Segment::Seq { index } => Some(index.to_string()),
        Segment::Map { key } => Some(key.clone()),
        Segment::Enum { variant } => Some(variant.clone()),
        Segment::Unknown => None,
    }
}

/// A YAML error with its place.
pub(crate) fn of_syntax(file: &str, error: &serde_yaml_ng::Error) -> Problem {
    let (line, column) = error.location().map_or((0, 0), |l| (l.line(), l.column()));
    let text = error.to_string();
    // The place is said once, in front.
    let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
    Problem { file: file.into(), line, column, message: message.to_owned() }
}

fn fault(file: &str, text: &str, mut path: Vec<String>, message: &str) -> Problem {
    let unknown = Unknown::of(message);
    if let Some(unknown) = &unknown
        && path.last() != Some(&unknown.name)
    {
        path.push(unknown.name.clone());
    }
    let (line, column) = Places::of(text).nearest(&path).unwrap_or((0, 0));
    let message = match unknown {
        Some(unknown) => unknown.sentence(),
        None if path.is_empty() => message.to_owned(),
        None => format!("{}: {message}", path.join(".")),
    };
    Problem { file: file.into(), line, column, message }
}

/// A name that a map or a choice does not have.
struct Unknown {
    /// `key` or `choice`.
    what: &'static str,
    name: String,
    known: Vec<String>,
}

impl Unknown {
    /// From serde's sentence: "unknown field `a`, expected one of `b`, `c`".
    fn of(message: &str) -> Option<Self> {
        let what = [("unknown field `", "key"), ("unknown variant `", "choice")];
        let (what, rest) = what.into_iter().find_map(|(start, what)| Some((what, message.split_once(start)?.1)))?;
        let (name, rest) = rest.split_once('`')?;
        let known = rest.split('`').skip(1).step_by(2).map(str::to_owned).collect();
        Some(Self { what, name: name.to_owned(), known })
    }

    fn sentence(&self) -> String {
        let Self { what, name, known } = self;
        let meant = nearest(name, known.iter().map(String::as_str)).map_or_else(String::new, |n| format!(": did you mean '{n}'?"));
        match known.is_empty() {
            true => format!("unknown {what} '{name}': none is known here"),
            false => format!("unknown {what} '{name}'{meant} (there are {})", known.join(", ")),
        }
    }
}

/// The name that was probably meant.
pub(crate) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let alike = names.map(|n| (strsim::jaro_winkler(n, name), n));
    alike.filter(|(score, _)| *score >= ALIKE).max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, n)| n)
}

/// Line and column, from 1, of keys and items of a YAML text by their path.
#[derive(Debug, Default)]
pub(crate) struct Places(HashMap<Vec<String>, (usize, usize)>);

/// Where in a document the parser is.
enum Frame {
    /// In a sequence, before its item of this number.
    Sequence(usize),
    /// In a mapping, before a key.
    Key,
    /// In a mapping, before the value of this key.
    Value(String),
}

impl Places {
    /// Those of a text; of one that does not parse, those before what is wrong.
    pub fn of(text: &str) -> Self {
        let (mut places, mut frames) = (Self::default(), Vec::new());
        for (event, span) in Parser::new_from_str(text).map_while(Result::ok) {
            let at = (span.start.line(), span.start.col() + 1);
            places.step(&mut frames, &event, at);
        }
        places
    }

    fn step(&mut self, frames: &mut Vec<Frame>, event: &Event<'_>, at: (usize, usize)) {
        match event {
            Event::Scalar(text, ..) if matches!(frames.last(), Some(Frame::Key)) => {
                frames.pop();
                frames.push(Frame::Value(text.to_string()));
                self.0.entry(path(frames)).or_insert(at);
            }
            Event::Scalar(..) | Event::Alias(_) => {
                self.0.entry(path(frames)).or_insert(at);
                next(frames);
            }
            Event::MappingStart(..) => {
                self.0.entry(path(frames)).or_insert(at);
                frames.push(Frame::Key);
            }
            Event::SequenceStart(..) => {
                self.0.entry(path(frames)).or_insert(at);
                frames.push(Frame::Sequence(0));
            }
            Event::MappingEnd | Event::SequenceEnd => {
                frames.pop();
                next(frames);
            }
            _ => {}
        }
    }

    /// The place of the deepest part of a path that is there.
    pub fn nearest(&self, path: &[String]) -> Option<(usize, usize)> {
        (1..=path.len()).rev().find_map(|n| self.0.get(&path[..n])).copied()
    }
}

fn path(frames: &[Frame]) -> Vec<String> {
    let name = |frame: &Frame| match frame {
        Frame::Sequence(n) => Some(n.to_string()),
        Frame::Value(key) => Some(key.clone()),
        Frame::Key => None,
    };
    frames.iter().filter_map(name).collect()
}

/// A value has ended.
fn next(frames: &mut [Frame]) {
    match frames.last_mut() {
        Some(Frame::Sequence(n)) => *n += 1,
        Some(frame @ Frame::Value(_)) => *frame = Frame::Key,
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(text: &str, path: &[&str]) -> Option<(usize, usize)> {
        Places::of(text).nearest(&path.iter().map(|p| (*p).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn keys_and_items_are_found_where_they_stand() {
        let text = "# name: no\nname: a\ncolumns:\n  b: {name: x, tests: [one, {two: 3}]}\n\"sql\": |\n  name: y\n";
        assert_eq!(place(text, &["name"]), Some((2, 1)));
        assert_eq!(place(text, &["columns", "b", "name"]), Some((4, 7)));
        assert_eq!(place(text, &["columns", "b", "tests", "1", "two"]), Some((4, 30)));
        assert_eq!(place(text, &["columns", "b", "unknown"]), Some((4, 3)), "the nearest that is there");
        assert_eq!(place(text, &["sql"]), Some((5, 1)));
        assert_eq!(place(text, &["none"]), None);
    }

    #[test]
    fn of_broken_text_what_comes_before_is_found() {
        assert_eq!(place("a: 1\nb: [\n", &["b"]), Some((2, 1)));
    }
}
