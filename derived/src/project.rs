//! A project: the files from which a cluster's derived tables are made.
//!
//! | file | holds |
//! |---|---|
//! | `sources/*.yaml` | a raw table each |
//! | `derived/*.yaml`, with `*.sql` beside | a derived table each |
//! | `macros/*.jinja` | macros for SQL |
//! | `stele.yaml` | `variables:` for SQL |
//!
//! A broken file is one failed table; what reads it is blocked; the rest goes on.

mod files;
mod graph;
mod nodes;

pub use files::Project;
pub use nodes::{Compiled, Node, NodeState};

#[cfg(test)]
mod soundness;
#[cfg(test)]
mod tests;
