//! Reading one section of an SSTable in key order, forward or backward, skipping blocks that cannot matter.

use super::Section;
use super::block::items::{Wanted, read_cells, read_deletes};
use super::block::keyed::{Block, Entries, Entry};
use super::bytes::Damaged;
use super::index::IndexEntry;
use super::reader::Reader;
use crate::raw::{RawRow, Scan, single_key};
use bytes::Bytes;
use common::Result;
use common::key::KeyRange;
use std::collections::VecDeque;
use std::sync::Arc;

/// Bytes that a scan reads ahead in one request at most.
const MAX_AHEAD: u64 = 1 << 20;

/// Cells that room is made for beforehand at most.
const MAX_HINT: usize = 256;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct BlockCursor<R> {
    reader: R,
    section: Section,
    scan: Arc<Scan>,
    wanted: Wanted,
    /// Which range of the scan is read.
    range: usize,
    /// The open block and where in it.
    open: Option<Position>,
    /// Blocks read ahead: number and block.
    ahead: VecDeque<(usize, Block)>,
    /// Bytes to read ahead at the next miss.
    ahead_bytes: u64,
    /// Cells of the last row: the next is likely to have as many.
    last_cells: usize,
}

#[derive(Debug)]
struct Position {
    /// The block's number.
    block: usize,
    data: Block,
    walk: Walk,
}

#[derive(Debug)]
enum Walk {
    Forward(Entries),
    /// Entries still to come, the next one last.
    Backward(Vec<Entry>),
}

impl<R: std::ops::Deref<Target = Reader>> BlockCursor<R> {
    pub(crate) fn new(reader: R, section: Section, scan: Arc<Scan>) -> Self {
        let wanted = Wanted::new(&scan, &reader.dictionary);
        Self { reader, section, scan, wanted, range: 0, open: None, ahead: VecDeque::new(), ahead_bytes: 0, last_cells: 0 }
    }

    /// The next row with something wanted.
    pub(crate) async fn next(&mut self) -> Result<Option<RawRow>> {
        loop {
            if self.open.is_none() && !self.enter_range().await? {
                return Ok(None);
            }
            let Some((entry, block)) = self.next_entry().await? else {
                self.open = None;
                self.range += 1;
                continue;
            };
            let cells = Vec::with_capacity(self.last_cells);
            let mut row = RawRow { key: entry.key.clone(), cells, ..RawRow::default() };
            self.read_body(&block, &entry, &mut row)?;
            self.continue_row(&mut row).await?;
            self.last_cells = row.cells.len().min(MAX_HINT);
            if !row.is_empty() {
                return Ok(Some(row));
            }
        }
    }

    /// Opens the next range that may hold something; false at the end.
    async fn enter_range(&mut self) -> Result<bool> {
        loop {
            let Some(range) = self.scan.range(self.range).cloned() else { return Ok(false) };
            let possible = self.section == Section::Deletes || single_key(&range).is_none_or(|key| self.reader.may_contain(key));
            if possible && let Some(block) = self.first_block(&range) {
                self.open_block(block, Some(&range)).await?;
                return Ok(true);
            }
            self.range += 1;
        }
    }

    fn index(&self) -> &[IndexEntry] {
        self.reader.index(self.section)
    }

    /// The block in which reading `range` begins; `None` if nothing can lie inside.
    fn first_block(&self, range: &KeyRange) -> Option<usize> {
        let index = self.index();
        let first = if self.scan.reverse {
            let below = |e: &IndexEntry| range.end.as_ref().is_none_or(|end| e.first_key < *end);
            index.partition_point(below).checked_sub(1)?
        } else {
            // A row at the start may have begun in the block before the first that starts with it.
            index.partition_point(|e| e.first_key < range.start).saturating_sub(1)
        };
        self.useful(first, range)
    }

    /// The first block from `block` on, in the scan's direction, that cannot be skipped.
    fn useful(&self, mut block: usize, range: &KeyRange) -> Option<usize> {
        loop {
            let entry = self.index().get(block)?;
            let past = if self.scan.reverse {
                // The last key of a block is at most the first key of the next.
                self.index().get(block + 1).is_some_and(|next| next.first_key < range.start)
            } else {
                range.end.as_ref().is_some_and(|end| entry.first_key >= *end)
            };
            if past {
                return None;
            }
            if !self.prunes(entry) {
                return Some(block);
            }
            block = if self.scan.reverse { block.checked_sub(1)? } else { block + 1 };
        }
    }

    fn prunes(&self, entry: &IndexEntry) -> bool {
        let by_seq = entry.seqs.0 > self.scan.at || entry.seqs.1 <= self.scan.above;
        by_seq || (self.section == Section::Cells && entry.timestamps.1 < self.scan.oldest)
    }

    async fn open_block(&mut self, block: usize, range: Option<&KeyRange>) -> Result<()> {
        let data = self.block(block).await?;
        let walk = if self.scan.reverse {
            data.all().map(|mut entries| {
                if let Some(end) = range.and_then(|r| r.end.as_ref()) {
                    entries.truncate(entries.partition_point(|e| e.key < *end));
                }
                Walk::Backward(entries)
            })
        } else {
            data.seek(range.map_or(&[], |r| r.start.as_ref())).map(Walk::Forward)
        };
        let walk = walk.map_err(|d| self.damaged(block, d))?;
        self.open = Some(Position { block, data, walk });
        Ok(())
    }

