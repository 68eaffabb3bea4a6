//! Tablets that are no more, and whose objects are still to be deleted: dropped, split and merged ones.

use super::{ClusterState, Tablet};
use common::ids::{Epoch, Incarnation, ServerId, TabletId};
use serde::{Deserialize, Serialize};

/// What the end of a tablet waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ending {
    /// Above its last owner's: with it the leader takes its manifest.
    pub epoch: Epoch,
    /// A life that may still have it open.
    pub owner: Option<(ServerId, Incarnation)>,
    /// Orders of this version or a later one do not name it: a server that has seen them and does not report it has not got it.
    pub since: u64,
}

/// A tablet has been taken out of its table.
pub(super) fn add(state: &mut ClusterState, tablet: TabletId, was: &Tablet) {
    state.ended.insert(tablet, Ending { epoch: was.epoch.next(), owner: was.owner, since: state.version + 1 });
}

/// A tablet that was never in a table, but may have a manifest.
pub(super) fn add_unborn(state: &mut ClusterState, tablet: TabletId) {
    state.ended.insert(tablet, Ending { epoch: Epoch(1), owner: None, since: state.version + 1 });
}

/// Its server has closed a tablet that has ended.
pub(super) fn closed(state: &mut ClusterState, tablet: TabletId) {
    if let Some(ending) = state.ended.get_mut(&tablet) {
        ending.owner = None;
    }
}

/// All lives of a server below `before` are over.
pub(super) fn lives_over(state: &mut ClusterState, server: ServerId, before: Incarnation) {
    let is_over = |e: &Ending| e.owner.is_some_and(|(owner, life)| owner == server && life < before);
    let over: Vec<_> = state.ended.iter().filter(|(_, e)| is_over(e)).map(|(id, _)| *id).collect();
    over.into_iter().for_each(|tablet| closed(state, tablet));
}

/// Nobody has it open any more who is known, and what comes is above all that was seen.
pub(super) fn raise(state: &mut ClusterState, tablet: TabletId, raised: impl FnOnce(Epoch) -> Epoch) {
    if let Some(ending) = state.ended.get_mut(&tablet) {
        (ending.owner, ending.epoch) = (None, raised(ending.epoch));
    }
}

/// All objects of a tablet are deleted.
pub(super) fn done(state: &mut ClusterState, tablet: TabletId) {
    state.ended.remove(&tablet);
}

impl ClusterState {
    /// Tablets whose objects can be deleted now: nobody has them open, nobody holds their SSTables.
    #[must_use]
    pub fn deletable_tablets(&self) -> Vec<(TabletId, Epoch)> {
        let free = self.ended.iter().filter(|(id, e)| e.owner.is_none() && !self.pins.hold(**id));
        free.map(|(id, e)| (*id, e.epoch)).collect()
    }
}
