//! Where one row lies, if that is known without a wait: for rows that one block holds whole.

use super::load::Held;
use super::lookup::is_outside;
use super::{Reader, Step, Stop};
use crate::raw::Scan;
use crate::sstable::block::columnar::{ColumnPage, ColumnSlot, ColumnarBlock};
use crate::sstable::block::rowwise::Rowwise;
use crate::sstable::block::{Block, Shown, WideOfRows, clean_rows};
use crate::sstable::filter::KeyHash;
use crate::sstable::index::BlockKind;
use crate::sstable::properties::ColumnStats;
use crate::sstable::{Meta, Section};
use common::Result;
use common::row::{Columns, Row};
use common::time::Micros;
use std::sync::Arc;

/// What an SSTable knows of a row at once.
pub(crate) enum Place<'r> {
    /// Nothing that is wanted, and no delete of it.
    Absent,
    /// All that it has of it.
    Row(PlacedRow<'r>),
    /// It must be [looked up](Reader::row) in full.
    Unsure,
}

/// A row of a columnar block. The SSTable has no delete of it but row-range deletes.
pub(crate) struct PlacedRow<'r> {
    reader: &'r Reader,
    meta: &'r Meta,
    of: Of,
}

enum Of {
    /// This row of it.
    Block(Arc<ColumnarBlock>, usize),
    /// The record that begins here.
    Rowwise(Arc<Rowwise>, usize),
}

impl Reader {
    /// Where a row lies. The scan's ranges do not count.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset.
    pub(crate) fn place_now(&self, key: &[u8], hash: KeyHash, scan: &Scan) -> Result<Place<'_>> {
        match self.place(key, hash, scan) {
            Ok(place) => Ok(place),
            Err(Stop::Need(_)) => Ok(Place::Unsure),
            Err(Stop::Failed(e)) => Err(e),
        }
    }

    fn place(&self, key: &[u8], hash: KeyHash, scan: &Scan) -> Step<Place<'_>> {
        if !self.entry.range.contains(key) {
            return Ok(Place::Absent);
        }
        if within(self.entry.delete_keys.as_ref(), key) {
            return Ok(Place::Unsure);
        }
        if !within(self.entry.keys.as_ref(), key) {
            return Ok(Place::Absent);
        }
        let meta = self.meta_now()?;
        if !self.ask(meta, meta.filter.row(key), hash, &[])? {
            return Ok(Place::Absent);
        }
        let Some(found) = self.last_block(meta, Section::Cells, key, &Held::default())? else { return Ok(Place::Absent) };
        let entry = found.entry();
        if entry.kind != BlockKind::Columnar {
            return Ok(Place::Unsure);
        }
        if is_outside(&entry.bounds, scan) {
            return Ok(Place::Absent);
        }
        let of = match self.rowwise_now(entry.offset) {
            Some(rows) => rows.find(key, hash).map(|record| Of::Rowwise(rows, record)),
            None => {
                let Some(Block::Columnar(block)) = self.block_now(entry) else { return Ok(Place::Unsure) };
                block.row_of(key, hash).map(|row| Of::Block(block, row))
            }
        };
        Ok(of.map_or(Place::Absent, |of| Place::Row(PlacedRow { reader: self, meta, of })))
    }
}

fn within(keys: Option<&(bytes::Bytes, bytes::Bytes)>, key: &[u8]) -> bool {
    keys.is_some_and(|(first, last)| first.as_ref() <= key && key <= last.as_ref())
}

/// Slots of wide columns, the row's page of each and the row in it.
struct Pages(Vec<(usize, Arc<ColumnPage>, usize)>);

impl WideOfRows for Pages {
    fn wide(&self, at: usize, _: &ColumnSlot, _: usize) -> Option<(&ColumnPage, usize)> {
        self.0.iter().find(|(of, ..)| *of == at).map(|(_, page, row)| (page.as_ref(), *row))
    }
}

impl PlacedRow<'_> {
    /// The row as the scan's columns and `shows`, asked for each of their cells, show it.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset.
    pub(crate) fn clean(&self, scan: &Scan, shows: impl Fn(&ColumnStats, Micros) -> bool) -> Result<Clean> {
        let wants = |_, column: &ColumnStats| matches!(scan.columns, Columns::All) || scan.columns.wants(column.family, &column.qualifier);
        let shown = Shown { at: scan.at, wants, shows };
        match &self.of {
            Of::Rowwise(rows, record) if rows.is_unsure(*record) => Ok(Clean::Unsure),
            Of::Rowwise(rows, record) => Ok(Clean::Row(rows.row(*record, &self.meta.dictionary, &shown)?)),
            Of::Block(block, row) => {
                let clean = self.of_block(block, *row, &shown)?;
                if is_most(&scan.columns, block.columns().len()) {
                    self.reader.note_row_read(block);
                }
                Ok(clean)
            }
        }
    }

    fn of_block<W, S>(&self, block: &ColumnarBlock, row: usize, shown: &Shown<W, S>) -> Result<Clean>
    where
        W: Fn(u32, &ColumnStats) -> bool,
        S: Fn(&ColumnStats, Micros) -> bool,
    {
        if block.overflow()?.is_some_and(|overflow| !overflow.of_row(row).is_empty()) {
            return Ok(Clean::Unsure);
        }
        let Some(pages) = self.pages(block, row, &shown.wants) else { return Ok(Clean::Unsure) };
        let mut rows = Vec::with_capacity(1);
        clean_rows((block, std::iter::once(row)), &self.meta.dictionary, &pages, shown, &mut rows)?;
        Ok(Clean::Row(rows.pop()))
    }

    fn pages(&self, block: &ColumnarBlock, row: usize, wants: impl Fn(u32, &ColumnStats) -> bool) -> Option<Pages> {
        let mut pages = Vec::new();
        for (at, slot) in block.columns().iter().enumerate() {
            if let Some(place) = slot.wide_of(row)
                && self.meta.dictionary.column(slot.info.place).is_some_and(|column| wants(slot.info.place, column))
            {
                pages.push((at, self.reader.page_now(place.offset)?, row - place.first_row));
            }
        }
        Some(Pages(pages))
    }
}

/// Whether these are most of so many columns, as far as their number tells: few are found as fast where they are.
fn is_most(columns: &Columns, of: usize) -> bool {
    match columns {
        Columns::All => true,
        Columns::Some(list) => 2 * list.len() >= of || list.iter().any(|(_, qualifier)| qualifier.is_none()),
        Columns::Ranges(_) => false,
    }
}

/// What a placed row came to.
pub(crate) enum Clean {
    /// The row; `None` if nothing of it is shown.
    Row(Option<Row>),
    /// It must be looked up and judged.
    Unsure,
}
