//! Rows that come without an id get the number of their line, so that repeated ones stay apart.

use super::source::{Next, RowSource};
use anyhow::{Result, bail};
use common::schema::TableSpec;
use common::value::ValueType;

/// The rows of a source, each with its number over all files, from 1: the same files give the same numbers again.
pub struct Numbered<S> {
    rows: S,
    /// The attribute that gets the number, as JSON text.
    name: String,
    count: u64,
}

impl<S: RowSource> Numbered<S> {
    /// Numbers rows in the key part or column of this name.
    pub fn new(rows: S, name: &str, spec: &TableSpec) -> Result<Self> {
        let part = spec.key.iter().find(|p| p.name == name).map(|p| p.ty);
        let ty = part.or_else(|| spec.columns.iter().find(|c| c.name == name).map(|c| c.ty));
        match ty {
            Some(ValueType::Int64) => Ok(Self { rows, name: serde_json::to_string(name)?, count: 0 }),
            Some(other) => bail!("--number {name}: it is of type {other}; numbers need an int64"),
            None => bail!("--number {name}: table '{}' has no key part or column of that name", spec.name),
        }
    }
}

impl<S: RowSource> RowSource for Numbered<S> {
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
        let from = row.len();
        let next = self.rows.next(row)?;
        self.count += u64::from(next != Next::End);
        let Next::Row(line) = next else { return Ok(next) };
        let open = row[from..].iter().position(|b| !b.is_ascii_whitespace()).map(|at| from + at).filter(|at| row[*at] == b'{');
        let Some(open) = open else {
            row.truncate(from);
            return Ok(Next::Bad(line, "not a JSON object".into()));
        };
        let is_empty = row[open + 1..].iter().find(|b| !b.is_ascii_whitespace()) == Some(&b'}');
        let number = format!("{}:{}{}", self.name, self.count, if is_empty { "" } else { "," });
        row.splice(open + 1..=open, number.bytes());
        Ok(Next::Row(line))
    }

    fn name(&self) -> &str {
        self.rows.name()
    }

    fn position(&self) -> u64 {
        self.rows.position()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(Vec<&'static str>);

    impl RowSource for Fixed {
        fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
            if self.0.is_empty() {
                return Ok(Next::End);
            }
            row.extend_from_slice(self.0.remove(0).as_bytes());
            Ok(Next::Row(7))
        }

        fn name(&self) -> &str {
            "f"
        }

        fn position(&self) -> u64 {
            0
        }
    }

    #[test]
    fn rows_are_numbered_and_what_is_no_object_is_named() {
        let spec: TableSpec = serde_yaml_ng::from_str("{name: a.b, key: [user: string, n: int64], columns: {t: string}}").unwrap();
        let mut rows = Numbered::new(Fixed(vec![r#"{"user":"a"}"#, " { }", "[1]", r#"{"user":"a"}"#]), "n", &spec).unwrap();
        let mut seen = Vec::new();
        loop {
            let mut row = b"before".to_vec();
            match rows.next(&mut row).unwrap() {
                Next::Row(_) => seen.push(String::from_utf8(row).unwrap()),
                Next::Bad(7, why) => seen.push(why),
                Next::Bad(..) => panic!("another line"),
                Next::End => break,
            }
        }
        assert_eq!(seen, [r#"before{"n":1,"user":"a"}"#, r#"before {"n":2 }"#, "not a JSON object", r#"before{"n":4,"user":"a"}"#]);
        let wrong = |name| Numbered::new(Fixed(Vec::new()), name, &spec).err().unwrap().to_string();
        assert!(wrong("t").contains("int64") && wrong("m").contains("'a.b'"));
    }
}