    /// The next entry within the range, and its block.
    async fn next_entry(&mut self) -> Result<Option<(Entry, Block)>> {
        loop {
            let Some(range) = self.scan.range(self.range) else { return Ok(None) };
            let Some(open) = &mut self.open else { return Ok(None) };
            let number = open.block;
            let entry = match &mut open.walk {
                Walk::Forward(entries) => entries.next(&open.data),
                Walk::Backward(entries) => Ok(entries.pop()),
            };
            match entry.map_err(|d| self.damaged(number, d))? {
                Some(entry) if range.contains(&entry.key) => {
                    let data = self.open.as_ref().map(|o| o.data.clone());
                    return Ok(data.map(|data| (entry, data)));
                }
                Some(_) => return Ok(None),
                None => {}
            }
            let range = range.clone();
            let next = if self.scan.reverse { number.checked_sub(1) } else { Some(number + 1) };
            let Some(block) = next.and_then(|n| self.useful(n, &range)) else { return Ok(None) };
            self.open_block(block, None).await?;
        }
    }

    /// Joins the pieces of a row that spans blocks.
    async fn continue_row(&mut self, row: &mut RawRow) -> Result<()> {
        while let Some(block) = self.continuation(&row.key) {
            if self.prunes(&self.index()[block]) {
                // Its piece cannot matter, but the row may go on behind it.
                let Some(open) = &mut self.open else { return Ok(()) };
                open.block = block;
                open.walk = Walk::Backward(Vec::new());
                continue;
            }
            self.open_block(block, None).await?;
            let Some((entry, data)) = self.next_entry().await? else { return Ok(()) };
            let mut piece = RawRow::default();
            self.read_body(&data, &entry, &mut piece)?;
            if self.scan.reverse {
                std::mem::swap(&mut row.cells, &mut piece.cells);
            }
            row.cells.append(&mut piece.cells);
            row.deletes.append(&mut piece.deletes);
        }
        Ok(())
    }

    /// The block that holds more of the row just read, if that row reaches over its block's end.
    fn continuation(&self, key: &Bytes) -> Option<usize> {
        let open = self.open.as_ref()?;
        let exhausted = match &open.walk {
            Walk::Forward(entries) => entries.is_done(&open.data),
            Walk::Backward(entries) => entries.is_empty(),
        };
        if !exhausted {
            return None;
        }
        // A block that was skipped may hold further rows: then what continues there is another row.
        let begins = if self.scan.reverse { open.block } else { open.block + 1 };
        self.index().get(begins).filter(|e| e.continues && e.first_key == *key)?;
        if self.scan.reverse { begins.checked_sub(1) } else { Some(begins) }
    }

    fn read_body(&self, block: &Block, entry: &Entry, row: &mut RawRow) -> Result<()> {
        let read = match self.section {
            Section::Cells => read_cells(block, entry.body, &self.reader.dictionary, &self.wanted, &mut row.cells),
            Section::Deletes => read_deletes(block, entry.body, self.scan.at, &mut row.deletes),
        };
        read.map_err(|d| self.damaged(self.open.as_ref().map_or(0, |o| o.block), d))
    }

    async fn block(&mut self, number: usize) -> Result<Block> {
        while self.ahead.front().is_some_and(|(n, _)| *n < number) {
            self.ahead.pop_front();
        }
        if self.ahead.front().is_some_and(|(n, _)| *n == number)
            && let Some((_, block)) = self.ahead.pop_front()
        {
            return Ok(block);
        }
        if let Some(block) = self.reader.cached(&self.index()[number]) {
            return Ok(block);
        }
        let to = self.read_ahead(number);
        let blocks = self.reader.load(&self.reader.index(self.section)[number..to], self.scan.fill_cache).await?;
        self.ahead = (number..).zip(blocks).collect();
        self.ahead.pop_front().map(|(_, block)| block).ok_or_else(|| common::Error::internal("a read of no block"))
    }

    /// Where to stop reading at a miss: each miss of a forward scan reads twice as much as the one before.
    fn read_ahead(&mut self, number: usize) -> usize {
        let index = self.reader.index(self.section);
        let end = self.scan.range(self.range).and_then(|r| r.end.as_ref());
        let mut bytes = u64::from(index[number].length);
        let mut to = number + 1;
        while !self.scan.reverse
            && let Some(entry) = index.get(to)
            && bytes + u64::from(entry.length) <= self.ahead_bytes
            && end.is_none_or(|end| entry.first_key < *end)
        {
            bytes += u64::from(entry.length);
            to += 1;
        }
        self.ahead_bytes = (bytes * 2).max(self.ahead_bytes).min(MAX_AHEAD);
        to
    }

    fn damaged(&self, block: usize, d: Damaged) -> common::Error {
        self.reader.damaged(self.index().get(block).map_or(0, |e| e.offset), d.0)
    }
}
