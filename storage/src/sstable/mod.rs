//! SSTables: immutable sorted objects. `FORMAT.md` has the bytes.
//!
//! ```text
//! stripes: wide pages, columnar blocks · cell blocks · delete blocks, as they fill
//! range deletes · index partitions · filter partitions · filter index · top index · dictionary · properties · footer
//! ```
//!
//! Modules import one way: `bytes` → `encode`, `page` → `block` → `stripe`, `section` → `writer`, and `block`, `disk_cache` →
//! `cache` → `reader` → `cursor`; `reader` → `warm` → `writer`; a lookup of a row that may span blocks is a cursor's.

use common::ids::Seq;

pub(crate) mod block;
mod cache;
mod cursor;
mod disk_cache;
mod encode;
mod filter;
mod footer;
pub(crate) mod index;
mod layout;
mod names;
mod object;
mod page;
mod properties;
mod range_deletes;
mod reader;
mod rename;
mod samples;
mod section;
mod statistics;
mod stripe;
mod survey;
mod tally;
mod upload;
mod warm;
mod writer;

#[cfg(test)]
mod tests;

pub(crate) use block::columnar::{ColumnPage, ColumnarBlock, Overflow, OverflowCell, OverflowColumn, Values, WidePage};
pub(crate) use cache::BlockCache;
pub(crate) use cursor::{Beginning, BlockCursor, Partitions, Prefetch, Skip, Window};
pub(crate) use disk_cache::DiskCache;
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) use encode::fuzz as fuzz_encoding;
pub(crate) use filter::KeyHash;
pub(crate) use index::PREFIX_BYTES;
pub use index::{BlockKind, Bounds, ColumnBounds, ColumnSpan, IndexEntry, ValueBounds};
pub use layout::Kind;
pub(crate) use layout::Layout;
pub(crate) use properties::Dictionary;
pub use properties::{ColumnStats, Properties};
pub(crate) use range_deletes::RangeDelete;
pub(crate) use reader::{Clean, Found, Meta, Place, Reader, ReaderContext};
pub use rename::RenamedEnd;
pub use survey::Sstable;
pub(crate) use warm::{Fresh, Warm};
pub(crate) use writer::{Finished, Writer};

/// The seq that everything says in an SSTable that is written before it is numbered. The manifest's reference then gives the
/// one that counts, and whoever decodes something of it puts that in place: nothing behind knows of it.
pub(crate) const UNNUMBERED: Seq = Seq(1);

/// Which of an SSTable's two sorted sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Cells. Pruning may skip them.
    Cells,
    /// Deletes. Only key and seq bounds may skip them.
    Deletes,
}
