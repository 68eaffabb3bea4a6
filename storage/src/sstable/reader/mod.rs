//! Reading an SSTable. Nothing is read before it is asked for; what lies at its end stays in memory then, parts of index and
//! filter and blocks in the cache. Every checksum is verified on every read from the object store.

mod ahead;
mod fresh;
mod load;
mod lookup;
mod meta;
mod place;
mod rowwise;
mod wide;

use super::Section;
use super::block::Block;
use super::block::columnar::ColumnPage;
use super::cache::{BlockCache, Partition, Rows, next_number};
use super::filter::{Ask, FilterPartition, KeyHash};
use super::index::IndexEntry;
use super::object::Object;
use super::range_deletes::RangeDelete;
use crate::format::{SstableRef, names};
use crate::metrics::Metrics;
pub(crate) use ahead::Ahead;
use common::Result;
use common::key::KeyRange;
use common::store::SharedStore;
pub(in crate::sstable) use load::Held;
pub(crate) use lookup::Found;
pub(crate) use meta::Meta;
pub(crate) use place::{Clean, Place};
use std::sync::Arc;
use tokio::sync::OnceCell;

/// What all readers of an engine share.
#[derive(Clone, Debug)]
pub(crate) struct ReaderContext {
    pub(crate) store: SharedStore,
    pub(crate) cache: Arc<BlockCache>,
    pub(crate) metrics: Arc<Metrics>,
}

/// An open SSTable.
pub(crate) struct Reader {
    context: ReaderContext,
    object: Arc<Object>,
    number: u64,
    entry: SstableRef,
    meta: OnceCell<Arc<Meta>>,
    range_deletes: OnceCell<Arc<[RangeDelete]>>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({})", self.object.path)
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        if let Some(meta) = self.meta.get() {
            self.context.cache.forget_partitions(meta.partitions().map(|offset| (self.number, offset)));
        }
    }
}

/// What must be read before a step can be taken.
#[derive(Clone, Debug)]
pub(super) enum Need {
    Meta,
    /// A filter partition, by number.
    Filter(usize),
    /// A partition of the index, by number.
    Partition(Section, usize),
    /// A block, by its number in its section.
    Block(usize, Box<IndexEntry>),
    /// Wide pages of a block: slots and pages.
    Wide(Arc<super::block::columnar::ColumnarBlock>, Vec<(usize, usize)>),
}

/// Why a step was not taken.
#[derive(Debug)]
pub(super) enum Stop {
    Need(Need),
    Failed(common::Error),
}

impl From<common::Error> for Stop {
    fn from(e: common::Error) -> Self {
        Self::Failed(e)
    }
}

/// A step that reads no store: what it needs must be in memory.
pub(super) type Step<T> = std::result::Result<T, Stop>;

impl Reader {
    /// Opens the SSTable that a manifest names; reads nothing.
    pub(crate) fn new(context: ReaderContext, entry: SstableRef) -> Self {
        let object = Object { path: names::sstable(&entry.name), metrics: context.metrics.clone(), given: entry.given };
        Self { number: next_number(), object: Arc::new(object), entry, context, meta: OnceCell::new(), range_deletes: OnceCell::new() }
    }

    /// What the manifest says of it.
    pub(crate) fn entry(&self) -> &SstableRef {
        &self.entry
    }

    /// The part of it that counts.
    pub(crate) fn range(&self) -> &KeyRange {
        &self.entry.range
    }

    pub(crate) fn has_range_deletes(&self) -> bool {
        self.entry.range_deletes.is_some()
    }

    /// Whether a row-range delete may cover the key.
    pub(crate) fn may_cover(&self, key: &[u8]) -> bool {
        self.entry.range_deletes.as_ref().is_some_and(|range| range.contains(key))
    }

