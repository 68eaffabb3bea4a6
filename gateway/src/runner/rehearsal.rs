//! Definitions computed over rows that are given, without a cluster: what unit tests of derived tables run.
//!
//! The queries, the restriction of inputs, the tests, the encoding of rows and the fold of merges are those of runs.

use super::compute::test;
use super::merge::FoldParts;
use super::parts::{Fold, PartsEncoder};
use super::query::{self, Restriction};
use crate::rows::arrow::{Encoder, OutputCell};
use crate::rows::json::{JsonRows, Shape};
use crate::rows::values::{BASE64, from_json, write_json};
use crate::sql::{from_datafusion, session_with};
use base64::Engine;
use bytes::Bytes;
use common::row::{Cell, Row};
use common::schema::{ROW_MARKER, Table};
use common::time::{Micros, TimeRange};
use common::value::ValueType;
use common::{Error, Result};
use datafusion::arrow::datatypes::{DataType, SchemaRef};
use datafusion::arrow::json::ReaderBuilder;
use datafusion::arrow::record_batch::RecordBatch;
use datafusion::datasource::MemTable;
use datafusion::prelude::SessionContext;
use derived::document::{Artifact, Query, Strategy};
use derived::row_test::RowTest;
use derived::unit_test::FixtureRow;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::{HashMap, HashSet};
use std::sync::Arc;

/// A row by column, each value as JSON text; null is left out.
pub type ShownRow = std::collections::BTreeMap<String, String>;

/// Inputs in memory.
pub struct Rehearsal {
    session: SessionContext,
}

impl Rehearsal {
    /// Tables with these rows, whose members are key parts, columns and undeclared attributes by their names.
    ///
    /// # Errors
    /// `InvalidArgument`, naming table, row and field.
    pub fn new(tables: &[(Arc<Table>, &[FixtureRow])]) -> Result<Self> {
        let mut found = Vec::new();
        for (table, rows) in tables {
            let batch = batch(table, rows).map_err(|e| e.context(format!("table '{}'", table.name)))?;
            let memory = MemTable::try_new(batch.schema(), vec![vec![batch]]).map_err(|e| from_datafusion(&e))?;
            found.push((table.name.clone(), Arc::new(memory) as _));
        }
        Ok(Self { session: session_with(found)? })
    }

    /// The rows that a definition's table would show once its windows in a range (`None`: all there is) are published and
    /// nothing else, in key order. `narrowed`: inputs are read as runs read them, else in full.
    ///
    /// # Errors
    /// As runs fail: a query that does not run, a test that does not hold, rows that do not fit the table.
    pub async fn compute(
        &self,
        artifact: &Artifact,
        table: &Arc<Table>,
        range: Option<(Micros, Micros)>,
        narrowed: bool,
    ) -> Result<Vec<ShownRow>> {
        let mut sink = Sink::of(artifact, table);
        for query in queries(artifact, range)? {
            let plan = query::plan(&self.session, &query.sql).await?;
            let restricted = if narrowed { restrictions(artifact, query.windows) } else { HashMap::new() };
            let output = query::run(&self.session, query::restrict_inputs(plan, &restricted)?).await?;
            test(artifact, &output.batches)?;
            let piece = query.windows.map_or(TimeRange::ALL, |(start, end)| TimeRange { start, end });
            output.batches.iter().try_for_each(|batch| sink.push(batch, piece))?;
        }
        let json = JsonRows::new(table.clone());
        let rows: Vec<ShownRow> = sink.finish(artifact, table)?.into_iter().map(|row| shown(&json, &row)).collect::<Result<_>>()?;
        unique(artifact, &rows)?;
        Ok(rows)
    }
}

/// The queries of a range; of all there is, one.
fn queries(artifact: &Artifact, range: Option<(Micros, Micros)>) -> Result<Vec<Query>> {
    match (&artifact.window, range) {
        (Some(w), None) if w.per_window => Err(Error::invalid(format!(
            "table '{}' is the union of its windows: say which ones, as in window: {{start: 2026-01-01}}",
            artifact.name
        ))),
        (None, Some(_)) => Err(Error::invalid(format!("table '{}' has no windows: leave window out", artifact.name))),
        (Some(w), Some((start, end))) if w.windows.floor(start) != start || w.windows.floor(end) != end => {
            Err(Error::invalid(format!("windows of table '{}' do not begin at {start} and end at {end}", artifact.name)))
        }
        (Some(_), None) => Ok(vec![Query { sql: artifact.sql.clone(), windows: None }]),
        (_, range) => Ok(artifact.queries(range)),
    }
}

