//! A project: the files from which a cluster's derived tables are made.
//!
//! | file | holds |
//! |---|---|
//! | `sources/*.yaml` | a raw table each |
//! | `seeds/*.csv`, with `*.yaml` beside | a lookup table each, with its rows |
//! | `derived/*.yaml`, with `*.sql` beside | a derived table each |
//! | `macros/*.jinja` | macros for SQL |
//! | `tests/*.yaml` | a unit test each |
//! | `stele.yaml` | `variables:` for SQL |
//!
//! A broken file is one failed table; what reads it is blocked; the rest goes on.

mod compiler;
mod files;
mod graph;
mod nodes;

pub use compiler::Compiler;
pub use files::{FOLDERS, Project, SETTINGS};
pub use nodes::{Compiled, Node, NodeState};

#[cfg(test)]
mod soundness;
#[cfg(test)]
mod tests;
