//! Rows of a derived table as the table holds them.

use crate::rows::arrow::{OutputCell, hash_of, instant};
use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Cell, Row};
use common::schema::Table;
use common::time::Micros;
use common::value::Value;
use common::{Error, Result};
use derived::document::OutputWindow;

/// A stored row's cells, the shown ones apart from merge parts.
pub struct StoredRow {
    /// The row key.
    pub key: Bytes,
    /// What readers see, sorted by family and qualifier.
    pub shown: Vec<OutputCell>,
    /// Cells of hidden families, sorted alike.
    pub hidden: Vec<OutputCell>,
}

impl StoredRow {
    /// Takes a row of `table` apart.
    #[must_use]
    pub fn of(table: &Table, row: Row) -> Self {
        let cell = |c: Cell| OutputCell { family: c.family, qualifier: c.qualifier, value: c.value };
        let is_hidden = |family: FamilyId| table.family_by_id(family).is_some_and(|f| f.hidden);
        let (hidden, shown) = row.cells.into_iter().map(cell).partition(|c| is_hidden(c.family));
        Self { key: row.key, shown, hidden }
    }

    /// When the row is, by the table's time column.
    ///
    /// # Errors
    /// `Corrupt` if it has no time or does not decode: runs write no such row.
    pub fn time(&self, table: &Table, window: &OutputWindow) -> Result<Micros> {
        let value = match table.key_part(&window.time_column) {
            Some((at, _)) => table.key_schema().decode(&self.key)?.swap_remove(at),
            None => self.column(table, &window.time_column)?,
        };
        let none = || Error::corrupt(format!("table '{}': a stored row without its time column '{}'", table.name, window.time_column));
        value.and_then(|v| instant(window, &v)).ok_or_else(none)
    }

    fn column(&self, table: &Table, name: &str) -> Result<Option<Value>> {
        let Some(declared) = table.column(name) else { return Ok(None) };
        let stored = declared.stored();
        let cell = self.shown.iter().find(|c| c.family == declared.family && c.qualifier == stored);
        cell.map(|c| Value::from_cell(declared.ty, &c.value)).transpose()
    }
}

/// What a window record's checksum adds up: a digest of a key with its cells.
#[must_use]
pub fn checksum(key: &[u8], cells: &[OutputCell]) -> u64 {
    let whole = OutputCell { family: FamilyId(0), qualifier: Bytes::copy_from_slice(key), value: Bytes::copy_from_slice(&hash_of(cells)) };
    let [a, b, c, d, e, f, g, h, ..] = hash_of(std::slice::from_ref(&whole));
    u64::from_be_bytes([a, b, c, d, e, f, g, h])
}
