//! A columnar block in memory: keys, a timestamp and a seq a row, and columns; all but the keys are decoded when first asked for.

use super::super::object::Object;
use super::super::page::{PageHead, RawPage};
use super::points::Points;
use super::{column, overflow};
use crate::codec::Damaged;
use crate::format::CellKind;
use crate::sstable::filter::KeyHash;
use arrow_buffer::{BooleanBuffer, NullBuffer, OffsetBuffer, ScalarBuffer};
use bytes::Bytes;
use common::Result;
use common::ids::FamilyId;
use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};

/// See the module's page. Rows count from 0 within the block.
#[derive(Debug)]
pub(crate) struct ColumnarBlock {
    pub(super) object: Arc<Object>,
    /// Of the block in the object.
    pub(super) offset: u64,
    pub(super) first_ordinal: u64,
    pub(super) keys: Keys,
    /// Made when a single row is first looked for; `None` if there are too many rows.
    pub(super) points: OnceLock<Option<Points>>,
    pub(in crate::sstable) row_reads: RowReads,
    pub(super) versions: VersionsSlot,
    /// In the order of family and qualifier.
    pub(super) columns: Vec<ColumnSlot>,
    pub(super) overflow: Option<OverflowSlot>,
    /// Bytes in memory once everything is decoded, wide pages apart.
    pub(super) weight: u64,
    /// Some page of it did not decode.
    pub(super) damaged: AtomicBool,
}

/// How often single rows of a block were read.
#[derive(Debug, Default)]
pub(in crate::sstable) struct RowReads {
    reads: AtomicU32,
    in_vain: AtomicBool,
}

impl RowReads {
    /// One read for so many rows is about what it takes to lay out the block [by rows](super::rowwise::Rowwise).
    const ROWS_A_READ: usize = 16;
    const LEAST: usize = 4;

    /// Counts a read; whether it is time to lay out the rows, of which there are so many.
    pub(in crate::sstable) fn is_due(&self, rows: usize) -> bool {
        let due = (rows / Self::ROWS_A_READ).max(Self::LEAST) as u32;
        (self.reads.fetch_add(1, Ordering::Relaxed) + 1).is_multiple_of(due) && !self.in_vain.load(Ordering::Relaxed)
    }

    /// It would not help.
    pub(in crate::sstable) fn are_in_vain(&self) {
        self.in_vain.store(true, Ordering::Relaxed);
    }
}

/// Sorted keys, one behind the other.
#[derive(Clone, Debug)]
pub(crate) struct Keys {
    pub(crate) offsets: OffsetBuffer<i32>,
    pub(crate) data: Bytes,
}

/// A column of a block.
#[derive(Debug)]
pub(crate) struct ColumnSlot {
    pub(crate) info: ColumnInfo,
    pub(super) pages: Pages,
}

/// What a block's header says of a column: known without decoding its page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ColumnInfo {
    /// Its place in the dictionary.
    pub(crate) place: u32,
    /// Every row has a cell of it.
    pub(crate) dense: bool,
    /// Some cell has another timestamp or seq than its row.
    pub(crate) exceptions: bool,
}

#[derive(Debug)]
pub(super) enum Pages {
    /// In the block itself.
    Narrow { raw: RawPage, decoded: OnceLock<Arc<ColumnPage>> },
    /// Apart from it, each for some of its rows, in order and without gaps.
    Wide(Vec<WidePage>),
}

/// Where a page of a wide column lies: cached and read by itself.
#[derive(Clone, Debug)]
pub(crate) struct WidePage {
    /// First row of the block that it is about, and how many.
    pub(crate) first_row: usize,
    pub(crate) rows: usize,
    /// In the object.
    pub(crate) offset: u64,
    pub(in crate::sstable) head: PageHead,
}

/// Where the versions of a block's rows lie.
#[derive(Debug)]
pub(super) struct VersionsSlot {
    pub(super) timestamps: RawPage,
    pub(super) seqs: RawPage,
    pub(super) decoded: OnceLock<Versions>,
}

/// A timestamp and a seq a row: those of most of its cells.
#[derive(Clone, Debug)]
pub(crate) struct Versions {
    pub(crate) timestamps: ScalarBuffer<i64>,
    pub(crate) seqs: ScalarBuffer<u64>,
}

impl Versions {
    pub(crate) fn of(&self, row: usize) -> (i64, u64) {
        (self.timestamps[row], self.seqs[row])
    }
}

#[derive(Debug)]
pub(super) struct OverflowSlot {
    pub(super) raw: RawPage,
    pub(super) decoded: OnceLock<Overflow>,
}

/// A decoded column, aligned to the rows of its block: an absent value is 0, false or empty.
#[derive(Clone, Debug)]
pub(crate) struct ColumnPage {
    /// Which rows have a cell here; `None`: all.
    pub(crate) present: Option<NullBuffer>,
    pub(crate) values: Values,
    pub(crate) exceptions: Exceptions,
    pub(crate) memo: Memo,
}

