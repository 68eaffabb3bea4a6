use super::{Memory, Now};
use crate::entry::Change;
use crate::state::{ClusterState, overdue_retired};
use common::rpc::master::{CLAIM_TTL, INGEST_TTL};

/// Claims that nobody has kept.
pub(super) fn claims(state: &ClusterState, memory: &Memory, now: Now) -> Option<Change> {
    let expired: Vec<_> = state.claims.keys().copied().filter(|id| memory.claim_silence(*id, now) > CLAIM_TTL).collect();
    (!expired.is_empty()).then_some(Change::ExpireClaims(expired))
}

/// Retired definitions that nobody can ask for any more.
pub(super) fn retired(state: &ClusterState, now: Now) -> Option<Change> {
    (!overdue_retired(state, now.wall).is_empty()).then_some(Change::ForgetRetired)
}

/// The tables with an open ingest, if they are others than committed.
pub(super) fn ingests(state: &ClusterState, memory: &Memory, now: Now) -> Option<Change> {
    let mut open = memory.ingesting(INGEST_TTL, now);
    open.retain(|table| state.tables.contains_key(table));
    (open != state.ingesting).then_some(Change::Ingesting(open))
}
