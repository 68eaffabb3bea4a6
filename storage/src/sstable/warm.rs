//! What a writer leaves in the caches, so that what was just written need not be read from the store.
//!
//! Rows are left as they are stored, and decoded when first asked for. Dictionary, top index and the like go with the
//! finished SSTable to its reader, and so do partitions, which thus leave with it.

use super::cache::{BlockCache, Partition, Rows, next_number};
use super::page::{PageHead, RawPage};
use super::range_deletes::RangeDelete;
use super::reader::Meta;
use crate::format::SstableName;
use bytes::Bytes;
use std::sync::Arc;

/// Which of what is written stays in the caches.
#[derive(Clone, Debug)]
pub(crate) struct Warm {
    pub(crate) cache: Arc<BlockCache>,
    /// Blocks and pages.
    pub(crate) rows: bool,
    /// Partitions of index and filter.
    pub(crate) partitions: bool,
}

/// Of one SSTable.
#[derive(Debug)]
pub(super) struct Warming {
    warm: Warm,
    name: SstableName,
    /// Of its reader to be.
    number: u64,
    partitions: Vec<(u64, Partition)>,
}

/// What the reader of a new SSTable begins with.
#[derive(Debug)]
pub(crate) struct Fresh {
    pub(super) number: u64,
    pub(super) meta: Arc<Meta>,
    pub(super) range_deletes: Vec<RangeDelete>,
    pub(super) partitions: Vec<(u64, Partition)>,
}

impl Warming {
    pub(super) fn new(warm: Warm, name: SstableName) -> Self {
        Self { warm, name, number: next_number(), partitions: Vec::new() }
    }

    /// A block at `offset`, its bytes in parts.
    pub(super) fn block(&self, offset: u64, parts: &[&[u8]]) {
        if self.warm.rows {
            let stored = Bytes::from(parts.concat());
            self.to_disk(offset, &stored);
            self.warm.cache.keep_rows((self.number, offset), Rows::StoredBlock(stored));
        }
    }

    /// A wide page at `offset` that speaks of so many rows.
    pub(super) fn page(&self, offset: u64, head: PageHead, stored: &[u8], rows: usize) {
        if self.warm.rows {
            let stored = Bytes::copy_from_slice(stored);
            self.to_disk(offset, &stored);
            self.warm.cache.keep_rows((self.number, offset), Rows::StoredPage(Arc::new((RawPage { head, stored }, rows))));
        }
    }

    fn to_disk(&self, offset: u64, stored: &Bytes) {
        if let Some(disk) = self.warm.cache.disk() {
            disk.insert(self.name, offset, stored.clone());
        }
    }

    /// A partition at `offset`.
    pub(super) fn partition(&mut self, offset: u64, partition: impl FnOnce() -> Partition) {
        if self.warm.partitions {
            self.partitions.push((offset, partition()));
        }
    }

    pub(super) fn finish(self, meta: Meta, range_deletes: Vec<RangeDelete>) -> Fresh {
        Fresh { number: self.number, meta: Arc::new(meta), range_deletes, partitions: self.partitions }
    }
}
