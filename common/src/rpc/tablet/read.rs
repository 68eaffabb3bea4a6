//! Messages that read: rows by cells, and scans into Arrow.

use super::{ReadAt, Target, WireRange, WireTimes};
use crate::ids::FamilyId;
use crate::row::{Cell, ColumnRange, Columns, ReadSpec, Row};
use crate::time::{Micros, TimeRange};
use bytes::Bytes;

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

#[cfg(test)]
mod tests {
    use super::*;

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
}
