//! One row out of a columnar block.

use super::super::properties::{ColumnStats, Dictionary};
use super::clean::WideOfRows;
use super::columnar::{ColumnPage, ColumnSlot, ColumnarBlock, Overflow, OverflowCell, OverflowColumn, Values, WidePage};
use super::items::Wanted;
use crate::codec::{Damaged, Result};
use crate::format::CellKind;
use crate::raw::RawCell;
use bytes::{Bytes, BytesMut};
use common::ids::{FamilyId, Seq};
use common::time::Micros;
use std::cmp::Ordering;
use std::sync::Arc;

/// Where values are put that are no slices of a page.
#[derive(Debug)]
pub(in crate::sstable) struct Scratch {
    buffer: BytesMut,
    /// Bytes taken at once.
    chunk: usize,
    /// Values up to this size are copied: whoever keeps them then keeps no block.
    copied: usize,
}

impl Scratch {
    /// For many rows: only fixed-width values are copied.
    pub(in crate::sstable) fn for_scan() -> Self {
        Self { buffer: BytesMut::new(), chunk: 8 << 10, copied: 0 }
    }

    /// For one row, whose reader may keep it.
    pub(in crate::sstable) fn for_row() -> Self {
        Self { buffer: BytesMut::new(), chunk: 512, copied: 256 }
    }

    fn copy(&mut self, value: &[u8]) -> Bytes {
        if self.buffer.capacity() - self.buffer.len() < value.len() {
            self.buffer = BytesMut::with_capacity(self.chunk.max(value.len()));
        }
        self.buffer.extend_from_slice(value);
        self.buffer.split().freeze()
    }

    fn slice(&mut self, data: &Bytes, from: usize, to: usize) -> Bytes {
        if to - from <= self.copied { self.copy(&data[from..to]) } else { data.slice(from..to) }
    }
}

/// Pages of a block's wide columns: by slot, then by page.
#[derive(Clone, Debug, Default)]
pub(in crate::sstable) struct WidePages(Vec<Vec<Option<Arc<ColumnPage>>>>);

impl WidePages {
    pub(in crate::sstable) fn new(block: &ColumnarBlock) -> Self {
        if block.columns().iter().all(|slot| slot.wide().is_empty()) {
            return Self::default();
        }
        Self(block.columns().iter().map(|slot| vec![None; slot.wide().len()]).collect())
    }

    /// Whether the block has no wide columns.
    pub(in crate::sstable) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(in crate::sstable) fn put(&mut self, (slot, page): (usize, usize), decoded: Arc<ColumnPage>) {
        self.0[slot][page] = Some(decoded);
    }

    pub(in crate::sstable) fn has(&self, (slot, page): (usize, usize)) -> bool {
        self.0.get(slot).and_then(|pages| pages.get(page)).is_some_and(Option::is_some)
    }

    fn page(&self, slot: usize, wide: &[WidePage], row: usize) -> Option<(&ColumnPage, usize)> {
        let at = page_of(wide, row);
        let page = self.0.get(slot)?.get(at)?.as_ref()?;
        Some((page, row - wide[at].first_row))
    }
}

impl WideOfRows for WidePages {
    fn wide(&self, at: usize, slot: &ColumnSlot, row: usize) -> Option<(&ColumnPage, usize)> {
        self.page(at, slot.wide(), row)
    }
}

/// The page that holds a row.
fn page_of(wide: &[WidePage], row: usize) -> usize {
    wide.partition_point(|page| page.first_row <= row).saturating_sub(1)
}

/// The wide pages that reading these rows needs: slot and page.
pub(in crate::sstable) fn wide_needed(
    block: &ColumnarBlock,
    rows: &std::ops::Range<usize>,
    dictionary: &Dictionary,
    wanted: &Wanted<'_>,
) -> Vec<(usize, usize)> {
    let mut needed = Vec::new();
    for (at, slot) in block.columns().iter().enumerate() {
        let wide = slot.wide();
        if wide.is_empty() || rows.is_empty() || !reads(slot, dictionary, wanted) {
            continue;
        }
        needed.extend((page_of(wide, rows.start)..=page_of(wide, rows.end - 1)).map(|page| (at, page)));
    }
    needed
}

/// Whether the column's page must be decoded.
fn reads(slot: &ColumnSlot, dictionary: &Dictionary, wanted: &Wanted<'_>) -> bool {
    let regular = slot.info.dense && !slot.info.exceptions;
    wanted.asks_listed(slot.info.place, dictionary) || (wanted.others() && !regular)
}

