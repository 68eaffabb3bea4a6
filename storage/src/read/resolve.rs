//! Judging a row: what is visible of its versions at a seq, after deletes, then GC rules.

use super::combine::Chain;
use crate::format::{CellKind, Delete};
use crate::raw::{RawCell, RawDelete, RawRow};
use bytes::Bytes;
use common::ids::{FamilyId, Seq};
use common::row::{Cell, Columns, ReadSpec, Row};
use common::schema::{GcRule, Table};
use common::time::{Micros, TimeRange};
use std::sync::Arc;

/// GC rules by family; cells of other families (dropped ones) are hidden.
pub(crate) type Rules = Arc<[(FamilyId, GcRule)]>;

/// The GC rules of a table.
pub(crate) fn rules(table: &Table) -> Rules {
    table.families.iter().map(|f| (f.id, f.gc.clone())).collect()
}

/// A row's deletes up to some seq, by what they cover.
#[derive(Debug, Default)]
pub(crate) struct Deletes<'a> {
    row: Seq,
    families: Vec<(FamilyId, Seq)>,
    /// Sorted by family and qualifier.
    columns: Vec<(FamilyId, &'a Bytes, TimeRange, Seq)>,
}

impl<'a> Deletes<'a> {
    /// Those of a row, and the row-range deletes that cover it, numbered up to `at`.
    pub(crate) fn of(deletes: &'a [RawDelete], covers: &[Seq], at: Seq) -> Self {
        let covered = covers.iter().copied().filter(|seq| *seq <= at).max().unwrap_or(Seq::ZERO);
        let deletes = Self::new(deletes, at);
        Self { row: deletes.row.max(covered), ..deletes }
    }

    /// Those numbered up to `at`.
    pub(crate) fn new(deletes: &'a [RawDelete], at: Seq) -> Self {
        let mut out = Self::default();
        for RawDelete { what, seq } in deletes.iter().filter(|d| d.seq <= at) {
            match what {
                Delete::Row => out.row = out.row.max(*seq),
                Delete::Family(family) => match out.families.iter_mut().find(|(f, _)| f == family) {
                    Some((_, highest)) => *highest = (*highest).max(*seq),
                    None => out.families.push((*family, *seq)),
                },
                Delete::Column { family, qualifier, start, end } => {
                    out.columns.push((*family, qualifier, TimeRange { start: *start, end: *end }, *seq));
                }
            }
        }
        out.columns.sort_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
        out
    }

    /// Whether some delete of a strictly higher seq covers the cell.
    pub(crate) fn hide(&self, cell: &RawCell) -> bool {
        self.hides(cell.family, &cell.qualifier, cell.timestamp, cell.seq)
    }

    /// As [`Self::hide`], of a cell at this place.
    pub(crate) fn hides(&self, family: FamilyId, qualifier: &Bytes, timestamp: Micros, cell: Seq) -> bool {
        if self.row > cell || self.families.iter().any(|(f, seq)| *f == family && *seq > cell) {
            return true;
        }
        if self.columns.is_empty() {
            return false;
        }
        let from = self.columns.partition_point(|(f, q, ..)| (*f, *q) < (family, qualifier));
        let of_column = self.columns[from..].iter().take_while(|(f, q, ..)| *f == family && *q == qualifier);
        of_column.into_iter().any(|(_, _, times, seq)| *seq > cell && times.contains(timestamp))
    }
}

/// How rows are judged: fixed once for a whole read.
#[derive(Clone, Debug)]
pub(crate) struct View {
    gc: Rules,
    now: Micros,
    columns: Columns,
    timestamps: TimeRange,
    /// 0: all.
    cells_per_column: u32,
    /// Cells of a row that are passed over, and how many are given then; `usize::MAX`: all.
    cells: (usize, usize),
    /// Sources must then give other columns too.
    keep_empty_rows: bool,
}

impl View {
    /// What `spec` asks of the rows of a table with these rules; ages are as of `now`.
    pub(crate) fn new(gc: Rules, spec: &ReadSpec, now: Micros) -> Self {
        Self {
            gc,
            now,
            columns: spec.columns.clone(),
            timestamps: spec.timestamps,
            cells_per_column: spec.cells_per_column,
            cells: (spec.cell_offset as usize, if spec.cell_limit == 0 { usize::MAX } else { spec.cell_limit as usize }),
            keep_empty_rows: spec.keep_empty_rows,
        }
    }

    /// Everything of the rows.
    pub(crate) fn whole(gc: Rules, now: Micros) -> Self {
        Self::new(gc, &ReadSpec { cells_per_column: 0, ..ReadSpec::default() }, now)
    }

    /// How many cells of a column it shows at most, and within which timestamps; `None`: all.
    pub(crate) fn newest(&self) -> Option<(u32, TimeRange)> {
        (self.cells_per_column > 0).then_some((self.cells_per_column, self.timestamps))
    }

