//! Blocks whose rows lie in one piece each, beside their columns.

use super::Reader;
use crate::sstable::block::WidePages;
use crate::sstable::block::columnar::ColumnarBlock;
use crate::sstable::block::rowwise::Rowwise;
use crate::sstable::cache::Rows;
use std::sync::Arc;

/// What tells the rows of a block from the block itself, in the cache: no object is that large.
const ROWWISE: u64 = 1 << 63;

impl Reader {
    /// The rows of the block at this offset, if they are in memory.
    pub(super) fn rowwise_now(&self, offset: u64) -> Option<Arc<Rowwise>> {
        match self.context.cache.rows((self.number, offset | ROWWISE)) {
            Some(Rows::Rowwise(rows)) => {
                self.context.metrics.cache_hits.add(1);
                Some(rows)
            }
            _ => None,
        }
    }

    pub(super) fn has_rowwise(&self, offset: u64) -> bool {
        self.context.cache.has_rows((self.number, offset | ROWWISE))
    }

    /// Counts that a row of a block was read, and lays out its rows once so many were that it pays: that takes about as long as
    /// those reads did. Nothing is read for it.
    pub(super) fn note_row_read(&self, block: &ColumnarBlock) {
        if !block.row_reads.is_due(block.rows()) {
            return;
        }
        let Some(wide) = self.all_wide_now(block) else { return };
        // Damage is told by the read that meets it.
        match Rowwise::of(block, &wide) {
            Ok(Some(rows)) => self.keep_rows(block.offset() | ROWWISE, Rows::Rowwise(Arc::new(rows))),
            Ok(None) | Err(_) => block.row_reads.are_in_vain(),
        }
    }

    /// All wide pages of a block, if they are in memory.
    fn all_wide_now(&self, block: &ColumnarBlock) -> Option<WidePages> {
        let mut wide = WidePages::new(block);
        for (at, slot) in block.columns().iter().enumerate() {
            for (n, page) in slot.wide().iter().enumerate() {
                wide.put((at, n), self.page_now(page.offset)?);
            }
        }
        Some(wide)
    }
}
