//! Where the bytes of an SSTable lie: keys along it, from its index.

use super::Section;
use super::index::IndexEntry;
use super::reader::{Held, Need, Reader};
use bytes::Bytes;
use common::Result;

impl Reader {
    /// Keys along the part of it that counts, each with the bytes that lie from it to the next.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn samples(&self) -> Result<Vec<(Bytes, u64)>> {
        let index = self.whole_index(Section::Cells).await?;
        // The first block may begin before the range; what of it lies inside is not known, so it counts whole.
        let inside = |i: usize| {
            let begins_before_end = self.range().end.as_ref().is_none_or(|end| index[i].first_key < *end);
            begins_before_end && index.get(i + 1).is_none_or(|next| next.first_key > self.range().start)
        };
        // Wide pages lie before their stripe's blocks: to the next block's end it is all bytes of the rows.
        let mut behind = 0;
        let mut samples = Vec::new();
        for (i, entry) in index.iter().enumerate() {
            let end = entry.offset + u64::from(entry.length);
            let bytes = end.saturating_sub(behind);
            behind = end;
            if inside(i) {
                samples.push((entry.first_key.clone().max(self.range().start.clone()), bytes));
            }
        }
        Ok(samples)
    }

    /// All index entries of a section.
    pub(super) async fn whole_index(&self, section: Section) -> Result<Vec<IndexEntry>> {
        let meta = self.meta().await?;
        let mut index = Vec::with_capacity(meta.blocks(section));
        for n in 0..meta.top(section).len() {
            match self.partition_now(meta, section, n) {
                Ok(partition) => index.extend(partition.iter().cloned()),
                Err(_) => {
                    let mut held = Held::default();
                    self.fetch(Need::Partition(section, n), true, &mut held).await?;
                    index.extend(held.partitions.iter().flat_map(|(_, _, partition)| partition.iter().cloned()));
                }
            }
        }
        Ok(index)
    }
}