    /// Whether it shows each cell for itself, however many stand before it in the row.
    pub(crate) fn is_plain(&self) -> bool {
        self.cells == (0, usize::MAX) && !self.keep_empty_rows
    }

    /// Whether it shows a plain value that is the only version in its column, where no delete covers it; the column is one that
    /// is wanted.
    pub(crate) fn shows_alone(&self, family: FamilyId, timestamp: Micros) -> bool {
        let age = self.now.0.saturating_sub(timestamp.0);
        self.rule(family).is_some_and(|rule| !rule.condemns(0, age)) && self.timestamps.contains(timestamp)
    }

    /// The row at `at`; `None` if nothing asked for is visible.
    pub(crate) fn resolve(&self, row: RawRow, at: Seq) -> Option<Row> {
        let deletes = &Deletes::of(&row.deletes, &row.covers, at);
        let (key, raw) = (row.key, row.cells);
        let mut judge = Judge::new(self);
        let (mut offset, limit) = self.cells;
        let mut cells: Vec<Cell> = Vec::with_capacity(raw.len().min(limit));
        let mut raw = raw.into_iter().filter(|c| c.seq <= at).peekable();
        while let Some(cell) = raw.next() {
            if !judge.shows(&cell, deletes) {
                continue;
            }
            let RawCell { family, qualifier, timestamp, mut value, kind, seq } = cell;
            if kind != CellKind::Value {
                let mut chain = Chain::new(kind, value);
                let below = |c: &RawCell| c.family == family && c.qualifier == qualifier && c.timestamp == timestamp;
                while let Some(next) = raw.next_if(below) {
                    // A log may hold a mutation twice, and so may the sources.
                    if next.seq < seq && !deletes.hide(&next) {
                        chain.push(next.seq, next.kind, next.value);
                    }
                }
                value = chain.value();
            }
            if offset > 0 {
                offset -= 1;
                continue;
            }
            if cells.len() == limit {
                break;
            }
            cells.push(Cell { family, qualifier, timestamp, value });
        }
        let given = !cells.is_empty() || (self.keep_empty_rows && judge.exists);
        given.then_some(Row { key, cells })
    }

    /// The row at `at`, leaving `row` for another look.
    pub(crate) fn peek(&self, row: &RawRow, at: Seq) -> Option<Row> {
        self.resolve(row.clone(), at)
    }

    fn rule(&self, family: FamilyId) -> Option<&GcRule> {
        self.gc.iter().find(|(f, _)| *f == family).map(|(_, rule)| rule)
    }
}

/// Walks a row's cells in order.
struct Judge<'v> {
    view: &'v View,
    /// The column that is walked, and the timestamp of its last visible-or-hidden version.
    column: Option<(FamilyId, Bytes)>,
    rule: Option<&'v GcRule>,
    wanted: bool,
    last: Option<Micros>,
    /// Live versions before, and how many were shown.
    newer: u64,
    shown: u32,
    /// Whether a cell within the timestamps was visible, in whichever column.
    exists: bool,
}

impl<'v> Judge<'v> {
    fn new(view: &'v View) -> Self {
        Self { view, column: None, rule: None, wanted: false, last: None, newer: 0, shown: 0, exists: false }
    }

    fn enter(&mut self, cell: &RawCell) {
        let (family, same) = match &self.column {
            Some((f, q)) => (*f == cell.family, *f == cell.family && *q == cell.qualifier),
            None => (false, false),
        };
        if !same {
            if !family {
                self.rule = self.view.rule(cell.family);
            }
            // Without `keep_empty_rows` sources give wanted columns only.
            self.wanted = !self.view.keep_empty_rows || self.view.columns.wants(cell.family, &cell.qualifier);
            (self.last, self.newer, self.shown) = (None, 0, 0);
            self.column = Some((cell.family, cell.qualifier.clone()));
        }
    }

    fn shows(&mut self, cell: &RawCell, deletes: &Deletes<'_>) -> bool {
        self.enter(cell);
        // Of equal row, column and timestamp the higher seq wins, and it comes first.
        if self.last == Some(cell.timestamp) {
            return false;
        }
        self.last = Some(cell.timestamp);
        if deletes.hide(cell) {
            return false;
        }
        let age = self.view.now.0.saturating_sub(cell.timestamp.0);
        let condemned = self.rule.is_none_or(|rule| rule.condemns(self.newer, age));
        self.newer += 1;
        if condemned || !self.view.timestamps.contains(cell.timestamp) {
            return false;
        }
        self.exists = true;
        let per_column = self.view.cells_per_column;
        if !self.wanted || (per_column > 0 && self.shown >= per_column) {
            return false;
        }
        self.shown += 1;
        true
    }
}
