use super::network::Alone;
use super::{Disk, LogStore, Machine, Raft, log};
use common::{Error, Result};
use openraft::{BasicNode, Config, SnapshotPolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A master node. Its id lies on its volume; an empty volume never gets an id that was used.
pub type NodeId = u64;

/// Raft's own heartbeat; with one node nobody hears it.
const HEARTBEAT_MS: u64 = 100;
/// Elections of several nodes on small machines; one node elects itself at once.
const ELECTION_MS: (u64, u64) = (500, 1_000);
/// Entries between snapshots: replaying so many at a start takes well under a second.
const SNAPSHOT_EVERY: u64 = 2_000;
/// A single node leads well before this.
const ELECTED_WITHIN: Duration = Duration::from_secs(10);

/// Whether this disk's node has ever taken part in a cluster.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn has_history(disk: &Disk) -> Result<bool> {
    Ok(disk.get(log::VOTE)?.is_some())
}

/// Starts the node; the first start of a cluster's first node makes it the only voter. It leads when this returns.
///
/// # Errors
/// `Corrupt` for a damaged file, `Unavailable` if it does not come to lead.
pub async fn start(disk: &Disk, id: NodeId, address: &str) -> Result<(Raft, Machine)> {
    let machine = Machine::open(disk.clone())?;
    let failed = |e: &dyn std::fmt::Display| Error::unavailable(format!("Raft node {id} does not start: {e}"));
    let config = Config {
        cluster_name: "stele".into(),
        heartbeat_interval: HEARTBEAT_MS,
        election_timeout_min: ELECTION_MS.0,
        election_timeout_max: ELECTION_MS.1,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(SNAPSHOT_EVERY),
        ..Config::default()
    };
    let config = Arc::new(config.validate().map_err(|e| failed(&e))?);
    let raft = Raft::new(id, config, Alone, LogStore::new(disk.clone()), machine.clone()).await.map_err(|e| failed(&e))?;
    if !raft.is_initialized().await.map_err(|e| failed(&e))? {
        let members = BTreeMap::from([(id, BasicNode::new(address))]);
        raft.initialize(members).await.map_err(|e| failed(&e))?;
    }
    raft.wait(Some(ELECTED_WITHIN)).current_leader(id, "start").await.map_err(|e| failed(&e))?;
    // Everything committed before is applied before anyone is served.
    raft.ensure_linearizable().await.map_err(|e| failed(&e))?;
    Ok((raft, machine))
}
