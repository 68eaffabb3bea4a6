//! The running master: gRPC, the leader's loop, start and shutdown.
//!
//! `node` is what all of them share; `submit`, `heartbeat` and `watch` are the three calls of
//! `stele.v1.Master`; `leader` is the loop that carries out what [`crate::liveness::decide`] decides;
//! `confirm` bundles rounds of leadership confirmation; `start` puts it together, `master` gives it threads of its own.

mod confirm;
mod heartbeat;
mod leader;
mod master;
mod node;
mod orders;
mod service;
mod start;
mod submit;
mod watch;

#[cfg(test)]
mod tests;

pub use master::Master;
