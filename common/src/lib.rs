//! The vocabulary and the wire of Stele: ids, keys, values, schemas, errors, the
//! object-store wrappers and the RPC contracts that the roles speak to each other.
//!
//! Modules import one way: `ids`, `time`, `error`, `limits`, `objects`, `changes` → `key`, `value` →
//! `schema`, `row` → `conditional`, `catalog` → `rpc` → `surroundings` (with `store`, `threads`). `storage` and `derived` never import `rpc`.

pub mod catalog;
pub mod changes;
pub mod conditional;
pub mod config;
pub mod envelope;
pub mod environment;
pub mod error;
pub mod ids;
pub mod key;
pub mod limits;
pub mod objects;
pub mod register;
pub mod row;
pub mod rpc;
pub mod schema;
pub mod store;
pub mod surroundings;
pub mod threads;
pub mod time;
pub mod value;
pub mod version;

pub use error::{Error, ErrorKind, Result};
