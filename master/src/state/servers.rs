use super::{ClusterState, Server};
use common::config::LogKind;
use common::ids::{Incarnation, ServerId};
use common::{Error, Result};

/// A new server's id.
pub(super) fn register(state: &mut ClusterState) -> ServerId {
    let id = state.ids.server();
    state.servers.insert(id, Server { incarnation: Incarnation(0), live: false, address: String::new(), log: LogKind::default() });
    id
}

/// A new life of a server ends all its earlier ones: their tablets wait for an owner.
///
/// # Errors
/// `NotFound` for a server that was never registered, `Fenced` for a life that is not newer.
pub(super) fn started(state: &mut ClusterState, id: ServerId, incarnation: Incarnation, address: &str, log: LogKind) -> Result<()> {
    let server = state.servers.get_mut(&id).ok_or_else(|| Error::not_found(format!("tablet server {id} is not registered")))?;
    if incarnation <= server.incarnation {
        return Err(Error::fenced(format!("tablet server {id}: incarnation {incarnation} is not newer than {}", server.incarnation)));
    }
    *server = Server { incarnation, live: true, address: address.to_owned(), log };
    release(state, id, incarnation);
    Ok(())
}

/// Ends a life; nothing if it is over already.
pub(super) fn dead(state: &mut ClusterState, id: ServerId, incarnation: Incarnation) {
    let Some(server) = state.servers.get_mut(&id).filter(|s| s.incarnation == incarnation) else { return };
    server.live = false;
    release(state, id, incarnation.next());
}

/// Takes the tablets of all lives below `before` from their owner.
fn release(state: &mut ClusterState, id: ServerId, before: Incarnation) {
    for tablet in state.tablets.values_mut() {
        if tablet.owner.is_some_and(|(server, life)| server == id && life < before) {
            tablet.owner = None;
            tablet.open = false;
        }
    }
}
