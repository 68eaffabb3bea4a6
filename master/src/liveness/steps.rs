//! What servers report about tablets that procedures wait for.

use super::{Memory, Now};
use crate::entry::Change;
use crate::state::{ClusterState, Step};
use crate::timing::PROCEDURE_PATIENCE;
use common::ids::{Epoch, Incarnation, ServerId, TabletId};
use common::rpc::master::TabletState;

/// Tablets that their owners have closed because a procedure, or their end, wants it.
pub(super) fn closed(state: &ClusterState, memory: &Memory) -> Option<Change> {
    let held = state.procedures.values().filter(|p| p.step == Step::Closing).flat_map(|p| p.tablets());
    let held = held.filter_map(|id| state.tablets.get(&id).map(|t| (id, t.epoch, t.owner)));
    // The ending's epoch is the one above the last owner's.
    let ended = state.ended.iter().map(|(id, e)| (*id, Epoch(e.epoch.0 - 1), e.owner));
    let closed = held.chain(ended).filter(|(id, epoch, owner)| owner.is_some_and(|owner| has_closed(memory, *id, *epoch, owner)));
    let closed: Vec<_> = closed.map(|(id, epoch, _)| (id, epoch)).collect();
    (!closed.is_empty()).then_some(Change::TabletsClosed(closed))
}

fn has_closed(memory: &Memory, id: TabletId, epoch: Epoch, (server, life): (ServerId, Incarnation)) -> bool {
    let report = memory.report_of(server, life).and_then(|seen| seen.tablet(id));
    report.is_some_and(|t| t.epoch == epoch && t.state == TabletState::Closed)
}

/// Keys that owners have chosen.
pub(super) fn chosen(state: &ClusterState, memory: &Memory) -> Vec<Change> {
    let choosing = state.procedures.iter().filter(|(_, p)| p.step == Step::Choosing);
    let answered = choosing.filter_map(|(id, p)| {
        let tablet = p.tablets()[0];
        let (server, life) = state.tablets.get(&tablet)?.owner?;
        let point = memory.report_of(server, life)?.tablet(tablet)?.split.clone()?;
        Some(Change::SplitChosen { procedure: *id, at: point.at })
    });
    answered.collect()
}

/// Procedures whose tablets are not closed in time: a server that cannot flush keeps serving them.
pub(super) fn overdue(state: &ClusterState, now: Now) -> Vec<Change> {
    let waiting = state.procedures.iter().filter(|(_, p)| p.step != Step::Deriving);
    let overdue = waiting.filter(|(_, p)| now.wall > p.begun_at.after(PROCEDURE_PATIENCE));
    overdue
        .map(|(id, p)| Change::GiveUp {
            procedure: *id,
            error: format!("still {:?} after {} s: the tablets stay as they are", p.step, PROCEDURE_PATIENCE.as_secs()).to_lowercase(),
        })
        .collect()
}
