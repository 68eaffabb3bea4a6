//! Cells, rows, mutations and read requests, as the engine and the wire see them: ids and bytes.

use crate::ids::{FamilyId, Seq};
use crate::key::KeyRange;
use crate::time::{Micros, TimeRange};
use crate::{Error, Result, limits};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;

/// One cell. Cells of a row are ordered by family, stored qualifier, then newest timestamp first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Its family.
    pub family: FamilyId,
    /// Its stored qualifier (see [`crate::schema::StoredQualifier`]).
    pub qualifier: Bytes,
    /// The user-visible version.
    pub timestamp: Micros,
    /// Its value.
    pub value: Bytes,
}

/// A row as a reader sees it: never empty, unless it was asked for with [`ReadSpec::keep_empty_rows`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// The row key.
    pub key: Bytes,
    /// Its cells in order.
    pub cells: Vec<Cell>,
}

impl Row {
    /// Bytes of key, qualifiers and values.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.key.len() + self.cells.iter().map(|c| c.qualifier.len() + c.value.len()).sum::<usize>()
    }
}

/// How an integer is combined with what a cell holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Aggregate {
    /// Added to it; beyond the range of 64 bits it wraps around, so that the order of additions never matters.
    Sum,
    /// The lower of both stays.
    Min,
    /// The higher of both stays.
    Max,
}

/// One change to a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Mutation {
    /// Sets a cell; without a timestamp the server gives one.
    Set {
        /// Its family.
        family: FamilyId,
        /// Its stored qualifier.
        qualifier: Bytes,
        /// `None`: the server's.
        timestamp: Option<Micros>,
        /// Its value.
        value: Bytes,
    },
    /// Combines an integer with the cell of this column and timestamp, without reading it first: writers do not wait for each
    /// other. A cell that does not exist, or holds no 8-byte big-endian integer, becomes the integer. Reads see the result, as
    /// an 8-byte big-endian integer.
    Combine {
        /// Its family.
        family: FamilyId,
        /// Its stored qualifier.
        qualifier: Bytes,
        /// The cell's: what has another timestamp is another cell.
        timestamp: Micros,
        /// How.
        aggregate: Aggregate,
        /// With what.
        value: i64,
    },
    /// Deletes the cells of a column within a range of timestamps (`TimeRange::ALL`: the column).
    DeleteColumn {
        /// The family.
        family: FamilyId,
        /// The stored qualifier.
        qualifier: Bytes,
        /// Which timestamps.
        timestamps: TimeRange,
    },
    /// Deletes all cells of a family.
    DeleteFamily {
        /// The family.
        family: FamilyId,
    },
    /// Deletes the row.
    DeleteRow,
}

/// Changes to one row, applied together or not at all.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RowMutation {
    /// The row key.
    pub key: Bytes,
    /// In order: a later delete removes earlier sets of this mutation, a later set stays.
    pub mutations: Vec<Mutation>,
}

impl RowMutation {
    /// Checks key, qualifiers and values against [`limits`], and that each cell is combined in one way only.
    ///
    /// # Errors
    /// `InvalidArgument`, naming the size and the limit.
    pub fn check(&self) -> Result<()> {
        crate::key::check_key(&self.key)?;
        if self.mutations.is_empty() {
            return Err(Error::invalid("a row mutation without changes"));
        }
        self.mutations.iter().try_for_each(|m| match m {
            Mutation::Set { value, .. } if value.len() > limits::MAX_CELL_BYTES => {
                Err(Error::invalid(format!("a value of {} bytes; at most {} are allowed", value.len(), limits::MAX_CELL_BYTES)))
            }
            // One byte of a stored qualifier is its tag.
            Mutation::Set { qualifier, .. } | Mutation::Combine { qualifier, .. } | Mutation::DeleteColumn { qualifier, .. }
                if qualifier.len() > limits::MAX_QUALIFIER_BYTES + 1 =>
            {
                Err(Error::invalid(format!(
                    "a qualifier of {} bytes; at most {} are allowed",
                    qualifier.len() - 1,
                    limits::MAX_QUALIFIER_BYTES
                )))
            }
            _ => Ok(()),
        })?;
        self.check_aggregates()
    }

    /// A row mutation has one number, and so one stored cell of each column and timestamp.
    fn check_aggregates(&self) -> Result<()> {
        let mut seen = HashMap::new();
        for m in &self.mutations {
            if let Mutation::Combine { family, qualifier, timestamp, aggregate, .. } = m
                && *seen.entry((family, qualifier, timestamp)).or_insert(aggregate) != aggregate
            {
                let text = format!("two aggregates of one cell in one row mutation (column {qualifier:?}): send them one after the other");
                return Err(Error::invalid(text));
            }
        }
        Ok(())
    }

    /// Bytes of key, qualifiers and values, with a constant for each change: what budgets count.
    #[must_use]
    pub fn weight(&self) -> usize {
        const OVERHEAD: usize = 32;
        let change = |m: &Mutation| match m {
            Mutation::Set { qualifier, value, .. } => OVERHEAD + qualifier.len() + value.len(),
            Mutation::Combine { qualifier, .. } => OVERHEAD + qualifier.len() + size_of::<i64>(),
            Mutation::DeleteColumn { qualifier, .. } => OVERHEAD + qualifier.len(),
            Mutation::DeleteFamily { .. } | Mutation::DeleteRow => OVERHEAD,
        };
        OVERHEAD + self.key.len() + self.mutations.iter().map(change).sum::<usize>()
    }
}

