//! Reading an SSTable: index, dictionary, filter and properties in memory, blocks by range. Every checksum is
//! verified on every read from the object store.

use super::block::keyed::Block;
use super::cache::BlockCache;
use super::filter::whole::{self as filter, FILTER_MAGIC, Filter};
use super::footer::{FOOTER_BYTES, Footer, Place};
use super::index::{IndexEntry, PARTITION_MAGIC, TOP_MAGIC, TopIndex};
use super::properties::{DICTIONARY_MAGIC, Dictionary, META_FORMAT, PROPERTIES_MAGIC, Properties};
use super::range_deletes::RangeDelete;
use super::{Section, page};
use crate::format::{SstableName, names};
use crate::metrics::Metrics;
use bytes::Bytes;
use common::envelope::{self, Magic};
use common::key::KeyRange;
use common::store::{SharedStore, failed};
use common::{Error, Result};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde::de::DeserializeOwned;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes that the first read of an SSTable takes from its end: index and filter of most lie there.
const TAIL_BYTES: u64 = 128 << 10;

static NEXT_READER: AtomicU64 = AtomicU64::new(0);

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
    path: Path,
    number: u64,
    range: KeyRange,
    properties: Properties,
    pub(super) dictionary: Dictionary,
    filter: Filter,
    cells: Vec<IndexEntry>,
    deletes: Vec<IndexEntry>,
}

impl std::fmt::Debug for Reader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Reader({})", self.path)
    }
}

impl Reader {
    /// Opens the SSTable `name` of `size` bytes, of which only `range` counts.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn open(context: ReaderContext, name: SstableName, size: u64, range: KeyRange) -> Result<Self> {
        let tail = Tail::read(&context, names::sstable(&name), size).await?;
        let footer = tail.footer;
        let top: TopIndex = tail.record(footer.top, TOP_MAGIC)?;
        let properties: Properties = tail.record(footer.properties, PROPERTIES_MAGIC)?;
        if properties.name != name {
            return Err(tail.damaged(footer.properties.offset, &format!("it says that it is {:?}", properties.name)));
        }
        let bits: Vec<u8> = tail.record(footer.filter, FILTER_MAGIC)?;
        Ok(Self {
            number: NEXT_READER.fetch_add(1, Ordering::Relaxed),
            range,
            dictionary: tail.record(footer.dictionary, DICTIONARY_MAGIC)?,
            filter: filter::decode(bits).map_err(|why| tail.damaged(footer.filter.offset, &why))?,
            cells: tail.index(&top.cells)?,
            deletes: tail.index(&top.deletes)?,
            path: tail.path,
            properties,
            context,
        })
    }

    /// The part of it that counts.
    pub(crate) fn range(&self) -> &KeyRange {
        &self.range
    }

    pub(crate) fn has_range_deletes(&self) -> bool {
        !self.properties.range_deletes.is_empty()
    }

    /// Its row-range deletes, clipped to the part of it that counts.
    pub(crate) async fn range_deletes(&self) -> Result<Arc<[RangeDelete]>> {
        Ok(self.properties.range_deletes.iter().filter_map(|d| d.within(&self.range)).collect())
    }

    pub(crate) fn properties(&self) -> &Properties {
        &self.properties
    }

    /// Whether a row of this key may have cells here.
    pub(crate) fn may_contain(&self, key: &[u8]) -> bool {
        self.filter.check(key)
    }

    pub(super) fn index(&self, section: Section) -> &[IndexEntry] {
        match section {
            Section::Cells => &self.cells,
            Section::Deletes => &self.deletes,
        }
    }

    pub(super) fn cached(&self, entry: &IndexEntry) -> Option<Block> {
        let block = self.context.cache.get((self.number, entry.offset));
        if block.is_some() {
            self.context.metrics.cache_hits.add(1);
        }
        block
    }

    /// Reads neighbouring blocks in one request.
    pub(super) async fn load(&self, entries: &[IndexEntry], fill_cache: bool) -> Result<Vec<Block>> {
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return Ok(Vec::new()) };
        let bytes = get(&self.context, &self.path, first.offset..last.offset + u64::from(last.length)).await?;
        self.context.metrics.cache_misses.add(entries.len() as u64);
        let mut blocks = Vec::with_capacity(entries.len());
        for entry in entries {
            let from = (entry.offset - first.offset) as usize;
            let page = bytes.get(from..from + entry.length as usize).ok_or_else(|| self.damaged(entry.offset, "the block is cut short"))?;
            let data = page::decode(page).map_err(|why| self.damaged(entry.offset, &why))?;
            let block = Block::parse(data.into()).map_err(|d| self.damaged(entry.offset, d.0))?;
            if fill_cache {
                self.context.cache.insert((self.number, entry.offset), block.clone());
            }
            blocks.push(block);
        }
        Ok(blocks)
    }

    pub(super) fn damaged(&self, offset: u64, why: &str) -> Error {
        damaged(&self.context, &self.path, offset, why)
    }
}

