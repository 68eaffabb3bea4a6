//! Reads from the object store.

use super::{Meta, Need, Reader};
use crate::sstable::Section;
use crate::sstable::block::columnar::{ColumnPage, WidePage};
use crate::sstable::block::{self, Block, column, keyed};
use crate::sstable::cache::{Partition, Rows};
use crate::sstable::disk_cache::DiskCache;
use crate::sstable::filter::FilterPartition;
use crate::sstable::index::{BlockKind, IndexEntry, PARTITION_MAGIC, PartitionEntry};
use crate::sstable::page::{self, RawPage};
use bytes::Bytes;
use common::store::failed;
use common::{Error, Result};
use futures::FutureExt;
use futures::future::{join_all, try_join_all};
use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

/// Ranges less than this apart may be read in one request.
const MAX_GAP: u64 = 1 << 20;
/// Ranges less than this apart always are.
const SMALL_GAP: u64 = 32 << 10;
/// Bytes of such a request at most, unless one range alone is larger.
const MAX_REQUEST: u64 = 8 << 20;

/// When checksums of pages that may not be needed are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Check {
    Now,
    /// When they are decoded.
    Later,
}

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
        self.get_ranges(std::slice::from_ref(&range)).await?.pop().ok_or_else(|| Error::internal("a range was not read"))
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
        let mut rest = ranges;
        let groups = joined.iter().map(|(_, count)| rest.split_off(..*count).unwrap_or_default());
        let read = try_join_all(groups.map(|group| self.get_group(group))).await?;
        Ok(read.into_iter().flatten().collect())
    }

    /// Reads ranges that lie near each other. None of what is given out keeps the others' memory: it may stay in a cache.
    async fn get_group(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let read = self.get_ranges(ranges).await?;
        if let Some((range, _)) = ranges.iter().zip(&read).find(|(range, bytes)| bytes.len() as u64 != range.end - range.start) {
            return Err(self.damaged(range.start, "the object is cut short"));
        }
        let own = |bytes: Bytes| if ranges.len() == 1 || bytes.is_unique() { bytes } else { Bytes::copy_from_slice(&bytes) };
        Ok(read.into_iter().map(own).collect())
    }

    async fn get_ranges(&self, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        // `object_store` joins ranges and cuts what a store gives without looking at its length: a short answer panics there.
        let asked = AssertUnwindSafe(self.context.store.get_ranges(&self.object.path, ranges)).catch_unwind().await;
        let Ok(read) = asked else { return Err(self.damaged(ranges.first().map_or(0, |r| r.start), "the object is cut short")) };
        let read = read.map_err(|e| failed("read", &self.object.path, &e))?;
        self.context.metrics.sstable_bytes_read.add(read.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(read)
    }

    /// Reads and decodes rising ranges, from the disk cache what it has of them. `fill`: what was not there stays there.
    async fn load<T>(&self, ranges: &[Range<u64>], fill: bool, decode: impl Fn(usize, &Bytes, Check) -> Result<T>) -> Result<Vec<T>> {
        let Some(disk) = self.context.cache.disk() else {
            let read = self.get_joined(ranges).await?;
            return read.iter().enumerate().map(|(i, stored)| decode(i, stored, Check::Later)).collect();
        };
        let mut found: Vec<Option<T>> = Vec::with_capacity(ranges.len());
        for (i, stored) in join_all(ranges.iter().map(|range| disk.get(self.entry.name, range))).await.into_iter().enumerate() {
            found.push(stored.and_then(|stored| self.undamaged(disk, &ranges[i], decode(i, &stored, Check::Now))));
        }
        let missing: Vec<usize> = (0..ranges.len()).filter(|i| found[*i].is_none()).collect();
        let read = self.get_joined(&missing.iter().map(|i| ranges[*i].clone()).collect::<Vec<_>>()).await?;
        for (i, stored) in missing.into_iter().zip(read) {
            found[i] = Some(decode(i, &stored, if fill { Check::Now } else { Check::Later })?);
            self.context.metrics.disk_cache_misses.add(1);
            if fill {
                disk.insert(self.entry.name, ranges[i].start, stored);
            }
        }
        found.into_iter().collect::<Option<_>>().ok_or_else(|| Error::internal("a range was not read"))
    }

    fn undamaged<T>(&self, disk: &DiskCache, range: &Range<u64>, decoded: Result<T>) -> Option<T> {
        match decoded {
            Ok(decoded) => {
                self.context.metrics.disk_cache_hits.add(1);
                self.context.metrics.disk_cache_bytes_read.add(range.end - range.start);
                Some(decoded)
            }
            // The store has it still.
            Err(_) => {
                disk.remove(self.entry.name, range.start);
                None
            }
        }
    }

    async fn load_one<T>(&self, offset: u64, length: u32, decode: impl Fn(&Bytes) -> Result<T>) -> Result<T> {
        let range = offset..offset.saturating_add(u64::from(length));
        let mut loaded = self.load(std::slice::from_ref(&range), true, |_, stored, _| decode(stored)).await?;
        loaded.pop().ok_or_else(|| Error::internal("a range was not read"))
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
        let decode = |stored: &Bytes| FilterPartition::decode(stored).map_err(|e| self.damaged(place.offset, &e.message));
        let filter = Arc::new(self.load_one(place.offset, place.length, decode).await?);
        self.context.metrics.cache_filter_misses.add(1);
        self.keep_partition(place.offset, Partition::Filter(filter.clone()));
        Ok(filter)
    }

    async fn load_partition(&self, section: Section, n: usize) -> Result<Arc<Vec<IndexEntry>>> {
        let read = self.read_partitions(section, &[n]).await?.pop();
        read.ok_or_else(|| Error::internal("an index partition was not read"))
    }

    /// Reads partitions of the index by rising numbers, those that lie next to each other in one request.
    pub(in crate::sstable) async fn read_partitions(&self, section: Section, numbers: &[usize]) -> Result<Vec<Arc<Vec<IndexEntry>>>> {
        let meta = self.meta().await?;
        let top = meta.top(section);
        let places: Option<Vec<_>> = numbers.iter().map(|n| top.get(*n)).collect();
        let places = places.ok_or_else(|| Error::internal("an index partition that is not there"))?;
        let ranges: Vec<_> = places.iter().map(|p| p.offset..p.offset.saturating_add(u64::from(p.length))).collect();
        let decode = |i: usize, stored: &Bytes, _| self.index_partition(meta, places[i], stored).map(Arc::new);
        let read = self.load(&ranges, true, decode).await?;
        self.context.metrics.cache_index_misses.add(read.len() as u64);
        for (place, partition) in places.iter().zip(&read) {
            self.keep_partition(place.offset, Partition::Index(partition.clone()));
        }
        Ok(read)
    }

    fn index_partition(&self, meta: &Meta, place: &PartitionEntry, stored: &Bytes) -> Result<Vec<IndexEntry>> {
        let mut entries: Vec<IndexEntry> = self.decode(place.offset, stored, PARTITION_MAGIC)?;
        entries.iter_mut().for_each(|e| e.bounds.number(self.object.given));
        let ordered = entries.windows(2).all(|w| w[0].first_key <= w[1].first_key);
        let inside = |e: &IndexEntry| e.offset.checked_add(u64::from(e.length)).is_some_and(|end| end <= meta.footer.range_deletes.offset);
        let as_said = entries.len() == place.entries as usize && entries.first().is_some_and(|e| e.first_key == place.first_key);
        if !ordered || !as_said || !entries.iter().all(inside) {
            return Err(self.damaged(place.offset, "the index is out of order"));
        }
        Ok(entries)
    }

    /// Reads blocks at rising offsets.
    pub(in crate::sstable) async fn load_blocks(&self, entries: &[&IndexEntry], fill: bool) -> Result<Vec<Block>> {
        let ranges: Vec<_> = entries.iter().map(|e| e.offset..e.offset + u64::from(e.length)).collect();
        self.context.metrics.cache_misses.add(entries.len() as u64);
        let blocks = self.load(&ranges, fill, |i, stored, check| self.parse(entries[i], stored, check)).await?;
        for (entry, block) in entries.iter().zip(&blocks).filter(|_| fill) {
            self.keep_rows(entry.offset, Rows::Block(block.clone()));
        }
        Ok(blocks)
    }

    /// Decodes a block that its writer left, for all to come. What does not decode is read from the store.
    pub(super) fn stored_block(&self, entry: &IndexEntry, stored: &Bytes) -> Option<Block> {
        let block = self.parse(entry, stored, Check::Later).ok()?;
        self.keep_rows(entry.offset, Rows::Block(block.clone()));
        Some(block)
    }

    /// The same for a page of a wide column.
    pub(super) fn stored_page(&self, offset: u64, raw: &RawPage, rows: usize) -> Option<Arc<ColumnPage>> {
        let page = Arc::new(column::decode(raw, rows, self.object.given).ok()?);
        self.keep_rows(offset, Rows::Page(page.clone()));
        Some(page)
    }

    fn parse(&self, entry: &IndexEntry, bytes: &Bytes, check: Check) -> Result<Block> {
        let parsed = match entry.kind {
            BlockKind::Columnar => block::parse(&self.object, entry.offset, bytes).map(|block| Block::Columnar(Arc::new(block))),
            BlockKind::Cells | BlockKind::Deletes => {
                page::decode(bytes).and_then(|data| keyed::Block::parse(data, self.object.given)).map(Block::Keyed)
            }
        };
        let parsed = parsed.map_err(|d| self.damaged(entry.offset, d.0))?;
        match &parsed {
            Block::Columnar(block) if block.rows() != entry.rows as usize || block.first_ordinal() != entry.first_ordinal => {
                Err(self.damaged(entry.offset, "the block is not the one that the index names"))
            }
            Block::Columnar(block) if check == Check::Now => block.verify().map(|()| parsed),
            _ => Ok(parsed),
        }
    }

    /// Reads pages of wide columns, with their offsets.
    pub(in crate::sstable) async fn load_pages(&self, pages: &[&WidePage], fill: bool) -> Result<Vec<(u64, Arc<ColumnPage>)>> {
        let mut pages = pages.to_vec();
        pages.sort_by_key(|p| p.offset);
        let ranges: Vec<_> = pages.iter().map(|p| p.offset..p.offset + u64::from(p.head.stored)).collect();
        self.context.metrics.cache_misses.add(pages.len() as u64);
        let decode = |i: usize, stored: &Bytes, _| {
            let raw = RawPage { head: pages[i].head, stored: stored.clone() };
            column::decode(&raw, pages[i].rows, self.object.given).map(Arc::new).map_err(|d| self.damaged(pages[i].offset, d.0))
        };
        let read = self.load(&ranges, fill, decode).await?;
        let out: Vec<_> = pages.iter().map(|page| page.offset).zip(read).collect();
        for (offset, page) in out.iter().filter(|_| fill) {
            self.keep_rows(*offset, Rows::Page(page.clone()));
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
