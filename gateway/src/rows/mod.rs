//! Rows as people and programs write them, and as the cluster holds them.
//!
//! Parts, one way: `documents`, `ranges`, `values` → `json`, `arrow`.

pub mod arrow;
pub(crate) mod documents;
pub mod json;
pub mod ranges;
pub mod values;
