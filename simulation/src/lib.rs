//! A cluster in one process, on one thread and in virtual time: masters, tablet servers and gateways with their clients, on a
//! simulated network and object store, under faults that are drawn from a seed. The same seed gives the same run.
//!
//! It is the product's code: the roles get another clock, network, object store, Raft disk and no threads of their own
//! (`common::surroundings`). What a run consists of is drawn first (`plan`), its hosts are `cluster`, what clients do is
//! `clients`, what an operator does `operator`; `witness` notes what is seen from outside, `checks` says what must hold of it,
//! and `trace` makes one number of all that happened. `clock`, `net`, `store` and `volume` are the surroundings; `run`
//! puts it together.
//!
//! Only `main` may run it: there the C library's randomness is the seed's, too.

pub mod checks;
mod clients;
mod clock;
mod cluster;
#[path = "../../tests/support/history.rs"]
pub mod linear;
mod net;
mod operator;
pub mod plan;
mod run;
mod store;
pub mod trace;
pub mod volume;
pub mod witness;

pub use run::{Outcome, run};
