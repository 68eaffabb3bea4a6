//! A row mutation as it is stored: reduced to deletes, then sets.

use bytes::Bytes;
use common::ids::FamilyId;
use common::row::{Aggregate, Mutation, RowMutation};
use common::time::{Micros, TimeRange};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What a delete hides, of strictly lower seqs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Delete {
    /// The row.
    Row,
    /// A family.
    Family(FamilyId),
    /// A column within `[start, end)` of cell timestamps; `end = Micros::MAX` includes it.
    Column {
        /// The family.
        family: FamilyId,
        /// The stored qualifier.
        qualifier: Bytes,
        /// First timestamp inside.
        start: Micros,
        /// First timestamp after.
        end: Micros,
    },
}

impl Delete {
    /// Whether it names this cell, whatever the seqs.
    #[must_use]
    pub fn covers(&self, in_family: FamilyId, column: &[u8], timestamp: Micros) -> bool {
        match self {
            Self::Row => true,
            Self::Family(family) => *family == in_family,
            Self::Column { family, qualifier, start, end } => {
                *family == in_family && qualifier.as_ref() == column && TimeRange { start: *start, end: *end }.contains(timestamp)
            }
        }
    }
}

/// What a cell's value is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[repr(u8)]
pub enum CellKind {
    /// The value itself: it replaces what lies below.
    #[default]
    Value = 0,
    /// An 8-byte big-endian integer to add to what lies below it.
    Sum = 1,
    /// As [`Self::Sum`], but the lower of both stays.
    Min = 2,
    /// As [`Self::Sum`], but the higher of both stays.
    Max = 3,
}

impl CellKind {
    /// As it is stored.
    #[must_use]
    pub fn byte(self) -> u8 {
        self as u8
    }

    /// What a stored byte means.
    #[must_use]
    pub fn of(byte: u8) -> Option<Self> {
        [Self::Value, Self::Sum, Self::Min, Self::Max].get(usize::from(byte)).copied()
    }
}

impl From<Aggregate> for CellKind {
    fn from(aggregate: Aggregate) -> Self {
        match aggregate {
            Aggregate::Sum => Self::Sum,
            Aggregate::Min => Self::Min,
            Aggregate::Max => Self::Max,
        }
    }
}

/// A value laid over what lies below it. Sums wrap around: so they may be added up in any order.
pub(crate) fn combine(kind: CellKind, below: Option<i64>, value: Option<i64>) -> Option<i64> {
    let (Some(a), Some(b)) = (below, value) else { return value.or(below) };
    Some(match kind {
        CellKind::Value => b,
        CellKind::Sum => a.wrapping_add(b),
        CellKind::Min => a.min(b),
        CellKind::Max => a.max(b),
    })
}

/// An 8-byte big-endian integer.
pub(crate) fn integer(value: &[u8]) -> Option<i64> {
    value.try_into().ok().map(i64::from_be_bytes)
}

/// An integer as cells hold it.
pub(crate) fn integer_bytes(n: i64) -> Bytes {
    Bytes::copy_from_slice(&n.to_be_bytes())
}

/// A cell over the next lower one of its place and timestamp, as one; `None` if only both say what they say: they are
/// aggregates of different kinds, or hold no integer.
pub(crate) fn joined(above: (CellKind, &[u8]), below: (CellKind, &[u8])) -> Option<(CellKind, Bytes)> {
    let ((kind, value), (kind_below, value_below)) = (above, below);
    if kind == CellKind::Value || (kind_below != kind && kind_below != CellKind::Value) {
        return None;
    }
    let (added, held) = (integer(value)?, integer(value_below));
    // A plain value that is no integer counts as none.
    if held.is_none() && kind_below != CellKind::Value {
        return None;
    }
    combine(kind, held, Some(added)).map(|n| (kind_below, integer_bytes(n)))
}

/// A cell that a row mutation sets.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredCell {
    /// Its family.
    pub family: FamilyId,
    /// Its stored qualifier.
    pub qualifier: Bytes,
    /// Its timestamp.
    pub timestamp: Micros,
    /// What its value is.
    pub kind: CellKind,
    /// Its value.
    pub value: Bytes,
}

