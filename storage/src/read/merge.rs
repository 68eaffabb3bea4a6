//! Merging memtables and SSTables by row key.

use crate::memtable::{Memtable, MemtableCursor};
use crate::raw::{RawRow, Scan, normalize};
use crate::sstable::{BlockCursor, Reader, Section};
use common::Result;
use common::ids::Seq;
use common::key::KeyRange;
use std::fmt::Debug;
use std::ops::Deref;
use std::sync::Arc;

/// What a read looks into; holding it keeps all of it readable.
#[derive(Clone, Debug)]
pub(crate) struct Sources<R> {
    pub(crate) memtables: Vec<Arc<Memtable>>,
    pub(crate) sstables: Vec<R>,
}

#[derive(Debug)]
enum Source<R> {
    Memtable(MemtableCursor),
    Sstable(Box<BlockCursor<R>>),
}

impl<R: Deref<Target = Reader>> Source<R> {
    async fn next(&mut self) -> Result<Option<RawRow>> {
        match self {
            Self::Memtable(cursor) => Ok(cursor.next()),
            Self::Sstable(cursor) => cursor.next().await,
        }
    }
}

/// Rows of all sources in the scan's order, each once.
#[derive(Debug)]
pub(crate) struct Merge<R> {
    /// Each with its next row; those at their end are gone.
    heads: Vec<(RawRow, Source<R>)>,
    /// Not yet begun.
    waiting: Vec<Source<R>>,
    reverse: bool,
}

impl<R: Deref<Target = Reader> + Clone + Debug> Merge<R> {
    pub(crate) fn new(sources: &Sources<R>, scan: &Arc<Scan>) -> Self {
        let mut waiting = Vec::new();
        for table in sources.memtables.iter().filter(|m| overlaps(m.seqs(), scan)) {
            waiting.push(Source::Memtable(MemtableCursor::new(table.clone(), scan.clone())));
        }
        for table in sources.sstables.iter().filter(|s| overlaps(Some(s.properties().seqs), scan)) {
            let (properties, scan) = (table.properties(), &clip(scan, table.range()));
            for (section, keys) in [(Section::Deletes, &properties.delete_keys), (Section::Cells, &properties.keys)] {
                if keys.as_ref().is_some_and(|(first, last)| meets(scan, first, last)) {
                    waiting.push(Source::Sstable(Box::new(BlockCursor::new(table.clone(), section, scan.clone()))));
                }
            }
        }
        Self { heads: Vec::new(), waiting, reverse: scan.reverse }
    }

    /// The next row.
    pub(crate) async fn next(&mut self) -> Result<Option<RawRow>> {
        while let Some(mut source) = self.waiting.pop() {
            if let Some(row) = source.next().await? {
                self.heads.push((row, source));
            }
        }
        let Some(first) = self.first() else { return Ok(None) };
        let mut row = self.advance(first).await?;
        // Advancing may have removed that source and moved another to its place, so look at all again.
        let mut i = 0;
        while i < self.heads.len() {
            if self.heads[i].0.key != row.key {
                i += 1;
                continue;
            }
            let before = self.heads.len();
            let more = self.advance(i).await?;
            row.join(more);
            if self.heads.len() == before {
                i += 1;
            }
        }
        Ok(Some(row))
    }

    /// The head with the first key.
    fn first(&self) -> Option<usize> {
        let keys = self.heads.iter().enumerate().map(|(i, (row, _))| (i, &row.key));
        let best = if self.reverse { keys.max_by(|a, b| a.1.cmp(b.1)) } else { keys.min_by(|a, b| a.1.cmp(b.1)) };
        best.map(|(i, _)| i)
    }

    /// Takes head `i` and reads the row behind it.
    async fn advance(&mut self, i: usize) -> Result<RawRow> {
        let (head, source) = &mut self.heads[i];
        match source.next().await? {
            Some(next) => Ok(std::mem::replace(head, next)),
            None => Ok(self.heads.swap_remove(i).0),
        }
    }
}

/// The scan within an SSTable's restricted range.
fn clip(scan: &Arc<Scan>, range: &KeyRange) -> Arc<Scan> {
    if scan.ranges.iter().all(|r| range.covers(r)) {
        return scan.clone();
    }
    Arc::new(Scan { ranges: normalize(&scan.ranges, range), ..Scan::clone(scan) })
}

fn overlaps(seqs: Option<(Seq, Seq)>, scan: &Scan) -> bool {
    seqs.is_some_and(|(lowest, highest)| lowest <= scan.at && highest > scan.above)
}

fn meets(scan: &Scan, first: &[u8], last: &[u8]) -> bool {
    // Sorted and disjoint: the first range that does not end before `first` decides.
    let at = scan.ranges.partition_point(|r| r.end.as_ref().is_some_and(|end| end.as_ref() <= first));
    scan.ranges.get(at).is_some_and(|r| r.start.as_ref() <= last)
}