/// What a reader made of a page and wants to find again, as long as the page stays in memory: whatever shares the page's
/// memory, which its weight does not count again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Memo(OnceLock<Arc<dyn Any + Send + Sync>>);

impl Memo {
    pub(crate) fn get<T: 'static>(&self) -> Option<&T> {
        self.0.get()?.downcast_ref()
    }

    /// Keeps `made`, unless something is kept already.
    pub(crate) fn set<T: Send + Sync + 'static>(&self, made: T) {
        self.0.get_or_init(|| Arc::new(made));
    }
}

/// Values of a column.
#[derive(Clone, Debug)]
pub(crate) enum Values {
    /// Of exactly 8 bytes, read as big-endian integers.
    Fixed8(ScalarBuffer<i64>),
    /// Of one byte, 0 or 1.
    Bool(BooleanBuffer),
    /// Of any bytes.
    Var { offsets: OffsetBuffer<i32>, data: Bytes },
    /// Row *i* has the entry `codes[i]`; an absent value has code 0.
    Dict { codes: ScalarBuffer<u32>, offsets: OffsetBuffer<i32>, data: Bytes },
}

/// The cells of a page whose timestamp or seq is not their row's.
#[derive(Clone, Debug, Default)]
pub(crate) struct Exceptions {
    /// Rising.
    pub(crate) rows: Vec<u32>,
    pub(crate) timestamps: Vec<i64>,
    pub(crate) seqs: Vec<u64>,
}

/// Cells that fit no page of their block: further versions, rare columns, values of another physical kind, aggregates.
#[derive(Clone, Debug, Default)]
pub(crate) struct Overflow {
    /// Rows with such cells, rising.
    pub(crate) rows: Vec<u32>,
    /// The cells of `rows[i]` are those from `ends[i - 1]` (0 for the first) to `ends[i]`.
    pub(crate) ends: Vec<u32>,
    /// Within a row by family, qualifier, newest timestamp first, highest seq first.
    pub(crate) cells: Vec<OverflowCell>,
    /// Columns that the dictionary does not have.
    pub(crate) names: Vec<(FamilyId, Bytes)>,
    pub(crate) data: Bytes,
}

/// A cell in the overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OverflowCell {
    pub(crate) column: OverflowColumn,
    pub(crate) timestamp: i64,
    pub(crate) seq: u64,
    pub(crate) kind: CellKind,
    /// Where in the overflow's data its value lies.
    pub(crate) value: (u32, u32),
}

/// A column of the overflow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OverflowColumn {
    /// Its place in the dictionary.
    Listed(u32),
    /// Its place among the overflow's names.
    Named(u32),
}

impl ColumnarBlock {
    pub(crate) fn rows(&self) -> usize {
        self.keys.len()
    }

    /// Where it lies in its object.
    pub(in crate::sstable) fn offset(&self) -> u64 {
        self.offset
    }

    /// The place of the first row among all rows of the SSTable.
    pub(crate) fn first_ordinal(&self) -> u64 {
        self.first_ordinal
    }

    pub(crate) fn key(&self, row: usize) -> &[u8] {
        self.keys.get(row)
    }

    pub(crate) fn key_bytes(&self, row: usize) -> Bytes {
        self.keys.get_bytes(row)
    }

    /// The first row with a key at or above `key`; the number of rows if there is none.
    pub(crate) fn row_at_or_above(&self, key: &[u8]) -> usize {
        self.keys.partition_point(|k| k < key)
    }

    /// The row of exactly this key. The first time it takes as long as hashing all keys: for blocks that stay in memory.
    pub(in crate::sstable) fn row_of(&self, key: &[u8], hash: KeyHash) -> Option<usize> {
        match self.points.get_or_init(|| Points::of(&self.keys)) {
            Some(points) => points.find(&self.keys, key, hash),
            None => Some(self.row_at_or_above(key)).filter(|row| *row < self.rows() && self.key(*row) == key),
        }
    }

