//! The parts of an index that a scan will come to, read several at once.

use super::BlockCursor;
use super::seek::prunes;
use crate::raw::{Scan, single_key};
use crate::sstable::Section;
use crate::sstable::index::IndexEntry;
use crate::sstable::reader::{Need, Reader};
use common::Result;
use common::key::KeyRange;
use std::ops::{Deref, Range};
use std::sync::Arc;

/// Partitions that a scan reads at once at most.
const MAX_PARTITIONS: usize = 4;

/// Partitions of an index, by number.
pub(crate) type Partitions = Vec<(usize, Arc<Vec<IndexEntry>>)>;

/// What a scan begins with.
#[derive(Clone, Debug)]
pub(crate) struct Beginning {
    section: Section,
    scan: Arc<Scan>,
}

impl Beginning {
    /// Reads what finds the blocks: the metadata, and the first part of the index unless the filter is to be asked first.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn read(&self, reader: &Reader) -> Result<Partitions> {
        let Some(range) = self.scan.range(0) else { return Ok(Partitions::new()) };
        let top = reader.meta().await?.top(self.section);
        // The filter may say that nothing else needs to be read.
        if self.section == Section::Cells && (self.scan.prefix.is_some() || single_key(range).is_some()) {
            return Ok(Partitions::new());
        }
        let begun = match &range.end {
            Some(end) if self.scan.reverse => top.partition_point(|p| p.first_key < *end),
            None if self.scan.reverse => top.len(),
            _ => top.partition_point(|p| p.first_key < range.start),
        };
        self.from(reader, range, begun.saturating_sub(1)).await
    }

    /// Partition `n` and those behind it in the scan's direction, some of them, as far as they hold something of the range.
    async fn from(&self, reader: &Reader, range: &KeyRange, n: usize) -> Result<Partitions> {
        let meta = reader.meta().await?;
        let top = meta.top(self.section);
        let numbers: Range<usize> = if self.scan.reverse {
            let last = top.partition_point(|p| p.first_key <= range.start).saturating_sub(1);
            last.max((n + 1).saturating_sub(MAX_PARTITIONS))..n + 1
        } else {
            let behind = range.end.as_ref().map_or(top.len(), |end| top.partition_point(|p| p.first_key < *end));
            n..behind.min(n + MAX_PARTITIONS)
        };
        let (mut out, mut missing) = (Partitions::new(), Vec::new());
        for n in numbers.filter(|n| top.get(*n).is_some_and(|p| !prunes(&self.scan, self.section, &p.bounds))) {
            match reader.partition_now(meta, self.section, n) {
                Ok(partition) => out.push((n, partition)),
                Err(_) => missing.push(n),
            }
        }
        if !missing.is_empty() {
            let read = reader.read_partitions(self.section, &missing).await?;
            out.extend(missing.into_iter().zip(read));
        }
        Ok(out)
    }
}

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    /// What is to be read before anything else; `None` if the metadata is in memory.
    pub(crate) fn begins(&self) -> Option<Beginning> {
        (!self.reader.is_open()).then(|| Beginning { section: self.section, scan: self.scan.clone() })
    }

    /// Takes partitions of the index that were read.
    pub(crate) fn begin_with(&mut self, partitions: Partitions) {
        for (n, partition) in partitions {
            if !self.holds(n) {
                self.hold(n, partition);
            }
        }
    }

    /// Reads a partition of the index, and some of those behind it that the scan will come to.
    pub(super) async fn fetch_partitions(&mut self, n: usize) -> Result<()> {
        if let Some(range) = self.current_range().cloned() {
            let coming = Beginning { section: self.section, scan: self.scan.clone() };
            let read = coming.from(&self.reader, &range, n).await?;
            self.begin_with(read);
        }
        if self.holds(n) { Ok(()) } else { self.fetch_index(Need::Partition(self.section, n)).await }
    }

    pub(super) fn holds(&self, n: usize) -> bool {
        self.partitions.iter().any(|(held, _)| *held == n)
    }
}
