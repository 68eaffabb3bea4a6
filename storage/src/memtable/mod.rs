//! The memtable: row key → that row's mutations in seq order. One insert per row mutation.

use crate::format::StoredRow;
use crate::raw::{RawCell, RawDelete, RawRow, Scan};
use crate::sync::{read, write};
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use std::collections::{BTreeMap, VecDeque};
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

/// Rows that a cursor copies under the lock at once: short enough not to hold writers up.
const CHUNK_ROWS: usize = 128;

/// A row mutation with its number.
#[derive(Debug)]
struct Entry {
    seq: Seq,
    row: StoredRow,
}

type Rows = BTreeMap<Bytes, Vec<Arc<Entry>>>;

/// The writable or a frozen memtable. Only the tablet's committer inserts.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// Held while one batch is inserted, or while a cursor copies [`CHUNK_ROWS`] references.
    rows: RwLock<Rows>,
    bytes: AtomicUsize,
    count: AtomicUsize,
    first: AtomicU64,
    last: AtomicU64,
    log_from: AtomicU64,
}

impl Memtable {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            rows: RwLock::default(),
            bytes: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            first: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
            log_from: AtomicU64::new(u64::MAX),
        })
    }

    /// Inserts rows that the log holds from segment `log_from` on. Seqs never fall from call to call.
    pub(crate) fn insert(&self, rows: impl IntoIterator<Item = (Seq, StoredRow)>, log_from: u64) {
        let mut map = write(&self.rows);
        for (seq, row) in rows {
            self.bytes.fetch_add(row.weight(), Ordering::Relaxed);
            self.first.fetch_min(seq.0, Ordering::Relaxed);
            self.last.fetch_max(seq.0, Ordering::Relaxed);
            let entry = Arc::new(Entry { seq, row });
            let entries = map.entry(entry.row.key.clone()).or_default();
            if entries.is_empty() {
                self.count.fetch_add(1, Ordering::Relaxed);
            }
            entries.push(entry);
        }
        self.log_from.fetch_min(log_from, Ordering::Relaxed);
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows() == 0
    }

    /// Lowest and highest seq inside; `None` if it is empty.
    pub(crate) fn seqs(&self) -> Option<(Seq, Seq)> {
        (!self.is_empty()).then(|| (Seq(self.first.load(Ordering::Relaxed)), Seq(self.last.load(Ordering::Relaxed))))
    }

    /// The first log segment that holds a row of it; `u64::MAX` if it is empty.
    pub(crate) fn log_from(&self) -> u64 {
        self.log_from.load(Ordering::Relaxed)
    }
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
    ready: VecDeque<(Bytes, Vec<Arc<Entry>>)>,
    done: bool,
}

impl MemtableCursor {
    pub(crate) fn new(table: Arc<Memtable>, scan: Arc<Scan>) -> Self {
        Self { table, scan, range: 0, after: None, ready: VecDeque::new(), done: false }
    }

    pub(crate) fn next(&mut self) -> Option<RawRow> {
        loop {
            while let Some((key, entries)) = self.ready.pop_front() {
                let row = assemble(key, &entries, &self.scan);
                if !row.is_empty() {
                    return Some(row);
                }
            }
            if self.done {
                return None;
            }
            self.fill();
        }
    }

    fn fill(&mut self) {
        let rows = read(&self.table.rows);
        while self.ready.len() < CHUNK_ROWS {
            let Some(range) = self.scan.range(self.range) else {
                self.done = true;
                return;
            };
            let wanted = CHUNK_ROWS - self.ready.len();
            let found = copy(&rows, range, self.after.as_ref(), self.scan.reverse, wanted, &mut self.ready);
            if found < wanted {
                self.range += 1;
                self.after = None;
            } else {
                self.after = self.ready.back().map(|(key, _)| key.clone());
            }
        }
    }
}

fn copy(
    rows: &Rows,
    range: &KeyRange,
    after: Option<&Bytes>,
    reverse: bool,
    limit: usize,
    out: &mut VecDeque<(Bytes, Vec<Arc<Entry>>)>,
) -> usize {
    let start = match after.filter(|_| !reverse) {
        Some(key) => Bound::Excluded(key),
        None => Bound::Included(&range.start),
    };
    let end = match (after.filter(|_| reverse), &range.end) {
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
    let found = rows.range::<Bytes, _>((start, end)).map(|(k, v)| (k.clone(), v.clone()));
    if reverse {
        out.extend(found.rev().take(limit))
    } else {
        out.extend(found.take(limit))
    }
    out.len() - before
}

fn assemble(key: Bytes, entries: &[Arc<Entry>], scan: &Scan) -> RawRow {
    let mut row = RawRow { key, ..RawRow::default() };
    for Entry { seq, row: stored } in entries.iter().map(Arc::as_ref).filter(|e| e.seq <= scan.at && e.seq > scan.above) {
        row.deletes.extend(stored.deletes.iter().map(|what| RawDelete { what: what.clone(), seq: *seq }));
        row.cells.extend(stored.cells.iter().filter_map(|c| {
            let wanted = scan.columns.wants(c.family, &c.qualifier);
            let given = |value| RawCell {
                family: c.family,
                qualifier: c.qualifier.clone(),
                timestamp: c.timestamp,
                seq: *seq,
                kind: c.kind,
                value,
            };
            if wanted { Some(given(c.value.clone())) } else { scan.others.then(|| given(Bytes::new())) }
        }));
    }
    if entries.len() > 1 {
        row.cells.sort_by(RawCell::order);
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

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
        table.insert(names.iter().enumerate().map(|(i, n)| (Seq(i as u64 + 1), row(n))), 1);
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
