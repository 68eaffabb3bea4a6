//! Decoded blocks in memory, bounded by their bytes.

use super::block::keyed::Block;
use quick_cache::Weighter;
use quick_cache::sync::Cache;

/// A reader's number and a block's offset: object names are not reused, but a reader's number is cheaper to hash.
pub(super) type CacheKey = (u64, u64);

#[derive(Clone, Debug)]
struct Bytes;

impl Weighter<CacheKey, Block> for Bytes {
    fn weight(&self, _: &CacheKey, block: &Block) -> u64 {
        block.weight()
    }
}

/// Shared by all readers of an engine.
#[derive(Debug)]
pub(crate) struct BlockCache {
    cache: Cache<CacheKey, Block, Bytes>,
}

impl BlockCache {
    /// A cache of about `bytes`; blocks are expected to have about `block_bytes`.
    pub(crate) fn new(bytes: u64, block_bytes: usize) -> Self {
        let items = usize::try_from(bytes / block_bytes.max(1) as u64).unwrap_or(usize::MAX).max(16);
        Self { cache: Cache::with_weighter(items, bytes, Bytes) }
    }

    pub(super) fn get(&self, key: CacheKey) -> Option<Block> {
        self.cache.get(&key)
    }

    pub(super) fn insert(&self, key: CacheKey, block: Block) {
        self.cache.insert(key, block);
    }
}
