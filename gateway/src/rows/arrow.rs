//! A query's output → rows of a derived table, in the table's key order.

mod column;

pub use column::TypedColumn;

use arrow::array::RecordBatch;
use bytes::Bytes;
use common::ids::{FamilyId, RunId};
use common::key::PartCodec;
use common::row::{Mutation, RowMutation};
use common::schema::{ROW_MARKER, Table};
use common::time::{Micros, TimeRange};
use common::value::{Value, ValueType};
use common::{Error, Result};
use derived::document::OutputWindow;
use sha2::{Digest, Sha256};
use std::collections::HashMap;

/// Bytes of a row's hash in its tie-break part: among 2^32 rows of one key, two different ones meet with a chance of 2^-64.
const TIE_HASH_BYTES: usize = 16;
/// µs of a day.
const DAY: i64 = 86_400_000_000;

/// One cell of a row to write, at the timestamp that the run gives.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutputCell {
    /// Its family.
    pub family: FamilyId,
    /// Its stored qualifier.
    pub qualifier: Bytes,
    /// Its value.
    pub value: Bytes,
}

/// One row of a query's output as its table stores it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutputRow {
    /// The row key.
    pub key: Bytes,
    /// Sorted by family and qualifier; never empty.
    pub cells: Vec<OutputCell>,
    /// Of the time column, if the encoder was given one.
    pub time: Option<Micros>,
}

impl OutputRow {
    /// Puts this row in place of whatever its key holds.
    #[must_use]
    pub fn replace(self, timestamp: Micros) -> RowMutation {
        let set = |c: OutputCell| Mutation::Set { family: c.family, qualifier: c.qualifier, timestamp: Some(timestamp), value: c.value };
        RowMutation { key: self.key, mutations: std::iter::once(Mutation::DeleteRow).chain(self.cells.into_iter().map(set)).collect() }
    }
}

/// The instant by which a row belongs to a window.
#[must_use]
pub fn instant(window: &OutputWindow, value: &Value) -> Option<Micros> {
    match value {
        Value::Timestamp(t) => Some(window.instant(*t)),
        Value::Date(d) => Some(window.instant(Micros(i64::from(*d).saturating_mul(DAY)))),
        _ => None,
    }
}

/// Turns record batches into rows of `table`.
pub struct Encoder<'a> {
    table: &'a Table,
    window: Option<&'a OutputWindow>,
    unique: Vec<&'a str>,
    rows: Vec<OutputRow>,
    /// How many rows had the same visible key and the same values: the next one's ordinal.
    equals: HashMap<Vec<u8>, u32>,
    /// Encoded unique key → number of its row.
    seen: HashMap<Vec<u8>, usize>,
    /// Part of what tells equal rows apart, if others of the table may equal them.
    run: Option<RunId>,
}

impl<'a> Encoder<'a> {
    /// An encoder of rows of `table`, no two of which may agree in all of `unique` (nothing is checked if it is empty).
    #[must_use]
    pub fn new(table: &'a Table, window: Option<&'a OutputWindow>, unique: &'a [String]) -> Self {
        let unique = unique.iter().map(String::as_str).collect();
        Self { table, window, unique, rows: Vec::new(), equals: HashMap::new(), seen: HashMap::new(), run: None }
    }

    /// Tells its rows apart from equal ones of other runs.
    pub fn tell_apart(&mut self, run: RunId) {
        self.run = Some(run);
    }

    /// Adds the rows of a batch, all of which must lie within `piece` (looked at only if there is a window).
    ///
    /// # Errors
    /// `InvalidArgument`, naming table, column and row: a missing column, a value that does not fit its column, null in a
    /// key part that must not be null or in the time column, a row outside its piece, two rows with one unique key.
    pub fn push(&mut self, batch: &RecordBatch, piece: TimeRange) -> Result<()> {
        self.push_batch(batch, piece).map_err(|e| e.context(format!("table '{}'", self.table.name)))
    }

