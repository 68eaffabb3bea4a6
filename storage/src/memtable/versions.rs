//! The mutations of one row: a few of them as they came, many of them as a map of cells.

use super::Entry;
use crate::format::{CellKind, CellRef, Delete, RowRef};
use crate::raw::{RawCell, RawDelete, Scan};
use bytes::Bytes;
use common::ids::{FamilyId, Seq};
use common::row::ColumnRange;
use common::time::{Micros, TimeRange};
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

/// Mutations of a row above which it becomes a map.
const FEW: usize = 32;

/// Family, qualifier, newest timestamp first, highest seq first: the order of cells.
type Place = (FamilyId, Bytes, Reverse<Micros>, Reverse<Seq>);

/// See the module's page.
#[derive(Clone, Debug)]
pub(crate) enum Versions {
    One(Entry),
    /// In seq order.
    Few(Vec<Entry>),
    Many(Box<Many>),
}

/// A row that was changed often.
#[derive(Clone, Debug, Default)]
pub(crate) struct Many {
    cells: BTreeMap<Place, (CellKind, Bytes)>,
    deletes: BTreeSet<(Delete, Reverse<Seq>)>,
}

/// Of each column the newest cells that can be seen, instead of all. Sound only if `hides` knows the row's deletes in
/// all sources: a delete elsewhere would show what was left out here.
pub(crate) struct Newest<'a> {
    /// Cells of a column, at least 1.
    pub(crate) cells: u32,
    /// Within these timestamps; newer ones are given too.
    pub(crate) timestamps: TimeRange,
    /// Whether a delete hides a cell of this column, timestamp and seq.
    pub(crate) hides: &'a dyn Fn(FamilyId, &Bytes, Micros, Seq) -> bool,
}

impl Versions {
    /// Adds a mutation whose seq is at or above all others.
    pub(crate) fn push(&mut self, entry: Entry) {
        match self {
            Self::One(first) => *self = Self::Few(vec![first.clone(), entry]),
            Self::Few(list) if list.len() < FEW => list.push(entry),
            Self::Few(list) => {
                let mut many = Box::<Many>::default();
                list.iter().for_each(|e| many.push(e));
                many.push(&entry);
                *self = Self::Many(many);
            }
            Self::Many(many) => many.push(&entry),
        }
    }

    /// Takes a mutation out again; true once none is left.
    pub(crate) fn remove(&mut self, entry: &Entry) -> bool {
        match self {
            Self::One(_) => true,
            Self::Few(list) => {
                list.retain(|e| e.seq != entry.seq);
                list.is_empty()
            }
            Self::Many(many) => {
                many.remove(entry);
                many.cells.is_empty() && many.deletes.is_empty()
            }
        }
    }

    /// Appends its deletes numbered in `(above, at]`.
    pub(crate) fn deletes(&self, above: Seq, at: Seq, out: &mut Vec<RawDelete>) {
        let mut add = |e: &Entry| {
            if above < e.seq && e.seq <= at {
                e.row().deletes(|what| out.push(RawDelete { what, seq: e.seq }));
            }
        };
        match self {
            Self::One(entry) => add(entry),
            Self::Few(list) => list.iter().for_each(add),
            Self::Many(many) => {
                let inside = many.deletes.iter().filter(|(_, seq)| above < seq.0 && seq.0 <= at);
                out.extend(inside.map(|(what, seq)| RawDelete { what: what.clone(), seq: seq.0 }));
            }
        }
    }

    /// Appends its deletes numbered up to `at`: of equal ones, as a row that is often locked has them, at least the highest,
    /// which decides.
    pub(crate) fn highest_deletes(&self, at: Seq, out: &mut Vec<RawDelete>) {
        match self {
            Self::Many(many) => many.highest_deletes(at, out),
            _ => self.deletes(Seq::ZERO, at, out),
        }
    }

    /// Appends what `scan` wants of its cells, in order if there were none before.
    pub(crate) fn cells(&self, scan: &Scan, newest: Option<&Newest<'_>>, out: &mut Vec<RawCell>) {
        let from = out.len();
        match self {
            Self::One(entry) => entry.cells(scan, out),
            Self::Few(list) => {
                list.iter().for_each(|e| e.cells(scan, out));
                out[from..].sort_by(RawCell::order);
            }
            Self::Many(many) => many.cells(scan, newest, out),
        }
    }
}

impl Entry {
    pub(super) fn cells(&self, scan: &Scan, out: &mut Vec<RawCell>) {
        if self.seq > scan.at || self.seq <= scan.above {
            return;
        }
        let row = self.row();
        out.reserve(row.cell_count());
        for cell in row.cells() {
            let Some((family, qualifier)) = row.column(cell.column) else { continue };
            let wanted = scan.columns.wants(*family, qualifier);
            if wanted || scan.others {
                let value = if wanted { row.share(cell.value) } else { Bytes::new() };
                let CellRef { timestamp, kind, .. } = cell;
                out.push(RawCell { family: *family, qualifier: qualifier.clone(), timestamp, seq: self.seq, kind, value });
            }
        }
    }
}

