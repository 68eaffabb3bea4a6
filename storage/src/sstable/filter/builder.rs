//! Building the partitions while rows are written.

use super::{FilterIndex, FilterPartition, FilterPlace, KeyHash};
use bytes::Bytes;
use common::{Error, Result};

/// Row keys and prefixes of a partition: 28 KiB of bits. Small enough to read for one lookup, large enough that the index
/// takes a few bytes per thousand rows.
const PARTITION_KEYS: usize = 16 << 10;

/// A filter in the making. It keeps 8 bytes for each row of the partition that it is at, and the bits of those before.
#[derive(Debug, Default)]
pub(in crate::sstable) struct FilterBuilder {
    first: Bytes,
    hashes: Vec<KeyHash>,
    /// The prefix that was added last to this partition.
    prefix: Option<Vec<u8>>,
    built: Built,
}

/// A finished filter.
#[derive(Debug, Default)]
pub(in crate::sstable) struct Built {
    /// Where the partitions lie: from 0 on, to be moved by [`Self::place`].
    pub(in crate::sstable) index: FilterIndex,
    /// The partitions, one after the other.
    pub(in crate::sstable) partitions: Vec<u8>,
}

impl FilterBuilder {
    /// Adds a row with cells. Rows come in the order of their keys, each once; `prefix_len` is what
    /// [`common::schema::KeySchema::prefix_len`] says of the key.
    ///
    /// # Errors
    /// `Internal` if a partition cannot be encoded.
    pub(in crate::sstable) fn add_row(&mut self, key: &[u8], prefix_len: Option<usize>) -> Result<()> {
        if self.hashes.len() >= PARTITION_KEYS {
            self.close()?;
        }
        if self.hashes.is_empty() {
            self.first = Bytes::copy_from_slice(key);
        }
        self.hashes.push(KeyHash::of_row(key));
        if let Some(prefix) = prefix_len.and_then(|len| key.get(..len)) {
            self.add_prefix(prefix);
        }
        Ok(())
    }

    fn add_prefix(&mut self, prefix: &[u8]) {
        if self.prefix.as_deref() != Some(prefix) {
            self.hashes.push(KeyHash::of_prefix(prefix));
            self.prefix = Some(prefix.to_vec());
            self.built.index.prefixes = true;
        }
    }

    /// Ends a partition: the next begins with the next row.
    fn close(&mut self) -> Result<()> {
        let partition = FilterPartition::of(&self.hashes).encode()?;
        let length = u32::try_from(partition.len()).map_err(|_| Error::internal("a filter partition above 4 GiB"))?;
        let offset = self.built.partitions.len() as u64;
        self.built.index.partitions.push(FilterPlace { first: std::mem::take(&mut self.first), offset, length });
        self.built.partitions.extend_from_slice(&partition);
        self.hashes.clear();
        self.prefix = None;
        Ok(())
    }

    /// The filter of all rows added.
    ///
    /// # Errors
    /// As [`Self::add_row`].
    pub(in crate::sstable) fn finish(mut self) -> Result<Built> {
        if !self.hashes.is_empty() {
            self.close()?;
        }
        Ok(self.built)
    }
}

impl Built {
    /// Moves the places of the partitions, which lie from `offset` of the object on.
    pub(in crate::sstable) fn place(&mut self, offset: u64) {
        self.index.partitions.iter_mut().for_each(|p| p.offset += offset);
    }

    /// The [placed](Self::place) partitions, each with its offset.
    pub(in crate::sstable) fn decoded(&self) -> impl Iterator<Item = (u64, Result<FilterPartition>)> {
        let from = self.index.partitions.first().map_or(0, |p| p.offset);
        self.index.partitions.iter().map(move |p| {
            let at = (p.offset - from) as usize;
            let bytes = self.partitions.get(at..at + p.length as usize).unwrap_or_default();
            (p.offset, FilterPartition::decode(bytes))
        })
    }
}
