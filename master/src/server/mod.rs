//! The running master: gRPC, the leader's loop, start and shutdown.
//!
//! `node` is what all of them share; `submit`, `heartbeat` and `watch` are the three calls of
//! `stele.v1.Master`; `leader` is the loop that carries out what [`crate::liveness::decide`] decides; `fencing` ends dead lives' logs, `procedures`
//! (with `pins`) puts new tablets' manifests and deletes ended ones, `copies` takes snapshots and copies tables; `admin` is what operators see;
//! `confirm` bundles rounds of leadership confirmation; `forward` hands a follower's
//! calls to the leader, `members` changes the group, `join` makes this node part of it, `peers` hears the other nodes; `start` puts it together, `master` gives it threads of its own.

mod admin;
mod confirm;
mod copies;
mod fencing;
mod forward;
mod heartbeat;
mod join;
mod leader;
mod master;
mod members;
mod node;
mod orders;
mod peers;
mod pins;
mod procedures;
mod service;
mod start;
mod submit;
mod watch;

#[cfg(test)]
mod group_tests;
#[cfg(test)]
mod tests;

pub use master::Master;
pub use start::Running;
