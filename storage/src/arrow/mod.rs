//! Scans: rows of a tablet as Arrow record batches.
//!
//! What is asked ([`ScanSpec`]) is bound to a table's key parts and columns ([`Projection`] for what is shown,
//! `filter` for what must hold), read in key order (`scan`), and built into batches ([`BatchBuilder`]).
//!
//! A value that does not decode as its column's type is an error that names table, column and key, never null. Only
//! columns that are shown or have a condition are looked at.

mod builder;
#[cfg(test)]
mod builder_tests;
mod check;
mod column;
mod filter;
mod projection;
mod scan;
mod spec;
mod value;

pub use builder::BatchBuilder;
pub use projection::Projection;
pub(crate) use scan::{Plan, scan};
pub use spec::{Comparison, Predicate, ScanSpec, Test};
