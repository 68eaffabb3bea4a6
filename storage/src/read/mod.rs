//! Reads: sources merged by key, then each row judged at a seq.

mod changes;
mod merge;
mod resolve;
mod stream;

pub(crate) use changes::changes;
pub(crate) use merge::{Merge, Sources};
pub(crate) use resolve::{Deletes, View};
pub(crate) use stream::rows;

/// Rows of a batch at most.
const BATCH_ROWS: usize = 1024;
/// Bytes after which a batch is given out.
const BATCH_BYTES: usize = 1 << 20;
