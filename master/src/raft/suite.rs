//! openraft's own storage tests against our store.

use super::{Disk, LogStore, Machine, StorageResult, TypeConfig};
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

#[test]
fn a_data_folder_has_one_master() {
    let folder = tempfile::tempdir().unwrap();
    let first = Disk::open(folder.path()).unwrap();
    let second = Disk::open(folder.path()).unwrap_err();
    assert_eq!(second.kind, common::ErrorKind::FailedPrecondition);
    drop(first);
    Disk::open(folder.path()).unwrap();
}
