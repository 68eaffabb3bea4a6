use super::network::Peers;
use super::{Applied, Disk, LogStore, Machine, Raft, log, machine};
use common::rpc::net::SharedNet;
use common::{Error, Result};
use openraft::{BasicNode, Config, SnapshotPolicy};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// A master node. Its id lies on its volume; an empty volume never gets an id that was used.
pub type NodeId = u64;

/// Raft's own heartbeat.
const HEARTBEAT_MS: u64 = 100;
/// Elections of several nodes on small machines; one node elects itself at once.
const ELECTION_MS: (u64, u64) = (500, 1_000);
/// Entries between snapshots: replaying so many at a start takes well under a second.
const SNAPSHOT_EVERY: u64 = 2_000;
/// A node alone leads well before this.
const ELECTED_WITHIN: Duration = Duration::from_secs(10);

/// A node that runs, as voter, as learner or not yet in the group.
#[derive(Clone)]
pub struct Started {
    /// Raft itself.
    pub raft: Raft,
    /// Its state machine.
    pub machine: Machine,
    /// Whether it is the group's only voter; then it leads and has applied all that was committed.
    pub alone: bool,
}

/// Whether this disk's node has ever taken part in a cluster.
///
/// # Errors
/// `Corrupt`.
pub(crate) fn has_history(disk: &Disk) -> Result<bool> {
    Ok(disk.get(log::VOTE)?.is_some())
}

/// Puts a state on an empty disk, to be gone on from by the one node of its group; with it these values, all or none.
///
/// # Errors
/// `Unavailable` if the disk cannot be written, `Internal`.
pub(crate) fn begin_with(disk: &Disk, state: &Applied, values: &[(&str, &[u8])]) -> Result<()> {
    let last = state.last.ok_or_else(|| Error::internal("a state to begin with has an entry"))?;
    let (snapshot, log) = (state.encode()?, log::beginning(&last)?);
    let log = log.iter().map(|(key, value)| (*key, value.as_slice()));
    let all: Vec<_> = [(machine::KEY, snapshot.as_slice())].into_iter().chain(log).chain(values.iter().copied()).collect();
    disk.put(&all)
}

/// Starts the node. `founds` makes a node that has no history the group's first voter, reached at that address.
///
/// # Errors
/// `Corrupt` for a damaged file, `Unavailable` if a node that is alone does not come to lead.
pub async fn start(disk: &Disk, id: NodeId, founds: Option<&str>, net: SharedNet) -> Result<Started> {
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
    let raft = Raft::new(id, config, Peers::new(net), LogStore::new(disk.clone()), machine.clone()).await.map_err(|e| failed(&e))?;
    if let Some(address) = founds
        && !raft.is_initialized().await.map_err(|e| failed(&e))?
    {
        let members = BTreeMap::from([(id, BasicNode::new(address))]);
        raft.initialize(members).await.map_err(|e| failed(&e))?;
    }
    let voters = raft.with_raft_state(|state| state.membership_state.effective().voter_ids().collect::<Vec<NodeId>>());
    let alone = voters.await.map_err(|e| failed(&e))? == [id];
    if alone {
        raft.wait(Some(ELECTED_WITHIN)).current_leader(id, "start").await.map_err(|e| failed(&e))?;
        // Everything committed before is applied before anyone is served.
        raft.ensure_linearizable().await.map_err(|e| failed(&e))?;
    }
    Ok(Started { raft, machine, alone })
}
