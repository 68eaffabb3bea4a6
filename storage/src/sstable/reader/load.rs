//! Reads from the object store.

use super::{Need, Reader};
use crate::sstable::Section;
use crate::sstable::block::columnar::{ColumnPage, WidePage};
use crate::sstable::block::{self, Block, column, keyed};
use crate::sstable::cache::{Partition, Rows};
use crate::sstable::filter::FilterPartition;
use crate::sstable::index::{BlockKind, IndexEntry, PARTITION_MAGIC};
use crate::sstable::page::{self, RawPage};
use bytes::Bytes;
use common::store::failed;
use common::{Error, Result};
use futures::future::try_join_all;
use object_store::ObjectStoreExt;
use std::ops::Range;
use std::sync::Arc;

/// Ranges less than this apart may be read in one request.
const MAX_GAP: u64 = 1 << 20;
/// Ranges less than this apart always are.
const SMALL_GAP: u64 = 32 << 10;
/// Bytes of such a request at most, unless one range alone is larger.
const MAX_REQUEST: u64 = 8 << 20;

/// What was read for a step, kept until the step is taken: the cache may have lost it by then.
#[derive(Debug, Default)]
pub(in crate::sstable) struct Held {
    pub(in crate::sstable) filters: Vec<(usize, Arc<FilterPartition>)>,
    pub(in crate::sstable) partitions: Vec<(Section, usize, Arc<Vec<IndexEntry>>)>,
    pub(in crate::sstable) blocks: Vec<(u64, Block)>,
    pub(in crate::sstable) pages: Vec<(u64, Arc<ColumnPage>)>,
}

impl Reader {
    pub(super) async fn get(&self, range: Range<u64>) -> Result<Bytes> {
        let bytes = self.context.store.get_range(&self.object.path, range).await.map_err(|e| failed("read", &self.object.path, &e))?;
        self.context.metrics.sstable_bytes_read.add(bytes.len() as u64);
        Ok(bytes)
    }

    /// Reads rising ranges, neighbouring ones in one request.
    async fn get_joined(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let mut joined: Vec<(Range<u64>, usize)> = Vec::new();
        // Bytes that are asked for in the last of them.
        let mut wanted = 0;
        for range in ranges {
            match joined.last_mut() {
                Some((last, count)) if is_near(last, wanted, range) && range.end - last.start <= MAX_REQUEST => {
                    last.end = last.end.max(range.end);
                    *count += 1;
                    wanted += range.end - range.start;
                }
                _ => {
                    joined.push((range.clone(), 1));
                    wanted = range.end - range.start;
                }
            }
        }
        let read = try_join_all(joined.iter().map(|(range, _)| self.get(range.clone()))).await?;
        let mut out = Vec::with_capacity(ranges.len());
        for ((joined, count), bytes) in joined.iter().zip(&read) {
            for range in &ranges[out.len()..out.len() + count] {
                let (from, to) = ((range.start - joined.start) as usize, (range.end - joined.start) as usize);
                if to > bytes.len() || from > to {
                    return Err(self.damaged(range.start, "the object is cut short"));
                }
                // What is kept must not keep its neighbours.
                out.push(if *count == 1 { bytes.slice(from..to) } else { Bytes::copy_from_slice(&bytes[from..to]) });
            }
        }
        Ok(out)
    }

    /// Reads what a step needs. `fill`: blocks stay in the cache.
    pub(in crate::sstable) async fn fetch(&self, need: Need, fill: bool, held: &mut Held) -> Result<()> {
        match need {
            Need::Meta => drop(self.meta().await?),
            Need::Filter(n) => held.filters.push((n, self.load_filter(n).await?)),
            Need::Partition(section, n) => held.partitions.push((section, n, self.load_partition(section, n).await?)),
            Need::Block(_, entry) => {
                let blocks = self.load_blocks(&[&entry], fill).await?;
                held.blocks.extend(blocks.into_iter().map(|block| (entry.offset, block)));
            }
            Need::Wide(block, pages) => {
                let places: Vec<&WidePage> = pages.iter().map(|(slot, page)| &block.columns()[*slot].wide()[*page]).collect();
                held.pages.extend(self.load_pages(&places, fill).await?);
            }
        }
        Ok(())
    }

