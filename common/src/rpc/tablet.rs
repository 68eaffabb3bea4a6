//! Messages of `stele.v1.Tablets`: writing, reading and scanning one tablet.
//!
//! Every request names table and tablet; a server that does not own the tablet answers `NotMine`.

mod conditional;

pub use conditional::{Conditional, ConditionalRequest, ConditionalResponse};

use crate::ids::{FamilyId, RunId, Seq, TableId, TabletId};
use crate::key::KeyRange;
use crate::row::{Aggregate, Cell, ColumnRange, Columns, Mutation, ReadSpec, Row, RowMutation};
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

/// One [`Mutation`]; `kind` says which fields count.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireMutation {
    /// 0 set, 1 delete column, 2 delete family, 3 delete row, 4 combine.
    #[prost(uint32, tag = "1")]
    pub kind: u32,
    /// [`FamilyId`].
    #[prost(uint32, tag = "2")]
    pub family: u32,
    /// Stored qualifier.
    #[prost(bytes = "bytes", tag = "3")]
    pub qualifier: Bytes,
    /// Value of a set; 8 bytes, a big-endian integer, of a combine.
    #[prost(bytes = "bytes", tag = "4")]
    pub value: Bytes,
    /// Timestamp of a set or a combine, µs.
    #[prost(sint64, optional, tag = "5")]
    pub timestamp: Option<i64>,
    /// Timestamps of a column delete.
    #[prost(message, optional, tag = "6")]
    pub timestamps: Option<WireTimes>,
    /// Of a combine: 1 sum, 2 minimum, 3 maximum.
    #[prost(uint32, tag = "7")]
    pub aggregate: u32,
}

impl WireMutation {
    fn combine(self) -> Result<Mutation> {
        let aggregate = match self.aggregate {
            1 => Aggregate::Sum,
            2 => Aggregate::Min,
            3 => Aggregate::Max,
            other => return Err(Error::invalid(format!("aggregate of unknown kind {other}"))),
        };
        let wrong = || Error::invalid(format!("an aggregate's value of {} bytes; it must be an integer of 8", self.value.len()));
        let value = self.value.as_ref().try_into().map(i64::from_be_bytes).map_err(|_| wrong())?;
        let timestamp = self.timestamp.map(Micros).ok_or_else(|| Error::invalid("an aggregate needs a timestamp: it names the cell"))?;
        Ok(Mutation::Combine { family: FamilyId(self.family), qualifier: self.qualifier, timestamp, aggregate, value })
    }
}

impl From<Mutation> for WireMutation {
    fn from(m: Mutation) -> Self {
        match m {
            Mutation::Set { family, qualifier, timestamp, value } => {
                Self { kind: 0, family: family.0, qualifier, value, timestamp: timestamp.map(|t| t.0), ..Self::default() }
            }
            Mutation::Combine { family, qualifier, timestamp, aggregate, value } => {
                let aggregate = match aggregate {
                    Aggregate::Sum => 1,
                    Aggregate::Min => 2,
                    Aggregate::Max => 3,
                };
                let value = Bytes::copy_from_slice(&value.to_be_bytes());
                Self { kind: 4, family: family.0, qualifier, value, timestamp: Some(timestamp.0), aggregate, ..Self::default() }
            }
            Mutation::DeleteColumn { family, qualifier, timestamps } => {
                Self { kind: 1, family: family.0, qualifier, timestamps: Some(timestamps.into()), ..Self::default() }
            }
            Mutation::DeleteFamily { family } => Self { kind: 2, family: family.0, ..Self::default() },
            Mutation::DeleteRow => Self { kind: 3, ..Self::default() },
        }
    }
}

impl TryFrom<WireMutation> for Mutation {
    type Error = Error;

    fn try_from(m: WireMutation) -> Result<Self> {
        let family = FamilyId(m.family);
        Ok(match m.kind {
            0 => Self::Set { family, qualifier: m.qualifier, timestamp: m.timestamp.map(Micros), value: m.value },
            1 => Self::DeleteColumn { family, qualifier: m.qualifier, timestamps: m.timestamps.map_or(TimeRange::ALL, Into::into) },
            2 => Self::DeleteFamily { family },
            3 => Self::DeleteRow,
            4 => return m.combine(),
            other => return Err(Error::invalid(format!("mutation of unknown kind {other}"))),
        })
    }
}