/// A reduced row mutation: its deletes come before its sets, all with one seq.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredRow {
    /// The row key.
    pub key: Bytes,
    /// Sorted, each once.
    pub deletes: Vec<Delete>,
    /// Sorted by family, qualifier, newest timestamp first; no two alike.
    pub cells: Vec<StoredCell>,
}

/// Bytes of memory that a row takes beyond its key and changes, about.
const ROW: usize = 96;
/// Bytes of memory that a change takes beyond its qualifier and value, about.
const CHANGE: usize = 88;

/// A cell's place in a row: family, qualifier, newest timestamp first.
type Place = (FamilyId, Bytes, std::cmp::Reverse<Micros>);

impl StoredRow {
    /// Reduces a row mutation: a later delete removes its earlier sets, a later set replaces an earlier
    /// one of the same cell, an aggregate is combined with it. `given` is the timestamp of sets that name none.
    #[must_use]
    pub fn reduce(row: RowMutation, given: Micros) -> Self {
        let mut reducer = Reducer::default();
        for m in row.mutations {
            match m {
                Mutation::Set { family, qualifier, timestamp, value } => {
                    reducer.set(StoredCell { family, qualifier, timestamp: timestamp.unwrap_or(given), kind: CellKind::Value, value });
                }
                Mutation::Combine { family, qualifier, timestamp, aggregate, value } => {
                    reducer.set(StoredCell { family, qualifier, timestamp, kind: aggregate.into(), value: integer_bytes(value) });
                }
                Mutation::DeleteColumn { family, qualifier, timestamps: TimeRange { start, end } } => {
                    reducer.delete(Delete::Column { family, qualifier, start, end });
                }
                Mutation::DeleteFamily { family } => reducer.delete(Delete::Family(family)),
                Mutation::DeleteRow => reducer.delete(Delete::Row),
            }
        }
        reducer.finish(row.key)
    }

    /// Bytes in memory of a row mutation before it is reduced: at least its [`Self::weight`] after.
    #[must_use]
    pub fn weight_before(key: &Bytes, mutations: &[Mutation]) -> usize {
        let change = |m: &Mutation| match m {
            Mutation::Set { qualifier, value, .. } => CHANGE + qualifier.len() + value.len(),
            Mutation::Combine { qualifier, .. } => CHANGE + qualifier.len() + size_of::<i64>(),
            Mutation::DeleteColumn { qualifier, .. } => CHANGE + qualifier.len(),
            Mutation::DeleteFamily { .. } | Mutation::DeleteRow => CHANGE,
        };
        ROW + key.len() + mutations.iter().map(change).sum::<usize>()
    }

    /// This mutation followed by `later` of the same key, as one.
    #[must_use]
    pub fn then(self, later: Self) -> Self {
        let mut reducer = Reducer { deletes: self.deletes, sets: BTreeMap::new() };
        self.cells.into_iter().for_each(|c| reducer.set(c));
        later.deletes.into_iter().for_each(|d| reducer.delete(d));
        later.cells.into_iter().for_each(|c| reducer.set(c));
        reducer.finish(self.key)
    }

    /// Bytes in memory, about: what budgets count.
    #[must_use]
    pub fn weight(&self) -> usize {
        let deletes = self.deletes.iter().map(|d| match d {
            Delete::Column { qualifier, .. } => CHANGE + qualifier.len(),
            _ => CHANGE,
        });
        let cells = self.cells.iter().map(|c| CHANGE + c.qualifier.len() + c.value.len());
        ROW + self.key.len() + deletes.sum::<usize>() + cells.sum::<usize>()
    }
}

#[derive(Default)]
struct Reducer {
    deletes: Vec<Delete>,
    sets: BTreeMap<Place, (CellKind, Bytes)>,
}

