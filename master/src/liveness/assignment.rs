use super::{Memory, Now};
use crate::entry::{Assignment, Change};
use crate::state::{ClusterState, Tablet};
use crate::timing::{MAX_CLOCK_SKEW, RETRY_FAILED};
use common::ids::{Incarnation, ServerId, TabletId};
use common::rpc::master::TabletState;
use std::collections::BTreeMap;

/// A server that may be given tablets, and what it has.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    incarnation: Incarnation,
    bytes: u64,
    tablets: usize,
}

/// Gives tablets that wait to the least-loaded server that can read their logs, by bytes, then count. A tablet whose log
/// lies on a volume waits for that server; one whose log lies in the object store until that log is ended.
pub(super) fn assign(state: &ClusterState, memory: &Memory, now: Now) -> Option<Change> {
    let mut candidates = candidates(state, memory);
    let mut assignments = Vec::new();
    for (id, tablet) in &state.tablets {
        let Some(server) = next_owner((*id, tablet), &candidates, state, memory, now) else { continue };
        let Some(candidate) = candidates.get_mut(&server) else { continue };
        candidate.tablets += 1;
        assignments.push(Assignment { tablet: *id, epoch: tablet.epoch.next(), server, incarnation: candidate.incarnation });
    }
    (!assignments.is_empty()).then_some(Change::Assign(assignments))
}

fn next_owner(
    (id, tablet): (TabletId, &Tablet),
    candidates: &BTreeMap<ServerId, Candidate>,
    state: &ClusterState,
    memory: &Memory,
    now: Now,
) -> Option<ServerId> {
    if let Some((server, life)) = tablet.owner {
        return wants_another_try(id, tablet, server, life, memory, now).then_some(server);
    }
    let able = candidates.iter().filter(|(server, c)| state.may_take(tablet, **server, c.incarnation));
    able.min_by_key(|(id, c)| (c.bytes, c.tablets, **id)).map(|(id, _)| *id)
}

/// Whether the owner has said that it could not open the tablet, or has closed it, at this epoch.
fn wants_another_try(id: TabletId, tablet: &Tablet, server: ServerId, life: Incarnation, memory: &Memory, now: Now) -> bool {
    let report = memory.report_of(server, life).and_then(|seen| seen.tablet(id)).filter(|t| t.epoch == tablet.epoch);
    let given_up = report.is_some_and(|t| matches!(t.state, TabletState::Failed { .. } | TabletState::Closed));
    given_up && now.wall > tablet.assigned_at.after(RETRY_FAILED)
}

/// Live servers that have reported and whose clock is right.
fn candidates(state: &ClusterState, memory: &Memory) -> BTreeMap<ServerId, Candidate> {
    let mut found = BTreeMap::new();
    for (id, server) in state.servers.iter().filter(|(_, s)| s.live) {
        let Some(seen) = memory.report_of(*id, server.incarnation).filter(|seen| seen.skew() <= MAX_CLOCK_SKEW) else { continue };
        let bytes = seen.report.tablets.iter().map(|t| t.bytes).sum();
        let tablets = state.tablets.values().filter(|t| t.owner == Some((*id, server.incarnation))).count();
        found.insert(*id, Candidate { incarnation: server.incarnation, bytes, tablets });
    }
    found
}