/// One [`RowMutation`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireRowMutation {
    /// The row key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// The changes, in order.
    #[prost(message, repeated, tag = "2")]
    pub mutations: Vec<WireMutation>,
}

impl From<RowMutation> for WireRowMutation {
    fn from(m: RowMutation) -> Self {
        Self { key: m.key, mutations: m.mutations.into_iter().map(Into::into).collect() }
    }
}

impl TryFrom<WireRowMutation> for RowMutation {
    type Error = Error;

    fn try_from(m: WireRowMutation) -> Result<Self> {
        Ok(Self { key: m.key, mutations: m.mutations.into_iter().map(TryInto::try_into).collect::<Result<_>>()? })
    }
}

/// Writes rows of one tablet; each row by itself is atomic and gets its own result.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// 16 random bytes, the same in every repetition of this write; empty: not to be repeated.
    #[prost(bytes = "bytes", tag = "2")]
    pub request_id: Bytes,
    /// The rows.
    #[prost(message, repeated, tag = "3")]
    pub rows: Vec<WireRowMutation>,
    /// Sent by Stele itself: may write system tables and hidden families. Derived tables are written by runs alone.
    #[prost(bool, tag = "4")]
    pub internal: bool,
}

/// One result a row, in the order of the request.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WriteResponse {
    /// What became of each row.
    #[prost(message, repeated, tag = "1")]
    pub results: Vec<RowResult>,
}

/// Deletes all rows of a range within one tablet, at once.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// 16 random bytes, the same in every repetition of this delete; empty: not to be repeated.
    #[prost(bytes = "bytes", tag = "2")]
    pub request_id: Bytes,
    /// The rows; all of it lies in the tablet.
    #[prost(message, optional, tag = "3")]
    pub range: Option<WireRange>,
}

/// The rows of a range are deleted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DeleteRangeResponse {
    /// What was written at this seq or before is hidden.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// The time that the server gave, µs.
    #[prost(sint64, tag = "2")]
    pub timestamp: i64,
}

/// What became of one row.
#[derive(Clone, PartialEq, prost::Message)]
pub struct RowResult {
    /// Its seq; 0 if it was refused.
    #[prost(uint64, tag = "1")]
    pub seq: u64,
    /// The server-given cell timestamp, µs.
    #[prost(sint64, tag = "2")]
    pub timestamp: i64,
    /// Why it was refused: an [`Error`] as JSON; empty if it was written.
    #[prost(bytes = "bytes", tag = "3")]
    pub error: Bytes,
}

impl RowResult {
    /// A refusal.
    #[must_use]
    pub fn refused(e: &Error) -> Self {
        Self { seq: 0, timestamp: 0, error: serde_json::to_vec(e).unwrap_or_default().into() }
    }

    /// The refusal, if it is one.
    #[must_use]
    pub fn error(&self) -> Option<Error> {
        if self.error.is_empty() {
            return None;
        }
        Some(serde_json::from_slice(&self.error).unwrap_or_else(|_| Error::internal("row refused without a readable reason")))
    }
}

/// One column, a whole family, or a range of columns.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireColumn {
    /// [`FamilyId`].
    #[prost(uint32, tag = "1")]
    pub family: u32,
    /// Stored qualifier; absent: the family.
    #[prost(bytes = "bytes", optional, tag = "2")]
    pub qualifier: Option<Bytes>,
    /// The columns of the family from `qualifier` (absent: the first) to `end`.
    #[prost(bool, tag = "3")]
    pub range: bool,
    /// Of a range: first stored qualifier after; absent: unbounded.
    #[prost(bytes = "bytes", optional, tag = "4")]
    pub end: Option<Bytes>,
}

impl From<ColumnRange> for WireColumn {
    fn from(r: ColumnRange) -> Self {
        Self { family: r.family.0, qualifier: Some(r.start), range: true, end: r.end }
    }
}

