//! One row: filter, index, block, row. What is in memory is found without a wait.

use super::load::Held;
use super::{Need, Reader, Step, Stop};
use crate::codec::Damaged;
use crate::raw::{RawRow, Scan};
use crate::sstable::block::columnar::{ColumnPage, ColumnarBlock};
use crate::sstable::block::items::{Wanted, read_deletes};
use crate::sstable::block::{Block, Scratch, WidePages, keyed, read_row, wide_needed};
use crate::sstable::cursor::BlockCursor;
use crate::sstable::filter::KeyHash;
use crate::sstable::index::{BlockKind, Bounds, IndexEntry, PARTITION_ENTRIES};
use crate::sstable::{Meta, Section};
use bytes::Bytes;
use common::Result;
use common::key::KeyRange;
use std::ops::Deref;
use std::sync::Arc;

/// What a lookup without waiting came to.
#[derive(Clone, Debug)]
pub(crate) enum Found {
    /// The row; `None` if there is nothing wanted of it.
    Row(Option<RawRow>),
    /// Something must be read.
    NotInMemory,
}

/// Which way a row must be read.
enum Way {
    Done,
    /// It may span blocks.
    Cursor(Section),
}

impl Reader {
    /// A row's cells and deletes, if they are in memory. Without its key. The scan's ranges do not count;
    /// row-range deletes are not given.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset.
    pub(crate) fn row_now(&self, key: &[u8], hash: KeyHash, scan: &Scan) -> Result<Found> {
        let mut row = RawRow::default();
        match self.read_row_now((key, hash), scan, &Held::default(), &mut row) {
            Ok(Way::Done) => Ok(Found::Row((!row.is_empty()).then_some(row))),
            Ok(Way::Cursor(_)) | Err(Stop::Need(_)) => Ok(Found::NotInMemory),
            Err(Stop::Failed(e)) => Err(e),
        }
    }

