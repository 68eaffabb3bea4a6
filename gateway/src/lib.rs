//! The gateway: REST and SQL over HTTP, routing to tablets, and the runner of derived tables.
//!
//! Modules import one way: `cluster` → `rows` → `sql` → `runner` → `rest` → [`Gateway`]. Without the feature `server` there is
//! `cluster` alone, for who needs no more.

pub mod cluster;
#[cfg(feature = "server")]
pub mod rest;
#[cfg(feature = "server")]
pub mod rows;
#[cfg(feature = "server")]
pub mod runner;
#[cfg(feature = "server")]
mod server;
#[cfg(feature = "server")]
pub mod sql;

#[cfg(feature = "server")]
pub use server::Gateway;