/// Columns on the wire: whether only some count, and which.
fn wire_columns(columns: Columns) -> (bool, Vec<WireColumn>) {
    let column = |(f, qualifier): (FamilyId, Option<Bytes>)| WireColumn { family: f.0, qualifier, range: false, end: None };
    match columns {
        Columns::All => (false, Vec::new()),
        Columns::Some(list) => (true, list.into_iter().map(column).collect()),
        Columns::Ranges(list) => (true, list.into_iter().map(Into::into).collect()),
    }
}

fn columns_of(some: bool, list: Vec<WireColumn>) -> Columns {
    if !some {
        return Columns::All;
    }
    if !list.iter().any(|c| c.range) {
        return Columns::Some(list.into_iter().map(|c| (FamilyId(c.family), c.qualifier)).collect());
    }
    let range = |c: WireColumn| match (c.range, c.qualifier) {
        (true, start) => ColumnRange { family: FamilyId(c.family), start: start.unwrap_or_default(), end: c.end },
        (false, None) => ColumnRange::family(FamilyId(c.family)),
        (false, Some(q)) => ColumnRange::column(FamilyId(c.family), &q),
    };
    Columns::Ranges(list.into_iter().map(range).collect())
}

/// [`ReadSpec`] on the wire.
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireReadSpec {
    /// The rows wanted.
    #[prost(message, repeated, tag = "1")]
    pub ranges: Vec<WireRange>,
    /// Largest key first.
    #[prost(bool, tag = "2")]
    pub reverse: bool,
    /// Only these columns count (else all).
    #[prost(bool, tag = "3")]
    pub some_columns: bool,
    /// The columns, if `some_columns`.
    #[prost(message, repeated, tag = "4")]
    pub columns: Vec<WireColumn>,
    /// Cell timestamps.
    #[prost(message, optional, tag = "5")]
    pub timestamps: Option<WireTimes>,
    /// Newest n of each column; 0: all.
    #[prost(uint32, tag = "6")]
    pub cells_per_column: u32,
    /// Rows at most; 0: all.
    #[prost(uint64, tag = "7")]
    pub row_limit: u64,
    /// Event times wanted (a hint).
    #[prost(message, optional, tag = "8")]
    pub event_time: Option<WireTimes>,
    /// Rows without a wanted cell are returned too.
    #[prost(bool, tag = "9")]
    pub keep_empty_rows: bool,
    /// Cells of each row that are left out.
    #[prost(uint32, tag = "10")]
    pub cell_offset: u32,
    /// Cells of each row at most; 0: all.
    #[prost(uint32, tag = "11")]
    pub cell_limit: u32,
}

impl From<ReadSpec> for WireReadSpec {
    fn from(s: ReadSpec) -> Self {
        let (some_columns, columns) = wire_columns(s.columns);
        Self {
            ranges: s.ranges.into_iter().map(Into::into).collect(),
            reverse: s.reverse,
            some_columns,
            columns,
            timestamps: Some(s.timestamps.into()),
            cells_per_column: s.cells_per_column,
            row_limit: s.row_limit,
            event_time: s.event_time.map(Into::into),
            keep_empty_rows: s.keep_empty_rows,
            cell_offset: s.cell_offset,
            cell_limit: s.cell_limit,
        }
    }
}

impl From<WireReadSpec> for ReadSpec {
    fn from(s: WireReadSpec) -> Self {
        Self {
            columns: columns_of(s.some_columns, s.columns),
            ranges: s.ranges.into_iter().map(Into::into).collect(),
            reverse: s.reverse,
            timestamps: s.timestamps.map_or(TimeRange::ALL, Into::into),
            cells_per_column: s.cells_per_column,
            row_limit: s.row_limit,
            event_time: s.event_time.map(Into::into),
            keep_empty_rows: s.keep_empty_rows,
            cell_offset: s.cell_offset,
            cell_limit: s.cell_limit,
        }
    }
}

/// Reads rows of one tablet as cells.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// What to read.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<WireReadSpec>,
    /// At which version.
    #[prost(message, optional, tag = "3")]
    pub at: Option<ReadAt>,
}

