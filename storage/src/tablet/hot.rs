//! Rows that are changed again and again, as SSTables hold them.
//!
//! A counter leaves a version for each increment. The next increment needs the newest alone, so what was read of such a
//! row is cut to that and kept as long as the SSTables are the same, and all of them numbered below what is in memory: while some
//! are not, ingested a moment ago, nothing is.

use super::inner::State;
use crate::format::{CellKind, Delete, SstableName};
use crate::raw::{RawCell, RawDelete, RawRow};
use crate::read::Deletes;
use crate::sync::lock;
use bytes::Bytes;
use common::ids::Seq;
use common::row::Columns;
use common::time::Micros;
use std::collections::HashMap;
use std::sync::{Arc, Mutex};

/// Cells from which on a row's stored part is kept.
const MANY: usize = 64;
/// Rows kept at most; then all are forgotten.
const MOST: usize = 1024;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct HotRows {
    /// Held for map operations only.
    rows: Mutex<HashMap<Bytes, Arc<Kept>>>,
}

#[derive(Debug)]
struct Kept {
    columns: Columns,
    sstables: Vec<SstableName>,
    row: RawRow,
}

impl HotRows {
    /// What is kept of a row, if it is of these columns and SSTables.
    pub(super) fn get(&self, key: &[u8], columns: &Columns, state: &State) -> Option<RawRow> {
        if state.unlisted().next().is_some() {
            return None;
        }
        let kept = lock(&self.rows).get(key).cloned()?;
        (kept.columns == *columns && state.names().eq(kept.sstables.iter().copied())).then(|| kept.row.clone())
    }

    /// Keeps the newest cell of each column if there are many more.
    pub(super) fn keep(&self, key: &Bytes, columns: &Columns, state: &State, row: &RawRow) {
        if row.cells.len() < MANY || state.unlisted().next().is_some() {
            return;
        }
        let cut = newest(row);
        if cut.cells.len() > row.cells.len() / 2 {
            return;
        }
        let kept = Kept { columns: columns.clone(), sstables: state.names().collect(), row: cut };
        let mut rows = lock(&self.rows);
        if rows.len() >= MOST {
            rows.clear();
        }
        rows.insert(key.clone(), Arc::new(kept));
    }
}

/// Whether deletes that memory adds to a stored row could show an older version than the newest: only a delete of a time range can,
/// for everything stored is numbered below everything in memory.
pub(super) fn may_show_older(deletes: &[RawDelete]) -> bool {
    let whole = |start: Micros, end: Micros| start == Micros::MIN && end == Micros::MAX;
    deletes.iter().any(|d| matches!(&d.what, Delete::Column { start, end, .. } if !whole(*start, *end)))
}

/// The row with the newest live cell of each column alone, with all that it is combined from.
fn newest(row: &RawRow) -> RawRow {
    let deletes = Deletes::of(&row.deletes, &row.covers, Seq::MAX);
    let mut cells: Vec<RawCell> = Vec::new();
    let mut found: Option<&RawCell> = None;
    for cell in row.cells.iter().filter(|c| !deletes.hide(c)) {
        let combined = |f: &RawCell| f.kind != CellKind::Value && f.timestamp == cell.timestamp;
        if found.is_none_or(|f| !f.same_column(cell) || combined(f)) {
            cells.push(cell.clone());
            found = Some(cell);
        }
    }
    RawRow { key: row.key.clone(), cells, deletes: row.deletes.clone(), covers: row.covers.clone() }
}
