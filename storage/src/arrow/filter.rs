//! A scan's predicates, bound to key parts and columns.

use super::check::Check;
use super::spec::Predicate;
use super::value::{cell_ref, lacks_prefix, wrong};
use crate::event_time::EventTimes;
use bytes::Bytes;
use common::ids::FamilyId;
use common::key::{PartCodec, PartRef};
use common::row::{Columns, Row};
use common::schema::Table;
use common::value::ValueType;
use common::{Error, Result};

/// Conditions on key parts and columns, all of which hold for a row that is wanted.
#[derive(Clone, Debug, Default)]
pub(super) struct Filter {
    /// Rows of other event times may have lost cells, with SSTables that were left out for their times.
    pub(super) times: Option<EventTimes>,
    /// Bytes in front of the first key part.
    pub(super) key_prefix: Vec<u8>,
    /// Key parts up to the last one with a condition.
    pub(super) parts: Vec<(PartCodec, Vec<Check>)>,
    /// Conditions on the raw key.
    pub(super) raw_key: Vec<Check>,
    pub(super) columns: Vec<ColumnFilter>,
}

/// A condition on a declared column.
#[derive(Clone, Debug)]
pub(super) struct ColumnFilter {
    pub(super) name: String,
    pub(super) family: FamilyId,
    pub(super) qualifier: Bytes,
    pub(super) ty: ValueType,
    pub(super) check: Check,
}

impl Filter {
    /// # Errors
    /// `InvalidArgument` for a column that the table does not have or that has no single value, and for a value of another type.
    pub(super) fn new(table: &Table, predicates: &[Predicate]) -> Result<Self> {
        let parts = table.key.iter().map(|p| (p.codec, Vec::new())).collect();
        let mut out = Self { key_prefix: table.key_schema().prefix(), parts, ..Self::default() };
        for predicate in predicates {
            let name = &predicate.column;
            out.add(table, predicate).map_err(|e| e.context(format!("table '{}', condition on '{name}'", table.name)))?;
        }
        out.parts.truncate(out.parts.iter().rposition(|(_, checks)| !checks.is_empty()).map_or(0, |last| last + 1));
        Ok(out)
    }

    fn add(&mut self, table: &Table, Predicate { column: name, test }: &Predicate) -> Result<()> {
        if let Some((at, part)) = table.key_part(name) {
            self.parts[at].1.push(Check::new(test, part.codec.ty)?);
        } else if let Some(c) = table.column(name) {
            let check = Check::new(test, c.ty)?;
            self.columns.push(ColumnFilter { name: name.clone(), family: c.family, qualifier: c.stored(), ty: c.ty, check });
        } else if table.key.is_empty() && name == Table::ROW_KEY {
            self.raw_key.push(Check::new(test, ValueType::Bytes)?);
        } else {
            return Err(Error::invalid("only key parts and declared columns can have one"));
        }
        Ok(())
    }

    /// The columns that `columns` and the conditions need.
    pub(super) fn with_columns(&self, columns: Columns) -> Columns {
        let Columns::Some(mut list) = columns else { return columns };
        for c in &self.columns {
            if !list.iter().any(|(f, q)| *f == c.family && q.as_ref() == Some(&c.qualifier)) {
                list.push((c.family, Some(c.qualifier.clone())));
            }
        }
        Columns::Some(list)
    }

    /// Whether a row passes; it holds at least the columns with conditions.
    ///
    /// # Errors
    /// `Corrupt`, naming table, column and key, if a key part or value with a condition is not one of its type.
    pub(super) fn passes(&self, table: &Table, row: &Row) -> Result<bool> {
        Ok(self.key_passes(table, &row.key)? && self.cells_pass(table, row)?)
    }

    fn key_passes(&self, table: &Table, key: &[u8]) -> Result<bool> {
        if self.times.as_ref().is_some_and(|times| !times.passes(key)) {
            return Ok(false);
        }
        if self.raw_key.iter().any(|check| !check.passes(Some(PartRef::Bytes(key)))) {
            return Ok(false);
        }
        if self.parts.is_empty() {
            return Ok(true);
        }
        let mut rest = key.strip_prefix(self.key_prefix.as_slice()).ok_or_else(|| lacks_prefix(table, key))?;
        let mut scratch = Vec::new();
        for (at, (codec, checks)) in self.parts.iter().enumerate() {
            let value = codec.decode_ref(&mut rest, &mut scratch).map_err(|e| wrong(table, &table.key[at].name, key, &e))?;
            if checks.iter().any(|check| !check.passes(value)) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn cells_pass(&self, table: &Table, row: &Row) -> Result<bool> {
        for column in &self.columns {
            let of_column = |c: &common::row::Cell| (c.family, c.qualifier.as_ref()).cmp(&(column.family, column.qualifier.as_ref()));
            // A scan asks for the newest version only, so a column has one cell at most.
            let cell = row.cells.binary_search_by(of_column).ok().map(|at| &row.cells[at]);
            let value = cell.map(|c| cell_ref(column.ty, &c.value)).transpose().map_err(|e| wrong(table, &column.name, &row.key, &e))?;
            if !column.check.passes(value) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}