/// Some rows, in order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ReadResponse {
    /// The rows.
    #[prost(message, repeated, tag = "1")]
    pub rows: Vec<WireRow>,
}

/// A [`Row`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireRow {
    /// The row key.
    #[prost(bytes = "bytes", tag = "1")]
    pub key: Bytes,
    /// Its cells.
    #[prost(message, repeated, tag = "2")]
    pub cells: Vec<WireCell>,
}

/// A [`Cell`].
#[derive(Clone, PartialEq, prost::Message)]
pub struct WireCell {
    /// [`FamilyId`].
    #[prost(uint32, tag = "1")]
    pub family: u32,
    /// Stored qualifier.
    #[prost(bytes = "bytes", tag = "2")]
    pub qualifier: Bytes,
    /// µs.
    #[prost(sint64, tag = "3")]
    pub timestamp: i64,
    /// Its value.
    #[prost(bytes = "bytes", tag = "4")]
    pub value: Bytes,
}

impl From<Row> for WireRow {
    fn from(r: Row) -> Self {
        let cell = |c: Cell| WireCell { family: c.family.0, qualifier: c.qualifier, timestamp: c.timestamp.0, value: c.value };
        Self { key: r.key, cells: r.cells.into_iter().map(cell).collect() }
    }
}

impl From<WireRow> for Row {
    fn from(r: WireRow) -> Self {
        let cell =
            |c: WireCell| Cell { family: FamilyId(c.family), qualifier: c.qualifier, timestamp: Micros(c.timestamp), value: c.value };
        Self { key: r.key, cells: r.cells.into_iter().map(cell).collect() }
    }
}

/// Scans one tablet into Arrow.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ScanRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// Rows, timestamps, limit; its columns are ignored, `columns` below counts.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<WireReadSpec>,
    /// At which version.
    #[prost(message, optional, tag = "3")]
    pub at: Option<ReadAt>,
    /// Output columns by name, in order (see [`crate::schema::Table::arrow_schema`]). May be empty: rows are only counted.
    #[prost(string, repeated, tag = "4")]
    pub columns: Vec<String>,
    /// Rows a batch at most; 0: the server's choice.
    #[prost(uint32, tag = "5")]
    pub batch_rows: u32,
}

/// A piece of an Arrow IPC stream: the concatenation of all pieces is one IPC stream, schema first.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ArrowChunk {
    /// IPC bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub ipc: Bytes,
}

/// The rows of one tablet that mutations numbered in `(from, to]` touched, in Arrow: the asked columns of the old
/// image, where there is one, then of the new image, where there is one, marked by a last column
/// [`IMAGE_COLUMN`] (int8: 0 old, 1 new). Rows whose asked columns are equal in both images are left out.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ChangesRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// Exclusive.
    #[prost(uint64, tag = "2")]
    pub from: u64,
    /// Inclusive, with the runs that lead there; must be a version that exists.
    #[prost(message, optional, tag = "3")]
    pub to: Option<ReadAt>,
    /// Columns by name.
    #[prost(string, repeated, tag = "4")]
    pub columns: Vec<String>,
    /// Only keys within this range; absent: all.
    #[prost(message, optional, tag = "5")]
    pub range: Option<WireRange>,
}

/// Name of the column that tells a change's images apart.
pub const IMAGE_COLUMN: &str = "_image";
/// [`IMAGE_COLUMN`] of a row as it was.
pub const OLD_IMAGE: i8 = 0;
/// [`IMAGE_COLUMN`] of a row as it is.
pub const NEW_IMAGE: i8 = 1;

/// Stages a run's difference at one tablet of a derived table. May be called several times for one run; `part` makes
/// a repetition harmless.
#[derive(Clone, PartialEq, prost::Message)]
pub struct StageRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// [`RunId`].
    #[prost(uint64, tag = "2")]
    pub run: u64,
    /// Counts this run's stage calls at this tablet, from 0.
    #[prost(uint32, tag = "3")]
    pub part: u32,
    /// What the run writes and deletes.
    #[prost(message, repeated, tag = "4")]
    pub rows: Vec<WireRowMutation>,
}