    /// All rows, sorted by key.
    #[must_use]
    pub fn finish(self) -> Vec<OutputRow> {
        let mut rows = self.rows;
        rows.sort_by(|a, b| a.key.cmp(&b.key));
        rows
    }

    fn push_batch(&mut self, batch: &RecordBatch, piece: TimeRange) -> Result<()> {
        let first = self.rows.len() + 1;
        let columns = Columns::of(self.table, self.window, &self.unique, batch, first)?;
        self.rows.reserve(batch.num_rows());
        for row in 0..batch.num_rows() {
            self.push_row(&columns, row, piece).map_err(|e| e.context(format!("row {}", first + row)))?;
        }
        Ok(())
    }

    fn push_row(&mut self, columns: &Columns, row: usize, piece: TimeRange) -> Result<()> {
        self.check_unique(columns, row)?;
        let time = self.window.map(|w| time_within(w, columns.time.as_ref(), row, piece)).transpose()?;
        let cells = columns.cells(self.table, row);
        let mut parts: Vec<_> = columns.key.iter().map(|c| c.as_ref().and_then(|c| c.value(row))).collect();
        if let Some(hidden) = self.table.key.iter().position(|p| p.hidden) {
            parts[hidden] = Some(self.tie_break(&parts, &cells, hidden)?);
        }
        let key = self.table.key_schema().encode(&parts)?;
        self.rows.push(OutputRow { key, cells, time });
        Ok(())
    }

    /// The hidden part that tells equal keys apart: what the row holds, then its number among equal rows.
    fn tie_break(&mut self, parts: &[Option<Value>], cells: &[OutputCell], hidden: usize) -> Result<Value> {
        let mut identity = self.table.key_schema().encode_prefix(&parts[..hidden])?;
        identity.extend(hash_of(cells));
        identity.extend(self.run.iter().flat_map(|run| run.0.to_be_bytes()));
        let hash = Sha256::digest(&identity);
        let ordinal = self.equals.entry(identity).or_default();
        let mut tie = hash[..TIE_HASH_BYTES].to_vec();
        tie.extend(ordinal.to_be_bytes());
        *ordinal += 1;
        match self.table.key[hidden].codec.ty {
            ValueType::Bytes => Ok(Value::Bytes(tie.into())),
            other => Err(Error::internal(format!("the hidden key part is of type {other}, not bytes"))),
        }
    }

    fn check_unique(&mut self, columns: &Columns, row: usize) -> Result<()> {
        if self.unique.is_empty() {
            return Ok(());
        }
        let values: Vec<_> = columns.unique.iter().map(|c| c.value(row)).collect();
        let mut key = Vec::new();
        for (value, ty) in values.iter().zip(&columns.unique_types) {
            PartCodec { ty: *ty, descending: false, nullable: true }.encode(value.as_ref(), &mut key)?;
        }
        let number = self.rows.len() + 1;
        match self.seen.insert(key, number) {
            None => Ok(()),
            Some(other) => Err(Error::invalid(format!(
                "has the same unique key as row {other}: {}; make the query give one row for it, or declare another unique key",
                describe(&self.unique, &values)
            ))),
        }
    }
}

/// The type of a time column.
#[must_use]
pub fn time_type(window: &OutputWindow) -> ValueType {
    if window.date { ValueType::Date } else { ValueType::Timestamp }
}

/// The instant of a row by its time column.
///
/// # Errors
/// `InvalidArgument` for null and for an instant outside the piece that was computed.
pub fn time_within(window: &OutputWindow, column: Option<&TypedColumn>, row: usize, piece: TimeRange) -> Result<Micros> {
    let name = &window.time_column;
    let value = column.and_then(|c| c.value(row)).and_then(|v| instant(window, &v));
    match value {
        Some(at) if piece.contains(at) => Ok(at),
        Some(at) => Err(Error::invalid(format!(
            "time column '{name}' is {at}, outside the window {} to {} that was computed",
            piece.start, piece.end
        ))),
        None => Err(Error::invalid(format!("time column '{name}' is null; a row without a time lies in no window, filter it out"))),
    }
}

