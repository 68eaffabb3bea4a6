//! Reading a memtable in key order.

use super::key::{Key, Keyed, Probe};
use super::{Entry, Memtable, Rows, Versions};
use crate::raw::{RawRow, Scan};
use crate::sync::read;
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use std::collections::VecDeque;
use std::ops::Bound;
use std::sync::Arc;

/// Rows that a cursor copies under the lock at first: short reads take no more than they need.
const FIRST_ROWS: usize = 16;
/// Rows that it copies at once later: short enough not to hold writers up.
const CHUNK_ROWS: usize = 128;

/// A row copied out of the memtable.
#[derive(Debug)]
enum Ready {
    One(Entry),
    Few(Bytes, Versions),
    Whole(RawRow),
}

/// A row on its way out of the memtable.
#[derive(Debug)]
pub(crate) enum Flushed {
    /// A single mutation that only [sets](crate::format::RowRef::is_plain).
    Plain(Entry),
    /// Any other row.
    Raw(RawRow),
}

/// Reads a memtable in key order.
#[derive(Debug)]
pub(crate) struct MemtableCursor {
    table: Arc<Memtable>,
    scan: Arc<Scan>,
    /// Which range is read.
    range: usize,
    /// The last key read in it.
    after: Option<Bytes>,
    ready: VecDeque<Ready>,
    chunk: usize,
    done: bool,
}

impl MemtableCursor {
    pub(crate) fn new(table: Arc<Memtable>, scan: Arc<Scan>) -> Self {
        Self { table, scan, range: 0, after: None, ready: VecDeque::new(), chunk: FIRST_ROWS, done: false }
    }

    /// All that a memtable holds, which is changed no more.
    pub(crate) fn flushing(table: &Arc<Memtable>) -> Self {
        Self::new(table.clone(), Arc::new(Scan::all(vec![KeyRange::ALL], Seq::MAX)))
    }

    pub(crate) fn next(&mut self) -> Option<RawRow> {
        loop {
            let row = self.next_ready()?.assemble(&self.scan);
            if !row.is_empty() {
                return Some(row);
            }
        }
    }

    /// The next row of a cursor that is [flushing](Self::flushing).
    pub(crate) fn next_flushed(&mut self) -> Option<Flushed> {
        loop {
            match self.next_ready()? {
                Ready::One(entry) if entry.row().is_plain() => return Some(Flushed::Plain(entry)),
                ready => {
                    let row = ready.assemble(&self.scan);
                    if !row.is_empty() {
                        return Some(Flushed::Raw(row));
                    }
                }
            }
        }
    }

    fn next_ready(&mut self) -> Option<Ready> {
        while self.ready.is_empty() && !self.done {
            self.fill();
        }
        self.ready.pop_front()
    }

    fn fill(&mut self) {
        let rows = read(&self.table.rows);
        while self.ready.len() < self.chunk {
            let Some(range) = self.scan.range(self.range) else {
                self.done = true;
                return;
            };
            let wanted = self.chunk - self.ready.len();
            let found = copy(&rows, range, self.after.as_ref(), &self.scan, wanted, &mut self.ready);
            if found < wanted {
                self.range += 1;
                self.after = None;
            } else {
                self.after = self.ready.back().map(Ready::key);
            }
        }
        drop(rows);
        self.chunk = CHUNK_ROWS;
        // Neighbouring keys came in different batches. Asked for all of them at once, the memory answers faster than one by one.
        let touched = self.ready.iter().map(Ready::touch).fold(0, u8::wrapping_add);
        std::hint::black_box(touched);
    }
}

impl Ready {
    fn new(key: &Key, versions: &Versions, scan: &Scan) -> Self {
        match versions {
            Versions::One(entry) => Self::One(entry.clone()),
            Versions::Few(_) => Self::Few(key.to_bytes(), versions.clone()),
            Versions::Many(_) => Self::Whole(assemble(key.to_bytes(), versions, scan)),
        }
    }

