//! Blocks for a reader of columns, with what lies apart from them.

use super::Reader;
use crate::sstable::block::Block;
use crate::sstable::block::columnar::{ColumnPage, WidePage};
use crate::sstable::index::IndexEntry;
use common::Result;
use std::sync::Arc;

/// What was read ahead: blocks in the order of the object, and pages of their wide columns by offset.
#[derive(Debug)]
pub(crate) struct Ahead {
    pub(in crate::sstable) blocks: Vec<Block>,
    pub(in crate::sstable) pages: Vec<(u64, Arc<ColumnPage>)>,
}

impl Reader {
    /// Whether the metadata is in memory.
    pub(crate) fn is_open(&self) -> bool {
        self.meta.get().is_some()
    }

    /// Reads blocks at rising offsets and decodes their columns at `places` of the dictionary, the pages of wide ones
    /// included; each page is shown to `look` with the number of its place in the list. Of pages that do not decode nothing is said:
    /// whoever asks for them is told. What was read is decoded in one go, for as long as that takes: were windows decoded in turns,
    /// the one that is waited for would be done with the last.
    ///
    /// # Errors
    /// `Corrupt` naming object and offset, `NotFound`, `Unavailable`.
    pub(crate) async fn read_ahead(
        &self,
        entries: &[IndexEntry],
        places: &[Option<u32>],
        fill: bool,
        look: impl Fn(usize, &ColumnPage) + Send,
    ) -> Result<Ahead> {
        let blocks = self.load_blocks(&entries.iter().collect::<Vec<_>>(), fill).await?;
        let mut wide: Vec<(&WidePage, usize)> = Vec::new();
        for block in &blocks {
            let Block::Columnar(block) = block else { continue };
            for (i, place) in places.iter().enumerate() {
                let Some(place) = place else { continue };
                wide.extend(block.wide(*place).iter().map(|page| (page, i)));
                if let Ok(Some(page)) = block.column(*place) {
                    look(i, &page);
                }
            }
        }
        let places: Vec<_> = wide.iter().map(|(page, _)| *page).collect();
        let mut pages = Vec::with_capacity(places.len());
        for ((place, i), page) in wide.iter().zip(self.wide_pages(&places, fill).await.unwrap_or_default()) {
            look(*i, &page);
            pages.push((place.offset, page));
        }
        Ok(Ahead { blocks, pages })
    }
}
