//! openraft's own storage tests against our store, and a node that takes up its snapshot.

use super::{Disk, LogStore, Machine, Started, StorageResult, TypeConfig, start};
use crate::entry::{Entry, What};
use common::envelope::AsJson;
use common::rpc::master::Command;
use common::rpc::net::Tcp;
use common::time::Micros;
use openraft::testing::{StoreBuilder, Suite};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, Machine, tempfile::TempDir> for Builder {
    async fn build(&self) -> StorageResult<(tempfile::TempDir, LogStore, Machine)> {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        let machine = Machine::open(disk.clone()).unwrap();
        Ok((folder, LogStore::new(disk), machine))
    }
}

#[test]
fn openraft_accepts_our_log_and_state_machine() {
    Suite::test_all(Builder).unwrap();
}

struct InMemory;

impl StoreBuilder<TypeConfig, LogStore, Machine, ()> for InMemory {
    async fn build(&self) -> StorageResult<((), LogStore, Machine)> {
        let disk = Disk::in_memory(redb::backends::InMemoryBackend::new()).unwrap();
        let machine = Machine::open(disk.clone()).unwrap();
        Ok(((), LogStore::new(disk), machine))
    }
}

#[test]
fn openraft_accepts_them_in_memory_too() {
    Suite::test_all(InMemory).unwrap();
}

#[test]
fn a_data_folder_has_one_master() {
    let folder = tempfile::tempdir().unwrap();
    let first = Disk::open(folder.path()).unwrap();
    let second = Disk::open(folder.path()).unwrap_err();
    assert_eq!(second.kind, common::ErrorKind::FailedPrecondition);
    drop(first);
    Disk::open(folder.path()).unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_starts_from_its_snapshot_and_the_log_after_it() {
    let folder = tempfile::tempdir().unwrap();
    let register = || Entry { at: Micros(1), what: What::Command(AsJson(Command::RegisterServer)) };
    let mut before = None;
    for life in 1..=3usize {
        let disk = Disk::open(folder.path()).unwrap();
        let Started { raft, machine, .. } = start(&disk, 1, Some("here:1"), Tcp::shared()).await.unwrap();
        let state = machine.watch().borrow().state.clone();
        assert_eq!(before.as_ref().unwrap_or(&state), &state);
        raft.client_write(register()).await.unwrap();
        raft.trigger().snapshot().await.unwrap();
        let index = raft.metrics().borrow().last_applied.unwrap().index;
        raft.wait(None).metrics(|m| m.snapshot.is_some_and(|s| s.index >= index), "snapshot").await.unwrap();
        raft.trigger().purge_log(index).await.unwrap();
        raft.wait(None).metrics(|m| m.purged.is_some_and(|p| p.index >= index), "purged").await.unwrap();
        raft.client_write(register()).await.unwrap();
        before = Some(machine.watch().borrow().state.clone());
        assert_eq!(before.as_ref().unwrap().servers.len(), 2 * life);
        raft.shutdown().await.unwrap();
        drop((raft, machine));
        while !disk.is_last() {
            tokio::task::yield_now().await;
        }
    }
}
