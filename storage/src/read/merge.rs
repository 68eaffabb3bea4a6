//! Merging memtables and SSTables by row key.

use super::covers::Covers;
use crate::event_time::EventTimes;
use crate::memtable::{Memtable, MemtableCursor};
use crate::raw::{RawRow, Scan, normalize};
use crate::sstable::{BlockCursor, ColumnPage, ColumnarBlock, Prefetch, RangeDelete, Reader, Section, Skip, Window};
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use std::cmp::Ordering;
use std::collections::HashMap;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// What a read looks into; holding it keeps all of it readable.
#[derive(Clone, Debug)]
pub(crate) struct Sources<R> {
    pub(crate) memtables: Vec<Arc<Memtable>>,
    pub(crate) sstables: Vec<R>,
}

impl<R: Deref<Target = Reader>> Sources<R> {
    /// Whether there is a row-range delete in some source.
    pub(crate) fn have_range_deletes(&self) -> bool {
        self.memtables.iter().any(|m| m.has_range_deletes()) || self.sstables.iter().any(|s| s.has_range_deletes())
    }

    /// All row-range deletes up to `at`, clipped to the ranges that the SSTables are restricted to.
    pub(crate) async fn range_deletes(&self, at: Seq) -> Result<Vec<RangeDelete>> {
        let mut all: Vec<_> = self.memtables.iter().flat_map(|m| m.range_deletes(at)).collect();
        for table in self.sstables.iter().filter(|s| s.has_range_deletes()) {
            all.extend(table.range_deletes().await?.iter().filter(|d| d.seq <= at).cloned());
        }
        Ok(all)
    }
}

/// One sorted source of rows.
#[derive(Debug)]
pub(crate) enum Source<R> {
    Memtable(MemtableCursor),
    Sstable(Box<BlockCursor<R>>),
}

impl<R: Deref<Target = Reader>> Source<R> {
    /// The next row.
    pub(crate) async fn next(&mut self) -> Result<Option<RawRow>> {
        match self {
            Self::Memtable(cursor) => Ok(cursor.next()),
            Self::Sstable(cursor) => cursor.next().await,
        }
    }

    /// The rows of one columnar block that come next, unread; `None` if what comes next is to be read row by row.
    pub(crate) async fn window(&mut self) -> Result<Option<Window>> {
        match self {
            Self::Memtable(_) => Ok(None),
            Self::Sstable(cursor) => cursor.window().await,
        }
    }

    /// Leaves out so many of the rows of the last [window](Self::window).
    pub(crate) fn skip(&mut self, rows: usize) {
        if let Self::Sstable(cursor) = self {
            cursor.skip(rows);
        }
    }

    /// See [`BlockCursor::set_skip`].
    pub(crate) fn set_skip(&mut self, skip: Skip) {
        if let Self::Sstable(cursor) = self {
            cursor.set_skip(skip);
        }
    }

    /// See [`BlockCursor::set_prefetch`].
    pub(crate) fn set_prefetch(&mut self, prefetch: Prefetch, goes_on: bool) {
        if let Self::Sstable(cursor) = self {
            cursor.set_prefetch(prefetch, goes_on);
        }
    }

    /// See [`BlockCursor::pages_of`].
    pub(crate) fn pages_of(&self, block: &ColumnarBlock) -> HashMap<u64, Arc<ColumnPage>> {
        match self {
            Self::Memtable(_) => HashMap::new(),
            Self::Sstable(cursor) => cursor.pages_of(block),
        }
    }

    pub(crate) fn sstable(&self) -> Option<&R> {
        match self {
            Self::Memtable(_) => None,
            Self::Sstable(cursor) => Some(cursor.reader()),
        }
    }
}

/// The sources with something that a scan may want, in no order.
pub(crate) fn sources_of<R: Deref<Target = Reader> + Clone>(sources: &Sources<R>, scan: &Arc<Scan>) -> Vec<Source<R>> {
    parts_of(sources, scan, |table| clip(scan, table.range()))
}

fn parts_of<R: Deref<Target = Reader> + Clone>(sources: &Sources<R>, scan: &Arc<Scan>, part: impl Fn(&R) -> Arc<Scan>) -> Vec<Source<R>> {
    let mut out = Vec::new();
    for table in sources.memtables.iter().filter(|m| overlaps(m.seqs(), scan)) {
        out.push(Source::Memtable(MemtableCursor::new(table.clone(), scan.clone())));
    }
    for table in sources.sstables.iter().filter(|s| overlaps(Some(s.entry().seqs), scan)) {
        let (entry, scan) = (table.entry(), &part(table));
        for (section, keys) in [(Section::Deletes, &entry.delete_keys), (Section::Cells, &entry.keys)] {
            if keys.as_ref().is_some_and(|(first, last)| meets(scan, first, last)) {
                out.push(Source::Sstable(Box::new(BlockCursor::new(table.clone(), section, scan.clone()))));
            }
        }
    }
    out
}

