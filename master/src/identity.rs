//! Which cluster a data folder and an object store belong to. A cluster is born once.

use crate::raft::{Disk, NodeId, has_history};
use common::store::{SharedStore, failed, get_opt};
use common::{Error, Result};
use object_store::path::Path;
use object_store::{PutMode, PutOptions};
use serde::{Deserialize, Serialize};
use std::time::Duration;

const CLUSTER: &str = "cluster";
const NODE: &str = "node";
/// The node that founds a cluster; later ones get the index of a committed entry, which is higher.
const FOUNDER: NodeId = 1;
/// How long a node that joins waits for a cluster to join, and how often it looks.
const FOUNDED_WITHIN: Duration = Duration::from_secs(60);
const FOUNDED_EVERY: Duration = Duration::from_millis(250);

/// The content of `cluster/identity`, and of the data folder.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// Random, 32 hexadecimal digits.
    pub cluster: String,
}

/// What a data folder is in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It belongs to this node.
    Member(Identity, NodeId),
    /// It is empty: the group is to be asked for an id.
    New(Identity),
}

/// Makes sure that folder and object store belong together. If both are empty the cluster is founded, unless the node
/// `joins` others: then it waits for one of them to found it.
///
/// # Errors
/// `FailedPrecondition` if they belong to different clusters, or one of them has lost what the other has; `Unavailable` if
/// nobody founds the cluster within a minute.
pub async fn settle(disk: &Disk, store: &SharedStore, joins: bool) -> Result<Standing> {
    let here = read_folder(disk)?;
    let there = match (&here, joins) {
        (None, true) => Some(wait_for_founder(store).await?),
        _ => read_store(store).await?,
    };
    match (here, there) {
        (Some((mine, node)), Some(other)) if mine == other => Ok(Standing::Member(mine, node)),
        (Some((mine, _)), Some(other)) => Err(Error::refused(format!(
            "this data folder belongs to cluster {} but the object store to cluster {}: correct `data_dir` or `store`",
            mine.cluster, other.cluster
        ))),
        (None, Some(other)) if joins => Ok(Standing::New(other)),
        (None, Some(other)) => Err(Error::refused(format!(
            "the object store belongs to cluster {} but this data folder is empty: an empty master would found a second cluster over its \
             data; point `data_dir` at that cluster's master folder, name the other masters with `masters` to join them, bring a lost state back with \
             `stele master restore`, or point `store` \
             at an empty bucket or folder",
            other.cluster
        ))),
        (Some((mine, _)), None) if has_history(disk)? => Err(Error::refused(format!(
            "this data folder belongs to cluster {} but the object store has no `cluster/identity`: correct `store`, or bring its data back",
            mine.cluster
        ))),
        (Some((mine, node)), None) => found(store, mine).await.map(|mine| Standing::Member(mine, node)),
        (None, None) => {
            let mine = Identity { cluster: format!("{:032x}", rand::random::<u128>()) };
            // The folder first: if the process ends in between, the next start goes on from here.
            remember(disk, &mine, FOUNDER)?;
            found(store, mine).await.map(|mine| Standing::Member(mine, FOUNDER))
        }
    }
}

/// The folder belongs to this node from now on.
///
/// # Errors
/// `Unavailable` if it cannot be written.
pub fn remember(disk: &Disk, cluster: &Identity, node: NodeId) -> Result<()> {
    disk.put(&[(CLUSTER, cluster.cluster.as_bytes()), (NODE, &node.to_le_bytes())])
}

/// The values that say so on a disk.
pub(crate) fn values(cluster: &Identity, node: NodeId) -> [(&'static str, Vec<u8>); 2] {
    [(CLUSTER, cluster.cluster.as_bytes().to_vec()), (NODE, node.to_le_bytes().to_vec())]
}

/// A folder that belongs to no node.
///
/// # Errors
/// `FailedPrecondition` if it does.
pub(crate) fn check_empty(disk: &Disk) -> Result<()> {
    match read_folder(disk)? {
        None if !has_history(disk)? => Ok(()),
        None => Err(Error::refused("this data folder has a Raft log, but says of no cluster that it is its: name an empty folder")),
        Some((mine, node)) => Err(Error::refused(format!(
            "this data folder is that of master node {node} of cluster {}: start `stele master` on it, or name an empty folder",
            mine.cluster
        ))),
    }
}

/// Whether this node is the one that founds a cluster.
#[must_use]
pub fn is_founder(node: NodeId) -> bool {
    node == FOUNDER
}

async fn wait_for_founder(store: &SharedStore) -> Result<Identity> {
    let founded = async {
        loop {
            if let Some(found) = read_store(store).await? {
                return Ok(found);
            }
            tokio::time::sleep(FOUNDED_EVERY).await;
        }
    };
    let none = || {
        Error::unavailable(format!(
            "nobody has founded a cluster on this object store for {} s: found it with `stele master init` and start that master first",
            FOUNDED_WITHIN.as_secs()
        ))
    };
    tokio::time::timeout(FOUNDED_WITHIN, founded).await.map_err(|_| none())?
}

/// The cluster and node that a folder belongs to.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn read_folder(disk: &Disk) -> Result<Option<(Identity, NodeId)>> {
    let (Some(cluster), Some(node)) = (disk.get(CLUSTER)?, disk.get(NODE)?) else { return Ok(None) };
    let cluster = String::from_utf8(cluster).map_err(|_| Error::corrupt("the cluster id in the data folder is not text"))?;
    let node = <[u8; 8]>::try_from(node).map_err(|_| Error::corrupt("the node id in the data folder is not 8 bytes"))?;
    Ok(Some((Identity { cluster }, NodeId::from_le_bytes(node))))
}

fn path() -> Path {
    Path::from("cluster/identity")
}

/// The cluster that an object store belongs to.
///
/// # Errors
/// `Unavailable`, `Corrupt`.
pub(crate) async fn read_store(store: &SharedStore) -> Result<Option<Identity>> {
    let Some(bytes) = get_opt(store, &path()).await? else { return Ok(None) };
    serde_json::from_slice(&bytes).map(Some).map_err(|e| Error::corrupt(format!("object '{}' does not decode: {e}", path())))
}

/// Creates the object; whoever else created it meanwhile has founded another cluster.
async fn found(store: &SharedStore, mine: Identity) -> Result<Identity> {
    let bytes = serde_json::to_vec(&mine).map_err(|e| Error::internal(format!("the identity does not encode: {e}")))?;
    let create = PutOptions { mode: PutMode::Create, ..Default::default() };
    match store.put_opts(&path(), bytes.into(), create).await {
        Ok(_) => Ok(mine),
        Err(object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }) => match read_store(store).await? {
            Some(there) if there == mine => Ok(mine),
            _ => Err(Error::refused("another master has just founded a cluster on this object store: use one store a cluster")),
        },
        Err(e) => Err(failed("create", &path(), &e)),
    }
}