/// Appends the wanted cells of a row, in order. Wide pages that it needs must be there.
pub(in crate::sstable) fn read_row(
    (block, row): (&ColumnarBlock, usize),
    dictionary: &Dictionary,
    wanted: &Wanted<'_>,
    wide: &WidePages,
    scratch: &mut Scratch,
    out: &mut Vec<RawCell>,
) -> common::Result<()> {
    let overflow = block.overflow()?;
    let mut spilled = Spilled { overflow, cells: overflow.map_or(&[], |o| o.of_row(row)), dictionary, wanted };
    let own = block.versions()?.of(row);
    for (at, slot) in block.columns().iter().enumerate() {
        let place = slot.info.place;
        let column = dictionary.column(place).ok_or_else(|| block.damaged(Damaged("a column is not in the dictionary")))?;
        if !spilled.cells.is_empty() {
            spilled.before(column, scratch, out).map_err(|d| block.damaged(d))?;
        }
        let asked = wanted.asks_listed(place, dictionary);
        if !asked && !wanted.others() {
            continue;
        }
        let mut cell = |(timestamp, seq): (i64, u64), value| {
            if seq <= wanted.at().0 {
                let (family, qualifier) = (column.family, column.qualifier.clone());
                out.push(RawCell { family, qualifier, timestamp: Micros(timestamp), seq: Seq(seq), kind: CellKind::Value, value });
            }
        };
        if !reads(slot, dictionary, wanted) {
            cell(own, Bytes::new());
            continue;
        }
        let (page, row) = match block.page(slot)? {
            Some(page) => (page.as_ref(), row),
            None => wide.page(at, slot.wide(), row).ok_or_else(|| common::Error::internal("a wide page was not read before its row"))?,
        };
        if page.is_present(row) {
            let value = if asked { page.value(row, scratch) } else { Bytes::new() };
            cell(page.exception(row).unwrap_or(own), value);
        }
    }
    spilled.rest(scratch, out).map_err(|d| block.damaged(d))
}

impl ColumnPage {
    /// A row's value as its cell had it.
    fn value(&self, row: usize, scratch: &mut Scratch) -> Bytes {
        match &self.values {
            Values::Fixed8(values) => scratch.copy(&values[row].to_be_bytes()),
            Values::Bool(values) => Bytes::from_static(if values.value(row) { &[1] } else { &[0] }),
            Values::Var { offsets, data } => scratch.slice(data, offsets[row] as usize, offsets[row + 1] as usize),
            Values::Dict { codes, offsets, data } => {
                let code = codes[row] as usize;
                scratch.slice(data, offsets[code] as usize, offsets[code + 1] as usize)
            }
        }
    }
}

/// A row's overflow cells still to come.
struct Spilled<'a> {
    overflow: Option<&'a Overflow>,
    cells: &'a [OverflowCell],
    dictionary: &'a Dictionary,
    wanted: &'a Wanted<'a>,
}

impl Spilled<'_> {
    /// Appends those of columns before `column`.
    fn before(&mut self, column: &ColumnStats, scratch: &mut Scratch, out: &mut Vec<RawCell>) -> Result<()> {
        while let Some(cell) = self.cells.first() {
            let (family, qualifier) = self.name(cell)?;
            let order = family.cmp(&column.family).then_with(|| qualifier.cmp(&column.qualifier));
            if order != Ordering::Less {
                break;
            }
            self.push(scratch, out)?;
        }
        Ok(())
    }

    fn rest(&mut self, scratch: &mut Scratch, out: &mut Vec<RawCell>) -> Result<()> {
        while !self.cells.is_empty() {
            self.push(scratch, out)?;
        }
        Ok(())
    }

    fn push(&mut self, scratch: &mut Scratch, out: &mut Vec<RawCell>) -> Result<()> {
        let (Some((cell, rest)), Some(overflow)) = (self.cells.split_first(), self.overflow) else { return Ok(()) };
        self.cells = rest;
        if cell.seq > self.wanted.at().0 {
            return Ok(());
        }
        let (family, qualifier) = self.name(cell)?;
        let asked = match cell.column {
            OverflowColumn::Listed(place) => self.wanted.asks_listed(place, self.dictionary),
            OverflowColumn::Named(_) => self.wanted.asks(family, qualifier),
        };
        if !asked && !self.wanted.others() {
            return Ok(());
        }
        let value = if asked { scratch.slice(&overflow.data, cell.value.0 as usize, cell.value.1 as usize) } else { Bytes::new() };
        let (timestamp, seq) = (Micros(cell.timestamp), Seq(cell.seq));
        out.push(RawCell { family, qualifier: qualifier.clone(), timestamp, seq, kind: cell.kind, value });
        Ok(())
    }

    fn name(&self, cell: &OverflowCell) -> Result<(FamilyId, &Bytes)> {
        match cell.column {
            OverflowColumn::Listed(place) => self.dictionary.column(place).map(|c| (c.family, &c.qualifier)),
            OverflowColumn::Named(name) => self.overflow.and_then(|o| o.names.get(name as usize)).map(|(f, q)| (*f, q)),
        }
        .ok_or(Damaged("a column is not in the dictionary"))
    }
}
