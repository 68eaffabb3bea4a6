//! Compaction: which SSTables to merge is a pure choice, what of each row stays is a pure rule, a worker does it.

mod points;
mod retain;
mod strategy;
mod worker;

pub(crate) use points::Points;
pub(crate) use retain::{Below, Retention};
pub(crate) use strategy::{Choice, SizeTiered};
pub(crate) use worker::merge;
