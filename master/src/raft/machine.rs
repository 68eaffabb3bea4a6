use super::disk::Disk;
use super::{StorageResult, TypeConfig};
use crate::entry::Outcome;
use crate::state::{self, ClusterState};
use common::envelope::AsJson;
use common::rpc::master::Reply;
use common::{Result, envelope};
use openraft::storage::RaftStateMachine;
use openraft::{
    BasicNode, Entry, EntryPayload, LogId, Membership, OptionalSend, RaftSnapshotBuilder, Snapshot, SnapshotMeta, StorageError,
    StorageIOError, StoredMembership,
};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Cursor;
use std::sync::Arc;
use tokio::sync::watch;

const SNAPSHOT: envelope::Magic = *b"STRS";
const FORMAT: u16 = 2;
pub(super) const KEY: &str = "snapshot";

/// The state with the entry that made it.
#[derive(Clone, Debug, Default)]
pub struct Applied {
    /// The newest entry that is in `state`.
    pub last: Option<LogId<u64>>,
    membership: StoredMembership<u64, BasicNode>,
    /// The cluster.
    pub state: ClusterState,
}

/// A snapshot: bincode behind an envelope; the state in it is JSON, so that added fields need no new format.
#[derive(Serialize, Deserialize)]
#[serde(bound(deserialize = "S: serde::de::DeserializeOwned"))]
struct Stored<S> {
    meta: SnapshotMeta<u64, BasicNode>,
    state: AsJson<S>,
}

impl Applied {
    /// A state that begins a new group of one node, at this entry.
    #[must_use]
    pub fn beginning(last: LogId<u64>, node: u64, address: String, state: ClusterState) -> Self {
        let members = BTreeMap::from([(node, BasicNode::new(address))]);
        let membership = StoredMembership::new(Some(last), Membership::new(vec![BTreeSet::from([node])], members));
        Self { last: Some(last), membership, state }
    }

    /// Where the nodes of its group are reached.
    #[must_use]
    pub fn addresses(&self) -> Vec<String> {
        self.membership.nodes().map(|(_, node)| node.addr.clone()).collect()
    }

    /// Index of the newest entry that is in the state; 0: none.
    #[must_use]
    pub fn index(&self) -> u64 {
        self.last.map_or(0, |id| id.index)
    }

    fn meta(&self) -> SnapshotMeta<u64, BasicNode> {
        let term = self.last.map_or(0, |id| id.leader_id.term);
        SnapshotMeta { last_log_id: self.last, last_membership: self.membership.clone(), snapshot_id: format!("{term}-{}", self.index()) }
    }

    /// This state as a snapshot's bytes.
    ///
    /// # Errors
    /// `Internal`, if it does not encode.
    pub fn encode(&self) -> Result<Vec<u8>> {
        envelope::encode(SNAPSHOT, FORMAT, &Stored { meta: self.meta(), state: AsJson(&self.state) })
    }

    /// The state in a snapshot's bytes.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn decode(bytes: &[u8]) -> Result<Self> {
        let Stored::<ClusterState> { meta, state } = envelope::decode(SNAPSHOT, FORMAT, bytes)?;
        Ok(Self { last: meta.last_log_id, membership: meta.last_membership, state: state.0 })
    }
}

/// The state machine: in memory, with its newest snapshot on disk. Clones are the same machine.
#[derive(Clone, Debug)]
pub struct Machine {
    disk: Disk,
    applied: watch::Sender<Arc<Applied>>,
}

impl Machine {
    /// Takes up the newest snapshot; openraft applies the log after it.
    ///
    /// # Errors
    /// `Corrupt`.
    pub fn open(disk: Disk) -> Result<Self> {
        let applied = disk.get(KEY)?.map(|bytes| Applied::decode(&bytes)).transpose()?.unwrap_or_default();
        Ok(Self { disk, applied: watch::Sender::new(Arc::new(applied)) })
    }

    /// Every state from now on; it may skip some.
    #[must_use]
    pub fn watch(&self) -> watch::Receiver<Arc<Applied>> {
        self.applied.subscribe()
    }

    fn current(&self) -> Arc<Applied> {
        self.applied.borrow().clone()
    }
}

fn apply_one(applied: &mut Applied, entry: Entry<TypeConfig>) -> Outcome {
    applied.last = Some(entry.log_id);
    let done = || Ok(Reply::Done { catalog: 0 });
    match entry.payload {
        EntryPayload::Blank => Outcome(done()),
        EntryPayload::Normal(entry) => Outcome(state::apply(&mut applied.state, &entry)),
        EntryPayload::Membership(membership) => {
            applied.membership = StoredMembership::new(Some(entry.log_id), membership);
            Outcome(done())
        }
    }
}

fn reading(e: common::Error) -> StorageError<u64> {
    StorageIOError::read_snapshot(None, openraft::AnyError::new(&e)).into()
}

fn writing(e: common::Error) -> StorageError<u64> {
    StorageIOError::write_snapshot(None, openraft::AnyError::new(&e)).into()
}

impl RaftSnapshotBuilder<TypeConfig> for Machine {
    async fn build_snapshot(&mut self) -> StorageResult<Snapshot<TypeConfig>> {
        // Frozen: entries applied meanwhile make a new `Applied`.
        let frozen = self.current();
        let bytes = frozen.encode().map_err(writing)?;
        self.disk.put(&[(KEY, &bytes)]).map_err(writing)?;
        Ok(Snapshot { meta: frozen.meta(), snapshot: Box::new(Cursor::new(bytes)) })
    }
}

impl RaftStateMachine<TypeConfig> for Machine {
    type SnapshotBuilder = Self;

    async fn applied_state(&mut self) -> StorageResult<(Option<LogId<u64>>, StoredMembership<u64, BasicNode>)> {
        let applied = self.current();
        Ok((applied.last, applied.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> StorageResult<Vec<Outcome>>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut next = Applied::clone(&self.current());
        let outcomes = entries.into_iter().map(|entry| apply_one(&mut next, entry)).collect();
        self.applied.send_replace(Arc::new(next));
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> Self {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> StorageResult<Box<Cursor<Vec<u8>>>> {
        Ok(Box::default())
    }

    /// All or nothing: the snapshot is decoded whole, then stored in one transaction, then shown.
    async fn install_snapshot(&mut self, _: &SnapshotMeta<u64, BasicNode>, snapshot: Box<Cursor<Vec<u8>>>) -> StorageResult<()> {
        let bytes = snapshot.into_inner();
        let applied = Applied::decode(&bytes).map_err(reading)?;
        self.disk.put(&[(KEY, &bytes)]).map_err(writing)?;
        self.applied.send_replace(Arc::new(applied));
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> StorageResult<Option<Snapshot<TypeConfig>>> {
        let Some(bytes) = self.disk.get(KEY).map_err(reading)? else { return Ok(None) };
        let meta = Applied::decode(&bytes).map_err(reading)?.meta();
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes)) }))
    }
}
