//! `stele master restore`: a new group of one master, from the copy of the state in the object store, when all masters have
//! lost their volumes. The order keeps the cluster from being born twice:
//!
//! 1. no master of the copy's group may be reached, and the data folder is empty;
//! 2. read the newest copy and all manifests, and bring the state up to date;
//! 3. put it as the next version of the copies, of a term far above: one of two that restore wins, and a master that is
//!    alive after all finds that its time is over;
//! 4. put it on the disk, in one write.

use crate::identity::{self, Identity};
use crate::raft::{self, Applied, Disk, NodeId};
use crate::state::{self, FAR, Found, FoundManifest, Restored};
use common::config::MasterConfig;
use common::ids::{Incarnation, ServerId};
use common::register::Register;
use common::rpc::Json;
use common::rpc::channel;
use common::rpc::master::Command;
use common::rpc::master_service::master_client::MasterClient;
use common::rpc::net::SharedNet;
use common::store::{SharedStore, failed};
use common::time::Micros;
use common::{Error, Result, store};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use openraft::{CommittedLeaderId, LogId};
use std::collections::BTreeSet;
use std::error::Error as _;
use std::time::Duration;
use storage::format::{Manifest, NO_SEGMENT};
use storage::procedures::{names_of, newest_manifest, tablets};

/// Who listens but says nothing for this long may be a master that is stopped.
const ANSWERS_WITHIN: Duration = Duration::from_secs(3);
/// Manifests that are read at once.
const READS: usize = 16;

/// What was done.
#[derive(Clone, Debug)]
pub struct Report {
    /// The cluster's id.
    pub cluster: String,
    /// The number of the new master.
    pub node: NodeId,
    /// The entry that the copy ended with.
    pub copied: u64,
    /// What the state has.
    pub restored: Restored,
}

/// Restores the state of the cluster in `config.store` into the empty folder `config.data_dir`.
///
/// # Errors
/// `FailedPrecondition` if a master of the cluster is reached, the folder is not empty, the store has no cluster or no copy, or
/// somebody else has restored it just now; `Corrupt` for a damaged copy or manifest; `Unavailable`.
pub async fn restore(config: &MasterConfig, net: &SharedNet, now: Micros) -> Result<Report> {
    let disk = Disk::open(&config.data_dir)?;
    identity::check_empty(&disk)?;
    let store = store::open(&config.store)?;
    store::prove_create_if_absent(&store).await?;
    let none = || Error::refused("the object store has no `cluster/identity`: there is no cluster to restore; correct `store`");
    let cluster = identity::read_store(&store).await?.ok_or_else(none)?;
    let register = crate::copy::register(store.clone());
    let no_copy = || Error::refused("the object store has no copy of the masters' state under `cluster/raft`: nothing can be restored");
    let newest = register.newest().await?.ok_or_else(no_copy)?;
    let mut applied = Applied::decode(&newest.content).map_err(|e| e.context(format!("object '{}'", register.path(newest.number))))?;
    for address in applied.addresses() {
        check_silent(net, &address).await?;
    }
    let found = look(&store).await?;
    let copied = applied.index();
    let restored = state::restore(&mut applied.state, &found, now);
    let address = config.advertise.clone().unwrap_or_else(|| config.listen.to_string());
    let (last, node) = beginning(&applied, newest.epoch);
    let next = Applied::beginning(last, node, address, applied.state);
    claim(&register, newest.number + 1, last.leader_id.term, &next).await?;
    let values = identity::values(&cluster, node);
    raft::begin_with(&disk, &next, &values.each_ref().map(|(key, value)| (*key, value.as_slice())))?;
    let Identity { cluster } = cluster;
    Ok(Report { cluster, node, copied, restored })
}

/// The entry that the new group begins with, and the number of its node: far above all that the old one can have reached.
fn beginning(copy: &Applied, epoch: u64) -> (LogId<NodeId>, NodeId) {
    let term = copy.last.map_or(0, |last| last.leader_id.term).max(epoch) + FAR;
    let index = copy.index() + FAR;
    // Numbers of nodes are indexes of entries, so this one is nobody's.
    (LogId::new(CommittedLeaderId::new(term, index), index), index)
}

async fn claim(register: &Register, number: u64, term: u64, state: &Applied) -> Result<()> {
    if register.put(number, term, &state.encode()?).await? {
        return Ok(());
    }
    Err(Error::refused(format!(
        "object '{}' has come to be meanwhile: a master lives, or somebody else restores this cluster; look there first",
        register.path(number)
    )))
}

/// # Errors
/// `FailedPrecondition` if somebody listens there who may be a master.
async fn check_silent(net: &SharedNet, address: &str) -> Result<()> {
    let Ok(connected) = channel::connect(net, address).await else { return Ok(()) };
    let mut client = MasterClient::new(connected);
    let answer = match tokio::time::timeout(ANSWERS_WITHIN, client.submit(Json::of(&Command::ListMasters)?)).await {
        Ok(Ok(_)) => "answers",
        // What has no cause on this side was said by the other one.
        Ok(Err(status)) if status.source().is_none() => "answers",
        Ok(Err(_)) => return Ok(()),
        Err(_) => "listens, but does not answer",
    };
    Err(Error::refused(format!(
        "a master at {address} {answer}: the cluster's state is not lost; let new masters join it with `masters`, or end that one for good first"
    )))
}

/// Reads what lies in the store.
async fn look(store: &SharedStore) -> Result<Found> {
    let mut found = Found::default();
    let read = |tablet| newest_manifest(store, tablet);
    let mut all = futures::stream::iter(tablets(store).await?).map(read).buffer_unordered(READS);
    while let Some(manifest) = all.try_next().await? {
        found.manifests.extend(manifest.map(|m| (m.tablet, counted(&m))));
    }
    found.logs = logs(store).await?;
    Ok(found)
}

fn counted(m: &Manifest) -> FoundManifest {
    let life = |log: &storage::format::LogName| (log.server, log.incarnation);
    FoundManifest {
        table: m.table,
        epoch: m.epoch,
        lives: [life(&m.owner), life(&m.log)],
        log: (m.log_from != NO_SEGMENT).then(|| life(&m.log)),
        staged: m.staged.iter().map(|s| s.run).collect(),
        sstables: names_of(m),
    }
}

/// The lives whose logs lie in the store.
async fn logs(store: &SharedStore) -> Result<BTreeSet<(ServerId, Incarnation)>> {
    let folder = Path::from("log");
    let mut lives = BTreeSet::new();
    let numbered = |p: &Path| p.filename().and_then(|name| name.parse::<u64>().ok());
    let servers = store.list_with_delimiter(Some(&folder)).await.map_err(|e| failed("list", &folder, &e))?;
    for server in &servers.common_prefixes {
        let Some(id) = numbered(server) else { continue };
        let incarnations = store.list_with_delimiter(Some(server)).await.map_err(|e| failed("list", server, &e))?;
        lives.extend(incarnations.common_prefixes.iter().filter_map(numbered).map(|life| (ServerId(id), Incarnation(life))));
    }
    Ok(lives)
}
