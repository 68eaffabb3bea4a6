//! Snapshots that begin and end by themselves.

use super::{Memory, Now};
use crate::entry::Change;
use crate::state::{ClusterState, TableStep};
use crate::timing::SNAPSHOT_PATIENCE;

/// Those that schedules ask for, named by their time. A new leader waits until it has heard of everybody: who owns a table's tablets must flush them.
pub(super) fn due(state: &ClusterState, memory: &Memory, now: Now) -> Vec<Change> {
    if state.schedules.is_empty() || !memory.has_settled(now) {
        return Vec::new();
    }
    let due = state.due_snapshots(now.wall).into_iter();
    due.map(|table| Change::TakeSnapshot { table, name: now.wall.to_rfc3339() }).collect()
}

/// Those that have expired, or that their schedule keeps no longer.
pub(super) fn outlived(state: &ClusterState, now: Now) -> Option<Change> {
    let outlived = state.outlived_snapshots(now.wall);
    (!outlived.is_empty()).then_some(Change::OutlivedSnapshots(outlived))
}

/// Procedures whose tablets are not flushed in time.
pub(super) fn overdue(state: &ClusterState, now: Now) -> Vec<Change> {
    let waiting = state.copies.iter().filter(|(_, p)| p.is_under_way() && p.step == TableStep::Flushing);
    let overdue = waiting.filter(|(_, p)| now.wall > p.begun_at.after(SNAPSHOT_PATIENCE));
    overdue
        .map(|(id, _)| Change::TableFailed {
            procedure: *id,
            error: format!("not all tablets were flushed within {} s", SNAPSHOT_PATIENCE.as_secs()),
        })
        .collect()
}