impl Many {
    fn push(&mut self, entry: &Entry) {
        let row = entry.row();
        for c in row.cells() {
            if let Some(place) = place(&row, &c, entry.seq) {
                self.cells.insert(place, (c.kind, row.share(c.value)));
            }
        }
        row.deletes(|what| {
            self.deletes.insert((what, Reverse(entry.seq)));
        });
    }

    fn remove(&mut self, entry: &Entry) {
        let row = entry.row();
        for c in row.cells() {
            if let Some(place) = place(&row, &c, entry.seq) {
                self.cells.remove(&place);
            }
        }
        row.deletes(|what| {
            self.deletes.remove(&(what, Reverse(entry.seq)));
        });
    }

    fn highest_deletes(&self, at: Seq, out: &mut Vec<RawDelete>) {
        let mut next = self.deletes.first();
        while let Some((what, _)) = next {
            let highest = self.deletes.range((what.clone(), Reverse(at))..).next().filter(|(found, _)| found == what);
            if let Some((what, Reverse(seq))) = highest {
                out.push(RawDelete { what: what.clone(), seq: *seq });
            }
            next = self.deletes.range((Bound::Excluded((what.clone(), Reverse(Seq::ZERO))), Bound::Unbounded)).next();
        }
    }

    fn cells(&self, scan: &Scan, newest: Option<&Newest<'_>>, out: &mut Vec<RawCell>) {
        match scan.columns.ranges().filter(|_| !scan.others) {
            None => self.walk(Bound::Unbounded, Bound::Unbounded, scan, newest, out),
            Some(mut ranges) => {
                normalize(&mut ranges);
                for range in ranges {
                    let start = Bound::Included(first_of(range.family, range.start));
                    let end = match range.end {
                        Some(end) => Bound::Excluded(first_of(range.family, end)),
                        None => match range.family.0.checked_add(1) {
                            Some(next) => Bound::Excluded(first_of(FamilyId(next), Bytes::new())),
                            None => Bound::Unbounded,
                        },
                    };
                    self.walk(start, end, scan, newest, out);
                }
            }
        }
    }

    fn walk(&self, start: Bound<Place>, end: Bound<Place>, scan: &Scan, newest: Option<&Newest<'_>>, out: &mut Vec<RawCell>) {
        let mut cells = self.cells.range((start, end.clone()));
        let (mut column, mut left, mut counted): (Option<(FamilyId, &Bytes)>, u32, Option<Micros>) = (None, 0, None);
        while let Some(((family, qualifier, timestamp, seq), (kind, value))) = cells.next() {
            let (timestamp, seq) = (timestamp.0, seq.0);
            if column != Some((*family, qualifier)) {
                (column, left, counted) = (Some((*family, qualifier)), newest.map_or(u32::MAX, |n| n.cells), None);
            }
            if seq > scan.at || seq <= scan.above {
                continue;
            }
            let wanted = scan.columns.wants(*family, qualifier);
            if wanted || scan.others {
                let value = if wanted { value.clone() } else { Bytes::new() };
                out.push(RawCell { family: *family, qualifier: qualifier.clone(), timestamp, seq, kind: *kind, value });
            }
            // What is combined from several needs them all; what is replaced does not count.
            if let Some(n) = newest
                && *kind == CellKind::Value
                && counted != Some(timestamp)
                && n.timestamps.contains(timestamp)
                && !(n.hides)(*family, qualifier, timestamp, seq)
            {
                (left, counted) = (left - 1, Some(timestamp));
                if left == 0 {
                    let behind = (*family, qualifier.clone(), Reverse(Micros::MIN), Reverse(Seq::ZERO));
                    if past(&behind, &end) {
                        return;
                    }
                    cells = self.cells.range((Bound::Excluded(behind), end.clone()));
                }
            }
        }
    }
}

fn place(row: &RowRef<'_>, c: &CellRef<'_>, seq: Seq) -> Option<Place> {
    let (family, qualifier) = row.column(c.column)?.clone();
    Some((family, qualifier, Reverse(c.timestamp), Reverse(seq)))
}

/// The first place of a column.
fn first_of(family: FamilyId, qualifier: Bytes) -> Place {
    (family, qualifier, Reverse(Micros::MAX), Reverse(Seq::MAX))
}

/// Whether nothing can lie between: what `BTreeMap::range` panics on.
fn past(start: &Place, end: &Bound<Place>) -> bool {
    matches!(end, Bound::Excluded(end) if start >= end)
}

