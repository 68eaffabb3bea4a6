//! Reading ahead: a scan that goes on reads more at once each time.

use super::BlockCursor;
use crate::sstable::block::columnar::{ColumnPage, ColumnarBlock, WidePage};
use crate::sstable::block::items::Wanted;
use crate::sstable::block::{Block, wide_needed};
use crate::sstable::index::{IndexEntry, PARTITION_ENTRIES, PartitionEntry};
use crate::sstable::reader::{Ahead, Reader};
use common::{Error, Result};
use std::collections::HashMap;
use std::ops::Deref;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Starts reading blocks, at rising offsets, away from whoever uses the cursor, and makes of them what that one will ask for.
pub(crate) type Prefetch = Arc<dyn Fn(Vec<IndexEntry>) -> JoinHandle<Result<Ahead>> + Send + Sync>;

/// Blocks that are being read: their numbers, in the scan's order. Nobody waits for them once it is dropped.
pub(super) struct Pending {
    numbers: Vec<usize>,
    task: JoinHandle<Result<Ahead>>,
}

impl Pending {
    pub(super) fn reads(&self, number: usize) -> bool {
        self.numbers.contains(&number)
    }
}

impl Drop for Pending {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Bytes that a scan of much begins with.
const FIRST_AHEAD: u64 = 128 << 10;
/// Bytes of blocks that are read and decoded at once at most.
const MAX_WINDOW: u64 = 1 << 20;
/// How many such windows are on their way at most: they are read and decoded beside each other.
const MAX_PENDING: usize = 3;
/// Bytes of wide pages that a scan reads ahead at most.
const MAX_AHEAD: u64 = 4 << 20;
/// Wide pages kept at most that were read ahead and not used.
const MAX_PAGES: usize = 1024;

impl<R: Deref<Target = Reader>> BlockCursor<R> {
    /// Has blocks read ahead beside the scan; `goes_on`: from the beginning, because it is likely to read to its end.
    pub(crate) fn set_prefetch(&mut self, prefetch: Prefetch, goes_on: bool) {
        self.prefetch = Some(prefetch);
        if goes_on {
            self.ahead_bytes = self.ahead_bytes.max(FIRST_AHEAD);
        }
    }

    /// Reads a block, and as many after it in the scan's order as the scan seems to need. Its index partition is at hand.
    pub(super) async fn fetch_blocks(&mut self, number: usize) -> Result<()> {
        while self.pending.front().is_some_and(|pending| !pending.reads(number)) {
            self.pending.pop_front();
        }
        let goes_on = self.ahead_bytes > 0;
        // What a scan begins with must not wait for what it needs later, of this source or of others.
        let begins = goes_on && self.pending.is_empty();
        if begins {
            self.start(number)?;
        }
        let last = match self.pending.pop_front() {
            Some(mut pending) => {
                let last = pending.numbers.last().copied();
                if !begins {
                    self.read_on(last).await?;
                }
                let read = (&mut pending.task).await.map_err(|e| Error::internal(format!("reading ahead: {e}")))??;
                self.arrived(std::mem::take(&mut pending.numbers), read);
                last
            }
            None => {
                let (numbers, entries) = self.next_blocks(number)?;
                let entries: Vec<&IndexEntry> = entries.iter().collect();
                let blocks = self.reader.load_blocks(&entries, self.scan.fill_cache).await?;
                let last = numbers.last().copied();
                self.arrived(numbers, Ahead { blocks, pages: Vec::new() });
                last
            }
        };
        if begins { self.read_on(last).await } else { Ok(()) }
    }

    /// Starts reading a block and those behind it, beside the scan.
    fn start(&mut self, number: usize) -> Result<()> {
        if let Some(prefetch) = self.prefetch.clone() {
            let (numbers, entries) = self.next_blocks(number)?;
            self.pending.push_back(Pending { numbers, task: prefetch(entries) });
        }
        Ok(())
    }

