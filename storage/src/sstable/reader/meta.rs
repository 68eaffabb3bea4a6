//! What lies at the end of an SSTable: read once, in one request if it is small.

use super::Reader;
use crate::sstable::filter::{FILTER_INDEX_MAGIC, FilterIndex};
use crate::sstable::footer::{FOOTER_BYTES, Footer, Place};
use crate::sstable::index::{PARTITION_ENTRIES, PartitionEntry, TOP_MAGIC, TopIndex};
use crate::sstable::properties::{DICTIONARY_MAGIC, Dictionary, META_FORMAT, PROPERTIES_MAGIC, Properties};
use crate::sstable::range_deletes::{RANGE_DELETES_MAGIC, RangeDelete};
use crate::sstable::{Section, UNNUMBERED};
use bytes::Bytes;
use common::Result;
use common::envelope::{self, Magic};
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// Bytes that the first read of an SSTable takes from its end: all that stays in memory of most.
const TAIL_BYTES: u64 = 64 << 10;

/// See the module's page.
#[derive(Debug)]
pub(crate) struct Meta {
    pub(crate) dictionary: Dictionary,
    pub(crate) properties: Properties,
    pub(in crate::sstable) filter: FilterIndex,
    pub(in crate::sstable) top: TopIndex,
    pub(in crate::sstable) footer: Footer,
}

impl Meta {
    pub(in crate::sstable) fn top(&self, section: Section) -> &[PartitionEntry] {
        match section {
            Section::Cells => &self.top.cells,
            Section::Deletes => &self.top.deletes,
        }
    }

    /// Where the partitions of index and filter begin.
    pub(super) fn partitions(&self) -> impl Iterator<Item = u64> {
        let index = self.top.cells.iter().chain(&self.top.deletes).map(|p| p.offset);
        index.chain(self.filter.partitions.iter().map(|p| p.offset))
    }

    /// The number of blocks.
    pub(in crate::sstable) fn blocks(&self, section: Section) -> usize {
        let top = self.top(section);
        top.last().map_or(0, |last| (top.len() - 1) * PARTITION_ENTRIES + last.entries as usize)
    }
}

/// The end of an object.
struct Tail {
    bytes: Bytes,
    /// Where `bytes` begins in the object.
    from: u64,
}

impl Reader {
    pub(crate) async fn meta(&self) -> Result<&Arc<Meta>> {
        self.meta.get_or_try_init(|| self.read_meta()).await
    }

    async fn read_meta(&self) -> Result<Arc<Meta>> {
        let size = self.entry.size;
        let mut tail = self.tail(size.saturating_sub(TAIL_BYTES)).await?;
        let footer_at = size.saturating_sub(FOOTER_BYTES as u64);
        let footer = tail.bytes.len().checked_sub(FOOTER_BYTES).map(|at| &tail.bytes[at..]).unwrap_or_default();
        let footer = Footer::decode(footer, size).map_err(|why| self.damaged(footer_at, &why))?;
        if footer.filter_index.offset < tail.from {
            tail = self.tail(footer.filter_index.offset).await?;
        }
        let mut meta = Meta {
            properties: self.record(&tail, footer.properties, PROPERTIES_MAGIC)?,
            dictionary: self.record::<Dictionary>(&tail, footer.dictionary, DICTIONARY_MAGIC)?.shared(),
            filter: self.record(&tail, footer.filter_index, FILTER_INDEX_MAGIC)?,
            top: self.record(&tail, footer.top, TOP_MAGIC)?,
            footer,
        };
        self.check(&meta)?;
        meta.top.cells.iter_mut().chain(&mut meta.top.deletes).for_each(|p| p.bounds.number(self.object.given));
        Ok(Arc::new(meta))
    }

    fn check(&self, meta: &Meta) -> Result<()> {
        let footer = &meta.footer;
        if meta.properties.name != self.entry.name {
            let why = format!("it says that it is {:?}", meta.properties.name);
            return Err(self.damaged(footer.properties.offset, &why));
        }
        if self.entry.given.is_some() && meta.properties.seqs != (UNNUMBERED, UNNUMBERED) {
            return Err(self.damaged(footer.properties.offset, "the manifest gives it a seq, and it has its own"));
        }
        let full = |top: &[PartitionEntry]| {
            top.iter().rev().skip(1).all(|p| p.entries as usize == PARTITION_ENTRIES)
                && top.windows(2).all(|w| w[0].first_key <= w[1].first_key)
                && top.iter().all(|p| p.entries > 0 && p.entries as usize <= PARTITION_ENTRIES)
        };
        if !full(&meta.top.cells) || !full(&meta.top.deletes) {
            return Err(self.damaged(footer.top.offset, "the top index is out of order"));
        }
        if !meta.filter.is_sorted() {
            return Err(self.damaged(footer.filter_index.offset, "the filter's index is out of order"));
        }
        Ok(())
    }

    async fn tail(&self, from: u64) -> Result<Tail> {
        let size = self.entry.size;
        let bytes = self.get(from..size).await?;
        if bytes.len() as u64 == size - from {
            Ok(Tail { bytes, from })
        } else {
            Err(self.damaged(from, &format!("{} bytes where {} are due", bytes.len(), size - from)))
        }
    }

    fn record<T: DeserializeOwned>(&self, tail: &Tail, place: Place, magic: Magic) -> Result<T> {
        let from = place.offset.checked_sub(tail.from).and_then(|n| usize::try_from(n).ok());
        let bytes = from.and_then(|from| tail.bytes.get(from..from.checked_add(place.length as usize)?));
        let bytes = bytes.ok_or_else(|| self.damaged(place.offset, "the section lies outside the object's end"))?;
        self.decode(place.offset, bytes, magic)
    }

    pub(super) fn decode<T: DeserializeOwned>(&self, offset: u64, bytes: &[u8], magic: Magic) -> Result<T> {
        envelope::decode(magic, META_FORMAT, bytes).map_err(|e| self.damaged(offset, &e.message))
    }

    pub(super) async fn read_range_deletes(&self) -> Result<Arc<[RangeDelete]>> {
        let Place { offset, length } = self.meta().await?.footer.range_deletes;
        let bytes = self.get(offset..offset + u64::from(length)).await?;
        let all: Vec<RangeDelete> = self.decode(offset, &bytes, RANGE_DELETES_MAGIC)?;
        let numbered = |d: RangeDelete| RangeDelete { seq: self.entry.given.unwrap_or(d.seq), ..d };
        Ok(all.iter().filter_map(|d| d.within(&self.entry.range)).map(numbered).collect())
    }
}
