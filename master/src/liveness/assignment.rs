use super::{Memory, Now, Seen};
use crate::entry::{Assignment, Change};
use crate::state::{ClusterState, Tablet};
use crate::timing::{MAX_CLOCK_SKEW, RETRY_FAILED};
use common::ids::{Incarnation, ServerId, TabletId};
use common::rpc::master::TabletState;
use std::collections::BTreeMap;

/// A server that may be given tablets, and what it has.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate {
    pub(super) incarnation: Incarnation,
    pub(super) bytes: u64,
    pub(super) rows: u64,
    pub(super) tablets: usize,
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
    if tablet.procedure.is_some() {
        return None;
    }
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

/// Live servers that have reported, whose clock is right and that nobody wants empty.
pub(super) fn candidates(state: &ClusterState, memory: &Memory) -> BTreeMap<ServerId, Candidate> {
    let mut found = BTreeMap::new();
    for (id, server) in state.servers.iter().filter(|(_, s)| s.live && !s.draining) {
        let fits = |seen: &&Seen| seen.skew() <= MAX_CLOCK_SKEW && !seen.report.leaving;
        let Some(seen) = memory.report_of(*id, server.incarnation).filter(fits) else { continue };
        let bytes = seen.report.tablets.iter().map(|t| t.bytes).sum();
        let rows = seen.report.tablets.iter().map(|t| t.load.rows()).sum();
        found.insert(*id, Candidate { incarnation: server.incarnation, bytes, rows, tablets: 0 });
    }
    for (server, life) in state.tablets.values().filter_map(|t| t.owner) {
        if let Some(candidate) = found.get_mut(&server).filter(|c| c.incarnation == life) {
            candidate.tablets += 1;
        }
    }
    found
}