/// Rows of all sources in the scan's order, each once.
#[derive(Debug)]
pub(crate) struct Merge<R> {
    /// Each with its next row, the first in the scan's order last; those at their end are gone.
    heads: Vec<(RawRow, Source<R>)>,
    /// Not yet begun.
    waiting: Vec<Source<R>>,
    /// Row-range deletes up to the scan's seq.
    covers: Covers,
    /// Where they come from, until they are read.
    covering: Option<Sources<R>>,
    scan: Arc<Scan>,
}

impl<R: Deref<Target = Reader> + Clone + Debug> Merge<R> {
    pub(crate) fn new(sources: &Sources<R>, scan: &Arc<Scan>) -> Self {
        Self::pruned(sources, scan, |table| clip(scan, table.range()))
    }

    /// As [`Self::new`], where an SSTable is asked for a part of the scan only: it has nothing of the rest.
    pub(super) fn pruned(sources: &Sources<R>, scan: &Arc<Scan>, part: impl Fn(&R) -> Arc<Scan>) -> Self {
        let waiting = parts_of(sources, scan, part);
        let covering = sources.have_range_deletes().then(|| sources.clone());
        Self { heads: Vec::new(), waiting, covers: Covers::default(), covering, scan: scan.clone() }
    }

    /// The next row.
    pub(crate) async fn next(&mut self) -> Result<Option<RawRow>> {
        loop {
            let row = self.next_key().await?;
            // Rows of other event times are left out: they may not be whole.
            let passes = |times: &EventTimes, row: &RawRow| times.passes(&row.key);
            if row.as_ref().is_none_or(|row| self.scan.event_times.as_ref().is_none_or(|times| passes(times, row))) {
                return Ok(row);
            }
        }
    }

    async fn next_key(&mut self) -> Result<Option<RawRow>> {
        if let Some(sources) = self.covering.take() {
            self.covers = Covers::new(sources.range_deletes(self.scan.at).await?);
        }
        while let Some(mut source) = self.waiting.pop() {
            if let Some(row) = source.next().await? {
                self.place(row, source);
            }
        }
        let Some(mut row) = self.advance().await? else { return Ok(None) };
        while self.heads.last().is_some_and(|(head, _)| head.key == row.key) {
            if let Some(more) = self.advance().await? {
                row.join(more);
            }
        }
        row.covers.extend_from_slice(self.covers.of(&row.key));
        Ok(Some(row))
    }

    /// Takes the first head and reads the row behind it.
    async fn advance(&mut self) -> Result<Option<RawRow>> {
        let Some((head, source)) = self.heads.last_mut() else { return Ok(None) };
        let Some(next) = source.next().await? else { return Ok(self.heads.pop().map(|(row, _)| row)) };
        let row = std::mem::replace(head, next);
        // Neighbours mostly come from one source: then its head stays where it is.
        let moved = self.heads.len() - 1;
        if moved > 0 && self.before(&self.heads[moved - 1].0, &self.heads[moved].0) {
            let (head, source) = self.heads.remove(moved);
            self.place(head, source);
        }
        Ok(Some(row))
    }

    fn place(&mut self, row: RawRow, source: Source<R>) {
        let at = self.heads.partition_point(|(head, _)| self.before(&row, head));
        self.heads.insert(at, (row, source));
    }

    /// Whether `a` comes before `b` in the scan's order.
    fn before(&self, a: &RawRow, b: &RawRow) -> bool {
        a.key.cmp(&b.key) == if self.scan.reverse { Ordering::Greater } else { Ordering::Less }
    }
}

/// The scan within an SSTable's restricted range.
pub(super) fn clip(scan: &Arc<Scan>, range: &KeyRange) -> Arc<Scan> {
    if scan.ranges.iter().all(|r| range.covers(r)) {
        return scan.clone();
    }
    Arc::new(Scan { ranges: normalize(&scan.ranges, range), ..Scan::clone(scan) })
}

pub(super) fn overlaps(seqs: Option<(Seq, Seq)>, scan: &Scan) -> bool {
    seqs.is_some_and(|(lowest, highest)| lowest <= scan.at && highest > scan.above)
}

fn meets(scan: &Scan, first: &[u8], last: &[u8]) -> bool {
    // Sorted and disjoint: the first range that does not end before `first` decides.
    let at = scan.ranges.partition_point(|r| r.end.as_ref().is_some_and(|end| end.as_ref() <= first));
    scan.ranges.get(at).is_some_and(|r| r.start.as_ref() <= last)
}
