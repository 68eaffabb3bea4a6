use super::disk::{Disk, LogChange};
use super::{StorageResult, TypeConfig};
use common::{Result, envelope};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{Entry, LogId, LogState, OptionalSend, RaftLogReader, StorageError, StorageIOError, Vote};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};

const ENTRY: envelope::Magic = *b"STRE";
const META: envelope::Magic = *b"STRM";
const FORMAT: u16 = 2;
/// The vote; its presence says that this node has taken part in a cluster.
pub(super) const VOTE: &str = "vote";
const COMMITTED: &str = "committed";
const PURGED: &str = "purged";

/// The Raft log. Entries are on disk, and so readable, before `append` returns.
///
/// openraft serializes all writes. Each is one redb transaction, so neither purge nor truncate can leave a hole.
#[derive(Clone, Debug)]
pub struct LogStore {
    disk: Disk,
}

impl LogStore {
    /// The log on this disk.
    #[must_use]
    pub fn new(disk: Disk) -> Self {
        Self { disk }
    }

    fn value<T: DeserializeOwned>(&self, key: &str) -> Result<Option<T>> {
        self.disk.get(key)?.map(|bytes| envelope::decode(META, FORMAT, &bytes)).transpose()
    }

    fn last_id(&self) -> Result<Option<LogId<u64>>> {
        let last: Option<Entry<TypeConfig>> = self.disk.last_entry()?.map(|bytes| envelope::decode(ENTRY, FORMAT, &bytes)).transpose()?;
        Ok(last.map(|entry| entry.log_id))
    }

    /// Runs a write that waits for the disk off the runtime's own threads.
    async fn blocking(&self, write: impl FnOnce(&Disk) -> Result<()> + Send + 'static) -> Result<()> {
        if !self.disk.waits() {
            return write(&self.disk);
        }
        let disk = self.disk.clone();
        let done = tokio::task::spawn_blocking(move || write(&disk)).await;
        done.map_err(|e| common::Error::internal(format!("a write of the Raft log ended early: {e}")))?
    }
}

/// What an empty log says that goes on after this entry, as values of the disk.
pub(super) fn beginning(last: &LogId<u64>) -> Result<[(&'static str, Vec<u8>); 2]> {
    let vote: Vote<u64> = Vote::new(last.leader_id.term, last.leader_id.node_id);
    Ok([(VOTE, meta(&vote)?), (PURGED, meta(last)?)])
}

fn meta<T: Serialize>(value: &T) -> Result<Vec<u8>> {
    envelope::encode(META, FORMAT, value)
}

pub(super) fn reading(e: common::Error) -> StorageError<u64> {
    StorageIOError::read_logs(openraft::AnyError::new(&e)).into()
}

fn writing(e: common::Error) -> StorageError<u64> {
    StorageIOError::write_logs(openraft::AnyError::new(&e)).into()
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> StorageResult<Vec<Entry<TypeConfig>>> {
        let entries = self.disk.entries(range).map_err(reading)?;
        entries.iter().map(|bytes| envelope::decode(ENTRY, FORMAT, bytes)).collect::<Result<_>>().map_err(reading)
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> StorageResult<LogState<TypeConfig>> {
        let last_purged_log_id = self.value(PURGED).map_err(reading)?;
        let last_log_id = self.last_id().map_err(reading)?.or(last_purged_log_id);
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote<u64>) -> StorageResult<()> {
        let bytes = meta(vote).map_err(writing)?;
        self.blocking(move |disk| disk.put(&[(VOTE, &bytes)])).await.map_err(writing)
    }

    async fn read_vote(&mut self) -> StorageResult<Option<Vote<u64>>> {
        self.value(VOTE).map_err(reading)
    }

    /// Not on disk by itself: after a loss of power a node commits its log anew, which gives the same state.
    async fn save_committed(&mut self, committed: Option<LogId<u64>>) -> StorageResult<()> {
        let bytes = meta(&committed).map_err(writing)?;
        self.disk.put_lazily(COMMITTED, &bytes).map_err(writing)
    }

    async fn read_committed(&mut self) -> StorageResult<Option<LogId<u64>>> {
        Ok(self.value::<Option<LogId<u64>>>(COMMITTED).map_err(reading)?.flatten())
    }

    async fn append<I>(&mut self, entries: I, callback: LogFlushed<TypeConfig>) -> StorageResult<()>
    where
        I: IntoIterator<Item = Entry<TypeConfig>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let encode = |e: Entry<TypeConfig>| Ok((e.log_id.index, envelope::encode(ENTRY, FORMAT, &e)?));
        let encoded = entries.into_iter().map(encode).collect::<Result<Vec<_>>>().map_err(writing)?;
        self.blocking(move |disk| disk.change_log(&LogChange::Append(&encoded), &[])).await.map_err(writing)?;
        callback.log_io_completed(Ok(()));
        Ok(())
    }

    async fn truncate(&mut self, since: LogId<u64>) -> StorageResult<()> {
        let range = (Bound::Included(since.index), Bound::Unbounded);
        self.blocking(move |disk| disk.change_log(&LogChange::Remove(range), &[])).await.map_err(writing)
    }

    async fn purge(&mut self, upto: LogId<u64>) -> StorageResult<()> {
        let purged = meta(&upto).map_err(writing)?;
        let range = (Bound::Unbounded, Bound::Included(upto.index));
        self.blocking(move |disk| disk.change_log(&LogChange::Remove(range), &[(PURGED, &purged)])).await.map_err(writing)
    }
}
