//! What was read of SSTables: decoded in memory, bounded by its bytes, and behind it on a disk, as it is stored.
//!
//! What finds rows (partitions of index and filters) goes before rows (blocks and pages): it has a share of its own, half
//! of the bytes at most, and rows have what it leaves. A partition thus goes only for other partitions.

use super::block::Block;
use super::block::columnar::{ColumnPage, Values};
use super::block::rowwise::Rowwise;
use super::disk_cache::DiskCache;
use super::filter::FilterPartition;
use super::index::IndexEntry;
use super::page::RawPage;
use crate::sync::lock;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// A reader's number and an offset: object names are not reused, but a reader's number is cheaper to hash.
pub(super) type CacheKey = (u64, u64);

/// Of the bytes, partitions may have one in so many.
const PARTITIONS_SHARE: u64 = 2;
/// Bytes of a partition, about.
const PARTITION_BYTES: u64 = 32 << 10;
/// Rows are told of what partitions leave once it has changed by one in so many of all bytes.
const STEP: u64 = 64;

/// Beside the bytes of a block that is not decoded.
const STORED_EXTRA: u64 = 128;

static NEXT_NUMBER: AtomicU64 = AtomicU64::new(0);

/// The number of a new reader.
pub(super) fn next_number() -> u64 {
    NEXT_NUMBER.fetch_add(1, Ordering::Relaxed)
}

/// Rows of an SSTable.
#[derive(Clone, Debug)]
pub(super) enum Rows {
    Block(Block),
    /// Of a wide column.
    Page(Arc<ColumnPage>),
    /// A block that was just written, decoded when asked for.
    StoredBlock(bytes::Bytes),
    /// A page of a wide column, the same, and how many rows it speaks of.
    StoredPage(Arc<(RawPage, usize)>),
    /// The rows of a block once more, each in one piece.
    Rowwise(Arc<Rowwise>),
}

/// What finds rows.
#[derive(Clone, Debug)]
pub(super) enum Partition {
    Index(Arc<Vec<IndexEntry>>),
    Filter(Arc<FilterPartition>),
}

impl Rows {
    /// Bytes in memory, about.
    fn weight(&self) -> u64 {
        match self {
            Self::Block(Block::Columnar(block)) => block.weight(),
            Self::Block(Block::Keyed(block)) => block.weight(),
            Self::Page(page) => page.weight(),
            Self::StoredBlock(stored) => stored.len() as u64 + STORED_EXTRA,
            Self::Rowwise(rows) => rows.weight(),
            Self::StoredPage(page) => page.0.stored.len() as u64 + STORED_EXTRA,
        }
    }
}

impl Partition {
    /// Bytes in memory, about.
    fn weight(&self) -> u64 {
        match self {
            Self::Index(entries) => entries.iter().map(|e| 160 + e.first_key.len() as u64 + 96 * e.values.len() as u64).sum(),
            Self::Filter(filter) => filter.size() as u64,
        }
    }
}

impl ColumnPage {
    /// Bytes in memory, about.
    fn weight(&self) -> u64 {
        let values = match &self.values {
            Values::Fixed8(values) => 8 * values.len(),
            Values::Bool(values) => values.len() / 8,
            Values::Var { offsets, data } => 4 * offsets.len() + data.len(),
            Values::Dict { codes, offsets, data } => 4 * (codes.len() + offsets.len()) + data.len(),
        };
        (values + 20 * self.exceptions.rows.len() + 256) as u64
    }
}

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<CacheKey, Rows> for Bytes {
    fn weight(&self, _: &CacheKey, rows: &Rows) -> u64 {
        rows.weight()
    }
}

impl Weighter<CacheKey, Partition> for Bytes {
    fn weight(&self, _: &CacheKey, partition: &Partition) -> u64 {
        partition.weight()
    }
}

/// Shared by all readers of an engine.
#[derive(Debug)]
pub(crate) struct BlockCache {
    bytes: u64,
    rows: Cache<CacheKey, Rows, Bytes>,
    partitions: Cache<CacheKey, Partition, Bytes>,
    /// Bytes that partitions had when rows were last told.
    told: Mutex<u64>,
    disk: Option<DiskCache>,
}

impl BlockCache {
    /// A cache of about `bytes`; blocks are expected to have about `block_bytes`.
    pub(crate) fn new(bytes: u64, block_bytes: usize) -> Self {
        let items = |each: u64| usize::try_from(bytes / each.max(1)).unwrap_or(usize::MAX).max(16);
        Self {
            bytes,
            rows: Cache::with_weighter(items(block_bytes as u64), bytes, Bytes),
            partitions: Cache::with_weighter(items(PARTITION_BYTES), bytes / PARTITIONS_SHARE, Bytes),
            told: Mutex::new(0),
            disk: None,
        }
    }