fn restrictions(artifact: &Artifact, windows: Option<(Micros, Micros)>) -> HashMap<String, Restriction> {
    let one = |input: &derived::document::Input| {
        let (time, times) = (input.time.as_ref()?, artifact.reads(input, windows)?);
        Some((input.name.clone(), Restriction { column: time.column.clone(), date: time.date, nullable: true, times }))
    };
    artifact.inputs.iter().filter_map(one).collect()
}

enum Sink<'a> {
    Plain(Encoder<'a>),
    Parts(PartsEncoder<'a>),
}

impl<'a> Sink<'a> {
    fn of(artifact: &'a Artifact, table: &'a Table) -> Self {
        match &artifact.strategy {
            Strategy::Merge(rules) => Self::Parts(PartsEncoder::new(table, artifact, rules)),
            _ => Self::Plain(Encoder::new(table, artifact.window.as_ref(), &artifact.unique)),
        }
    }

    fn push(&mut self, batch: &RecordBatch, piece: TimeRange) -> Result<()> {
        match self {
            Self::Plain(rows) => rows.push(batch, piece),
            Self::Parts(parts) => parts.push(batch, piece),
        }
    }

    /// Keys and cells as readers see them.
    fn finish(self, artifact: &Artifact, table: &Table) -> Result<Vec<(Bytes, Vec<OutputCell>)>> {
        match self {
            Self::Plain(rows) => Ok(rows.finish().into_iter().map(|row| (row.key, row.cells)).collect()),
            Self::Parts(parts) => {
                let Strategy::Merge(rules) = &artifact.strategy else { return Err(Error::internal("parts of no merge")) };
                let fold = Fold { table, rules };
                parts.finish()?.into_iter().map(|(key, parts)| Ok((key, fold.fold(&parts)?))).collect()
            }
        }
    }
}

fn unique(artifact: &Artifact, rows: &[ShownRow]) -> Result<()> {
    for test in &artifact.tests {
        let RowTest::Unique { column } = test else { continue };
        let mut seen = HashSet::new();
        if let Some(twice) = rows.iter().filter_map(|row| row.get(column)).find(|value| !seen.insert(*value)) {
            return Err(Error::invalid(format!("table '{}': test '{test}' does not hold: {twice} is there twice", artifact.name)));
        }
    }
    Ok(())
}

fn shown(json: &JsonRows, (key, cells): &(Bytes, Vec<OutputCell>)) -> Result<ShownRow> {
    let cell = |c: &OutputCell| Cell { family: c.family, qualifier: c.qualifier.clone(), timestamp: Micros(0), value: c.value.clone() };
    let seen = cells.iter().filter(|c| c.qualifier.as_ref() != ROW_MARKER).map(cell);
    let mut text = String::new();
    json.write(&Row { key: key.clone(), cells: seen.collect() }, Shape::Values, &mut text)?;
    let row: HashMap<String, Box<RawValue>> =
        serde_json::from_str(&text).map_err(|e| Error::internal(format!("a row is written as what is no JSON: {e}")))?;
    Ok(row.into_iter().filter(|(_, v)| v.get() != "null").map(|(name, v)| (name, v.get().to_owned())).collect())
}

/// An expected row in the form of [`Rehearsal::compute`]'s.
///
/// # Errors
/// `InvalidArgument`, naming the field that the table does not have or whose value is of another type.
pub fn expected(table: &Table, row: &FixtureRow) -> Result<ShownRow> {
    let mut out = ShownRow::new();
    for (name, value) in row {
        let ty = type_of(table, name).ok_or_else(|| {
            let names =
                table.key.iter().filter(|p| !p.hidden).map(|p| p.name.as_str()).chain(table.columns.iter().map(|c| c.name.as_str()));
            Error::invalid(format!("'{name}' is not a column; there are {}", names.collect::<Vec<_>>().join(", ")))
        })?;
        if let Some(value) = typed(name, ty, value)? {
            out.insert(name.clone(), value);
        }
    }
    Ok(out)
}

fn type_of(table: &Table, name: &str) -> Option<ValueType> {
    let part = table.key_part(name).filter(|(_, p)| !p.hidden).map(|(_, p)| p.codec.ty);
    part.or_else(|| table.column(name).map(|c| c.ty))
}

/// A value as JSON text in the one form of its type; `None` for null.
fn typed(name: &str, ty: ValueType, value: &Value) -> Result<Option<String>> {
    let wrong = |e: String| Error::invalid(format!("field '{name}': {e}"));
    let raw = RawValue::from_string(value.to_string()).map_err(|e| wrong(e.to_string()))?;
    Ok(from_json(ty, &raw).map_err(wrong)?.map(|value| {
        let mut text = String::new();
        write_json(&value, &mut text);
        text
    }))
}

fn batch(table: &Table, rows: &[FixtureRow]) -> Result<RecordBatch> {
    let schema = table.arrow_schema();
    if rows.is_empty() {
        return Ok(RecordBatch::new_empty(schema));
    }
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        let row = for_arrow(table, row).map_err(|e| e.context(format!("row {}", number + 1)))?;
        text.push_str(&Value::Object(row).to_string());
        text.push('\n');
    }
    decode(schema, &text, rows.len()).map_err(|e| Error::invalid(format!("its rows do not fit: {e}")))
}

