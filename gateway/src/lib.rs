//! The gateway: REST and SQL over HTTP, routing to tablets, and the runner of derived tables.
//!
//! Modules import one way: `cluster` → `rows` → `sql` → `runner` → `rest` → [`Gateway`].

pub mod cluster;
pub mod rest;
pub mod rows;
pub mod runner;
mod server;
pub mod sql;

pub use server::Gateway;
