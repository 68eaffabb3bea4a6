//! Blocks, the unit of index and cache: columnar ones of pages, keyed ones of prefix-compressed entries.

mod before;
mod clean;
pub(crate) mod column;
pub(crate) mod columnar;
mod header;
pub(in crate::sstable) mod items;
pub(in crate::sstable) mod keyed;
mod overflow;
mod points;
mod row;
pub(in crate::sstable) mod rowwise;
mod write;

use super::object::Object;
pub(in crate::sstable) use clean::{Shown, WideOfRows, clean_rows};
pub(in crate::sstable) use header::{WideRun, parse};
pub(in crate::sstable) use row::{Scratch, WidePages, read_row, wide_needed};
use std::sync::Arc;
pub(in crate::sstable) use write::{BlockInput, encode_block};

use columnar::ColumnarBlock;

/// A block in memory.
#[derive(Clone, Debug)]
pub(crate) enum Block {
    Columnar(Arc<ColumnarBlock>),
    Keyed(keyed::Block),
}

impl Block {
    /// Whether something in it turned out damaged since it was read.
    pub(in crate::sstable) fn is_damaged(&self) -> bool {
        match self {
            Self::Columnar(block) => block.is_damaged(),
            Self::Keyed(_) => false,
        }
    }
}
