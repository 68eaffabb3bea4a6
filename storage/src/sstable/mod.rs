//! SSTables: immutable sorted objects. `FORMAT.md` has the bytes.
//!
//! ```text
//! cell blocks · delete blocks · index partitions · top index · dictionary · filter · properties · footer
//! ```

pub(crate) mod block;
mod bytes;
mod cache;
mod cursor;
#[allow(dead_code, unused_imports, reason = "pages are about to be made of them")]
mod encode;
#[allow(dead_code, unused_imports, reason = "the next format's writer and reader are about to use it")]
mod filter;
mod footer;
mod index;
#[allow(dead_code)]
mod object;
mod page;
mod properties;
mod range_deletes;
mod reader;
mod samples;
mod upload;
mod writer;

pub(crate) use cache::BlockCache;
pub(crate) use cursor::BlockCursor;
pub(crate) use range_deletes::{RangeDelete, span};
pub(crate) use reader::{Reader, ReaderContext};
pub(crate) use writer::{Finished, Writer};

/// Which of an SSTable's two sorted sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Section {
    /// Cells. Pruning may skip them.
    Cells,
    /// Deletes. Only key and seq bounds may skip them.
    Deletes,
}
