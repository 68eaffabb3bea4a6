//! What servers report about tablets that procedures wait for.

use super::{Memory, Now};
use crate::entry::Change;
use crate::state::{ClusterState, Ending, Step};
use crate::timing::PROCEDURE_PATIENCE;
use common::ids::{Epoch, Incarnation, ServerId, TabletId};
use common::rpc::master::TabletState;

/// Tablets that their owners have closed because a procedure, or their end, wants it.
pub(super) fn closed(state: &ClusterState, memory: &Memory) -> Option<Change> {
    let held = state.procedures.values().filter(|p| p.step == Step::Closing).flat_map(|p| p.tablets());
    let held = held.filter_map(|id| state.tablets.get(&id).map(|t| (id, t.epoch, t.owner)));
    let held = held.filter(|(id, epoch, owner)| owner.is_some_and(|owner| has_closed(memory, *id, *epoch, owner)));
    let ended = state.ended.iter().filter(|(id, e)| e.owner.is_some_and(|owner| has_let_go(memory, **id, e, owner)));
    let closed: Vec<_> = held.map(|(id, epoch, _)| (id, epoch)).chain(ended.map(|(id, e)| (*id, e.epoch))).collect();
    (!closed.is_empty()).then_some(Change::TabletsClosed(closed))
}

fn has_closed(memory: &Memory, id: TabletId, epoch: Epoch, (server, life): (ServerId, Incarnation)) -> bool {
    let report = memory.report_of(server, life).and_then(|seen| seen.tablet(id));
    report.is_some_and(|t| t.epoch == epoch && t.state == TabletState::Closed)
}

/// Whether a life does not have a tablet any more that has ended: it says so, or it does not speak of it and knows that it
/// is to have it no longer.
fn has_let_go(memory: &Memory, id: TabletId, ending: &Ending, (server, life): (ServerId, Incarnation)) -> bool {
    let Some(seen) = memory.report_of(server, life) else { return false };
    match seen.tablet(id) {
        Some(report) => report.state == TabletState::Closed,
        None => seen.report.order_version >= ending.since,
    }
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
