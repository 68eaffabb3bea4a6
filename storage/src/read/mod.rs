//! Reads: sources merged by key, then each row judged at a seq.

mod changes;
mod combine;
mod covers;
mod merge;
mod point;
mod resolve;
mod stream;

pub(crate) use changes::{KeyTimes, changes};
pub(crate) use covers::Covers;
pub(crate) use merge::{Merge, Source, Sources, sources_of};
pub(crate) use point::{Now, row_now, stored, with_memory};
pub(crate) use resolve::{Deletes, Rules, View, rules};
pub(crate) use stream::rows;

/// Rows of a batch at most.
pub(crate) const BATCH_ROWS: usize = 1024;
/// Bytes after which a batch is given out.
pub(crate) const BATCH_BYTES: usize = 1 << 20;
