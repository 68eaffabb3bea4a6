//! Becoming part of the group: a number for an empty data folder, then a vote.

use super::forward::Others;
use super::node::{Node, stopped};
use crate::identity::{self, Identity};
use crate::raft::{Disk, NodeId};
use common::rpc::Json;
use common::rpc::master::{Command, Reply};
use common::{Error, ErrorKind, Result};
use std::sync::Arc;
use std::time::Duration;

/// How long an empty folder asks for a number.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longest wait for one master.
const ATTEMPT: Duration = Duration::from_secs(30);
const BACKOFF: Duration = Duration::from_millis(200);

/// The number of a node whose data folder is empty; the folder is that node's from now on.
///
/// # Errors
/// `FailedPrecondition` if the masters are of another cluster; `Unavailable` if none gives a number for a minute.
pub(super) async fn number(disk: &Disk, cluster: &Identity, masters: &[String], others: &Others) -> Result<NodeId> {
    let ask = Command::NewMaster { cluster: cluster.cluster.clone() };
    let mut last = Error::invalid("no other master is named");
    let asking = async {
        loop {
            for address in masters {
                match submit(others, address, &ask).await {
                    Ok(Reply::NewMaster { node }) => return Ok(node),
                    Ok(other) => return Err(Error::internal(format!("a request for a node number was answered with {other:?}"))),
                    Err(e) if e.kind == ErrorKind::FailedPrecondition => return Err(e),
                    Err(e) => last = e.context(format!("master {address}")),
                }
            }
            tokio::time::sleep(BACKOFF).await;
        }
    };
    let given = tokio::time::timeout(PATIENCE, asking).await;
    let node = given
        .map_err(|_| Error::unavailable(format!("no master gave this one a number within {} s; last: {last}", PATIENCE.as_secs())))??;
    identity::remember(disk, cluster, node)?;
    Ok(node)
}

/// Tells the group where this node is, until it has a vote there.
pub(super) async fn group(node: Arc<Node>, address: String, masters: Vec<String>) {
    let mut stop = node.stop.clone();
    let mut complaint = None;
    loop {
        let (known, votes) = super::members::standing(&node, node.id);
        if votes && known.as_ref() == Some(&address) && super::members::others_at(&node, node.id, &address).is_empty() {
            return;
        }
        if node.leads_in().is_some() {
            // It need not ask anybody: it has moved, or was restored elsewhere.
            if let Err(e) = super::members::join(&node, node.id, address.clone()).await {
                tracing::warn!(error = %e, "this master's address is not noted yet");
            }
        }
        let command = Command::JoinMaster { node: node.id, address: address.clone() };
        for master in node.leader_address().iter().chain(&masters).chain(&node.member_addresses()) {
            if *master == address {
                continue;
            }
            match submit(&node.others, master, &command).await {
                Ok(_) => break,
                Err(e) if complaint.as_ref() != Some(&e) => {
                    tracing::warn!(master, error = %e, "this master is not part of the group yet");
                    complaint = Some(e);
                }
                Err(_) => {}
            }
        }
        tokio::select! {
            () = stopped(&mut stop) => return,
            () = tokio::time::sleep(BACKOFF) => {}
        }
    }
}

async fn submit(others: &Others, address: &str, command: &Command) -> Result<Reply> {
    let mut client = others.at(address)?;
    let asked = tokio::time::timeout(ATTEMPT, client.submit(Json::of(command)?)).await;
    asked.map_err(|_| Error::deadline(format!("master {address} does not answer")))??.into_inner().parse()
}
