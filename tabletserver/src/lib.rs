//! Hosts storage tablets behind `stele.v1.Tablets`.
//!
//! A server keeps its id and counts its lives on its volume (`identity`), holds a heartbeat stream to the
//! leading master (`heartbeat`), serves while it has a `lease`, and keeps the tablets it holds at those
//! it should hold (`plan`, `converge`, `registry`), counts what clients
//! do to them (`load`) and asks the master before it deletes what others may hold (`pins`). Requests come in by `service`; scans run
//! on threads of their own (`pool`) and go out as Arrow streams (`ipc`). `server` ties the parts together.
//!
//! Modules import one way: `lease`, `identity`, `ipc`, `pool`, `load`, `plan` → `registry` → `host` → `converge`,
//! `heartbeat` → `pins`, `service` → `server`.

mod converge;
mod heartbeat;
mod host;
mod identity;
mod ipc;
mod lease;
mod load;
mod pins;
mod plan;
mod pool;
mod registry;
mod server;
mod service;
#[cfg(test)]
mod tests;

pub use identity::Identity;
pub use server::TabletServer;
