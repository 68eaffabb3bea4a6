//! What is asked for and seen of tables as a whole: snapshots, clones, backups.

use crate::ids::{ProcedureId, Seq, TabletId};
use crate::key::KeyRange;
use crate::schema::Table;
use crate::time::Micros;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What a clone or a backup is made of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "from", rename_all = "snake_case")]
pub enum TableSource {
    /// A raw table as it is now.
    Table {
        /// `dataset.name`.
        table: String,
    },
    /// A snapshot, whether its table is still there or not.
    Snapshot {
        /// `dataset.name` of the table that it is of.
        table: String,
        /// Its name.
        snapshot: String,
    },
    /// The newest snapshot that shows nothing written after a time.
    At {
        /// `dataset.name` of the table that it is of.
        table: String,
        /// The time.
        at: Micros,
    },
}

impl fmt::Display for TableSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Table { table } => write!(f, "table '{table}'"),
            Self::Snapshot { table, snapshot } => write!(f, "snapshot '{table}@{snapshot}'"),
            Self::At { table, at } => write!(f, "table '{table}' as of {at}"),
        }
    }
}

/// Snapshots that the leader takes by itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schedule {
    /// Seconds from one to the next, from 1.
    pub every: u64,
    /// How many are kept, from 1; the oldest is dropped when there is one more.
    pub keep: u64,
}

/// Where a snapshot is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SnapshotStage {
    /// Tablets are being flushed and noted.
    Taking,
    /// It can be used.
    Ready,
    /// Its objects are being deleted.
    Dropping,
}

/// A snapshot as an operator sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotView {
    /// The number of the procedure that takes it.
    pub id: ProcedureId,
    /// `dataset.name` of its table, which may be gone.
    pub table: String,
    /// Its name.
    pub name: String,
    /// `operator` or `schedule`.
    pub why: String,
    /// Whether it can be used.
    pub stage: SnapshotStage,
    /// All that was acknowledged before is in it.
    pub begun_at: Micros,
    /// Nothing written after is in it; `None` while it is being taken.
    pub taken_at: Option<Micros>,
    /// When it is dropped by itself.
    pub expires_at: Option<Micros>,
    /// Its parts in key order.
    pub parts: Vec<SnapshotPartView>,
}

/// A part of a snapshot: a tablet at one seq.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotPartView {
    /// The tablet, which may have ended.
    pub tablet: TabletId,
    /// The rows that are taken from it.
    pub range: KeyRange,
    /// The newest row mutation in it.
    pub seq: Seq,
    /// Bytes of its SSTables.
    pub bytes: u64,
}

/// What the state machine must know of a backup to restore it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BackupContents {
    /// The cluster and procedure that made it, so that one backup is known from another at the same place.
    pub backup: String,
    /// The table as it was.
    pub table: Table,
    /// Its watermark.
    pub watermark: Option<Micros>,
    /// Its parts in key order; they cover all keys.
    pub parts: Vec<BackupPart>,
}

/// A part of a backup: a tablet at one seq.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackupPart {
    /// The tablet that it was.
    pub tablet: TabletId,
    /// The rows that are taken from it.
    pub range: KeyRange,
    /// The newest row mutation in it.
    pub seq: Seq,
}
