use super::confirm::Confirm;
use super::copies::Progress;
use super::fencing::Fencing;
use super::forward::Others;
use super::procedures::Working;
use crate::copy::Copier;
use crate::entry::{Change, Entry, What};
use crate::liveness::{Memory, Now};
use crate::raft::{Applied, NodeId, Raft};
use common::config::MasterConfig;
use common::rpc::master::Reply;
use common::store::SharedStore;
use common::time::SharedClock;
use common::{Error, Result};
use openraft::error::{ClientWriteError, RaftError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Notify, watch};

/// What the parts of a running master share.
pub(super) struct Node {
    pub(super) id: NodeId,
    pub(super) raft: Raft,
    pub(super) applied: watch::Receiver<Arc<Applied>>,
    pub(super) clock: SharedClock,
    pub(super) confirm: Confirm,
    pub(super) copier: Copier,
    /// The object store.
    pub(super) store: SharedStore,
    pub(super) fencing: Fencing,
    /// Procedures and endings that a task is at.
    pub(super) working: Working,
    /// How far procedures on tables are.
    pub(super) progress: Progress,
    /// What it does with tablets by itself.
    pub(super) policy: MasterConfig,
    /// The cluster's id.
    pub(super) cluster: String,
    /// The other masters.
    pub(super) others: Others,
    /// Guards what the leader has heard; plain, because nothing is awaited under it.
    memory: Mutex<Memory>,
    /// Wakes the leader's loop.
    pub(super) wake: Notify,
    /// True once the master shuts down.
    pub(super) stop: watch::Receiver<bool>,
}

impl Node {
    #[allow(clippy::too_many_arguments, reason = "each is one part")]
    pub(super) fn new(
        id: NodeId,
        raft: Raft,
        applied: watch::Receiver<Arc<Applied>>,
        clock: SharedClock,
        copier: Copier,
        store: SharedStore,
        policy: MasterConfig,
        cluster: String,
        others: Others,
        stop: watch::Receiver<bool>,
    ) -> Self {
        let confirm = Confirm::start(raft.clone());
        Self {
            id,
            raft,
            applied,
            clock,
            confirm,
            copier,
            store,
            fencing: Fencing::default(),
            working: Working::default(),
            progress: Progress::default(),
            policy,
            cluster,
            others,
            memory: Mutex::default(),
            wake: Notify::new(),
            stop,
        }
    }

    pub(super) fn now(&self) -> Now {
        Now { monotonic: self.clock.monotonic(), wall: self.clock.now() }
    }

    pub(super) fn state(&self) -> Arc<Applied> {
        self.applied.borrow().clone()
    }

    pub(super) fn memory(&self) -> MutexGuard<'_, Memory> {
        // Memory stays sound whatever panicked: each of its methods changes one thing.
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The term this node leads in; `None` if another one leads.
    pub(super) fn leads_in(&self) -> Option<u64> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        (metrics.current_leader == Some(self.id)).then_some(metrics.current_term)
    }

    /// Where the leader is reached, if one is known.
    pub(super) fn leader_address(&self) -> Option<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = metrics.current_leader?;
        metrics.membership_config.membership().get_node(&leader).map(|node| node.addr.clone())
    }

    /// Where all nodes of the group are reached.
    pub(super) fn member_addresses(&self) -> Vec<String> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.membership_config.membership().nodes().map(|(_, node)| node.addr.clone()).collect()
    }

    /// # Errors
    /// `Unavailable`, naming the leader.
    pub(super) fn check_leads(&self) -> Result<()> {
        if self.leads_in().is_some() {
            return Ok(());
        }
        let leader = self.raft.metrics().borrow().current_leader;
        Err(not_leader(leader, None))
    }

    /// Commits and applies a change of the leader's own.
    pub(super) async fn change(&self, change: Change) -> Result<()> {
        self.propose(What::Change(change)).await.map(|_| ())
    }

    /// Commits and applies an entry; gives its index too.
    ///
    /// # Errors
    /// The state machine's; `Unavailable` if it was not committed or the outcome is unknown.
    pub(super) async fn propose(&self, what: What) -> Result<(u64, Reply)> {
        let entry = Entry { at: self.clock.now(), what };
        match self.raft.client_write(entry).await {
            Ok(response) => Ok((response.log_id.index, response.data.0?)),
            Err(RaftError::APIError(ClientWriteError::ForwardToLeader(to))) => Err(not_leader(to.leader_id, to.leader_node)),
            Err(e) => Err(Error::unavailable(format!("the master cannot commit: {e}"))),
        }
    }
}

/// Returns once the master shuts down.
pub(super) async fn stopped(stop: &mut watch::Receiver<bool>) {
    let _ = stop.wait_for(|stop| *stop).await;
}

fn not_leader(leader: Option<NodeId>, node: Option<openraft::BasicNode>) -> Error {
    let who = match (leader, node) {
        (Some(id), Some(node)) => format!("node {id} at {} leads", node.addr),
        (Some(id), None) => format!("node {id} leads"),
        (None, _) => "no leader is elected yet".into(),
    };
    Error::unavailable(format!("this master does not lead: {who}"))
}
