//! What the leader decides by itself: who lives, who gets which tablet, what has expired.
//!
//! [`decide`] is a pure function of the committed state, the leader's [`Memory`] (reports and
//! keep-alives, never in Raft) and the time. It returns changes for Raft; a change that is proposed
//! twice or late does nothing. What it looks at every time is in an [`Index`] and in sums over the reports, so that a look at
//! a cluster where nothing happens does not walk its tablets.

mod assignment;
mod balance;
mod expiry;
mod index;
mod memory;
mod progress;
mod servers;
mod sizes;
mod snapshots;
mod steps;

#[cfg(test)]
mod tests;

pub use index::Index;
pub use memory::{Memory, Seen};

use crate::entry::Change;
use crate::state::ClusterState;
use common::config::MasterConfig;
use common::envelope::AsJson;
use common::ids::TabletId;
use common::rpc::master::Procedure;
use common::time::Micros;
use std::collections::BTreeSet;
use std::time::Duration;

/// A procedure, and what for.
type Wanted = (Procedure, &'static str);

/// One reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Monotonic: for leases and keep-alives.
    pub monotonic: Duration,
    /// Wall time: for what the state has stamped.
    pub wall: Micros,
}

/// Procedures that nobody asked for: they empty servers, even out, cut what is large or hot, join what is small and cold.
fn begin(state: &ClusterState, memory: &Memory, policy: &MasterConfig, now: Now) -> Vec<Change> {
    let mut budget = policy.procedures_at_once.saturating_sub(state.procedures.len());
    let mut wanted = balance::emptied(state, memory);
    if policy.automatic && memory.sizing_due && memory.has_settled(now) {
        wanted.extend(sizes::splits(state, memory, policy, now));
        wanted.extend(sizes::merges(state, memory, policy, now));
        wanted.extend(balance::evened(state, memory, policy, now));
    }
    let mut taken = BTreeSet::new();
    wanted.retain(|(procedure, _)| {
        let free = budget > 0 && tablets_of(procedure).iter().all(|tablet| taken.insert(*tablet));
        budget -= usize::from(free);
        free
    });
    wanted.into_iter().map(|(procedure, why)| Change::Begin { procedure: AsJson(procedure), why: why.to_owned() }).collect()
}

fn tablets_of(procedure: &Procedure) -> Vec<TabletId> {
    match procedure {
        Procedure::Move { tablet, .. } | Procedure::Split { tablet, .. } => vec![*tablet],
        Procedure::Merge { tablets } => tablets.to_vec(),
    }
}

/// What is to be changed now, in this order.
#[must_use]
pub fn decide(state: &ClusterState, memory: &Memory, policy: &MasterConfig, now: Now) -> Vec<Change> {
    let mut changes = Vec::new();
    let missing = |spec: common::schema::TableSpec| state.table_named(&spec.name).is_none();
    if common::catalog::system_tables().into_iter().any(missing) {
        changes.push(Change::CreateSystemTables);
    }
    changes.extend(servers::started(state, memory));
    changes.extend(servers::dead(state, memory, now));
    changes.extend(assignment::assign(state, memory, now));
    changes.extend(progress::opened(memory));
    changes.extend(steps::closed(state, memory));
    changes.extend(steps::chosen(state, memory));
    changes.extend(steps::overdue(state, now));
    changes.extend(begin(state, memory, policy, now));
    changes.extend(snapshots::due(state, memory, now));
    changes.extend(snapshots::outlived(state, now));
    changes.extend(snapshots::overdue(state, now));
    changes.extend(progress::verified(state, memory));
    changes.extend(progress::settled(state, memory, now));
    changes.extend(expiry::retired(state, now));
    changes.extend(expiry::claims(state, memory, now));
    changes.extend(expiry::ingests(state, memory, now));
    changes
}
