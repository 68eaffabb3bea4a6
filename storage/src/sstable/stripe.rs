//! Rows on their way into blocks: gathered column by column, so that they are laid out without a look at single cells.

use super::block::column::{CellValues, ColumnCells};
use super::block::columnar::{Exceptions, OverflowColumn};
use super::layout::{Kind, Layout};
use super::names::{Names, Places};
use crate::format::{CellKind, RowRef};
use crate::raw::{RawCell, RawRow};
use bytes::Bytes;
use common::ids::{FamilyId, Seq};
use std::ops::Range;

/// Bytes that a cell takes beside its value, about.
const CELL_BYTES: usize = 2;
const NO_COLUMN: u32 = u32::MAX;

/// See the module's page.
#[derive(Debug, Default)]
pub(super) struct Stripe {
    key_data: Vec<u8>,
    key_ends: Vec<u32>,
    /// Of most cells of each row.
    pub(super) timestamps: Vec<i64>,
    pub(super) seqs: Vec<u64>,
    row_bytes: Vec<u32>,
    pub(super) columns: Vec<StripeColumn>,
    /// By place.
    index: Vec<u32>,
    /// Cells that fit no column, in order.
    pub(super) spills: Vec<Spill>,
    pub(super) spilled: Vec<u8>,
    /// Columns that the dictionary does not have.
    pub(super) names: Vec<(FamilyId, Bytes)>,
    bytes: usize,
}

#[derive(Debug)]
pub(super) struct StripeColumn {
    pub(super) place: u32,
    pub(super) cells: ColumnCells,
    bytes: usize,
}

/// A cell that fits no column.
#[derive(Clone, Copy, Debug)]
pub(super) struct Spill {
    pub(super) row: u32,
    pub(super) column: OverflowColumn,
    pub(super) timestamp: i64,
    pub(super) seq: u64,
    pub(super) kind: CellKind,
    pub(super) value: (u32, u32),
}

/// How a stripe becomes blocks.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) blocks: Vec<Range<usize>>,
    /// The columns in the order of family and qualifier.
    pub(super) order: Vec<usize>,
    /// Whether each column is kept apart.
    pub(super) wide: Vec<bool>,
}

impl Stripe {
    /// Empties it; columns and memory stay.
    pub(super) fn clear(&mut self) {
        let Self { key_data, key_ends, timestamps, seqs, row_bytes, columns, index: _, spills, spilled, names, bytes } = self;
        key_data.clear();
        key_ends.clear();
        timestamps.clear();
        seqs.clear();
        row_bytes.clear();
        columns.iter_mut().for_each(StripeColumn::clear);
        spills.clear();
        spilled.clear();
        names.clear();
        *bytes = 0;
    }

