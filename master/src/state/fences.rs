use super::{ClusterState, Fence, Life, Tablet};
use common::config::LogKind;
use common::ids::{Incarnation, ServerId};

impl ClusterState {
    /// Where the log of a life was ended.
    #[must_use]
    pub fn fence_of(&self, server: ServerId, incarnation: Incarnation) -> Option<u64> {
        self.fences.iter().find(|f| f.server == server && f.incarnation == incarnation).map(|f| f.position)
    }

    /// Whether a life could read all that a tablet has not flushed: logs in the object store are ended, logs on disk its own server's.
    #[must_use]
    pub fn may_take(&self, tablet: &Tablet, server: ServerId, incarnation: Incarnation) -> bool {
        tablet.logs.iter().all(|life| {
            let own = life.server == server && life.incarnation == incarnation;
            own || match life.log {
                LogKind::Disk => life.server == server,
                LogKind::Object => self.fence_of(life.server, life.incarnation).is_some(),
            }
        })
    }

    /// Dead lives whose logs in the object store have to be ended before these tablets, which wait for an owner, go on.
    #[must_use]
    pub fn unfenced<'a>(&self, waiting: impl Iterator<Item = &'a Tablet>) -> Vec<Life> {
        let mut lives: Vec<Life> = waiting
            .flat_map(|t| &t.logs)
            .filter(|life| life.log == LogKind::Object && !self.lives(life) && self.fence_of(life.server, life.incarnation).is_none())
            .copied()
            .collect();
        lives.sort_unstable();
        lives.dedup();
        lives
    }

    fn lives(&self, life: &Life) -> bool {
        self.servers.get(&life.server).is_some_and(|s| s.live && s.incarnation == life.incarnation)
    }
}

/// Notes the end of a log. A log has one end, whoever asks; that of a life that goes on has none.
pub(super) fn fenced(state: &mut ClusterState, fence: Fence) {
    let lives = state.servers.get(&fence.server).is_some_and(|s| s.live && s.incarnation == fence.incarnation);
    if !lives && state.fence_of(fence.server, fence.incarnation).is_none() {
        state.fences.push(fence);
        prune(state);
    }
}

/// Forgets ends that no tablet needs.
pub(super) fn prune(state: &mut ClusterState) {
    let ClusterState { fences, tablets, .. } = state;
    fences.retain(|f| tablets.values().flat_map(|t| &t.logs).any(|life| life.server == f.server && life.incarnation == f.incarnation));
}
