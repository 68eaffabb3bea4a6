//! The gateway: REST and SQL over HTTP, the Bigtable API, routing to tablets, and the runner of derived tables.
//!
//! Modules import one way: `cluster` → `writes`, `rows` → `sql` → `runner` → `rest`, `bigtable` → [`Gateway`]. Without the feature `server` there is
//! `cluster` alone, for who needs no more.

#[cfg(feature = "server")]
pub mod bigtable;
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
mod writes;

#[cfg(feature = "server")]
pub use server::Gateway;
