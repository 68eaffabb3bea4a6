//! Derived tables, purely: definitions and their project, what a definition's SQL means and reads,
//! windows, which of them changes make dirty, what is due, and how rows merge. No I/O but reading a
//! project's files, no clock, no network; the runner executes what is planned here.
//!
//! A project is [loaded](project) and compiled into [`Artifact`]s, which are submitted to the master
//! and read back by runners; [`due::decide`] says what to run now.
//!
//! Modules import one way: `yaml`, `problem`, `window`, `graph`, `sql`, `schedule` (on `window`) → `bounds`, `lineage`, `fold`, `row_test`, `unit_test` →
//! `touched` → `definition`, `template`, `layout` → `document` → `compile` → `project` → `plan`, `select`, `lint`; `document` →
//! `due`, `explain`.

pub mod bounds;
pub mod compile;
pub mod definition;
pub mod document;
pub mod due;
pub mod explain;
pub mod fold;
mod graph;
pub mod layout;
pub mod lineage;
pub mod lint;
pub mod plan;
pub mod problem;
pub mod project;
pub mod row_test;
pub mod schedule;
pub mod select;
pub mod sql;
mod template;
#[cfg(test)]
mod testing;
pub mod touched;
pub mod unit_test;
pub mod window;
mod yaml;

pub use document::Artifact;
pub use problem::Problem;
pub use project::Project;
