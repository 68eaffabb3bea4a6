use super::{Memory, Now};
use crate::entry::Change;
use crate::state::ClusterState;

/// Lives that report for the first time.
pub(super) fn started(state: &ClusterState, memory: &Memory) -> Vec<Change> {
    let newer =
        memory.reports().map(|seen| &seen.report).filter(|r| state.servers.get(&r.server).is_some_and(|s| s.incarnation < r.incarnation));
    newer.map(|r| Change::ServerStarted { server: r.server, incarnation: r.incarnation, address: r.address.clone(), log: r.log }).collect()
}

/// Lives whose lease and the margin are over.
pub(super) fn dead(state: &ClusterState, memory: &Memory, now: Now) -> Vec<Change> {
    let silent = state.servers.iter().filter(|(id, s)| s.live && memory.is_silent(**id, s.incarnation, now));
    silent.map(|(id, s)| Change::ServerDead { server: *id, incarnation: s.incarnation }).collect()
}
