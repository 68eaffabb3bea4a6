//! CSV records as JSON rows, typed by the table's schema.

use super::input::Input;
use super::source::{Next, RowSource};
use anyhow::{Context, Result};
use common::schema::TableSpec;
use common::value::ValueType;
use csv::{ByteRecord, Reader, ReaderBuilder};
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::io::BufRead;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// The types of a table's columns, by the name that a header has for them.
#[derive(Clone, Debug)]
pub struct Types {
    types: Arc<HashMap<String, ValueType>>,
    nulls: Arc<[String]>,
}

impl Types {
    /// The types of the table of `spec`; the texts `nulls` mean null, as the empty text does.
    pub fn new(spec: &TableSpec, nulls: &[String]) -> Self {
        let parts = spec.key.iter().map(|p| (&p.name, p.ty));
        let columns = spec.columns.iter().map(|c| (&c.name, c.ty));
        let header = |name: &String| spec.from.get(name).unwrap_or(name).clone();
        Self { types: Arc::new(parts.chain(columns).map(|(name, ty)| (header(name), ty)).collect()), nulls: nulls.into() }
    }

    fn is_null(&self, text: &str) -> bool {
        text.is_empty() || self.nulls.iter().any(|n| n == text)
    }
}

/// The records of a CSV file.
pub struct Records {
    reader: Reader<Box<dyn BufRead + Send>>,
    read: Arc<AtomicU64>,
    name: String,
    /// Each column's name as JSON text, and its type if it is declared.
    columns: Vec<(String, Option<ValueType>)>,
    types: Types,
    record: ByteRecord,
}

impl Records {
    /// Reads the header.
    pub fn new(input: Input, types: Types) -> Result<Self> {
        let (reader, read, name) = input.into_parts();
        let mut reader = ReaderBuilder::new().flexible(true).from_reader(reader);
        let header = reader.headers().with_context(|| format!("'{name}': the header"))?;
        let column = |h: &str| {
            let h = h.trim_start_matches('\u{feff}').trim();
            anyhow::Ok((serde_json::to_string(h)?, types.types.get(h).copied()))
        };
        let columns: Vec<_> = header.iter().map(column).collect::<Result<_>>()?;
        for (i, (column, _)) in columns.iter().enumerate() {
            anyhow::ensure!(columns[..i].iter().all(|(c, _)| c != column), "'{name}': the header has {column} twice");
        }
        Ok(Self { reader, read, name, columns, types, record: ByteRecord::new() })
    }

    fn write(&self, row: &mut Vec<u8>) -> Result<(), String> {
        if self.record.len() != self.columns.len() {
            return Err(format!("{} fields where the header has {}", self.record.len(), self.columns.len()));
        }
        row.push(b'{');
        let from = row.len();
        for (field, (name, ty)) in self.record.iter().zip(&self.columns) {
            let text = std::str::from_utf8(field).map_err(|_| format!("column {name}: not UTF-8"))?;
            if self.types.is_null(text) {
                continue;
            }
            if row.len() > from {
                row.push(b',');
            }
            row.extend_from_slice(name.as_bytes());
            row.push(b':');
            row.extend_from_slice(json_text(*ty, text).as_bytes());
        }
        row.push(b'}');
        Ok(())
    }
}

impl RowSource for Records {
    fn next(&mut self, row: &mut Vec<u8>) -> Result<Next> {
        let more = self.reader.read_byte_record(&mut self.record).with_context(|| format!("cannot read '{}'", self.name))?;
        if !more {
            return Ok(Next::End);
        }
        let line = self.record.position().map_or(0, csv::Position::line);
        let from = row.len();
        Ok(match self.write(row) {
            Ok(()) => Next::Row(line),
            Err(why) => {
                row.truncate(from);
                Next::Bad(line, why)
            }
        })
    }

    fn name(&self) -> &str {
        &self.name
    }

    fn position(&self) -> u64 {
        self.read.load(Ordering::Relaxed)
    }
}

/// A field as JSON. What does not read as its type stays text: the gateway names column and value. An
/// undeclared column's numbers are numbers if they are written as JSON writes them (`007` is text).
fn json_text(ty: Option<ValueType>, text: &str) -> String {
    use ValueType::{Bool, Float64, Int64, Json};
    let plain = match ty {
        Some(Int64) => text.parse::<i64>().ok().map(|n| n.to_string()),
        Some(Float64) => {
            text.parse::<f64>().ok().filter(|f| f.is_finite()).map(|f| if is_json_number(text) { text.to_owned() } else { f.to_string() })
        }
        Some(Bool) => bool_text(text).map(str::to_owned),
        Some(Json) => serde_json::from_str::<&RawValue>(text).is_ok().then(|| text.to_owned()),
        Some(_) => None,
        None => is_json_number(text).then(|| text.to_owned()),
    };
    // A JSON document may be written over several lines; a row is one line.
    let one_line = plain.filter(|p| !p.contains(['\n', '\r']));
    one_line.unwrap_or_else(|| serde_json::Value::from(text).to_string())
}

fn bool_text(text: &str) -> Option<&'static str> {
    match text.to_ascii_lowercase().as_str() {
        "true" | "t" | "1" => Some("true"),
        "false" | "f" | "0" => Some("false"),
        _ => None,
    }
}

fn is_json_number(text: &str) -> bool {
    text.starts_with(|c: char| c == '-' || c.is_ascii_digit()) && serde_json::from_str::<serde_json::Number>(text).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_become_their_types() {
        use ValueType::{Bool, Float64, Int64, Json, String, Timestamp};
        let cases = [
            (Some(Int64), "+7", "7"),
            (Some(Int64), "7.5", "\"7.5\""),
            (Some(Float64), "1.50", "1.50"),
            (Some(Float64), ".5", "0.5"),
            (Some(Float64), "NaN", "\"NaN\""),
            (Some(String), "12", "\"12\""),
            (Some(Timestamp), "2026-01-01", "\"2026-01-01\""),
            (Some(Bool), "T", "true"),
            (Some(Bool), "maybe", "\"maybe\""),
            (Some(Json), "{\"a\": 1}", "{\"a\": 1}"),
            (Some(Json), "{a", "\"{a\""),
            (None, "007", "\"007\""),
            (None, "-1.5e3", "-1.5e3"),
            (None, "say \"hi\"", "\"say \\\"hi\\\"\""),
        ];
        for (ty, text, want) in cases {
            assert_eq!(json_text(ty, text), want, "{ty:?} {text}");
        }
    }
}
