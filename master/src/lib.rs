//! The master: cluster state behind Raft, leases and assignment.
//!
//! One writer of cluster state, the leader; everyone else reports. Modules import one way:
//! `timing`, `entry` → `state` (pure: entries change it) → `liveness` (pure: what the leader decides from the
//! state, the reports it has heard and the time) and `raft` (the state machine on local disk) → `identity`,
//! `copy` (the object store's copy), `backup` (what copies of tables look like) → `birth`, `restore` (a lost state's return), `server` (gRPC and the leader's loop).
//!
//! Entry points: [`Master::start`], [`Running::start`], [`state::apply`], [`liveness::decide`].

mod backup;
mod birth;
mod copy;
pub mod entry;
mod identity;
pub mod liveness;
pub mod raft;
mod restore;
mod server;
pub mod state;
pub mod timing;

pub use birth::{check_founded, found};
pub use restore::{Report, restore};
pub use server::{Master, Running};
pub use state::Restored;
