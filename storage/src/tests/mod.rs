//! Tests of the whole engine, each named after the rule that it keeps.

mod aggregates;
mod arrow;
mod cached;
mod changes;
mod clean;
mod clones;
mod commit;
mod compaction;
mod conditional;
mod damage;
mod derived;
mod faults;
mod golden;
mod harness;
mod ingest;
mod log;
mod model;
mod mutated;
mod range_deletes;
mod reads;
mod recovery;
mod slices;

pub(crate) use golden::golden;
