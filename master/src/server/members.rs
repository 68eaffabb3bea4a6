//! The group's membership: who gets a number, who votes.

use super::node::Node;
use crate::raft::NodeId;
use common::rpc::master::{Command, MasterNode, Reply};
use common::{Error, Result};
use openraft::error::{ClientWriteError, RaftError};
use openraft::{BasicNode, ChangeMembers};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How long a new node may take for the log or a snapshot.
const CATCH_UP: Duration = Duration::from_secs(20);

type Failure = RaftError<NodeId, ClientWriteError<NodeId, BasicNode>>;

/// A number that no node ever had: the index of the entry that asks for it.
///
/// # Errors
/// `FailedPrecondition` for a node of another cluster; `Unavailable`.
pub(super) async fn number(node: &Node, cluster: String) -> Result<Reply> {
    if cluster != node.cluster {
        return Err(Error::refused(format!("this master is of cluster {}, not {cluster}: correct `masters` or `store`", node.cluster)));
    }
    let (index, _) = node.propose(crate::entry::What::Command(common::envelope::AsJson(Command::NewMaster { cluster }))).await?;
    Ok(Reply::NewMaster { node: index })
}

/// Lets a node catch up, then vote; a member that has moved gets its new address. Another member that had this address is no
/// more: its folder was lost, and its vote would only be missed.
///
/// # Errors
/// `Unavailable` if it cannot be reached, or while another change of the group is under way.
pub(super) async fn join(node: &Node, id: NodeId, address: String) -> Result<Reply> {
    let (known, votes) = standing(node, id);
    if known.as_ref() != Some(&address) {
        let at = BasicNode::new(&address);
        let change = match known {
            // Its number is its own for ever, so another address is the same node elsewhere.
            Some(_) => ChangeMembers::SetNodes(BTreeMap::from([(id, at)])),
            None => ChangeMembers::AddNodes(BTreeMap::from([(id, at)])),
        };
        node.raft.change_membership(change, true).await.map_err(|e| failed(id, &e))?;
    }
    if !votes {
        caught_up(node, id).await?;
        node.raft.change_membership(ChangeMembers::AddVoterIds(BTreeSet::from([id])), true).await.map_err(|e| failed(id, &e))?;
        tracing::info!(node = id, address, "a master has joined");
    }
    for replaced in others_at(node, id, &address) {
        tracing::info!(node = id, replaced, address, "a master has taken the place of one that lost its folder");
        remove(node, replaced).await?;
    }
    Ok(Reply::Done { catalog: node.state().state.version })
}

/// Takes a node out.
///
/// # Errors
/// `NotFound`; `FailedPrecondition` for the last voter; `Unavailable`.
pub(super) async fn remove(node: &Node, id: NodeId) -> Result<Reply> {
    let (known, votes) = standing(node, id);
    if known.is_none() {
        return Err(Error::not_found(format!("the group has no master node {id}")));
    }
    if votes {
        let voters = node.raft.metrics().borrow().membership_config.membership().voter_ids().count();
        if voters == 1 {
            return Err(Error::refused(format!("master node {id} is the only one that votes: let another one join first")));
        }
        node.raft.change_membership(ChangeMembers::RemoveVoters(BTreeSet::from([id])), false).await.map_err(|e| failed(id, &e))?;
    } else {
        node.raft.change_membership(ChangeMembers::RemoveNodes(BTreeSet::from([id])), false).await.map_err(|e| failed(id, &e))?;
    }
    tracing::info!(node = id, "a master was removed");
    Ok(Reply::Done { catalog: node.state().state.version })
}

/// The nodes as this one, which should lead, knows them.
pub(super) fn list(node: &Node) -> Reply {
    let metrics = node.raft.metrics();
    let metrics = metrics.borrow();
    let members = metrics.membership_config.membership();
    let voters: BTreeSet<NodeId> = members.voter_ids().collect();
    let matched = |id: &NodeId| {
        let log = metrics.replication.as_ref().and_then(|r| r.get(id).copied().flatten());
        log.map_or(0, |log| log.index)
    };
    let nodes = members.nodes().map(|(id, at)| MasterNode {
        node: *id,
        address: at.addr.clone(),
        votes: voters.contains(id),
        leads: metrics.current_leader == Some(*id),
        matched: matched(id),
    });
    Reply::Masters { nodes: nodes.collect() }
}

/// A node's address, if the group has it, and whether it votes.
pub(super) fn standing(node: &Node, id: NodeId) -> (Option<String>, bool) {
    let metrics = node.raft.metrics();
    let metrics = metrics.borrow();
    let members = metrics.membership_config.membership();
    (members.get_node(&id).map(|at| at.addr.clone()), members.voter_ids().any(|voter| voter == id))
}

/// Other members at this address.
pub(super) fn others_at(node: &Node, id: NodeId, address: &str) -> BTreeSet<NodeId> {
    let metrics = node.raft.metrics();
    let metrics = metrics.borrow();
    let members = metrics.membership_config.membership();
    members.nodes().filter(|(other, at)| **other != id && **other != node.id && at.addr == address).map(|(other, _)| *other).collect()
}

/// Waits until a learner has what was committed when this began: as a voter it must not hold up the others.
async fn caught_up(node: &Node, id: NodeId) -> Result<()> {
    let committed = node.raft.metrics().borrow().last_applied.map_or(0, |log| log.index);
    let has = move |m: &openraft::RaftMetrics<NodeId, BasicNode>| {
        let matched = m.replication.as_ref().and_then(|r| r.get(&id).copied().flatten());
        matched.is_some_and(|log| log.index >= committed)
    };
    let mut metrics = node.raft.metrics();
    let waited = tokio::time::timeout(CATCH_UP, metrics.wait_for(has)).await;
    match waited {
        Ok(Ok(_)) => Ok(()),
        _ => Err(Error::unavailable(format!("master node {id} has not caught up within {} s: is its address right?", CATCH_UP.as_secs()))),
    }
}

fn failed(id: NodeId, e: &Failure) -> Error {
    Error::unavailable(format!("the group of masters cannot change for node {id} now: {e}"))
}
