//! Blocks, the unit of index and cache: columnar ones of pages, keyed ones of prefix-compressed entries.

#[allow(dead_code)]
pub(crate) mod columnar;
pub(in crate::sstable) mod items;
pub(in crate::sstable) mod keyed;
