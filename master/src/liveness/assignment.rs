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

impl Candidate {
    /// What it bears, by which the next owner is chosen: bytes, and each tablet as if it had some more. So tablets that are
    /// small are spread by number and large ones by size.
    pub(super) fn burden(&self) -> u64 {
        self.bytes.saturating_add(self.tablets as u64 * TABLET_BYTES)
    }

    /// It is given a tablet.
    pub(super) fn take(&mut self, bytes: u64) {
        self.tablets += 1;
        self.bytes += bytes;
    }
}

/// What a tablet costs a server beside its bytes: memtable, manifest, the opening.
const TABLET_BYTES: u64 = 4 << 20;

/// Gives tablets that wait to the least-loaded server that can read their logs. A tablet whose log
/// lies on a volume waits for that server; one whose log lies in the object store until that log is ended.
pub(super) fn assign(state: &ClusterState, memory: &Memory, now: Now) -> Option<Change> {
    let mut waiting: Vec<_> = memory.index.waiting().filter(|(_, t)| t.procedure.is_none()).collect();
    let again = memory.reports().flat_map(|seen| &seen.sums().not_open).filter_map(|id| Some((*id, state.tablets.get(id)?)));
    let again = again.filter(|(id, t)| wants_another_try(*id, t, memory, now));
    waiting.extend(again);
    if waiting.is_empty() {
        return None;
    }
    waiting.sort_unstable_by_key(|(id, _)| *id);
    waiting.dedup_by_key(|(id, _)| *id);
    let mut candidates = candidates(state, memory);
    let mut assignments = Vec::new();
    for (id, tablet) in waiting {
        let Some(server) = next_owner(tablet, &candidates, state) else { continue };
        let Some(candidate) = candidates.get_mut(&server) else { continue };
        candidate.take(memory.bytes_of(id));
        assignments.push(Assignment { tablet: id, epoch: tablet.epoch.next(), server, incarnation: candidate.incarnation });
    }
    (!assignments.is_empty()).then_some(Change::Assign(assignments))
}

fn next_owner(tablet: &Tablet, candidates: &BTreeMap<ServerId, Candidate>, state: &ClusterState) -> Option<ServerId> {
    if let Some((server, _)) = tablet.owner {
        return Some(server);
    }
    let able = candidates.iter().filter(|(server, c)| state.may_take(tablet, **server, c.incarnation));
    able.min_by_key(|(id, c)| (c.burden(), **id)).map(|(id, _)| *id)
}

/// Whether the owner has said that it could not open the tablet, or has closed it, at this epoch.
fn wants_another_try(id: TabletId, tablet: &Tablet, memory: &Memory, now: Now) -> bool {
    let report = memory.report_on(id, tablet).filter(|_| tablet.procedure.is_none());
    let given_up = report.is_some_and(|t| matches!(t.state, TabletState::Failed { .. } | TabletState::Closed));
    given_up && now.wall > tablet.assigned_at.after(RETRY_FAILED)
}

/// Live servers that have reported, whose clock is right and that nobody wants empty.
pub(super) fn candidates(state: &ClusterState, memory: &Memory) -> BTreeMap<ServerId, Candidate> {
    let mut found = BTreeMap::new();
    for (id, server) in state.servers.iter().filter(|(_, s)| s.live && !s.draining) {
        let fits = |seen: &&Seen| seen.skew() <= MAX_CLOCK_SKEW && !seen.report.leaving;
        let Some(seen) = memory.report_of(*id, server.incarnation).filter(fits) else { continue };
        let (bytes, rows) = (seen.sums().bytes, seen.sums().rows);
        let tablets = memory.index.owned(*id, server.incarnation);
        found.insert(*id, Candidate { incarnation: server.incarnation, bytes, rows, tablets });
    }
    found
}
