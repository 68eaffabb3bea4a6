//! The gateway: REST and SQL over HTTP, routing to tablets, and the runner of derived tables.
//!
//! Modules import one way: `cluster` → `rows` → `sql` → `runner` → `rest` → `server`.

pub mod cluster;
pub mod rows;
pub mod runner;
pub mod sql;
