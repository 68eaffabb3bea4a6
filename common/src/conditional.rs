//! Writes of one row that depend on what the row holds: conditional writes and read-modify-writes.
//!
//! Both are evaluated on the row as all mutations numbered before leave it, and numbered at once.

use crate::ids::FamilyId;
use crate::row::{Cell, ColumnRange, Columns, Committed, Mutation, Row};
use crate::time::{Micros, TimeRange};
use crate::{Error, Result, limits};
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::ops::Bound;

/// Predicates may be nested this deep. Bigtable's limit for filters.
pub const MAX_PREDICATE_DEPTH: usize = 20;

/// What is asked of a value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ValueTest {
    /// Nothing.
    Any,
    /// It lies within these bounds, compared byte by byte.
    Between(Bound<Bytes>, Bound<Bytes>),
    /// It is an 8-byte big-endian integer from the first to the second, both included.
    Int64(i64, i64),
    /// It begins with these bytes.
    StartsWith(Bytes),
}

impl ValueTest {
    /// The value is this one.
    #[must_use]
    pub fn equals(value: impl Into<Bytes>) -> Self {
        let value = value.into();
        Self::Between(Bound::Included(value.clone()), Bound::Included(value))
    }

    /// Whether a value passes.
    #[must_use]
    pub fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Any => true,
            Self::Between(from, to) => {
                let above = match from {
                    Bound::Included(from) => from.as_ref() <= value,
                    Bound::Excluded(from) => from.as_ref() < value,
                    Bound::Unbounded => true,
                };
                above
                    && match to {
                        Bound::Included(to) => value <= to.as_ref(),
                        Bound::Excluded(to) => value < to.as_ref(),
                        Bound::Unbounded => true,
                    }
            }
            Self::Int64(from, to) => value.try_into().is_ok_and(|v| (*from..=*to).contains(&i64::from_be_bytes(v))),
            Self::StartsWith(prefix) => value.starts_with(prefix),
        }
    }
}

/// True if the row has a visible cell of this kind.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CellTest {
    /// In one of these columns.
    pub columns: Columns,
    /// With such a timestamp.
    pub timestamps: TimeRange,
    /// Among the newest n of its column within `timestamps`; 0: any version.
    pub cells_per_column: u32,
    /// With such a value.
    pub value: ValueTest,
}

impl CellTest {
    /// The newest cell of a column has a value that passes.
    #[must_use]
    pub fn newest(family: FamilyId, qualifier: Bytes, value: ValueTest) -> Self {
        let columns = Columns::Some(vec![(family, Some(qualifier))]);
        Self { columns, timestamps: TimeRange::ALL, cells_per_column: 1, value }
    }

    /// The row has a cell at all.
    #[must_use]
    pub fn exists() -> Self {
        Self { columns: Columns::All, timestamps: TimeRange::ALL, cells_per_column: 1, value: ValueTest::Any }
    }
}

/// What a conditional write asks of a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Predicate {
    /// Such a cell exists.
    Cell(CellTest),
    /// All of them hold.
    All(Vec<Predicate>),
    /// At least one of them holds.
    OneOf(Vec<Predicate>),
    /// It does not hold.
    Not(Box<Predicate>),
}

impl Predicate {
    /// Its tests, in order.
    #[must_use]
    pub fn tests(&self) -> Vec<&CellTest> {
        match self {
            Self::Cell(test) => vec![test],
            Self::All(list) | Self::OneOf(list) => list.iter().flat_map(Self::tests).collect(),
            Self::Not(inner) => inner.tests(),
        }
    }

    /// Whether it holds, `cell` saying it of its tests.
    pub fn holds(&self, cell: &mut impl FnMut(&CellTest) -> bool) -> bool {
        match self {
            Self::Cell(test) => cell(test),
            Self::All(list) => list.iter().all(|p| p.holds(cell)),
            Self::OneOf(list) => list.iter().any(|p| p.holds(cell)),
            Self::Not(inner) => !inner.holds(cell),
        }
    }

    /// The columns that it looks at.
    #[must_use]
    pub fn columns(&self) -> Columns {
        let ranges: Option<Vec<Vec<ColumnRange>>> = self.tests().iter().map(|t| t.columns.ranges()).collect();
        ranges.map_or(Columns::All, |ranges| Columns::Ranges(ranges.concat()))
    }

    /// Checks its depth.
    ///
    /// # Errors
    /// `InvalidArgument` if it is nested more than [`MAX_PREDICATE_DEPTH`] deep.
    pub fn check(&self) -> Result<()> {
        self.check_depth(MAX_PREDICATE_DEPTH)
    }

    fn check_depth(&self, left: usize) -> Result<()> {
        let too_deep = || Error::invalid(format!("a predicate nested more than {MAX_PREDICATE_DEPTH} deep"));
        let left = left.checked_sub(1).ok_or_else(too_deep)?;
        match self {
            Self::Cell(_) => Ok(()),
            Self::All(list) | Self::OneOf(list) => list.iter().try_for_each(|p| p.check_depth(left)),
            Self::Not(inner) => inner.check_depth(left),
        }
    }
}

/// A conditional write: one of two lists of mutations, as the predicate decides.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckAndMutate {
    /// The row.
    pub key: Bytes,
    /// What decides.
    pub predicate: Predicate,
    /// Applied if the predicate holds; may be empty.
    pub then: Vec<Mutation>,
    /// Applied if it does not; may be empty, but not both.
    pub otherwise: Vec<Mutation>,
}