/// Sorts ranges of columns, leaves empty ones out and joins those that meet.
pub(crate) fn normalize(ranges: &mut Vec<ColumnRange>) {
    ranges.retain(|r| r.end.as_ref().is_none_or(|end| *end > r.start));
    ranges.sort_by(|a, b| (a.family, &a.start).cmp(&(b.family, &b.start)));
    let mut out: Vec<ColumnRange> = Vec::with_capacity(ranges.len());
    for range in ranges.drain(..) {
        match out.last_mut() {
            Some(last) if last.family == range.family && last.end.as_ref().is_none_or(|end| *end >= range.start) => {
                last.end = match (last.end.take(), range.end) {
                    (Some(a), Some(b)) => Some(a.max(b)),
                    _ => None,
                };
            }
            _ => out.push(range),
        }
    }
    *ranges = out;
}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use super::*;
    use crate::format::{StoredCell, StoredRow};
    use common::key::KeyRange;
    use common::row::Columns;
    use proptest::prelude::*;

    fn entry(seq: u64, cells: &[(u32, &'static str, i64)], deletes: Vec<Delete>) -> Entry {
        let cell = |(family, q, t): &(u32, &'static str, i64)| StoredCell {
            family: FamilyId(*family),
            qualifier: Bytes::from_static(q.as_bytes()),
            timestamp: Micros(*t),
            kind: CellKind::Value,
            value: Bytes::from(format!("{seq}")),
        };
        let mut cells: Vec<_> = cells.iter().map(cell).collect();
        cells.sort_by(|a, b| (a.family, &a.qualifier, Reverse(a.timestamp)).cmp(&(b.family, &b.qualifier, Reverse(b.timestamp))));
        cells.dedup_by(|a, b| (a.family, &a.qualifier, a.timestamp) == (b.family, &b.qualifier, b.timestamp));
        Batch::at(Seq(seq), &[StoredRow { key: Bytes::from_static(b"k"), deletes, cells }]).entries.remove(0)
    }

    fn given(v: &Versions, scan: &Scan, newest: Option<&Newest<'_>>) -> Vec<(u32, String, i64, u64)> {
        let mut out = Vec::new();
        v.cells(scan, newest, &mut out);
        out.iter().map(|c| (c.family.0, String::from_utf8_lossy(&c.qualifier).into_owned(), c.timestamp.0, c.seq.0)).collect()
    }

    #[test]
    fn the_newest_cells_of_a_hot_row_are_found_without_the_others() {
        let mut row = Versions::One(entry(1, &[(1, "a", 1), (1, "b", 1), (2, "c", 1)], Vec::new()));
        (2..1000).for_each(|i| row.push(entry(i, &[(1, "a", i as i64), (1, "b", i as i64), (2, "c", i as i64)], Vec::new())));
        let scan = Scan::all(vec![KeyRange::ALL], Seq(900));
        let hides = |_: FamilyId, q: &Bytes, t: Micros, _: Seq| q == "b" && t.0 > 800;
        let newest = Newest { cells: 1, timestamps: TimeRange::ALL, hides: &hides };
        let got = given(&row, &scan, Some(&newest));
        assert_eq!(got[0], (1, "a".to_owned(), 900, 900));
        assert_eq!(got[1..102], (800..=900).rev().map(|i| (1, "b".to_owned(), i, i as u64)).collect::<Vec<_>>());
        assert_eq!(got[102..], [(2, "c".to_owned(), 900, 900)]);
    }

    proptest! {
        #[test]
        fn few_and_many_give_the_same(
            ops in prop::collection::vec((prop::collection::vec((1u32..3, prop::sample::select(vec!["", "a", "ab", "b"]), 0i64..4), 0..4), any::<bool>()), 1..31),
            (at, family, start, end) in (0u64..40, 1u32..3, prop::sample::select(vec!["", "a", "b"]), prop::option::of(prop::sample::select(vec!["a", "ab", "c"]))),
            removed in 0usize..31,
        ) {
            let delete = Delete::Family(FamilyId(1));
            let entries: Vec<_> = ops.iter().zip(1..).map(|((cells, d), seq)| entry(seq, cells, if *d { vec![delete.clone()] } else { vec![] })).collect();
            let mut few = Versions::Few(entries.clone());
            let mut many = Versions::Many(Box::default());
            entries.iter().for_each(|e| many.push(e.clone()));
            for e in entries.iter().take(removed) {
                few.remove(e);
                many.remove(e);
            }
            let range = ColumnRange { family: FamilyId(family), start: Bytes::from_static(start.as_bytes()), end: end.map(|e| Bytes::from_static(e.as_bytes())) };
            for columns in [Columns::All, Columns::Ranges(vec![range.clone(), range])] {
                let scan = Scan { columns, ..Scan::all(vec![KeyRange::ALL], Seq(at)) };
                prop_assert_eq!(given(&few, &scan, None), given(&many, &scan, None));
            }
            let highest = |v: &Versions| {
                let mut out = Vec::new();
                v.highest_deletes(Seq(at), &mut out);
                out.into_iter().map(|d| d.seq).max()
            };
            let all = |v: &Versions| {
                let mut out = Vec::new();
                v.deletes(Seq(2), Seq(at), &mut out);
                out.sort_unstable();
                out
            };
            prop_assert_eq!(highest(&few), highest(&many));
            prop_assert_eq!(all(&few), all(&many));
        }
    }
}
