//! The output of a merge's SQL as parts, and parts as the shown cells of a row.

use super::merge::{FoldParts, Parts};
use crate::rows::arrow::{OutputCell, TypedColumn, time_type, time_within, type_of};
use bytes::Bytes;
use common::schema::{ROW_MARKER, Table};
use common::time::{Micros, TimeRange};
use common::value::{Value, ValueType};
use common::{Error, Result};
use datafusion::arrow::record_batch::RecordBatch;
use derived::document::Artifact;
use derived::fold::{MergeRules, Part, Values};
use std::collections::BTreeMap;

/// The rows of one key in one window: the order column's value with those of the folded columns.
type Rows = Vec<(Option<Value>, Values)>;

/// Collects rows and folds them into one part a key and window.
pub struct PartsEncoder<'a> {
    table: &'a Table,
    artifact: &'a Artifact,
    rules: &'a MergeRules,
    rows: BTreeMap<Bytes, BTreeMap<Micros, Rows>>,
    count: usize,
}

impl<'a> PartsEncoder<'a> {
    /// An encoder of parts of `table`, which `artifact` makes by `rules`.
    #[must_use]
    pub fn new(table: &'a Table, artifact: &'a Artifact, rules: &'a MergeRules) -> Self {
        Self { table, artifact, rules, rows: BTreeMap::new(), count: 0 }
    }

    /// Adds the rows of a batch, all of which must lie within `piece` (looked at only if there is a window).
    ///
    /// # Errors
    /// `InvalidArgument`, naming table, column and row: a missing column, a value that does not fit, null in the key or
    /// the time column, a row outside its piece.
    pub fn push(&mut self, batch: &RecordBatch, piece: TimeRange) -> Result<()> {
        self.push_batch(batch, piece).map_err(|e| e.context(format!("table '{}'", self.table.name)))
    }

    /// The parts of each key, by row key.
    ///
    /// # Errors
    /// `Internal` if a part does not encode.
    pub fn finish(self) -> Result<BTreeMap<Bytes, Parts>> {
        let rules = self.rules;
        let part = |(window, rows): (Micros, Rows)| rules.part(rows).map(|part| Ok((window, part.encode()?)));
        let parts =
            |(key, windows): (Bytes, BTreeMap<Micros, Rows>)| Ok((key, windows.into_iter().filter_map(part).collect::<Result<_>>()?));
        self.rows.into_iter().map(parts).collect()
    }

    fn push_batch(&mut self, batch: &RecordBatch, piece: TimeRange) -> Result<()> {
        let first = self.count + 1;
        let typed = |name: &str, ty| TypedColumn::of(batch, name, ty, first);
        let key = self.table.key.iter().map(|p| typed(&p.name, p.codec.ty)).collect::<Result<Vec<_>>>()?;
        let order = self.rules.order_by.as_deref().map(|name| typed(name, self.output_type(name)?)).transpose()?;
        let folded = self.rules.columns.iter().map(|c| typed(&c.name, self.output_type(&c.name)?)).collect::<Result<Vec<_>>>()?;
        let window = self.artifact.window.as_ref();
        let time = window.map(|w| Ok::<_, Error>((w, typed(&w.time_column, time_type(w))?))).transpose()?;
        for row in 0..batch.num_rows() {
            let at_row = |e: Error| e.context(format!("row {}", first + row));
            let parts: Vec<_> = key.iter().map(|c| c.value(row)).collect();
            let key = self.table.key_schema().encode(&parts).map_err(at_row)?;
            let at = time.as_ref().map(|(w, column)| time_within(w, Some(column), row, piece).map(|at| w.windows.floor(at)));
            let window = at.transpose().map_err(at_row)?.unwrap_or(Part::WHOLE);
            let values = folded.iter().map(|c| c.value(row)).collect();
            let order = order.as_ref().and_then(|c| c.value(row));
            self.rows.entry(key).or_default().entry(window).or_default().push((order, values));
        }
        self.count += batch.num_rows();
        Ok(())
    }

    fn output_type(&self, name: &str) -> Result<ValueType> {
        let declared = self.artifact.columns.iter().find(|c| c.name == name).map(|c| c.ty);
        declared.map_or_else(|| type_of(self.table, name), Ok)
    }
}

/// Shows the fold of parts by a table's rules.
pub struct Fold<'a> {
    /// The table.
    pub table: &'a Table,
    /// Its rules.
    pub rules: &'a MergeRules,
}

impl FoldParts for Fold<'_> {
    fn fold(&self, parts: &Parts) -> Result<Vec<OutputCell>> {
        let parts = parts.values().map(|p| Part::decode(p)).collect::<Result<Vec<_>>>()?;
        let values = self.rules.fold(parts).unwrap_or_default();
        let cell = |(name, value): (&String, Option<Value>)| {
            let (column, value) = (self.table.column(name)?, value?);
            Some(OutputCell { family: column.family, qualifier: column.stored(), value: value.to_cell() })
        };
        let mut cells: Vec<_> = self.rules.columns.iter().map(|c| &c.name).zip(values).filter_map(cell).collect();
        if cells.is_empty() {
            cells.push(OutputCell { family: self.table.marker_family(), qualifier: Bytes::from_static(ROW_MARKER), value: Bytes::new() });
        }
        cells.sort();
        Ok(cells)
    }
}