    /// With a disk behind it.
    pub(crate) fn with_disk(self, disk: Option<DiskCache>) -> Self {
        Self { disk, ..self }
    }

    pub(crate) fn disk(&self) -> Option<&DiskCache> {
        self.disk.as_ref()
    }

    pub(super) fn rows(&self, key: CacheKey) -> Option<Rows> {
        self.rows.get(&key)
    }

    pub(super) fn has_rows(&self, key: CacheKey) -> bool {
        self.rows.contains_key(&key)
    }

    pub(super) fn keep_rows(&self, key: CacheKey, rows: Rows) {
        self.rows.insert(key, rows);
    }

    pub(super) fn partition(&self, key: CacheKey) -> Option<Partition> {
        self.partitions.get(&key)
    }

    pub(super) fn keep_partition(&self, key: CacheKey, partition: Partition) {
        self.partitions.insert(key, partition);
        self.balance();
    }

    /// Their reader goes, and nobody will ask for them.
    pub(super) fn forget_partitions(&self, keys: impl Iterator<Item = CacheKey>) {
        keys.for_each(|key| drop(self.partitions.remove(&key)));
        self.balance();
    }

    /// Leaves to rows what partitions do not have.
    fn balance(&self) {
        let mut told = lock(&self.told);
        let now = self.partitions.weight();
        if now.abs_diff(*told) > self.bytes / STEP {
            *told = now;
            self.rows.set_capacity(self.bytes.saturating_sub(now));
        }
    }

    /// Bytes of everything kept, about.
    pub(crate) fn bytes(&self) -> u64 {
        self.rows.weight() + self.partition_bytes()
    }

    /// Bytes of partitions of index and filters kept, about.
    pub(crate) fn partition_bytes(&self) -> u64 {
        self.partitions.weight()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sstable::filter::{FilterBuilder, FilterPartition};

    fn filter() -> Partition {
        let mut builder = FilterBuilder::default();
        (0..1000u32).for_each(|n| builder.add_row(&n.to_be_bytes(), None).unwrap());
        Partition::Filter(Arc::new(FilterPartition::decode(&builder.finish().unwrap().partitions).unwrap()))
    }

    fn page(bytes: usize) -> Rows {
        let offsets = arrow_buffer::OffsetBuffer::new(vec![0, bytes as i32].into());
        let values = Values::Var { offsets, data: vec![7; bytes].into() };
        Rows::Page(Arc::new(ColumnPage { present: None, values, exceptions: Default::default(), memo: Default::default() }))
    }

    #[test]
    fn partitions_stay_whatever_rows_come_and_leave_them_the_rest() {
        let cache = BlockCache::new(1 << 20, 4 << 10);
        let partitions: Vec<CacheKey> = (0..100).map(|n| (1, n)).collect();
        partitions.iter().for_each(|key| cache.keep_partition(*key, filter()));
        let of_partitions = cache.partition_bytes();
        assert!(of_partitions > 100_000 && of_partitions < 300_000, "{of_partitions}");
        for n in 0..2000 {
            cache.keep_rows((2, n), page(4 << 10));
            assert!(cache.bytes() <= (1 << 20) + (1 << 20) / STEP, "{}", cache.bytes());
        }
        assert!(partitions.iter().all(|key| cache.partition(*key).is_some()));
        let kept = (0..2000).filter(|n| cache.rows((2, *n)).is_some()).count();
        assert!(kept > 100 && kept < 256, "{kept} pages of 4 KiB beside {of_partitions} bytes of partitions");
        cache.forget_partitions(partitions.iter().copied());
        assert_eq!(cache.partition_bytes(), 0);
        (0..2000).for_each(|n| cache.keep_rows((3, n), page(4 << 10)));
        assert!(cache.bytes() > (1 << 20) * 3 / 4, "{}", cache.bytes());
    }

    #[test]
    fn partitions_have_half_at_most() {
        let cache = BlockCache::new(1 << 20, 4 << 10);
        (0..4000).for_each(|n| cache.keep_partition((1, n), filter()));
        assert!(cache.partition_bytes() <= 1 << 19, "{}", cache.partition_bytes());
        (0..2000).for_each(|n| cache.keep_rows((2, n), page(4 << 10)));
        assert!(cache.bytes() - cache.partition_bytes() > 1 << 18);
    }

    #[test]
    fn a_cache_of_nothing_keeps_nothing() {
        let cache = BlockCache::new(0, 4096);
        cache.keep_partition((1, 1), filter());
        cache.keep_rows((1, 2), page(100));
        assert_eq!(cache.bytes(), 0);
    }
}
