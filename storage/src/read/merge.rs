//! Merging memtables and SSTables by row key.

use super::covers::Covers;
use super::resolve::View;
use crate::event_time::EventTimes;
use crate::memtable::{Memtable, MemtableCursor};
use crate::raw::{RawRow, Scan, normalize};
use crate::sstable::{
    Beginning, BlockCursor, ColumnPage, ColumnStats, ColumnarBlock, Partitions, Prefetch, RangeDelete, Reader, Section, Skip, Window,
};
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use common::row::Row;
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

    /// See [`BlockCursor::clean_rows`].
    async fn clean_rows(&mut self, limit: usize, view: &View, out: &mut Vec<Row>) -> Result<usize> {
        let shows = |column: &ColumnStats, timestamp| view.shows_alone(column.family, timestamp);
        match self {
            Self::Memtable(_) => Ok(0),
            Self::Sstable(cursor) => cursor.clean_rows(limit, &shows, out).await,
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

    /// See [`BlockCursor::begins`].
    pub(crate) fn begins(&self) -> Option<Beginning> {
        match self {
            Self::Memtable(_) => None,
            Self::Sstable(cursor) => cursor.begins(),
        }
    }

    /// See [`BlockCursor::begin_with`].
    pub(crate) fn begin_with(&mut self, partitions: Partitions) {
        if let Self::Sstable(cursor) = self {
            cursor.begin_with(partitions);
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

/// What comes next of a source.
#[derive(Debug)]
enum Next {
    Row(RawRow),
    /// Rows of a columnar block, unread: at least one.
    Rows(Window),
}

impl Next {
    /// A row that is read already.
    fn row(self) -> Option<RawRow> {
        match self {
            Self::Row(row) => Some(row),
            Self::Rows(_) => None,
        }
    }

    fn key(&self, reverse: bool) -> &[u8] {
        match self {
            Self::Row(row) => &row.key,
            Self::Rows(window) => window.block.key(if reverse { window.rows.end - 1 } else { window.rows.start }),
        }
    }
}

/// Rows of all sources in the scan's order, each once.
#[derive(Debug)]
pub(crate) struct Merge<R> {
    /// Each with what comes next of it, the first in the scan's order last; those at their end are gone.
    heads: Vec<(Next, Source<R>)>,
    /// Not yet begun.
    waiting: Vec<Source<R>>,
    /// Row-range deletes up to the scan's seq.
    covers: Covers,
    /// Where they come from, until they are read.
    covering: Option<Sources<R>>,
    scan: Arc<Scan>,
    /// Whether [`Self::clean_rows`] is asked for rows.
    clean: bool,
}

impl<R: Deref<Target = Reader> + Clone + Debug> Merge<R> {
    pub(crate) fn new(sources: &Sources<R>, scan: &Arc<Scan>) -> Self {
        Self::pruned(sources, scan, |table| clip(scan, table.range()))
    }

    /// As [`Self::new`], where an SSTable is asked for a part of the scan only: it has nothing of the rest.
    pub(super) fn pruned(sources: &Sources<R>, scan: &Arc<Scan>, part: impl Fn(&R) -> Arc<Scan>) -> Self {
        let waiting = parts_of(sources, scan, part);
        let covering = sources.have_range_deletes().then(|| sources.clone());
        Self { heads: Vec::new(), waiting, covers: Covers::default(), covering, scan: scan.clone(), clean: false }
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

    /// The merge of a reader who also asks for [`Self::clean_rows`].
    pub(super) fn with_clean_rows(mut self) -> Self {
        // Rows of which SSTables were left out are not whole.
        self.clean = !self.scan.event_times.as_ref().is_some_and(EventTimes::is_partial);
        self
    }

    /// Appends what `view` shows of the next rows, as far as one block has them and they need no judging; how many rows that
    /// were. None, if the next row must be asked for by [`Self::next`].
    pub(super) async fn clean_rows(&mut self, limit: usize, view: &View, out: &mut Vec<Row>) -> Result<usize> {
        self.begin().await?;
        let reverse = self.scan.reverse;
        let Some(((Next::Rows(window), source), others)) = self.heads.split_last_mut() else { return Ok(0) };
        if !self.covers.fragments().is_empty() {
            return Ok(0);
        }
        let limit = limit.min(window.before(others.last().map(|(next, _)| next.key(reverse)), reverse));
        let passed = if limit == 0 { 0 } else { source.clean_rows(limit, view, out).await? };
        window.pass(passed, reverse);
        if window.rows.is_empty() {
            self.renew().await?
        } else {
            self.sift()
        }
        Ok(passed)
    }

    async fn begin(&mut self) -> Result<()> {
        if let Some(sources) = self.covering.take() {
            self.covers = Covers::new(sources.range_deletes(self.scan.at).await?);
        }
        while let Some(source) = self.waiting.pop() {
            self.place(source).await?;
        }
        Ok(())
    }

    async fn next_key(&mut self) -> Result<Option<RawRow>> {
        self.begin().await?;
        let Some(mut row) = self.advance().await? else { return Ok(None) };
        while self.heads.last().is_some_and(|(next, _)| *next.key(self.scan.reverse) == row.key) {
            if let Some(more) = self.advance_at(&row.key).await? {
                row.join(more);
            }
        }
        row.covers.extend_from_slice(self.covers.of(&row.key));
        Ok(Some(row))
    }

    /// Takes the first row.
    async fn advance(&mut self) -> Result<Option<RawRow>> {
        loop {
            let Some((next, _)) = self.heads.last() else { return Ok(None) };
            let key = match next {
                Next::Row(_) => return self.take().await,
                Next::Rows(window) => window.block.key_bytes(if self.scan.reverse { window.rows.end - 1 } else { window.rows.start }),
            };
            if let Some(row) = self.advance_at(&key).await? {
                return Ok(Some(row));
            }
        }
    }

    /// Takes the first row, which has this key; `None` if there is nothing wanted of it.
    async fn advance_at(&mut self, key: &[u8]) -> Result<Option<RawRow>> {
        let reverse = self.scan.reverse;
        let Some((Next::Rows(window), source)) = self.heads.last_mut() else { return self.take().await };
        match source.next().await? {
            Some(row) if row.key == key => {
                window.pass(1, reverse);
                if window.rows.is_empty() {
                    self.renew().await?
                } else {
                    self.sift()
                }
                Ok(Some(row))
            }
            Some(later) => {
                if let Some((next, _)) = self.heads.last_mut() {
                    *next = Next::Row(later);
                }
                self.sift();
                Ok(None)
            }
            None => {
                self.heads.pop();
                Ok(None)
            }
        }
    }

    /// Takes the first head's row, which is read already, and looks behind it.
    async fn take(&mut self) -> Result<Option<RawRow>> {
        let Some((next, source)) = self.heads.last_mut() else { return Ok(None) };
        let Some(behind) = Self::look(source, self.clean).await? else {
            let taken = self.heads.pop().map(|(next, _)| next);
            return Ok(taken.and_then(Next::row));
        };
        let taken = std::mem::replace(next, behind);
        self.sift();
        Ok(taken.row())
    }

    /// Looks again at what comes next of the first head, all of whose rows were passed.
    async fn renew(&mut self) -> Result<()> {
        match self.heads.pop() {
            Some((_, source)) => self.place(source).await,
            None => Ok(()),
        }
    }

    async fn look(source: &mut Source<R>, clean: bool) -> Result<Option<Next>> {
        if clean && let Some(window) = source.window().await? {
            return Ok(Some(Next::Rows(window)));
        }
        Ok(source.next().await?.map(Next::Row))
    }

    /// Puts a source where its next row belongs, unless it is at its end.
    async fn place(&mut self, mut source: Source<R>) -> Result<()> {
        if let Some(next) = Self::look(&mut source, self.clean).await? {
            let at = self.heads.partition_point(|(head, _)| self.before(&next, head));
            self.heads.insert(at, (next, source));
        }
        Ok(())
    }

    /// Puts the last head where it belongs. Neighbours mostly come from one source: then it stays where it is.
    fn sift(&mut self) {
        let Some(moved) = self.heads.len().checked_sub(1) else { return };
        if moved > 0 && self.before(&self.heads[moved - 1].0, &self.heads[moved].0) {
            let (next, source) = self.heads.remove(moved);
            let at = self.heads.partition_point(|(head, _)| self.before(&next, head));
            self.heads.insert(at, (next, source));
        }
    }

    /// Whether `a` comes before `b` in the scan's order.
    fn before(&self, a: &Next, b: &Next) -> bool {
        let reverse = self.scan.reverse;
        a.key(reverse).cmp(b.key(reverse)) == if reverse { Ordering::Greater } else { Ordering::Less }
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