    pub(super) fn rows(&self) -> usize {
        self.timestamps.len()
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn key(&self, row: usize) -> &[u8] {
        let from = row.checked_sub(1).map_or(0, |before| self.key_ends[before]);
        &self.key_data[from as usize..self.key_ends[row] as usize]
    }

    /// Adds a row with cells.
    pub(super) fn add(&mut self, row: &RawRow, names: &mut Names, layout: &Layout) {
        let own = majority(&row.cells);
        let number = self.begin_row(&row.key, own);
        let mut bytes = row.key.len();
        names.begin_row();
        let mut column = OverflowColumn::Named(NO_COLUMN);
        let mut before: Option<&RawCell> = None;
        for cell in &row.cells {
            let again = before.is_some_and(|b| b.same_column(cell));
            if !again {
                column = self.column_of(cell.family, &cell.qualifier, names, layout);
            }
            before = Some(cell);
            bytes += cell.value.len() + CELL_BYTES;
            if let OverflowColumn::Listed(place) = column {
                names.count(place, cell.value.len());
                if !again && cell.kind == CellKind::Value && self.push((place, names.kind(place)), number, &cell.value) {
                    let at = (cell.timestamp.0, cell.seq.0);
                    if at != own {
                        self.except(place, number, at);
                    }
                    continue;
                }
            }
            self.spill((number, column), (cell.timestamp.0, cell.seq.0), cell.kind, &cell.value);
        }
        self.end_row(bytes);
    }

    /// Adds a plain row whose columns are those that `places` has turned to.
    pub(super) fn add_plain(&mut self, row: &RowRef<'_>, seq: Seq, names: (&mut Names, &mut Places), layout: &Layout) {
        let (names, places) = names;
        let own = (row.timestamp().0, seq.0);
        let number = self.begin_row(row.key(), own);
        let mut bytes = row.key().len();
        names.begin_row();
        for cell in row.cells() {
            bytes += cell.value.len() + CELL_BYTES;
            let column = match places.get(cell.column, names, layout) {
                Some(place) => {
                    names.count(place, cell.value.len());
                    if self.push((place, names.kind(place)), number, cell.value) {
                        continue;
                    }
                    OverflowColumn::Listed(place)
                }
                None => match row.column(cell.column) {
                    Some((family, qualifier)) => self.name(*family, qualifier),
                    None => continue,
                },
            };
            self.spill((number, column), own, CellKind::Value, cell.value);
        }
        self.end_row(bytes);
    }

    fn begin_row(&mut self, key: &[u8], own: (i64, u64)) -> u32 {
        let number = self.rows() as u32;
        self.timestamps.push(own.0);
        self.seqs.push(own.1);
        self.key_data.extend_from_slice(key);
        self.key_ends.push(self.key_data.len() as u32);
        number
    }

    fn end_row(&mut self, bytes: usize) {
        self.row_bytes.push(bytes as u32);
        self.bytes += bytes;
    }

    fn column_of(&mut self, family: FamilyId, qualifier: &Bytes, names: &mut Names, layout: &Layout) -> OverflowColumn {
        names.place(family, qualifier, layout).map_or_else(|| self.name(family, qualifier), OverflowColumn::Listed)
    }

    fn name(&mut self, family: FamilyId, qualifier: &Bytes) -> OverflowColumn {
        self.names.push((family, qualifier.clone()));
        OverflowColumn::Named(self.names.len() as u32 - 1)
    }

    /// Adds a value to its column; false if it does not fit in there.
    fn push(&mut self, (place, kind): (u32, Option<Kind>), row: u32, value: &[u8]) -> bool {
        let at = self.slot(place, kind);
        let column = &mut self.columns[at];
        if column.cells.rows.last() == Some(&row) || !column.cells.values.push(value) {
            return false;
        }
        column.cells.rows.push(row);
        column.bytes += value.len();
        true
    }

    /// Notes that the cell just added has not its row's timestamp and seq.
    fn except(&mut self, place: u32, row: u32, (timestamp, seq): (i64, u64)) {
        if let Some(at) = self.column(place) {
            let Exceptions { rows, timestamps, seqs } = &mut self.columns[at].cells.exceptions;
            rows.push(row);
            timestamps.push(timestamp);
            seqs.push(seq);
        }
    }

    fn slot(&mut self, place: u32, kind: Option<Kind>) -> usize {
        if self.index.len() <= place as usize {
            self.index.resize(place as usize + 1, NO_COLUMN);
        }
        if self.index[place as usize] == NO_COLUMN {
            self.index[place as usize] = self.columns.len() as u32;
            let values = match kind {
                Some(Kind::Int | Kind::Float) => CellValues::Fixed8(Vec::new()),
                Some(Kind::Bool) => CellValues::Bool(Vec::new()),
                Some(Kind::Bytes) | None => CellValues::Var(Vec::new(), Vec::new()),
            };
            let cells = ColumnCells { rows: Vec::new(), values, exceptions: Exceptions::default() };
            self.columns.push(StripeColumn { place, cells, bytes: 0 });
        }
        self.index[place as usize] as usize
    }

    /// The column of a place, if some row had a cell in it.
    pub(super) fn column(&self, place: u32) -> Option<usize> {
        self.index.get(place as usize).filter(|at| **at != NO_COLUMN).map(|at| *at as usize)
    }

    fn spill(&mut self, (row, column): (u32, OverflowColumn), (timestamp, seq): (i64, u64), kind: CellKind, value: &[u8]) {
        let from = self.spilled.len() as u32;
        self.spilled.extend_from_slice(value);
        let value = (from, self.spilled.len() as u32);
        self.spills.push(Spill { row, column, timestamp, seq, kind, value });
    }

    pub(super) fn plan(&self, names: &Names, layout: &Layout) -> Plan {
        let mut order: Vec<usize> = (0..self.columns.len()).collect();
        order.sort_by(|a, b| names.name(self.columns[*a].place).cmp(&names.name(self.columns[*b].place)));
        let is_wide = |c: &StripeColumn| {
            matches!(c.cells.values, CellValues::Var(..)) && c.bytes > layout.wide_value_bytes.saturating_mul(c.cells.rows.len())
        };
        let wide: Vec<bool> = self.columns.iter().map(is_wide).collect();
        Plan { blocks: self.cut(&wide, layout), order, wide }
    }

    fn cut(&self, wide: &[bool], layout: &Layout) -> Vec<Range<usize>> {
        let mut narrow = self.row_bytes.clone();
        for (column, _) in self.columns.iter().zip(wide).filter(|(_, wide)| **wide) {
            for (i, row) in column.cells.rows.iter().enumerate() {
                narrow[*row as usize] -= column.cells.values.len_of(i) as u32;
            }
        }
        let (mut blocks, mut from, mut bytes) = (Vec::new(), 0, 0);
        for (row, of_row) in narrow.iter().enumerate() {
            bytes += *of_row as usize;
            if bytes >= layout.block_bytes || row + 1 - from >= layout.block_rows {
                blocks.push(from..row + 1);
                (from, bytes) = (row + 1, 0);
            }
        }
        if from < narrow.len() {
            blocks.push(from..narrow.len());
        }
        blocks
    }
}

impl StripeColumn {
    fn clear(&mut self) {
        self.bytes = 0;
        self.cells.clear();
    }
}

/// The timestamp and seq of most cells, if most have the same; else of some cell. By Boyer and Moore's vote.
fn majority(cells: &[RawCell]) -> (i64, u64) {
    let (mut best, mut votes) = ((0, 0), 0usize);
    for cell in cells {
        let pair = (cell.timestamp.0, cell.seq.0);
        if votes == 0 {
            best = pair;
        }
        if best == pair { votes += 1 } else { votes -= 1 }
    }
    best
}