    /// A row's cells and deletes. Without its key. The scan's ranges do not count; row-range deletes are not given.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn row(&self, key: &[u8], hash: KeyHash, scan: &Scan) -> Result<Option<RawRow>> {
        let mut held = Held::default();
        loop {
            let mut row = RawRow::default();
            match self.read_row_now((key, hash), scan, &held, &mut row) {
                Ok(Way::Done) => return Ok((!row.is_empty()).then_some(row)),
                Ok(Way::Cursor(_)) => return self.row_by_cursors(key, scan).await,
                Err(Stop::Failed(e)) => return Err(e),
                Err(Stop::Need(need)) => self.fetch(need, scan.fill_cache, &mut held).await?,
            }
        }
    }

    async fn row_by_cursors(&self, key: &[u8], scan: &Scan) -> Result<Option<RawRow>> {
        let scan = Arc::new(Scan { ranges: vec![KeyRange::single(key)], reverse: false, ..scan.clone() });
        let mut row = RawRow::default();
        for section in [Section::Cells, Section::Deletes] {
            // Boxed, for a cursor is large and this is rare.
            let mut cursor = Box::new(BlockCursor::new(self, section, scan.clone()));
            if let Some(found) = cursor.next().await? {
                row.join(found);
            }
        }
        Ok((!row.is_empty()).then_some(row))
    }

    fn read_row_now(&self, (key, hash): (&[u8], KeyHash), scan: &Scan, held: &Held, row: &mut RawRow) -> Step<Way> {
        let inside =
            |keys: &Option<(Bytes, Bytes)>| keys.as_ref().is_some_and(|(first, last)| first.as_ref() <= key && key <= last.as_ref());
        if !self.entry.range.contains(key) {
            return Ok(Way::Done);
        }
        if inside(&self.entry.keys) {
            let meta = self.meta_now()?;
            if self.ask(meta, meta.filter.row(key), hash, &held.filters)?
                && let Way::Cursor(section) = self.cells_now(meta, key, scan, held, row)?
            {
                return Ok(Way::Cursor(section));
            }
        }
        if inside(&self.entry.delete_keys) {
            let meta = self.meta_now()?;
            return self.deletes_now(meta, key, scan, held, row);
        }
        Ok(Way::Done)
    }

    fn cells_now(&self, meta: &Meta, key: &[u8], scan: &Scan, held: &Held, row: &mut RawRow) -> Step<Way> {
        let Some(found) = self.last_block(meta, Section::Cells, key, held)? else { return Ok(Way::Done) };
        let entry = found.entry();
        if entry.kind != BlockKind::Columnar {
            return Ok(Way::Cursor(Section::Cells));
        }
        if is_outside(&entry.bounds, scan) {
            return Ok(Way::Done);
        }
        let block = self.held_block(entry, held).ok_or_else(|| found.need())?;
        let Block::Columnar(block) = block else {
            return Err(self.damaged(entry.offset, "a block of another kind than its index says").into());
        };
        let at = block.row_at_or_above(key);
        if at < block.rows() && block.key(at) == key {
            self.columnar_row(meta, (&block, at), scan, held, row)?;
        }
        Ok(Way::Done)
    }

    fn columnar_row(&self, meta: &Meta, (block, at): (&Arc<ColumnarBlock>, usize), scan: &Scan, held: &Held, row: &mut RawRow) -> Step<()> {
        let wanted = Wanted::new(scan);
        let mut wide = WidePages::new(block);
        if !wide.is_empty() {
            let mut needed = wide_needed(block, &(at..at + 1), &meta.dictionary, &wanted);
            needed.retain(|place| match self.held_page(block.columns()[place.0].wide()[place.1].offset, held) {
                Some(page) => {
                    wide.put(*place, page);
                    false
                }
                None => true,
            });
            if !needed.is_empty() {
                return Err(Stop::Need(Need::Wide(block.clone(), needed)));
            }
        }
        row.cells.reserve(block.columns().len());
        Ok(read_row((block, at), &meta.dictionary, &wanted, &wide, &mut Scratch::for_row(), &mut row.cells)?)
    }

    fn deletes_now(&self, meta: &Meta, key: &[u8], scan: &Scan, held: &Held, row: &mut RawRow) -> Step<Way> {
        let Some(found) = self.last_block(meta, Section::Deletes, key, held)? else { return Ok(Way::Done) };
        let entry = found.entry();
        if entry.continues && entry.first_key == key {
            return Ok(Way::Cursor(Section::Deletes));
        }
        let block = self.held_block(entry, held).ok_or_else(|| found.need())?;
        let Block::Keyed(block) = block else {
            return Err(self.damaged(entry.offset, "a block of another kind than its index says").into());
        };
        read_deletes_of(&block, key, scan, row).map_err(|d| self.damaged(entry.offset, d.0))?;
        Ok(Way::Done)
    }

    fn held_block(&self, entry: &IndexEntry, held: &Held) -> Option<Block> {
        match held.blocks.iter().find(|(offset, _)| *offset == entry.offset) {
            Some((_, block)) => Some(block.clone()),
            None => self.block_now(entry),
        }
    }

    fn held_page(&self, offset: u64, held: &Held) -> Option<Arc<ColumnPage>> {
        match held.pages.iter().find(|(held, _)| *held == offset) {
            Some((_, page)) => Some(page.clone()),
            None => self.page_now(offset),
        }
    }

    fn held_partition(&self, meta: &Meta, section: Section, n: usize, held: &Held) -> Step<Arc<Vec<IndexEntry>>> {
        match held.partitions.iter().find(|(s, held, _)| *s == section && *held == n) {
            Some((_, _, partition)) => Ok(partition.clone()),
            None => self.partition_now(meta, section, n),
        }
    }

    /// The last block that begins at or below the key.
    pub(super) fn last_block(&self, meta: &Meta, section: Section, key: &[u8], held: &Held) -> Step<Option<FoundEntry>> {
        let below = |first: &Bytes| first.as_ref() <= key;
        let Some(n) = meta.top(section).partition_point(|p| below(&p.first_key)).checked_sub(1) else { return Ok(None) };
        let partition = self.held_partition(meta, section, n, held)?;
        let Some(at) = partition.partition_point(|e| below(&e.first_key)).checked_sub(1) else { return Ok(None) };
        Ok(Some(FoundEntry { partition, at, number: n * PARTITION_ENTRIES + at }))
    }
}

/// Whether nothing that a scan wants can lie in a block of cells with these bounds.
pub(super) fn is_outside(bounds: &Bounds, scan: &Scan) -> bool {
    bounds.seqs.0 > scan.at || bounds.seqs.1 <= scan.above || bounds.timestamps.1 < scan.oldest || bounds.timestamps.0 > scan.newest
}

pub(super) struct FoundEntry {
    partition: Arc<Vec<IndexEntry>>,
    at: usize,
    number: usize,
}

impl FoundEntry {
    pub(super) fn entry(&self) -> &IndexEntry {
        &self.partition[self.at]
    }

    fn need(&self) -> Stop {
        Stop::Need(Need::Block(self.number, Box::new(self.entry().clone())))
    }
}

fn read_deletes_of(block: &keyed::Block, key: &[u8], scan: &Scan, row: &mut RawRow) -> std::result::Result<(), Damaged> {
    match block.seek(key)?.next(block)? {
        Some(entry) if entry.key.deref() == key => read_deletes(block, entry.body, scan.at, &mut row.deletes),
        _ => Ok(()),
    }
}