    fn touch(&self) -> u8 {
        if let Self::One(entry) = self { entry.touch() } else { 0 }
    }

    fn assemble(self, scan: &Scan) -> RawRow {
        match self {
            Self::One(entry) => assemble(entry.key_bytes(), &Versions::One(entry), scan),
            Self::Few(key, versions) => assemble(key, &versions, scan),
            Self::Whole(row) => row,
        }
    }

    fn key(&self) -> Bytes {
        match self {
            Self::One(entry) => entry.key_bytes(),
            Self::Few(key, _) => key.clone(),
            Self::Whole(row) => row.key.clone(),
        }
    }
}

fn copy(rows: &Rows, range: &KeyRange, after: Option<&Bytes>, scan: &Scan, limit: usize, out: &mut VecDeque<Ready>) -> usize {
    let start = match after.filter(|_| !scan.reverse) {
        Some(key) => Bound::Excluded(key),
        None => Bound::Included(&range.start),
    };
    let end = match (after.filter(|_| scan.reverse), &range.end) {
        (Some(key), _) | (None, Some(key)) => Bound::Excluded(key),
        (None, None) => Bound::Unbounded,
    };
    // An exclusive start at or above the end is what `BTreeMap` panics on.
    if let (Bound::Included(s) | Bound::Excluded(s), Bound::Excluded(e)) = (start, end)
        && s >= e
    {
        return 0;
    }
    let before = out.len();
    let (from, to) = (start.map(|key| Probe::new(key)), end.map(|key| Probe::new(key)));
    let bounds = (from.as_ref().map(|p| p as &dyn Keyed), to.as_ref().map(|p| p as &dyn Keyed));
    let found = rows.range::<dyn Keyed, _>(bounds).map(|(k, v)| Ready::new(k, v, scan));
    if scan.reverse {
        out.extend(found.rev().take(limit))
    } else {
        out.extend(found.take(limit))
    }
    out.len() - before
}

fn assemble(key: Bytes, versions: &Versions, scan: &Scan) -> RawRow {
    let mut row = RawRow { key, ..RawRow::default() };
    versions.deletes(scan.above, scan.at, &mut row.deletes);
    versions.cells(scan, None, &mut row.cells);
    row
}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use super::*;
    use crate::format::{Rows, StoredRow};
    use common::time::Micros;

    fn row(key: &str) -> StoredRow {
        StoredRow { key: Bytes::copy_from_slice(key.as_bytes()), deletes: vec![crate::format::Delete::Row], cells: Vec::new() }
    }

    fn keys(table: &Arc<Memtable>, scan: Scan) -> Vec<String> {
        let mut cursor = MemtableCursor::new(table.clone(), Arc::new(scan));
        std::iter::from_fn(|| cursor.next()).map(|r| String::from_utf8(r.key.to_vec()).unwrap()).collect()
    }

    #[test]
    fn cursors_read_ranges_in_both_directions_over_chunks() {
        let table = Memtable::new();
        let names: Vec<_> = (0..500).map(|i| format!("{i:03}")).collect();
        let rows: Vec<_> = names.iter().map(|n| row(n)).collect();
        table.insert(Batch::rising(Seq(1), Micros(0), Rows::of(&rows, Micros(0))), 1);
        let end = |s: &'static str| Some(Bytes::from_static(s.as_bytes()));
        let ranges = vec![KeyRange::new("010", end("200")), KeyRange::new("300", end("302"))];
        let mut expected = [&names[10..200], &names[300..302]].concat();
        assert_eq!(keys(&table, Scan::all(ranges.clone(), Seq::MAX)), expected);
        expected.reverse();
        assert_eq!(keys(&table, Scan { reverse: true, ..Scan::all(ranges, Seq::MAX) }), expected);
        assert_eq!(keys(&table, Scan::all(vec![KeyRange::ALL], Seq(2))), ["000", "001"]);
        assert_eq!(table.seqs(), Some((Seq(1), Seq(500))));
    }
}