/// `device = 'ios', day = 2026-01-31`.
#[must_use]
pub fn describe<S: AsRef<str>>(names: &[S], values: &[Option<Value>]) -> String {
    let one = |(name, value): (&S, &Option<Value>)| {
        let value = match value {
            None => "null".into(),
            Some(Value::String(s) | Value::Json(s)) => format!("'{s}'"),
            Some(Value::Int64(n)) => n.to_string(),
            Some(Value::Float64(f)) => f.to_string(),
            Some(Value::Bool(b)) => b.to_string(),
            Some(Value::Timestamp(t)) => t.to_rfc3339(),
            Some(Value::Date(d)) => Micros(i64::from(*d) * DAY).to_rfc3339().chars().take(10).collect(),
            Some(Value::Bytes(b)) => format!("{b:?}"),
        };
        format!("{} = {value}", name.as_ref())
    };
    names.iter().zip(values).map(one).collect::<Vec<_>>().join(", ")
}

/// A digest of cells, the same in every process and release.
#[must_use]
pub fn hash_of(cells: &[OutputCell]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for cell in cells {
        hash.update(cell.family.0.to_be_bytes());
        for bytes in [&cell.qualifier, &cell.value] {
            hash.update((bytes.len() as u64).to_be_bytes());
            hash.update(bytes);
        }
    }
    hash.finalize().into()
}

/// The columns of one batch by their use.
struct Columns {
    /// One a key part; `None` for the hidden one.
    key: Vec<Option<TypedColumn>>,
    /// One a declared column.
    declared: Vec<TypedColumn>,
    unique: Vec<TypedColumn>,
    unique_types: Vec<ValueType>,
    time: Option<TypedColumn>,
}

impl Columns {
    fn of(table: &Table, window: Option<&OutputWindow>, unique: &[&str], batch: &RecordBatch, first: usize) -> Result<Self> {
        let typed = |name: &str, ty| TypedColumn::of(batch, name, ty, first);
        let key = (table.key.iter()).map(|p| if p.hidden { Ok(None) } else { typed(&p.name, p.codec.ty).map(Some) });
        let unique_types = unique.iter().map(|name| type_of(table, name)).collect::<Result<Vec<_>>>()?;
        Ok(Self {
            key: key.collect::<Result<_>>()?,
            declared: table.columns.iter().map(|c| typed(&c.name, c.ty)).collect::<Result<_>>()?,
            unique: unique.iter().zip(&unique_types).map(|(name, ty)| typed(name, *ty)).collect::<Result<_>>()?,
            unique_types,
            time: window.map(|w| typed(&w.time_column, time_type(w))).transpose()?,
        })
    }

    fn cells(&self, table: &Table, row: usize) -> Vec<OutputCell> {
        let cell = |(column, typed): (&common::schema::Column, &TypedColumn)| {
            let value = typed.value(row)?.to_cell();
            Some(OutputCell { family: column.family, qualifier: column.stored(), value })
        };
        let mut cells: Vec<_> = table.columns.iter().zip(&self.declared).filter_map(cell).collect();
        if cells.is_empty() {
            cells.push(OutputCell { family: table.marker_family(), qualifier: Bytes::from_static(ROW_MARKER), value: Bytes::new() });
        }
        cells.sort();
        cells
    }
}

/// The type of a key part or declared column.
///
/// # Errors
/// `InvalidArgument` if there is none of this name.
pub fn type_of(table: &Table, name: &str) -> Result<ValueType> {
    let part = table.key_part(name).map(|(_, p)| p.codec.ty);
    part.or_else(|| table.column(name).map(|c| c.ty)).ok_or_else(|| Error::invalid(format!("column '{name}' is not declared")))
}

#[cfg(test)]
mod tests;
