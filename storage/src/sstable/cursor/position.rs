//! Where in a block a cursor is.

use crate::codec::Result;
use crate::sstable::block::columnar::{ColumnPage, ColumnarBlock};
use crate::sstable::block::items::Wanted;
use crate::sstable::block::keyed::{Block, Entries, Entry};
use crate::sstable::block::{WidePages, wide_needed};
use crate::sstable::properties::Dictionary;
use crate::sstable::reader::Reader;
use common::key::KeyRange;
use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

/// Rows whose wide pages are read at first; each time four times as many.
const FIRST_WINDOW: usize = 64;

#[derive(Debug)]
pub(super) enum Position {
    Columnar(Columnar),
    Keyed(Keyed),
}

/// In a columnar block.
#[derive(Debug)]
pub(super) struct Columnar {
    pub(super) number: usize,
    pub(super) block: Arc<ColumnarBlock>,
    /// Still to come.
    pub(super) rows: Range<usize>,
    /// The range ends in this block.
    pub(super) ends: bool,
    pub(super) wide: WidePages,
    /// Rows whose wide pages are there.
    ready: Range<usize>,
    window: usize,
}

impl Columnar {
    pub(super) fn new(number: usize, block: Arc<ColumnarBlock>, range: &KeyRange, reverse: bool) -> Self {
        let from = block.row_at_or_above(&range.start);
        let to = from + block.count_before(&(from..block.rows()), range.end.as_deref(), false);
        let ends = if reverse { from > 0 } else { to < block.rows() };
        Self { number, rows: from..to, ends, wide: WidePages::new(&block), ready: 0..0, window: FIRST_WINDOW, block }
    }

    pub(super) fn peek(&self, reverse: bool) -> Option<usize> {
        let row = if reverse { self.rows.end.checked_sub(1)? } else { self.rows.start };
        self.rows.contains(&row).then_some(row)
    }

    pub(super) fn take(&mut self, reverse: bool) {
        if reverse { self.rows.end -= 1 } else { self.rows.start += 1 }
    }

    /// The wide pages that the row needs and that are not at hand; with some for the rows after it.
    pub(super) fn wide_needed(
        &mut self,
        row: usize,
        dictionary: &Dictionary,
        wanted: &Wanted<'_>,
        pages: &mut HashMap<u64, Arc<ColumnPage>>,
        reader: &Reader,
        reverse: bool,
    ) -> Vec<(usize, usize)> {
        if self.ready.contains(&row) {
            return Vec::new();
        }
        let rows = if reverse {
            (row + 1).saturating_sub(self.window).max(self.rows.start)..row + 1
        } else {
            row..row.saturating_add(self.window).min(self.rows.end)
        };
        let mut needed = wide_needed(&self.block, &rows, dictionary, wanted);
        needed.retain(|at| !self.find(*at, pages, reader));
        if needed.is_empty() {
            self.ready = rows;
            self.window = self.window.saturating_mul(4);
        }
        needed
    }

    /// The next rows of which all [is ready](Self::wide_needed), at most `limit`, up to the first with cells in the overflow.
    pub(super) fn clean_ahead(&self, limit: usize, reverse: bool) -> common::Result<Range<usize>> {
        let ready = self.rows.start.max(self.ready.start)..self.rows.end.min(self.ready.end);
        let spilled = self.block.overflow()?.map_or(&[][..], |overflow| &overflow.rows);
        Ok(if reverse {
            let before = spilled.partition_point(|row| (*row as usize) < ready.end);
            let from = before.checked_sub(1).map_or(0, |at| spilled[at] as usize + 1);
            ready.start.max(from).max(ready.end.saturating_sub(limit))..ready.end
        } else {
            let from = spilled.partition_point(|row| (*row as usize) < ready.start);
            let to = spilled.get(from).map_or(usize::MAX, |row| *row as usize);
            ready.start..ready.end.min(to).min(ready.start.saturating_add(limit))
        })
    }

    fn find(&mut self, at: (usize, usize), pages: &mut HashMap<u64, Arc<ColumnPage>>, reader: &Reader) -> bool {
        if self.wide.has(at) {
            return true;
        }
        let offset = self.block.columns()[at.0].wide()[at.1].offset;
        match pages.remove(&offset).or_else(|| reader.page_now(offset)) {
            Some(page) => {
                self.wide.put(at, page);
                true
            }
            None => false,
        }
    }
}

/// In a keyed block.
#[derive(Debug)]
pub(super) struct Keyed {
    pub(super) number: usize,
    pub(super) block: Block,
    walk: Walk,
}

#[derive(Debug)]
enum Walk {
    Forward(Entries),
    /// Entries still to come, the next one last.
    Backward(Vec<Entry>),
}

impl Keyed {
    /// `fresh`: entries before the range's start are left out.
    pub(super) fn new(number: usize, block: Block, range: &KeyRange, fresh: bool, reverse: bool) -> Result<Self> {
        let walk = if reverse {
            let mut entries = block.all()?;
            if let Some(end) = &range.end {
                entries.truncate(entries.partition_point(|e| e.key < *end));
            }
            Walk::Backward(entries)
        } else {
            Walk::Forward(block.seek(if fresh { &range.start } else { &[] })?)
        };
        Ok(Self { number, block, walk })
    }

    pub(super) fn next(&mut self) -> Result<Option<Entry>> {
        match &mut self.walk {
            Walk::Forward(entries) => entries.next(&self.block),
            Walk::Backward(entries) => Ok(entries.pop()),
        }
    }

    pub(super) fn is_done(&self) -> bool {
        match &self.walk {
            Walk::Forward(entries) => entries.is_done(&self.block),
            Walk::Backward(entries) => entries.is_empty(),
        }
    }
}
