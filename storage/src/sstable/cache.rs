//! What was read of SSTables, decoded, in memory: bounded by its bytes.

use super::block::Block;
use super::block::columnar::{ColumnPage, Values};
use super::filter::FilterPartition;
use super::index::IndexEntry;
use quick_cache::Weighter;
use quick_cache::sync::Cache;
use std::sync::Arc;

/// A reader's number and an offset: object names are not reused, but a reader's number is cheaper to hash.
pub(super) type CacheKey = (u64, u64);

/// A piece of an SSTable.
#[derive(Clone, Debug)]
pub(super) enum Cached {
    Block(Block),
    /// Of a wide column.
    Page(Arc<ColumnPage>),
    /// Of the index.
    Partition(Arc<Vec<IndexEntry>>),
    Filter(Arc<FilterPartition>),
}

impl Cached {
    /// Bytes in memory, about.
    fn weight(&self) -> u64 {
        match self {
            Self::Block(Block::Columnar(block)) => block.weight(),
            Self::Block(Block::Keyed(block)) => block.weight(),
            Self::Page(page) => page.weight(),
            Self::Partition(entries) => entries.iter().map(|e| 160 + e.first_key.len() as u64 + 96 * e.values.len() as u64).sum(),
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

impl Weighter<CacheKey, Cached> for Bytes {
    fn weight(&self, _: &CacheKey, cached: &Cached) -> u64 {
        cached.weight()
    }
}

/// Shared by all readers of an engine.
#[derive(Debug)]
pub(crate) struct BlockCache {
    cache: Cache<CacheKey, Cached, Bytes>,
}

impl BlockCache {
    /// A cache of about `bytes`; blocks are expected to have about `block_bytes`.
    pub(crate) fn new(bytes: u64, block_bytes: usize) -> Self {
        let items = usize::try_from(bytes / block_bytes.max(1) as u64).unwrap_or(usize::MAX).max(16);
        Self { cache: Cache::with_weighter(items, bytes, Bytes) }
    }

    pub(super) fn get(&self, key: CacheKey) -> Option<Cached> {
        self.cache.get(&key)
    }

    pub(super) fn insert(&self, key: CacheKey, cached: Cached) {
        self.cache.insert(key, cached);
    }
}
