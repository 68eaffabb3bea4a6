//! Tests of the whole engine, each named after the rule that it keeps.

mod commit;
mod derived;
mod harness;
mod model;
mod recovery;