    /// All its row-range deletes, clipped to the part of it that counts.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn range_deletes(&self) -> Result<Arc<[RangeDelete]>> {
        if self.entry.range_deletes.is_none() {
            return Ok(Arc::default());
        }
        self.range_deletes.get_or_try_init(|| self.read_range_deletes()).await.cloned()
    }

    /// Bytes read from the object store so far, by all readers of the context.
    #[cfg(test)]
    pub(crate) fn bytes_read_for_tests(&self) -> u64 {
        self.context.metrics.sstable_bytes_read.get()
    }

    /// A reader of an object of which nothing is known but its size.
    pub(crate) fn of_object(context: ReaderContext, name: crate::format::SstableName, size: u64) -> Self {
        let all = Some((bytes::Bytes::new(), bytes::Bytes::from_static(&[0xFF; 64])));
        let entry = SstableRef {
            name,
            level: 0,
            slice: crate::format::SliceKey::default(),
            families: Vec::new(),
            range: KeyRange::ALL,
            keys: all.clone(),
            delete_keys: all,
            range_deletes: Some(KeyRange::ALL),
            seqs: (common::ids::Seq::ZERO, common::ids::Seq::MAX),
            delete_seqs: None,
            given: None,
            timestamps: (common::time::Micros::MIN, common::time::Micros::MAX),
            event_times: None,
            size,
            rows: 0,
            puts: 0,
            deletes: 0,
        };
        Self::new(context, entry)
    }

    pub(super) fn meta_now(&self) -> Step<&Arc<Meta>> {
        self.meta.get().ok_or(Stop::Need(Need::Meta))
    }

    fn keep_rows(&self, offset: u64, rows: Rows) {
        self.context.cache.keep_rows((self.number, offset), rows);
    }

    fn keep_partition(&self, offset: u64, partition: Partition) {
        self.context.cache.keep_partition((self.number, offset), partition);
    }

    pub(in crate::sstable) fn partition_now(&self, meta: &Meta, section: Section, n: usize) -> Step<Arc<Vec<IndexEntry>>> {
        let offset = meta.top(section).get(n).map(|p| p.offset);
        match offset.and_then(|offset| self.context.cache.partition((self.number, offset))) {
            Some(Partition::Index(partition)) => {
                self.context.metrics.cache_index_hits.add(1);
                Ok(partition)
            }
            _ => Err(Stop::Need(Need::Partition(section, n))),
        }
    }

    fn filter_now(&self, meta: &Meta, n: usize) -> Step<Arc<FilterPartition>> {
        let offset = meta.filter.partitions.get(n).map(|p| p.offset);
        match offset.and_then(|offset| self.context.cache.partition((self.number, offset))) {
            Some(Partition::Filter(filter)) => {
                self.context.metrics.cache_filter_hits.add(1);
                Ok(filter)
            }
            _ => Err(Stop::Need(Need::Filter(n))),
        }
    }

    pub(super) fn block_now(&self, entry: &IndexEntry) -> Option<Block> {
        match self.context.cache.rows((self.number, entry.offset)) {
            // What turned out damaged is read again: the store may have been right.
            Some(Rows::Block(block)) if !block.is_damaged() => {
                self.context.metrics.cache_hits.add(1);
                Some(block)
            }
            Some(Rows::StoredBlock(stored)) => {
                let block = self.stored_block(entry, &stored)?;
                self.context.metrics.cache_hits.add(1);
                Some(block)
            }
            _ => None,
        }
    }

    pub(super) fn page_now(&self, offset: u64) -> Option<Arc<ColumnPage>> {
        match self.context.cache.rows((self.number, offset)) {
            Some(Rows::Page(page)) => {
                self.context.metrics.cache_hits.add(1);
                Some(page)
            }
            Some(Rows::StoredPage(stored)) => {
                let page = self.stored_page(offset, &stored.0, stored.1)?;
                self.context.metrics.cache_hits.add(1);
                Some(page)
            }
            _ => None,
        }
    }

    /// Asks the filter; `held` are partitions that the cache may have lost since they were read.
    pub(super) fn ask(&self, meta: &Meta, ask: Ask, hash: KeyHash, held: &[(usize, Arc<FilterPartition>)]) -> Step<bool> {
        match ask {
            Ask::Absent => Ok(false),
            Ask::Present => Ok(true),
            Ask::Partition(n) => match held.iter().find(|(held, _)| *held == n) {
                Some((_, filter)) => Ok(filter.may_contain(hash)),
                None => Ok(self.filter_now(meta, n)?.may_contain(hash)),
            },
        }
    }

    pub(super) fn damaged(&self, offset: u64, why: &str) -> common::Error {
        self.object.damaged(offset, why)
    }
}
