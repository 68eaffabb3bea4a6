//! What a window reads of each input, found in the plan.

mod reach;
mod time_map;

pub use reach::{Bound, Edge, Reach, Span};
pub use time_map::{Step, TimeMap, Unit};