fn damaged(context: &ReaderContext, path: &Path, offset: u64, why: &str) -> Error {
    context.metrics.checksum_errors.add(1);
    Error::corrupt(format!("object '{path}' at offset {offset}: {why}"))
}

async fn get(context: &ReaderContext, path: &Path, range: Range<u64>) -> Result<Bytes> {
    let bytes = context.store.get_range(path, range).await.map_err(|e| failed("read", path, &e))?;
    context.metrics.sstable_bytes_read.add(bytes.len() as u64);
    Ok(bytes)
}

/// Everything behind the blocks.
struct Tail<'a> {
    context: &'a ReaderContext,
    path: Path,
    bytes: Bytes,
    /// Where `bytes` begins in the object.
    from: u64,
    footer: Footer,
}

impl<'a> Tail<'a> {
    async fn read(context: &'a ReaderContext, path: Path, size: u64) -> Result<Self> {
        let from = size.saturating_sub(TAIL_BYTES);
        let bytes = get(context, &path, from..size).await?;
        let footer_at = bytes.len().checked_sub(FOOTER_BYTES).filter(|_| bytes.len() as u64 == size - from);
        let Some(footer_at) = footer_at else {
            return Err(damaged(context, &path, from, &format!("{} bytes where {} are due", bytes.len(), size - from)));
        };
        let footer = Footer::decode(&bytes[footer_at..], size).map_err(|why| damaged(context, &path, size - FOOTER_BYTES as u64, &why))?;
        let begin = footer.partitions.offset;
        let mut tail = Self { context, path, bytes, from, footer };
        if begin < from {
            tail.bytes = get(context, &tail.path, begin..size).await?;
            tail.from = begin;
        }
        Ok(tail)
    }

    fn record<T: DeserializeOwned>(&self, place: Place, magic: Magic) -> Result<T> {
        let from = place.offset.checked_sub(self.from).and_then(|n| usize::try_from(n).ok());
        let bytes = from.and_then(|from| self.bytes.get(from..from.checked_add(place.length as usize)?));
        let bytes = bytes.ok_or_else(|| self.damaged(place.offset, "the section lies outside the object's end"))?;
        envelope::decode(magic, META_FORMAT, bytes).map_err(|e| self.damaged(place.offset, &e.message))
    }

    fn index(&self, top: &[IndexEntry]) -> Result<Vec<IndexEntry>> {
        let mut out = Vec::new();
        for partition in top {
            let place = Place { offset: partition.offset, length: partition.length };
            out.extend(self.record::<Vec<IndexEntry>>(place, PARTITION_MAGIC)?);
        }
        let ordered = out.windows(2).all(|w| w[0].first_key <= w[1].first_key);
        let inside = out.iter().all(|e| e.offset.checked_add(u64::from(e.length)).is_some_and(|end| end <= self.footer.partitions.offset));
        let joined = out.windows(2).all(|w| w[0].offset + u64::from(w[0].length) == w[1].offset);
        if ordered && inside && joined { Ok(out) } else { Err(self.damaged(self.footer.partitions.offset, "the index is out of order")) }
    }

    fn damaged(&self, offset: u64, why: &str) -> Error {
        damaged(self.context, &self.path, offset, why)
    }
}