    async fn load_filter(&self, n: usize) -> Result<Arc<FilterPartition>> {
        let place = self.meta().await?.filter.partitions.get(n).cloned();
        let place = place.ok_or_else(|| Error::internal("a filter partition that is not there"))?;
        let bytes = self.get(place.offset..place.offset.saturating_add(u64::from(place.length))).await?;
        let filter = FilterPartition::decode(&bytes).map_err(|e| self.damaged(place.offset, &e.message))?;
        let filter = Arc::new(filter);
        self.context.metrics.cache_filter_misses.add(1);
        self.keep_partition(place.offset, Partition::Filter(filter.clone()));
        Ok(filter)
    }

    async fn load_partition(&self, section: Section, n: usize) -> Result<Arc<Vec<IndexEntry>>> {
        let meta = self.meta().await?;
        let place = meta.top(section).get(n).ok_or_else(|| Error::internal("an index partition that is not there"))?;
        let bytes = self.get(place.offset..place.offset.saturating_add(u64::from(place.length))).await?;
        let entries: Vec<IndexEntry> = self.decode(place.offset, &bytes, PARTITION_MAGIC)?;
        let ordered = entries.windows(2).all(|w| w[0].first_key <= w[1].first_key);
        let inside = |e: &IndexEntry| e.offset.checked_add(u64::from(e.length)).is_some_and(|end| end <= meta.footer.range_deletes.offset);
        let as_said = entries.len() == place.entries as usize && entries.first().is_some_and(|e| e.first_key == place.first_key);
        if !ordered || !as_said || !entries.iter().all(inside) {
            return Err(self.damaged(place.offset, "the index is out of order"));
        }
        let partition = Arc::new(entries);
        self.context.metrics.cache_index_misses.add(1);
        self.keep_partition(place.offset, Partition::Index(partition.clone()));
        Ok(partition)
    }

    /// Reads blocks at rising offsets.
    pub(in crate::sstable) async fn load_blocks(&self, entries: &[&IndexEntry], fill: bool) -> Result<Vec<Block>> {
        let ranges: Vec<_> = entries.iter().map(|e| e.offset..e.offset + u64::from(e.length)).collect();
        let read = self.get_joined(&ranges).await?;
        self.context.metrics.cache_misses.add(entries.len() as u64);
        let mut blocks = Vec::with_capacity(entries.len());
        for (entry, bytes) in entries.iter().zip(&read) {
            let block = self.parse(entry, bytes)?;
            if fill {
                self.keep_rows(entry.offset, Rows::Block(block.clone()));
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    fn parse(&self, entry: &IndexEntry, bytes: &Bytes) -> Result<Block> {
        let parsed = match entry.kind {
            BlockKind::Columnar => block::parse(&self.object, entry.offset, bytes).map(|block| Block::Columnar(Arc::new(block))),
            BlockKind::Cells | BlockKind::Deletes => page::decode(bytes).and_then(keyed::Block::parse).map(Block::Keyed),
        };
        let parsed = parsed.map_err(|d| self.damaged(entry.offset, d.0))?;
        match &parsed {
            Block::Columnar(block) if block.rows() != entry.rows as usize || block.first_ordinal() != entry.first_ordinal => {
                Err(self.damaged(entry.offset, "the block is not the one that the index names"))
            }
            _ => Ok(parsed),
        }
    }

    /// Reads pages of wide columns, with their offsets.
    pub(in crate::sstable) async fn load_pages(&self, pages: &[&WidePage], fill: bool) -> Result<Vec<(u64, Arc<ColumnPage>)>> {
        let mut pages = pages.to_vec();
        pages.sort_by_key(|p| p.offset);
        let ranges: Vec<_> = pages.iter().map(|p| p.offset..p.offset + u64::from(p.head.stored)).collect();
        let read = self.get_joined(&ranges).await?;
        self.context.metrics.cache_misses.add(pages.len() as u64);
        let mut out = Vec::with_capacity(pages.len());
        for (page, stored) in pages.iter().zip(read) {
            let raw = RawPage { head: page.head, stored };
            let decoded = Arc::new(column::decode(&raw, page.rows).map_err(|d| self.damaged(page.offset, d.0))?);
            if fill {
                self.keep_rows(page.offset, Rows::Page(decoded.clone()));
            }
            out.push((page.offset, decoded));
        }
        Ok(out)
    }
}

/// Whether a range is read together with those before it. What lies between is thrown away, so it must not outweigh what is
/// wanted: two columns of one block can lie megabytes apart, and each block would read them all.
fn is_near(before: &Range<u64>, wanted: u64, range: &Range<u64>) -> bool {
    let gap = range.start.saturating_sub(before.end);
    gap < SMALL_GAP || (gap < MAX_GAP && gap <= wanted + (range.end - range.start))
}
