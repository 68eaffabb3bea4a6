//! Reading ahead: a scan that goes on reads more at once each time.

use super::BlockCursor;
use crate::sstable::block::columnar::{ColumnarBlock, WidePage};
use crate::sstable::block::items::Wanted;
use crate::sstable::block::{Block, wide_needed};
use crate::sstable::index::{IndexEntry, PARTITION_ENTRIES};
use crate::sstable::reader::Reader;
use common::{Error, Result};
use std::ops::Deref;

/// Bytes that a scan reads ahead at most, of blocks and of wide pages each.
const MAX_AHEAD: u64 = 4 << 20;
/// Wide pages kept at most that were read ahead and not used.
const MAX_PAGES: usize = 1024;

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    /// Reads a block, and as many after it in the scan's order as the scan seems to need. Its index partition is at hand.
    pub(super) async fn fetch_blocks(&mut self, number: usize) -> Result<()> {
        let held = self.partitions.iter().find(|(n, _)| *n == number / PARTITION_ENTRIES).cloned();
        let Some((n, partition)) = held else { return Err(Error::internal("a block without its index")) };
        let base = n * PARTITION_ENTRIES;
        let wanted = self.blocks_ahead(number - base, &partition);
        let mut rising: Vec<usize> = wanted.clone();
        rising.sort_unstable();
        let entries: Vec<&IndexEntry> = rising.iter().map(|at| &partition[*at]).collect();
        let blocks = self.reader.load_blocks(&entries, self.scan.fill_cache).await?;
        let mut read: Vec<(usize, Block)> = rising.into_iter().map(|at| base + at).zip(blocks).collect();
        if self.scan.reverse {
            read.reverse();
        }
        self.ahead = read.into();
        Ok(())
    }

    fn blocks_ahead(&mut self, first: usize, partition: &[IndexEntry]) -> Vec<usize> {
        let mut bytes = u64::from(partition[first].length);
        let mut wanted = vec![first];
        let mut at = first;
        loop {
            let next = if self.scan.reverse { at.checked_sub(1) } else { Some(at + 1) };
            let Some((next, entry)) = next.and_then(|next| Some((next, partition.get(next)?))) else { break };
            at = next;
            if self.outside(at, partition) || bytes + u64::from(entry.length) > self.ahead_bytes {
                break;
            }
            if !self.skips(entry, partition.get(at + 1).map(|next| next.first_key.as_ref())) {
                bytes += u64::from(entry.length);
                wanted.push(at);
            }
        }
        self.ahead_bytes = (bytes * 2).max(self.ahead_bytes).min(MAX_AHEAD);
        wanted
    }

    fn outside(&self, at: usize, partition: &[IndexEntry]) -> bool {
        let Some(range) = self.current_range() else { return true };
        if self.scan.reverse {
            partition.get(at + 1).is_some_and(|next| next.first_key < range.start)
        } else {
            range.end.as_ref().is_some_and(|end| partition[at].first_key >= *end)
        }
    }

    /// Reads wide pages of a block, and of the blocks read ahead.
    pub(super) async fn fetch_pages(&mut self, block: &ColumnarBlock, needed: &[(usize, usize)]) -> Result<()> {
        let mut pages: Vec<&WidePage> = needed.iter().map(|(slot, page)| &block.columns()[*slot].wide()[*page]).collect();
        let mut bytes = 0;
        let wanted = Wanted::listed(&self.scan, &self.listed);
        // Only a scan that has read on is likely to need those of the next blocks too.
        for (_, next) in self.ahead.iter().filter(|_| self.pages_ahead) {
            let (Block::Columnar(next), Some(meta)) = (next, &self.meta) else { break };
            let more = wide_needed(next, &(0..next.rows()), &meta.dictionary, &wanted);
            let more = more.iter().map(|(slot, page)| &next.columns()[*slot].wide()[*page]);
            for page in more.filter(|page| !self.pages.contains_key(&page.offset)) {
                bytes += u64::from(page.head.stored);
                pages.push(page);
            }
            if bytes > MAX_AHEAD {
                break;
            }
        }
        let read = self.reader.load_pages(&pages, self.scan.fill_cache).await?;
        self.pages_ahead = true;
        if self.pages.len() > MAX_PAGES {
            self.pages.clear();
        }
        self.pages.extend(read);
        Ok(())
    }
}
