//! Scans: rows of a tablet as Arrow record batches.
//!
//! What is asked ([`ScanSpec`]) is bound to a table's key parts and columns ([`Projection`] for what is shown,
//! `filter` for what must hold), read in key order (`scan`), and built into batches.
//!
//! Sources are merged by key alone (`runs`). Rows of a columnar block that no other source has, that no delete may hide and
//! no rule condemns (`clean`) go into the batch as they lie: pages become columns (`block`, `page`), which stay with the pages
//! in the cache, and slices of them are put together (`assemble`, `gather`). Where the order of rows does not matter, such a
//! run goes on over what others have in between. A scan that goes on has what it begins with,
//! and the blocks behind, read and decoded on other threads (`ahead`). All other rows are joined, judged and built one by
//! one ([`BatchBuilder`]). Blocks whose value bounds say that nothing passes (`bounds`) are left out where no other source
//! has rows among theirs (`others`).
//!
//! A value that does not decode as its column's type is an error that names table, column and key, never null. Only
//! columns that are shown or have a condition are looked at.

mod ahead;
mod assemble;
mod block;
mod block_column;
mod bounds;
mod builder;
#[cfg(test)]
mod builder_tests;
mod check;
mod clean;
mod column;
mod filter;
mod gather;
mod mask;
mod needs;
mod others;
mod page;
mod plan;
mod projection;
mod projections;
mod runs;
mod scan;
mod spec;
mod value;

pub use builder::BatchBuilder;
pub(crate) use plan::{Known, Plan};
pub use projection::Projection;
pub(crate) use projections::Projections;
pub(crate) use scan::scan;
pub use spec::{Comparison, Predicate, ScanSpec, Test};
