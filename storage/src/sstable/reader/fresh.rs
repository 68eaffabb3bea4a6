//! The reader of an SSTable that was just written, and what is left in the caches of one that is about to go.

use super::{Reader, ReaderContext};
use crate::format::SstableRef;
use crate::sstable::Section;
use crate::sstable::cache::Partition;
use crate::sstable::warm::{Fresh, Warm};
use std::ops::Deref;
use tokio::sync::OnceCell;

impl Reader {
    /// Opens an SSTable with what its writer left.
    pub(crate) fn fresh(context: ReaderContext, entry: SstableRef, fresh: &Fresh) -> Self {
        let range_deletes = fresh.range_deletes.iter().filter_map(|d| d.within(&entry.range)).collect();
        let mut reader = Self::new(context, entry);
        reader.number = fresh.number;
        reader.meta = OnceCell::new_with(Some(fresh.meta.clone()));
        reader.range_deletes = OnceCell::new_with(Some(range_deletes));
        fresh.partitions.iter().for_each(|(offset, partition)| reader.keep_partition(*offset, partition.clone()));
        reader
    }

    /// Bytes of it that lie in the caches, as its blocks let guess, and whether what finds them is at hand.
    fn kept(&self) -> (u64, bool) {
        let cache = &self.context.cache;
        let Some(meta) = self.meta.get() else { return (0, false) };
        let in_memory = |offset| cache.has_rows((self.number, offset)) || self.has_rowwise(offset);
        let is_kept = |offset| in_memory(offset) || cache.disk().is_some_and(|d| d.has(self.entry.name, offset));
        let (mut kept, mut partitions) = (0, false);
        for place in meta.top(Section::Cells) {
            if let Some(Partition::Index(entries)) = cache.partition((self.number, place.offset)) {
                partitions = true;
                kept += entries.iter().filter(|e| is_kept(e.offset)).count() as u64;
            }
        }
        (self.entry.size * kept / (meta.blocks(Section::Cells) as u64).max(1), partitions)
    }

    /// What a merge of SSTables leaves in the caches: rows if most of its inputs' were there, so that cold rows displace no
    /// others.
    pub(crate) fn warm_as<R: Deref<Target = Self>>(context: &ReaderContext, inputs: &[R]) -> Warm {
        let kept: Vec<_> = inputs.iter().map(|r| r.kept()).collect();
        let bytes: u64 = kept.iter().map(|(bytes, _)| bytes).sum();
        let all: u64 = inputs.iter().map(|r| r.entry.size).sum();
        Warm { cache: context.cache.clone(), rows: bytes * 2 > all, partitions: kept.iter().any(|(_, partitions)| *partitions) }
    }
}