/// Which columns a read returns.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Columns {
    /// All of them.
    #[default]
    All,
    /// Whole families and single columns (`None`: the family).
    Some(Vec<(FamilyId, Option<Bytes>)>),
    /// Ranges of qualifiers: for rows with very many columns.
    Ranges(Vec<ColumnRange>),
}

/// The columns of one family whose stored qualifiers lie within `[start, end)`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ColumnRange {
    /// The family.
    pub family: FamilyId,
    /// First stored qualifier inside.
    pub start: Bytes,
    /// First stored qualifier after; `None`: unbounded.
    pub end: Option<Bytes>,
}

impl ColumnRange {
    /// All columns of a family.
    #[must_use]
    pub fn family(family: FamilyId) -> Self {
        Self { family, start: Bytes::new(), end: None }
    }

    /// One column.
    #[must_use]
    pub fn column(family: FamilyId, qualifier: &Bytes) -> Self {
        let KeyRange { end, .. } = KeyRange::single(qualifier);
        Self { family, start: qualifier.clone(), end }
    }

    /// Whether a column lies inside.
    #[must_use]
    pub fn contains(&self, family: FamilyId, qualifier: &[u8]) -> bool {
        self.family == family && self.start.as_ref() <= qualifier && self.end.as_ref().is_none_or(|end| qualifier < end.as_ref())
    }
}

impl Columns {
    /// Whether a column is wanted.
    #[must_use]
    pub fn wants(&self, family: FamilyId, qualifier: &[u8]) -> bool {
        match self {
            Self::All => true,
            Self::Some(list) => list.iter().any(|(f, q)| *f == family && q.as_ref().is_none_or(|q| q.as_ref() == qualifier)),
            Self::Ranges(list) => list.iter().any(|r| r.contains(family, qualifier)),
        }
    }

    /// The same as ranges; `None`: all columns.
    #[must_use]
    pub fn ranges(&self) -> Option<Vec<ColumnRange>> {
        let range = |(family, qualifier): &(FamilyId, Option<Bytes>)| match qualifier {
            None => ColumnRange::family(*family),
            Some(q) => ColumnRange::column(*family, q),
        };
        match self {
            Self::All => None,
            Self::Some(list) => Some(list.iter().map(range).collect()),
            Self::Ranges(list) => Some(list.clone()),
        }
    }
}

/// What to read: key ranges in any order (merged and read in key order), and what of each row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadSpec {
    /// The rows wanted. Empty: none.
    pub ranges: Vec<KeyRange>,
    /// Largest key first.
    pub reverse: bool,
    /// Which columns. A row with none of them is not returned, unless `keep_empty_rows`.
    pub columns: Columns,
    /// A row that has a visible cell within `timestamps` in any column is returned even if it has none in the wanted
    /// `columns`: then with its key and no cells. Scans set it, for a typed row exists whichever columns are asked for;
    /// with `Columns::Some` of nothing it reads the keys alone.
    pub keep_empty_rows: bool,
    /// Which cell timestamps.
    pub timestamps: TimeRange,
    /// Newest n cells of each column; 0 for all.
    pub cells_per_column: u32,
    /// Cells of each row that are left out, from its first: counted among those that all of the above leaves.
    pub cell_offset: u32,
    /// Cells of each row at most, after `cell_offset`; 0 for all.
    pub cell_limit: u32,
    /// Rows at most; 0 for all.
    pub row_limit: u64,
    /// Hint: rows outside this range of event times are not wanted. They may still be returned, where the row key holds no
    /// event time; where it does, SSTables of other times are not opened.
    pub event_time: Option<TimeRange>,
}

impl Default for ReadSpec {
    fn default() -> Self {
        Self {
            ranges: vec![KeyRange::ALL],
            reverse: false,
            columns: Columns::All,
            keep_empty_rows: false,
            timestamps: TimeRange::ALL,
            cells_per_column: 1,
            cell_offset: 0,
            cell_limit: 0,
            row_limit: 0,
            event_time: None,
        }
    }
}

impl ReadSpec {
    /// One row, newest cells.
    #[must_use]
    pub fn row(key: &[u8]) -> Self {
        Self::range(KeyRange::single(key))
    }

    /// One range, newest cells.
    #[must_use]
    pub fn range(range: KeyRange) -> Self {
        Self { ranges: vec![range], ..Self::default() }
    }
}

/// A row that mutations numbered in `(from, to]` touched, as visible at both ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowChange {
    /// The row key.
    pub key: Bytes,
    /// The row at `from`; `None` if it did not exist.
    pub old: Option<Row>,
    /// The row at `to`; `None` if it does not exist.
    pub new: Option<Row>,
}

/// What became of one row mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Committed {
    /// Its number.
    pub seq: Seq,
    /// The timestamp given to its cells that named none.
    pub timestamp: Micros,
}
