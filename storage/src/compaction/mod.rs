//! Compaction: which SSTables to merge is a pure choice, what of each row stays is a pure rule, a worker does it.

mod aggregates;
mod outputs;
mod pace;
mod points;
mod pool;
mod range_deletes;
mod retain;
mod space;
mod strategy;
mod worker;

pub(crate) use outputs::{Names, Output, Outputs, Target};
pub(crate) use pace::Pace;
pub(crate) use points::Points;
pub(crate) use pool::Pool;
pub(crate) use retain::{AGE_SLACK, Below, Between, Retention};
pub(crate) use space::kept_bytes;
pub(crate) use strategy::{Choice, MAX_SLICES, Merging, Situation, Strategy, Trigger, keys_meet, months_until};
pub(crate) use worker::{flush, merge};