    /// What most cells of each row have in common. A scan of rows that need no judging does not ask for it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn versions(&self) -> Result<&Versions> {
        let slot = &self.versions;
        if let Some(versions) = slot.decoded.get() {
            return Ok(versions);
        }
        let versions = slot.decode(self.rows(), self.object.given).map_err(|d| self.damaged(d))?;
        Ok(slot.decoded.get_or_init(|| versions))
    }

    /// The block's columns in the order of family and qualifier; others are absent or in the overflow only.
    pub(crate) fn columns(&self) -> &[ColumnSlot] {
        &self.columns
    }

    fn slot(&self, place: u32) -> Option<&ColumnSlot> {
        self.columns.iter().find(|slot| slot.info.place == place)
    }

    /// A column's page; `None` if it has none here: it is absent, in the overflow only, or [wide](Self::wide).
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn column(&self, place: u32) -> Result<Option<Arc<ColumnPage>>> {
        match self.slot(place) {
            Some(slot) => Ok(self.page(slot)?.cloned()),
            None => Ok(None),
        }
    }

    /// A slot's page; `None` if the column is wide.
    pub(crate) fn page<'a>(&self, slot: &'a ColumnSlot) -> Result<Option<&'a Arc<ColumnPage>>> {
        let Pages::Narrow { raw, decoded } = &slot.pages else { return Ok(None) };
        if let Some(page) = decoded.get() {
            return Ok(Some(page));
        }
        let page = column::decode(raw, self.rows(), self.object.given).map_err(|d| self.damaged(d))?;
        Ok(Some(decoded.get_or_init(|| Arc::new(page))))
    }

    /// Where the pages of a wide column lie; empty if the column is not wide here.
    pub(crate) fn wide(&self, place: u32) -> &[WidePage] {
        self.slot(place).map_or(&[], ColumnSlot::wide)
    }

    /// Rows with overflow cells; `None` if there are none.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(crate) fn overflow(&self) -> Result<Option<&Overflow>> {
        let Some(slot) = &self.overflow else { return Ok(None) };
        if let Some(overflow) = slot.decoded.get() {
            return Ok(Some(overflow));
        }
        let overflow = overflow::decode(&slot.raw, self.versions()?).map_err(|d| self.damaged(d))?;
        Ok(Some(slot.decoded.get_or_init(|| overflow)))
    }

    pub(in crate::sstable) fn damaged(&self, d: Damaged) -> common::Error {
        self.damaged.store(true, Ordering::Relaxed);
        self.object.damaged(self.offset, d.0)
    }

    /// Whether some page turned out damaged when it was asked for.
    pub(in crate::sstable) fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// Verifies the pages that are in the block, decoded or not.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(in crate::sstable) fn verify(&self) -> Result<()> {
        let narrow = self.columns.iter().filter_map(|slot| match &slot.pages {
            Pages::Narrow { raw, .. } => Some(raw),
            Pages::Wide(_) => None,
        });
        let versions = [&self.versions.timestamps, &self.versions.seqs];
        let mut all = versions.into_iter().chain(narrow).chain(self.overflow.iter().map(|slot| &slot.raw));
        all.try_for_each(|raw| raw.head.verify(&raw.stored)).map_err(|d| self.damaged(d))
    }

    /// Bytes in memory once everything is decoded.
    pub(crate) fn weight(&self) -> u64 {
        self.weight
    }
}

impl ColumnSlot {
    /// Where the pages of a wide column lie; empty if the column is not wide here.
    pub(crate) fn wide(&self) -> &[WidePage] {
        match &self.pages {
            Pages::Narrow { .. } => &[],
            Pages::Wide(pages) => pages,
        }
    }
}

impl ColumnSlot {
    /// Where the page of a wide column lies that holds a row; `None` if the column is not wide here.
    pub(in crate::sstable) fn wide_of(&self, row: usize) -> Option<&WidePage> {
        let wide = self.wide();
        wide.get(wide.partition_point(|page| page.first_row <= row).checked_sub(1)?)
    }
}

impl Keys {
    pub(crate) fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    pub(crate) fn get(&self, row: usize) -> &[u8] {
        &self.data[self.offsets[row] as usize..self.offsets[row + 1] as usize]
    }

    pub(crate) fn get_bytes(&self, row: usize) -> Bytes {
        self.data.slice(self.offsets[row] as usize..self.offsets[row + 1] as usize)
    }

    fn partition_point(&self, below: impl Fn(&[u8]) -> bool) -> usize {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            if below(self.get(middle)) { low = middle + 1 } else { high = middle }
        }
        low
    }
}

impl ColumnPage {
    pub(crate) fn is_present(&self, row: usize) -> bool {
        self.present.as_ref().is_none_or(|p| p.is_valid(row))
    }

    /// Timestamp and seq of a row's cell if they are not the row's.
    pub(crate) fn exception(&self, row: usize) -> Option<(i64, u64)> {
        let e = &self.exceptions;
        if e.rows.is_empty() {
            return None;
        }
        let at = e.rows.binary_search(&(row as u32)).ok()?;
        Some((e.timestamps[at], e.seqs[at]))
    }
}

impl Overflow {
    /// A row's cells.
    pub(crate) fn of_row(&self, row: usize) -> &[OverflowCell] {
        match self.rows.binary_search(&(row as u32)) {
            Ok(at) => self.at(at),
            Err(_) => &[],
        }
    }

    /// The cells of `rows[at]`.
    pub(crate) fn at(&self, at: usize) -> &[OverflowCell] {
        let from = at.checked_sub(1).map_or(0, |before| self.ends[before]);
        &self.cells[from as usize..self.ends[at] as usize]
    }

    pub(crate) fn value(&self, cell: &OverflowCell) -> Bytes {
        self.data.slice(cell.value.0 as usize..cell.value.1 as usize)
    }
}
