//! What the leader decides by itself: who lives, who gets which tablet, what has expired.
//!
//! [`decide`] is a pure function of the committed state, the leader's [`Memory`] (reports and
//! keep-alives, never in Raft) and the time. It returns changes for Raft; a change that is proposed
//! twice or late does nothing.

mod assignment;
mod expiry;
mod memory;
mod progress;
mod servers;

#[cfg(test)]
mod tests;

pub use memory::{Memory, Seen};

use crate::entry::Change;
use crate::state::ClusterState;
use common::time::Micros;
use std::time::Duration;

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for leases and keep-alives.
    pub monotonic: Duration,
    /// Wall time: for what the state has stamped.
    pub wall: Micros,
}

/// What is to be changed now, in this order.
#[must_use]
pub fn decide(state: &ClusterState, memory: &Memory, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    let missing = |spec: common::schema::TableSpec| state.table_named(&spec.name).is_none();
    if common::catalog::system_tables().into_iter().any(missing) {
        changes.push(Change::CreateSystemTables);
    }
    changes.extend(servers::started(state, memory));
    changes.extend(servers::dead(state, memory, now));
    changes.extend(assignment::assign(state, memory, now));
    changes.extend(progress::opened(state, memory));
    changes.extend(progress::settled(state, memory, now));
    changes.extend(expiry::claims(state, memory, now));
    changes.extend(expiry::ingests(state, memory, now));
    changes
}
