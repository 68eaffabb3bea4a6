use crate::raft::Applied;
use crate::state;
use crate::timing::LEASE;
use common::config::LogKind;
use common::ids::{Incarnation, ServerId};
use common::rpc::master::{Desired, Orders};

/// What one heartbeat stream has been told.
#[derive(Debug)]
pub(super) struct Told {
    server: ServerId,
    incarnation: Incarnation,
    /// The newest report answered after leadership was confirmed.
    pub(super) answers: u64,
    /// The list sent last, with its version.
    list: Option<(u64, Vec<Desired>)>,
}

impl Told {
    pub(super) fn new(server: ServerId, incarnation: Incarnation) -> Self {
        Self { server, incarnation, answers: 0, list: None }
    }

    pub(super) fn is(&self, server: ServerId, incarnation: Incarnation) -> bool {
        (self.server, self.incarnation) == (server, incarnation)
    }

    /// Orders after `applied`; with the list if it is new, or if the server has `seen` another version than the last.
    pub(super) fn orders(&mut self, applied: &Applied, term: u64, seen: Option<u64>) -> Orders {
        let fenced = self.is_over(applied);
        let list = if fenced { Vec::new() } else { state::desired(&applied.state, self.server, self.incarnation) };
        let changed = self.list.as_ref().is_none_or(|(_, told)| *told != list);
        if changed {
            self.list = Some((applied.state.version, list));
        }
        let (version, list) = self.list.as_ref().map_or((0, &[][..]), |(v, list)| (*v, list.as_slice()));
        let missed = seen.is_some_and(|seen| seen != version);
        Orders {
            answers: self.answers,
            lease_ms: if fenced { 0 } else { LEASE.as_millis() as u64 },
            term,
            applied: applied.index(),
            version,
            desired: (changed || missed).then(|| list.to_vec()),
            fenced,
            others: self.others(applied),
        }
    }

    /// Whether a change of state gives the server anything new.
    pub(super) fn is_news(&self, applied: &Applied) -> bool {
        self.is_over(applied)
            || self.list.as_ref().is_none_or(|(_, told)| *told != state::desired(&applied.state, self.server, self.incarnation))
    }

    /// Whether its tablets could go on elsewhere.
    fn others(&self, applied: &Applied) -> bool {
        let servers = &applied.state.servers;
        let leaves_no_log = servers.get(&self.server).is_some_and(|s| s.log == LogKind::Object);
        leaves_no_log && servers.iter().any(|(id, s)| *id != self.server && s.live && !s.draining)
    }

    /// Whether this life was replaced or declared dead.
    fn is_over(&self, applied: &Applied) -> bool {
        let server = applied.state.servers.get(&self.server);
        server.is_some_and(|s| s.incarnation > self.incarnation || s.incarnation == self.incarnation && !s.live)
    }
}
