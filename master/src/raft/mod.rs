//! Raft on local disk: openraft over one redb file.
//!
//! `disk` is the file; `log` the Raft log in it; `machine` the state machine with its snapshots; `network`
//! reaches other nodes; `node` starts all of it.

mod disk;
mod log;
mod machine;
mod network;
mod node;

#[cfg(test)]
mod suite;

pub use disk::Disk;
pub use log::LogStore;
pub use machine::{Applied, Machine};
pub(crate) use network::{Addressed, frame, read};
pub use node::{NodeId, Started, start};
pub(crate) use node::{begin_with, has_history};

use crate::entry::{Entry, Outcome};
use openraft::BasicNode;
use std::io::Cursor;

openraft::declare_raft_types!(
    /// The types of this Raft group.
    pub TypeConfig:
        D = Entry,
        R = Outcome,
        NodeId = u64,
        Node = BasicNode,
        SnapshotData = Cursor<Vec<u8>>,
);

/// A running node of the group.
pub type Raft = openraft::Raft<TypeConfig>;
type StorageResult<T> = Result<T, openraft::StorageError<u64>>;