impl Reducer {
    fn set(&mut self, c: StoredCell) {
        let place = (c.family, c.qualifier, std::cmp::Reverse(c.timestamp));
        // Of two kinds, which a row mutation's check refuses, the later stays.
        let both = self.sets.get(&place).and_then(|(kind, value)| joined((c.kind, &c.value), (*kind, value)));
        self.sets.insert(place, both.unwrap_or((c.kind, c.value)));
    }

    fn delete(&mut self, d: Delete) {
        self.sets.retain(|(family, qualifier, at), _| !d.covers(*family, qualifier, at.0));
        self.deletes.push(d);
    }

    fn finish(mut self, key: Bytes) -> StoredRow {
        self.deletes.sort_unstable();
        self.deletes.dedup();
        let cell = |((family, qualifier, timestamp), (kind, value)): (Place, (CellKind, Bytes))| StoredCell {
            family,
            qualifier,
            timestamp: timestamp.0,
            kind,
            value,
        };
        StoredRow { key, deletes: self.deletes, cells: self.sets.into_iter().map(cell).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(q: &'static str, t: i64, v: &'static str) -> Mutation {
        Mutation::Set {
            family: FamilyId(1),
            qualifier: Bytes::from_static(q.as_bytes()),
            timestamp: (t != 0).then_some(Micros(t)),
            value: Bytes::from_static(v.as_bytes()),
        }
    }

    fn reduce(mutations: Vec<Mutation>) -> StoredRow {
        StoredRow::reduce(RowMutation { key: Bytes::from_static(b"k"), mutations }, Micros(9))
    }

    #[test]
    fn a_later_delete_removes_earlier_sets_and_a_later_set_stays() {
        let row = reduce(vec![set("a", 1, "old"), Mutation::DeleteRow, set("a", 0, "x"), set("a", 9, "y"), set("b", 3, "z")]);
        assert_eq!(row.deletes, [Delete::Row]);
        let cells: Vec<_> = row.cells.iter().map(|c| (c.qualifier.as_ref(), c.timestamp.0, c.value.as_ref())).collect();
        assert_eq!(cells, [(&b"a"[..], 9, &b"y"[..]), (b"b", 3, b"z")]);
    }

    #[test]
    fn aggregates_are_combined_with_what_stands_before_them() {
        let add = |aggregate, value| Mutation::Combine {
            family: FamilyId(1),
            qualifier: Bytes::from_static(b"a"),
            timestamp: Micros(9),
            aggregate,
            value,
        };
        let cell = |mutations| match &reduce(mutations).cells[..] {
            [one] => (one.kind, integer(&one.value).unwrap()),
            other => panic!("{other:?}"),
        };
        let sum = |n| add(Aggregate::Sum, n);
        assert_eq!(cell(vec![sum(3), sum(4)]), (CellKind::Sum, 7));
        assert_eq!(cell(vec![sum(i64::MAX), sum(1)]), (CellKind::Sum, i64::MIN), "it wraps around");
        assert_eq!(cell(vec![add(Aggregate::Min, 3), add(Aggregate::Min, 4)]), (CellKind::Min, 3));
        assert_eq!(cell(vec![add(Aggregate::Max, 3), add(Aggregate::Max, 4)]), (CellKind::Max, 4));
        assert_eq!(cell(vec![sum(3), Mutation::DeleteRow, sum(4)]), (CellKind::Sum, 4));
        // The set gets the timestamp 9 too.
        assert_eq!(cell(vec![sum(3), set("a", 0, "text"), sum(4)]), (CellKind::Value, 4));
        assert_eq!(cell(vec![set("a", 9, "\0\0\0\0\0\0\0\u{5}"), sum(4)]), (CellKind::Value, 9));
    }

    #[test]
    fn two_mutations_of_one_seq_join_in_order() {
        let (a, b) = (
            reduce(vec![set("a", 1, "1"), set("b", 1, "1")]),
            reduce(vec![Mutation::DeleteFamily { family: FamilyId(1) }, set("b", 1, "2")]),
        );
        let both = reduce(vec![set("a", 1, "1"), set("b", 1, "1"), Mutation::DeleteFamily { family: FamilyId(1) }, set("b", 1, "2")]);
        assert_eq!(a.then(b), both);
    }
}