fn decode(schema: SchemaRef, text: &str, rows: usize) -> std::result::Result<RecordBatch, datafusion::arrow::error::ArrowError> {
    let mut decoder = ReaderBuilder::new(schema.clone()).with_batch_size(rows).build_decoder()?;
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let read = decoder.decode(rest)?;
        if read == 0 {
            break;
        }
        rest = &rest[read..];
    }
    Ok(decoder.flush()?.unwrap_or_else(|| RecordBatch::new_empty(schema)))
}

/// A fixture row in the form that Arrow's JSON reader takes.
fn for_arrow(table: &Table, row: &FixtureRow) -> Result<FixtureRow> {
    let (mut out, mut attributes) = (FixtureRow::new(), FixtureRow::new());
    for (name, value) in row {
        match type_of(table, name) {
            Some(ty) => {
                if let Some(text) = typed(name, ty, value)? {
                    out.insert(name.clone(), plain(ty, &text));
                }
            }
            None if table.undeclared.is_some() => {
                attributes.insert(name.clone(), Value::String(value.to_string()));
            }
            None => return Err(Error::invalid(format!("the table has no column '{name}' and takes no undeclared attributes"))),
        }
    }
    if let Some(part) = table.key.iter().find(|p| !p.hidden && !p.codec.nullable && !out.contains_key(&p.name)) {
        return Err(Error::invalid(format!("field '{}' is part of the key and missing", part.name)));
    }
    for field in table.arrow_schema().fields().iter().filter(|f| matches!(f.data_type(), DataType::Map(..))) {
        let is_undeclared = table.undeclared.and_then(|id| table.family_by_id(id)).is_some_and(|f| f.name == *field.name());
        out.insert(field.name().clone(), Value::Object(if is_undeclared { std::mem::take(&mut attributes) } else { FixtureRow::new() }));
    }
    Ok(out)
}

/// Text of JSON columns stays text, bytes are hexadecimal digits, all else is itself.
fn plain(ty: ValueType, json: &str) -> Value {
    let value: Value = serde_json::from_str(json).unwrap_or(Value::Null);
    match (ty, &value) {
        (ValueType::Json, _) => Value::String(json.to_owned()),
        (ValueType::Bytes, Value::String(text)) => {
            let bytes = BASE64.decode(text).unwrap_or_default();
            Value::String(bytes.iter().map(|b| format!("{b:02x}")).collect())
        }
        _ => value,
    }
}

#[cfg(test)]
#[path = "rehearsal_tests.rs"]
mod tests;