/// What became of a conditional write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Checked {
    /// Whether the predicate held.
    pub matched: bool,
    /// Number and timestamp of what was written; `None` if the mutations to apply were none.
    pub committed: Option<Committed>,
}

/// What a read-modify-write does to a column's newest value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Modify {
    /// Adds bytes to its end; no value counts as an empty one.
    Append(Bytes),
    /// Adds to an 8-byte big-endian integer; no value counts as 0.
    Increment(i64),
}

impl Modify {
    /// The new value.
    ///
    /// # Errors
    /// `FailedPrecondition` if the old one is no integer, if the sum overflows, or if the new one is above
    /// [`limits::MAX_CELL_BYTES`].
    pub fn apply(&self, old: Option<&Bytes>) -> Result<Bytes> {
        match self {
            Self::Append(tail) => {
                let old = old.map_or(&[][..], |b| b.as_ref());
                let (before, more, most) = (old.len(), tail.len(), limits::MAX_CELL_BYTES);
                if before + more > most {
                    return Err(Error::refused(format!("an append of {more} bytes to a value of {before}: at most {most} are allowed")));
                }
                Ok([old, tail.as_ref()].concat().into())
            }
            Self::Increment(by) => {
                let now = old.map_or(Ok(0), |old| counter(old))?;
                let overflow = || Error::refused(format!("an increment of {now} by {by} leaves the range of int64"));
                let sum = now.checked_add(*by).ok_or_else(overflow)?;
                Ok(Bytes::copy_from_slice(&sum.to_be_bytes()))
            }
        }
    }
}

fn counter(value: &[u8]) -> Result<i64> {
    let wide = value.try_into().map_err(|_| {
        Error::refused(format!("an increment of a value of {} bytes: a counter is an 8-byte big-endian integer", value.len()))
    })?;
    Ok(i64::from_be_bytes(wide))
}

/// One rule of a read-modify-write.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModifyRule {
    /// The family.
    pub family: FamilyId,
    /// The stored qualifier.
    pub qualifier: Bytes,
    /// What is done.
    pub modify: Modify,
}

/// Changes the newest values of a row's columns. The rules apply in order; each column gets one new cell, whose timestamp
/// is the given one or that of the newest cell, whichever is later (then it replaces that cell).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadModifyWrite {
    /// The row.
    pub key: Bytes,
    /// At least one.
    pub rules: Vec<ModifyRule>,
    /// The timestamp of new cells; `None`: the server's.
    pub timestamp: Option<Micros>,
}

impl ReadModifyWrite {
    /// An increment of one counter.
    #[must_use]
    pub fn increment(key: impl Into<Bytes>, family: FamilyId, qualifier: Bytes, by: i64) -> Self {
        Self { key: key.into(), rules: vec![ModifyRule { family, qualifier, modify: Modify::Increment(by) }], timestamp: None }
    }
}

/// What became of a read-modify-write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Modified {
    /// The changed columns with their new cells, in order.
    pub row: Row,
    /// Number and given timestamp.
    pub committed: Committed,
}

impl Modified {
    /// The new cell of a column.
    #[must_use]
    pub fn cell(&self, family: FamilyId, qualifier: &[u8]) -> Option<&Cell> {
        self.row.cells.iter().find(|c| c.family == family && c.qualifier == qualifier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn increments_refuse_what_is_no_counter_and_what_overflows() {
        let number = |n: i64| Bytes::copy_from_slice(&n.to_be_bytes());
        let add = |old: Option<Bytes>, by| Modify::Increment(by).apply(old.as_ref());
        assert_eq!(add(None, -3).unwrap(), number(-3));
        assert_eq!(add(Some(number(40)), 2).unwrap(), number(42));
        assert!(add(Some(number(i64::MAX)), 1).unwrap_err().message.contains("leaves the range"));
        assert!(add(Some(Bytes::from_static(b"abc")), 1).unwrap_err().message.contains("3 bytes"));
        assert_eq!(Modify::Append(Bytes::from_static(b"cd")).apply(Some(&Bytes::from_static(b"ab"))).unwrap(), "abcd");
    }

    #[test]
    fn predicates_are_built_of_tests_of_cells() {
        let test = |value| Predicate::Cell(CellTest { value, ..CellTest::exists() });
        let holds = |p: &Predicate, value: &[u8]| p.holds(&mut |t: &CellTest| t.value.holds(value));
        let between = ValueTest::Between(Bound::Excluded("b".into()), Bound::Included("d".into()));
        assert!(!holds(&test(between.clone()), b"b") && holds(&test(between.clone()), b"ba") && !holds(&test(between), b"da"));
        assert!(holds(&test(ValueTest::Int64(-1, 1)), &[0; 8]) && !holds(&test(ValueTest::Int64(-1, 1)), &[0; 7]));
        let either = Predicate::OneOf(vec![test(ValueTest::equals("a")), test(ValueTest::StartsWith("b".into()))]);
        let not = Predicate::Not(Box::new(either.clone()));
        let both = Predicate::All(vec![either, test(ValueTest::Any)]);
        assert!(holds(&both, b"a") && holds(&both, b"bb") && !holds(&both, b"ab") && holds(&not, b"ab"));
        let deep = (0..30).fold(test(ValueTest::Any), |p, _| Predicate::Not(Box::new(p)));
        assert!(deep.check().is_err() && both.check().is_ok());
    }
}
