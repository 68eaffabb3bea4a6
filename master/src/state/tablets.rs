use super::{ClusterState, Life, Tablet};
use crate::entry::Assignment;
use common::ids::{Epoch, ServerId, TableId, TabletId};
use common::key::KeyRange;
use common::time::Micros;

/// Makes a table's tablets, which wait for an owner.
pub(super) fn create(state: &mut ClusterState, table: TableId, ranges: Vec<KeyRange>) {
    for range in ranges {
        let id = state.ids.tablet();
        state.tablets.insert(id, Tablet::new(table, range));
    }
}

/// Gives a tablet to a live server with the next epoch. An assignment that was overtaken (another
/// epoch, a life that is over, a log out of reach) does nothing.
pub(super) fn assign(state: &mut ClusterState, a: &Assignment, at: Micros) {
    let Some(server) = state.servers.get(&a.server).filter(|s| s.live && s.incarnation == a.incarnation) else { return };
    let life = Life { server: a.server, incarnation: a.incarnation, log: server.log };
    let fits = |t: &Tablet| a.epoch == t.epoch.next() && t.procedure.is_none() && state.may_take(t, a.server, a.incarnation);
    if !state.tablets.get(&a.tablet).is_some_and(fits) {
        return;
    }
    if let Some(tablet) = state.tablets.get_mut(&a.tablet) {
        tablet.epoch = a.epoch;
        tablet.owner = Some((a.server, a.incarnation));
        tablet.open = false;
        tablet.logs.retain(|l| *l != life);
        tablet.logs.push(life);
        tablet.assigned_at = at;
    }
}

/// Gives a tablet that nobody has to the present life of a server, if that may take it; else it waits.
pub(super) fn give(state: &mut ClusterState, tablet: TabletId, to: ServerId, at: Micros) {
    let Some(epoch) = state.tablets.get(&tablet).map(|t| t.epoch.next()) else { return };
    let Some(incarnation) = state.servers.get(&to).map(|s| s.incarnation) else { return };
    assign(state, &Assignment { tablet, epoch, server: to, incarnation }, at);
}

/// Notes that the owner has opened a tablet at this epoch: its manifest names the owner's log from now on.
pub(super) fn opened(state: &mut ClusterState, id: TabletId, epoch: Epoch) {
    if let Some(tablet) = state.tablets.get_mut(&id).filter(|t| t.epoch == epoch && t.owner.is_some()) {
        tablet.open = true;
        let owner = tablet.owner;
        tablet.logs.retain(|l| Some((l.server, l.incarnation)) == owner);
    }
}
