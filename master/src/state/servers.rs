use super::{ClusterState, Server, endings, procedures};
use common::config::LogKind;
use common::ids::{Incarnation, ServerId};
use common::time::Micros;
use common::{Error, Result};

/// A new server's id.
pub(super) fn register(state: &mut ClusterState) -> ServerId {
    let id = state.ids.server();
    state.servers.insert(id, unknown());
    id
}

/// A server that has never reported.
pub(super) fn unknown() -> Server {
    Server { incarnation: Incarnation(0), live: false, address: String::new(), log: LogKind::default(), draining: false }
}

/// A new life of a server ends all its earlier ones: their tablets wait for an owner.
///
/// # Errors
/// `NotFound` for a server that was never registered, `Fenced` for a life that is not newer.
pub(super) fn started(
    state: &mut ClusterState,
    (id, incarnation): (ServerId, Incarnation),
    address: &str,
    log: LogKind,
    at: Micros,
) -> Result<()> {
    let server = state.servers.get_mut(&id).ok_or_else(|| Error::not_found(format!("tablet server {id} is not registered")))?;
    if incarnation <= server.incarnation {
        return Err(Error::fenced(format!("tablet server {id}: incarnation {incarnation} is not newer than {}", server.incarnation)));
    }
    *server = Server { incarnation, live: true, address: address.to_owned(), log, draining: server.draining };
    release(state, id, incarnation, at);
    Ok(())
}

/// Ends a life; nothing if it is over already.
pub(super) fn dead(state: &mut ClusterState, id: ServerId, incarnation: Incarnation, at: Micros) {
    let Some(server) = state.servers.get_mut(&id).filter(|s| s.incarnation == incarnation) else { return };
    server.live = false;
    release(state, id, incarnation.next(), at);
}

/// Moves a server's tablets off it, or ends that.
///
/// # Errors
/// `NotFound` for a server that was never registered.
pub(super) fn drain(state: &mut ClusterState, id: ServerId, drain: bool) -> Result<()> {
    let server = state.servers.get_mut(&id).ok_or_else(|| Error::not_found(format!("server {id} does not exist")))?;
    server.draining = drain;
    Ok(())
}

/// Takes the tablets of all lives below `before` from their owner.
fn release(state: &mut ClusterState, id: ServerId, before: Incarnation, at: Micros) {
    let over = |owner: Option<(ServerId, Incarnation)>| owner.is_some_and(|(server, life)| server == id && life < before);
    let lost: Vec<_> = state.tablets.iter().filter(|(_, t)| over(t.owner)).map(|(id, _)| *id).collect();
    for tablet in lost {
        state.change_tablet(tablet, |t| (t.owner, t.open) = (None, false));
        procedures::owner_lost(state, tablet, at);
    }
    endings::lives_over(state, id, before);
}