    /// Takes blocks in the order of the object.
    fn arrived(&mut self, numbers: Vec<usize>, Ahead { mut blocks, pages }: Ahead) {
        if self.scan.reverse {
            blocks.reverse();
        }
        self.ahead = numbers.into_iter().zip(blocks).collect();
        if !pages.is_empty() {
            self.pages = pages.into_iter().collect();
        }
    }

    /// The block and those after it that are to be read at once: numbers in the scan's order, entries in the object's.
    fn next_blocks(&mut self, number: usize) -> Result<(Vec<usize>, Vec<IndexEntry>)> {
        let held = self.partitions.iter().find(|(n, _)| *n == number / PARTITION_ENTRIES).cloned();
        let Some((n, partition)) = held else { return Err(Error::internal("a block without its index")) };
        let wanted = self.blocks_ahead(number % PARTITION_ENTRIES, &partition);
        let mut entries: Vec<_> = wanted.iter().map(|at| partition[*at].clone()).collect();
        if self.scan.reverse {
            entries.reverse();
        }
        Ok((wanted.into_iter().map(|at| n * PARTITION_ENTRIES + at).collect(), entries))
    }

    /// Starts reading what lies behind what is read or on its way, whose last block is `last`.
    async fn read_on(&mut self, mut last: Option<usize>) -> Result<()> {
        if self.prefetch.is_none() {
            return Ok(());
        }
        while self.pending.len() < MAX_PENDING {
            let behind = self.pending.back().and_then(|pending| pending.numbers.last().copied()).or(last.take());
            let Some(behind) = behind else { return Ok(()) };
            match self.behind(behind).await? {
                Some(number) => self.start(number)?,
                None => return Ok(()),
            }
        }
        Ok(())
    }

    /// The next block that is wanted behind this one; `None` if there is none.
    async fn behind(&mut self, number: usize) -> Result<Option<usize>> {
        let Some(meta) = self.meta.clone() else { return Ok(None) };
        let reverse = self.scan.reverse;
        let after = |number: usize| if reverse { number.checked_sub(1) } else { Some(number + 1) };
        let mut next = after(number);
        loop {
            let Some(number) = next.filter(|n| *n < meta.blocks(self.section)) else { return Ok(None) };
            let n = number / PARTITION_ENTRIES;
            if !self.holds(n) {
                if self.outside_top(n, meta.top(self.section)) {
                    return Ok(None);
                }
                self.fetch_partitions(n).await?;
            }
            let Some((_, partition)) = self.partitions.iter().find(|(held, _)| *held == n).cloned() else { return Ok(None) };
            let at = number % PARTITION_ENTRIES;
            if at >= partition.len() || self.outside(at, &partition) {
                return Ok(None);
            }
            if !self.skips(&partition[at], partition.get(at + 1).map(|next| next.first_key.as_ref())) {
                return Ok(Some(number));
            }
            next = after(number);
        }
    }

    /// Whether all blocks of a partition of the index lie behind the range, by its first key and the next one's.
    fn outside_top(&self, n: usize, top: &[PartitionEntry]) -> bool {
        let Some(range) = self.current_range() else { return true };
        if self.scan.reverse {
            top.get(n + 1).is_some_and(|next| next.first_key < range.start)
        } else {
            range.end.as_ref().is_some_and(|end| top[n].first_key >= *end)
        }
    }

    /// Those pages of a block's wide columns that were read ahead.
    pub(crate) fn pages_of(&self, block: &ColumnarBlock) -> HashMap<u64, Arc<ColumnPage>> {
        if self.pages.is_empty() {
            return HashMap::new();
        }
        let offsets = block.columns().iter().flat_map(|slot| slot.wide()).map(|page| page.offset);
        offsets.filter_map(|offset| Some((offset, self.pages.get(&offset)?.clone()))).collect()
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
        self.ahead_bytes = (bytes * 2).max(self.ahead_bytes).min(MAX_WINDOW);
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