/// Tells a tablet that runs were published, in version order.
#[derive(Clone, PartialEq, prost::Message)]
pub struct ApplyRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// Oldest first.
    #[prost(message, repeated, tag = "2")]
    pub runs: Vec<RunVersion>,
}

/// Tells a tablet that Raft has recorded a run as aborted.
#[derive(Clone, PartialEq, prost::Message)]
pub struct DropStagedRequest {
    /// Which tablet.
    #[prost(message, optional, tag = "1")]
    pub target: Option<Target>,
    /// [`RunId`].
    #[prost(uint64, tag = "2")]
    pub run: u64,
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

#[cfg(test)]
mod tests {
    use super::*;
    use prost::Message;

    #[test]
    fn a_read_is_the_same_behind_the_wire() {
        let (family, q) = (FamilyId(3), Bytes::from_static(b"q"));
        let range = ColumnRange { family, start: q.clone(), end: None };
        let kinds = [Columns::All, Columns::Some(vec![(family, None), (family, Some(q.clone()))]), Columns::Ranges(vec![range])];
        for columns in kinds {
            let spec = ReadSpec { columns, cell_offset: 2, cell_limit: 5, ..ReadSpec::row(b"k") };
            assert_eq!(ReadSpec::from(WireReadSpec::from(spec.clone())), spec);
        }
        let listed = Columns::Some(vec![(family, None), (family, Some(q.clone()))]);
        let all = listed.ranges().unwrap();
        assert_eq!(all, [ColumnRange::family(family), ColumnRange::column(family, &q)]);
        assert!(all[1].contains(family, b"q") && !all[1].contains(family, b"q\0") && !all[1].contains(FamilyId(4), b"q"));
    }

    #[test]
    fn mutations_are_the_same_behind_the_wire() {
        let (family, qualifier) = (FamilyId(3), Bytes::from_static(b"q"));
        let combine = |aggregate| Mutation::Combine { family, qualifier: qualifier.clone(), timestamp: Micros(-5), aggregate, value: -7 };
        let set = Mutation::Set { family, qualifier: qualifier.clone(), timestamp: None, value: Bytes::from_static(b"v") };
        let delete = Mutation::DeleteColumn { family, qualifier: qualifier.clone(), timestamps: TimeRange::ALL };
        let mut all = vec![set, delete, Mutation::DeleteFamily { family }, Mutation::DeleteRow];
        all.extend([Aggregate::Sum, Aggregate::Min, Aggregate::Max].map(combine));
        for m in all {
            let bytes = WireMutation::from(m.clone()).encode_to_vec();
            assert_eq!(Mutation::try_from(WireMutation::decode(bytes.as_slice()).unwrap()).unwrap(), m);
        }
        let wire = WireMutation::from(combine(Aggregate::Sum));
        let wrong = [
            WireMutation { aggregate: 0, ..wire.clone() },
            WireMutation { aggregate: 4, ..wire.clone() },
            WireMutation { timestamp: None, ..wire.clone() },
            WireMutation { value: Bytes::from_static(b"1234567"), ..wire },
        ];
        for m in wrong {
            assert_eq!(Mutation::try_from(m).unwrap_err().kind, crate::ErrorKind::InvalidArgument);
        }
    }

    #[test]
    fn a_mutation_of_an_older_sender_is_still_read() {
        // Tags 1 to 5, as they were before there were aggregates: kind 0, family 3, "q", "v", timestamp 7.
        let bytes = [0x10, 3, 0x1a, 1, b'q', 0x22, 1, b'v', 0x28, 14];
        let set = Mutation::Set {
            family: FamilyId(3),
            qualifier: Bytes::from_static(b"q"),
            timestamp: Some(Micros(7)),
            value: Bytes::from_static(b"v"),
        };
        assert_eq!(Mutation::try_from(WireMutation::decode(bytes.as_slice()).unwrap()).unwrap(), set);
        assert_eq!(WireMutation::from(set).encode_to_vec(), bytes, "an older receiver reads what is sent");
    }
}
