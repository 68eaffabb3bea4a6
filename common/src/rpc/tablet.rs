//! Messages of `stele.v1.Tablets`: writing, reading and scanning one tablet.
//!
//! Every request names table and tablet; a server that does not own the tablet answers `NotMine`.

mod conditional;
mod read;
mod runs;
mod write;

pub use conditional::{Conditional, ConditionalRequest, ConditionalResponse};
pub use read::{
    ArrowChunk, ChangesRequest, IMAGE_COLUMN, NEW_IMAGE, OLD_IMAGE, ReadRequest, ReadResponse, ScanRequest, WireCell, WireColumn,
    WireReadSpec, WireRow,
};
pub use runs::{ApplyRequest, DropStagedRequest, StageRequest};
pub use write::{DeleteRangeRequest, DeleteRangeResponse, RowResult, WireMutation, WireRowMutation, WriteRequest, WriteResponse};

use crate::ids::{RunId, Seq, TableId, TabletId};
use crate::key::KeyRange;
use crate::time::{Micros, TimeRange};
use crate::{Error, Result};
use bytes::Bytes;

/// Names one tablet of one table.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Target {
    /// [`TableId`].
    #[prost(uint64, tag = "1")]
    pub table: u64,
    /// [`TabletId`].
    #[prost(uint64, tag = "2")]
    pub tablet: u64,
}

impl Target {
    /// This tablet of this table.
    #[must_use]
    pub fn new(table: TableId, tablet: TabletId) -> Self {
        Self { table: table.0, tablet: tablet.0 }
    }

    /// The table.
    #[must_use]
    pub fn table_id(&self) -> TableId {
        TableId(self.table)
    }

    /// The tablet.
    #[must_use]
    pub fn tablet_id(&self) -> TabletId {
        TabletId(self.tablet)
    }
}

/// The target of a request that must have one.
///
/// # Errors
/// `InvalidArgument` if it is missing.
pub fn required<T>(field: Option<T>, name: &str) -> Result<T> {
    field.ok_or_else(|| Error::invalid(format!("request without '{name}'")))
}

/// A version to read at. A derived table's tablet that has not yet applied `runs` up to `seq` does so first.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadAt {
    /// [`Seq`]; `u64::MAX`: the newest visible.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// Published runs that tablets may not have applied, oldest first.
    #[prost(message, repeated, tag = "2")]
    pub runs: Vec<RunVersion>,
}

impl ReadAt {
    /// The newest visible state.
    #[must_use]
    pub fn newest() -> Self {
        Self::seq(Seq::MAX)
    }

    /// Exactly this seq.
    #[must_use]
    pub fn seq(seq: Seq) -> Self {
        Self { seq: seq.0, runs: Vec::new() }
    }
}

/// A published run and the table version it got.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct RunVersion {
    /// [`RunId`].
    #[prost(uint64, tag = "1")]
    pub run: u64,
    /// [`Seq`].
    #[prost(uint64, tag = "2")]
    pub version: u64,
}

impl RunVersion {
    /// This run at this version.
    #[must_use]
    pub fn new(run: RunId, version: Seq) -> Self {
        Self { run: run.0, version: version.0 }
    }
}

/// [`KeyRange`] on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireRange {
    /// First key inside.
    #[prost(bytes = "bytes", tag = "1")]
    pub start: Bytes,
    /// First key after; absent: unbounded.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub end: Option<Bytes>,
}

impl From<KeyRange> for WireRange {
    fn from(r: KeyRange) -> Self {
        Self { start: r.start, end: r.end }
    }
}

impl From<WireRange> for KeyRange {
    fn from(r: WireRange) -> Self {
        Self { start: r.start, end: r.end }
    }
}

/// [`TimeRange`] on the wire.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct WireTimes {
    /// µs.
    #[prost(sint64, tag = "1")]
    pub start: i64,
    /// µs, exclusive.
    #[prost(sint64, tag = "2")]
    pub end: i64,
}

impl From<TimeRange> for WireTimes {
    fn from(r: TimeRange) -> Self {
        Self { start: r.start.0, end: r.end.0 }
    }
}

impl From<WireTimes> for TimeRange {
    fn from(r: WireTimes) -> Self {
        Self { start: Micros(r.start), end: Micros(r.end) }
    }
}
/// It was done, durably.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct Done {}

/// Asks for one tablet's state.
#[derive(Clone, Copy, PartialEq, Eq, prost::Message)]
pub struct StatusRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
}

/// One tablet's state.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StatusResponse {
    /// The newest readable [`Seq`].
    #[prost(uint64, tag = "1")]
    pub visible_seq: u64,
    /// The oldest readable [`Seq`].
    #[prost(uint64, tag = "2")]
    pub floor: u64,
    /// The range it serves.
    #[prost(message, optional, tag = "3")]
    pub range: Option<WireRange>,
    /// Bytes in SSTables.
    #[prost(uint64, tag = "4")]
    pub stored_bytes: u64,
    /// Bytes in memtables.
    #[prost(uint64, tag = "5")]
    pub memtable_bytes: u64,
    /// Rows as estimated from properties; an upper bound.
    #[prost(uint64, tag = "6")]
    pub row_estimate: u64,
}
