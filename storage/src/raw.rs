//! Rows as sources give them: every version and delete, with seqs, not yet judged.

use crate::event_time::EventTimes;
use crate::format::{CellKind, Delete};
use bytes::Bytes;
use common::ids::{FamilyId, Seq};
use common::key::KeyRange;
use common::row::Columns;
use common::time::Micros;
use std::cmp::Ordering;

/// A version of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RawCell {
    pub(crate) family: FamilyId,
    pub(crate) qualifier: Bytes,
    pub(crate) timestamp: Micros,
    pub(crate) seq: Seq,
    /// Of equal place and timestamp, what is not a plain value is combined with what has lower seqs.
    pub(crate) kind: CellKind,
    pub(crate) value: Bytes,
}

impl RawCell {
    pub(crate) fn same_column(&self, other: &Self) -> bool {
        self.family == other.family && self.qualifier == other.qualifier
    }

    /// Family, qualifier, newest timestamp first, highest seq first.
    pub(crate) fn order(&self, other: &Self) -> Ordering {
        (self.family.cmp(&other.family))
            .then_with(|| self.qualifier.cmp(&other.qualifier))
            .then_with(|| other.timestamp.cmp(&self.timestamp))
            .then_with(|| other.seq.cmp(&self.seq))
    }
}

/// A delete with its seq.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RawDelete {
    pub(crate) what: Delete,
    pub(crate) seq: Seq,
}

/// A row: cells in [order](RawCell::order), deletes in any.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct RawRow {
    pub(crate) key: Bytes,
    pub(crate) cells: Vec<RawCell>,
    pub(crate) deletes: Vec<RawDelete>,
    /// Seqs of the row-range deletes that cover the key, in any order. They are never written out as row deletes.
    pub(crate) covers: Vec<Seq>,
}

impl RawRow {
    /// Joins what another source has of the same row.
    pub(crate) fn join(&mut self, mut other: Self) {
        if self.cells.is_empty() {
            self.cells = other.cells;
        } else if !other.cells.is_empty() {
            self.cells.append(&mut other.cells);
            self.cells.sort_by(RawCell::order);
        }
        self.deletes.append(&mut other.deletes);
        self.covers.append(&mut other.covers);
    }

    /// Whether some change to it is numbered in `(from, to]`.
    pub(crate) fn touched(&self, from: Seq, to: Seq) -> bool {
        let inside = |seq: Seq| from < seq && seq <= to;
        self.cells.iter().any(|c| inside(c.seq)) || self.deletes.iter().any(|d| inside(d.seq)) || self.covers.iter().any(|c| inside(*c))
    }

    /// Whether it says nothing of its own; what covers it lies elsewhere.
    pub(crate) fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.deletes.is_empty()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.key.len() + self.cells.iter().map(|c| 24 + c.qualifier.len() + c.value.len()).sum::<usize>() + 32 * self.deletes.len()
    }
}

/// What sources are asked for. They may give older cells and lower seqs than asked, but no other columns.
#[derive(Clone, Debug)]
pub(crate) struct Scan {
    /// Sorted and disjoint.
    pub(crate) ranges: Vec<KeyRange>,
    pub(crate) reverse: bool,
    pub(crate) columns: Columns,
    /// Cells of other columns are given too, without their values: whether a row exists hangs on them.
    pub(crate) others: bool,
    /// Nothing numbered above is wanted.
    pub(crate) at: Seq,
    /// Only what lies in blocks with some seq above is wanted.
    pub(crate) above: Seq,
    /// Cells older than this are not wanted and decide nothing.
    pub(crate) oldest: Micros,
    /// Which event times are wanted, where keys have one.
    pub(crate) event_times: Option<EventTimes>,
    /// Cells newer than this are not wanted and decide nothing: no rule counts them as versions.
    pub(crate) newest: Micros,
    /// What all keys of the ranges begin with, as `KeySchema::common_prefix` says it: a filter may know that there are none.
    pub(crate) prefix: Option<Bytes>,
    /// Whether blocks that are read stay in the cache.
    pub(crate) fill_cache: bool,
}

impl Scan {
    /// Everything in these ranges as of `at`, in key order.
    pub(crate) fn all(ranges: Vec<KeyRange>, at: Seq) -> Self {
        Self {
            ranges,
            reverse: false,
            columns: Columns::All,
            others: false,
            at,
            above: Seq::ZERO,
            oldest: Micros::MIN,
            event_times: None,
            newest: Micros::MAX,
            prefix: None,
            fill_cache: true,
        }
    }

    /// The ranges in the order of the scan.
    pub(crate) fn range(&self, i: usize) -> Option<&KeyRange> {
        if self.reverse { self.ranges.len().checked_sub(i + 1).map(|i| &self.ranges[i]) } else { self.ranges.get(i) }
    }
}

/// Clips ranges, sorts them and joins those that meet.
pub(crate) fn normalize(ranges: &[KeyRange], clip: &KeyRange) -> Vec<KeyRange> {
    let mut clipped: Vec<_> = ranges.iter().filter(|r| !r.is_empty()).filter_map(|r| r.intersect(clip)).collect();
    clipped.sort_by(|a, b| a.start.cmp(&b.start));
    let mut out: Vec<KeyRange> = Vec::with_capacity(clipped.len());
    for range in clipped {
        match out.last_mut() {
            Some(last) if last.end.as_ref().is_none_or(|end| *end >= range.start) => {
                last.end = match (last.end.take(), range.end) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            _ => out.push(range),
        }
    }
    out
}

/// The key of a range that holds exactly one.
pub(crate) fn single_key(range: &KeyRange) -> Option<&[u8]> {
    let end = range.end.as_deref()?;
    (end.len() == range.start.len() + 1 && end.ends_with(&[0]) && end.starts_with(&range.start)).then_some(range.start.as_ref())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(a: &'static str, b: &'static str) -> KeyRange {
        KeyRange::new(a, (!b.is_empty()).then(|| Bytes::from_static(b.as_bytes())))
    }

    #[test]
    fn ranges_are_clipped_sorted_and_joined() {
        let got = normalize(&[range("p", ""), range("c", "d"), range("a", "c"), range("x", "b"), range("d", "f")], &range("b", "q"));
        assert_eq!(got, [range("b", "f"), range("p", "q")]);
    }

    #[test]
    fn a_single_key_is_recognised() {
        assert_eq!(single_key(&KeyRange::single(b"ab")), Some(&b"ab"[..]));
        assert_eq!(single_key(&range("ab", "ac")), None);
    }
}
