use super::{ClusterState, Tablet};
use crate::entry::Assignment;
use common::ids::{Epoch, TableId, TabletId};
use common::key::KeyRange;
use common::time::Micros;

/// Makes a table's tablets, which wait for an owner.
pub(super) fn create(state: &mut ClusterState, table: TableId, ranges: Vec<KeyRange>) {
    for range in ranges {
        let id = state.ids.tablet();
        let tablet = Tablet { table, range, epoch: Epoch(0), owner: None, open: false, home: None, assigned_at: Micros::default() };
        state.tablets.insert(id, tablet);
    }
}

/// Gives a tablet to a live server with the next epoch. An assignment that was overtaken (another
/// epoch, a life that is over, another server's log) does nothing.
pub(super) fn assign(state: &mut ClusterState, a: &Assignment, at: Micros) {
    let live = state.servers.get(&a.server).is_some_and(|s| s.live && s.incarnation == a.incarnation);
    let Some(tablet) = state.tablets.get_mut(&a.tablet) else { return };
    if live && a.epoch == tablet.epoch.next() && tablet.home.is_none_or(|home| home == a.server) {
        tablet.epoch = a.epoch;
        tablet.owner = Some((a.server, a.incarnation));
        tablet.open = false;
        tablet.home = Some(a.server);
        tablet.assigned_at = at;
    }
}

/// Notes that the owner has opened a tablet at this epoch.
pub(super) fn opened(state: &mut ClusterState, id: TabletId, epoch: Epoch) {
    if let Some(tablet) = state.tablets.get_mut(&id).filter(|t| t.epoch == epoch && t.owner.is_some()) {
        tablet.open = true;
    }
}
