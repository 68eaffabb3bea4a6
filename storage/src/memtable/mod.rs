//! The memtable: row key → that row's mutations in seq order. One insert per row mutation, which stays in the buffer that
//! it was encoded in for the log.

mod cursor;
mod entry;
mod key;
mod versions;

pub(crate) use cursor::{Flushed, MemtableCursor};
pub(crate) use entry::{Batch, Entry};
pub(crate) use versions::{Newest, Versions};

use crate::sstable::RangeDelete;
use crate::sync::{read, write};
use bytes::Bytes;
use common::ids::Seq;
use key::{Key, Keyed, Probe};
use std::collections::BTreeMap;
use std::collections::btree_map;
use std::ops::Bound;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};

type Rows = BTreeMap<Key, Versions>;

/// The writable or a frozen memtable. Only the tablet's committer inserts.
#[derive(Debug)]
pub(crate) struct Memtable {
    /// Held while one batch is inserted, one row is read, or a cursor copies a chunk of references.
    rows: RwLock<Rows>,
    /// In seq order. Held while one is added or all are looked at.
    range_deletes: RwLock<Vec<RangeDelete>>,
    /// How many these are: most have none.
    ranges: AtomicUsize,
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
            range_deletes: RwLock::default(),
            ranges: AtomicUsize::new(0),
            bytes: AtomicUsize::new(0),
            count: AtomicUsize::new(0),
            first: AtomicU64::new(u64::MAX),
            last: AtomicU64::new(0),
            log_from: AtomicU64::new(u64::MAX),
        })
    }

    /// Inserts rows that the log holds from segment `log_from` on. Seqs never fall from call to call.
    pub(crate) fn insert(&self, batch: Batch, log_from: u64) {
        let Batch { entries, bytes } = batch;
        let (Some(first), Some(last)) = (entries.first(), entries.last()) else { return };
        self.widen((first.seq, last.seq), bytes, log_from);
        let mut entries: Vec<_> = entries.into_iter().map(|entry| (entry.key(), entry)).collect();
        // Neighbours one after the other find their way in the cache; those of one key keep their order.
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        let mut map = write(&self.rows);
        for (key, entry) in entries {
            match map.entry(key) {
                btree_map::Entry::Vacant(place) => {
                    place.insert(Versions::One(entry));
                }
                btree_map::Entry::Occupied(place) => place.into_mut().push(entry),
            }
        }
        self.count.store(map.len(), Ordering::Release);
    }

    /// Inserts a row-range delete that the log holds from segment `log_from` on.
    pub(crate) fn insert_range_delete(&self, delete: RangeDelete, log_from: u64) {
        self.widen((delete.seq, delete.seq), RangeDelete::weight(&delete.range), log_from);
        let mut list = write(&self.range_deletes);
        list.push(delete);
        self.ranges.store(list.len(), Ordering::Release);
    }

    /// Before what it is about: a reader that finds a row also finds its seq inside.
    fn widen(&self, (first, last): (Seq, Seq), bytes: usize, log_from: u64) {
        self.first.fetch_min(first.0, Ordering::Relaxed);
        self.last.fetch_max(last.0, Ordering::Relaxed);
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        self.log_from.fetch_min(log_from, Ordering::Relaxed);
    }

    pub(crate) fn has_range_deletes(&self) -> bool {
        self.ranges.load(Ordering::Acquire) > 0
    }

    /// The row-range deletes up to `at`.
    pub(crate) fn range_deletes(&self, at: Seq) -> Vec<RangeDelete> {
        if self.ranges.load(Ordering::Acquire) == 0 {
            return Vec::new();
        }
        read(&self.range_deletes).iter().filter(|d| d.seq <= at).cloned().collect()
    }

    /// Adds the seqs of those up to `at` that cover the key.
    pub(crate) fn covers(&self, key: &[u8], at: Seq, out: &mut Vec<Seq>) {
        if self.ranges.load(Ordering::Acquire) > 0 {
            out.extend(read(&self.range_deletes).iter().filter(|d| d.covers(key, at)).map(|d| d.seq));
        }
    }

    /// Looks at the mutations of one row, if there are some.
    pub(crate) fn row<T>(&self, key: &[u8], look: impl FnOnce(&Versions) -> T) -> Option<T> {
        if self.rows() == 0 {
            return None;
        }
        read(&self.rows).get(&Probe::new(key) as &dyn Keyed).map(look)
    }

    /// Keys along it, about `wanted`, each with the bytes that lie from it to the next. The lock is given back between two.
    pub(crate) fn samples(&self, wanted: usize) -> Vec<(Bytes, u64)> {
        let (rows, bytes) = (self.rows(), self.bytes() as u64);
        let step = rows.div_ceil(wanted.max(1)).max(1);
        let mut samples: Vec<(Bytes, u64)> = Vec::new();
        let mut from: Option<Bytes> = None;
        while samples.len() * step < rows {
            let map = read(&self.rows);
            let after = from.as_deref().map(Probe::new);
            let start = after.as_ref().map_or(Bound::Unbounded, |key| Bound::Excluded(key as &dyn Keyed));
            let mut keys = map.range::<dyn Keyed, _>((start, Bound::Unbounded)).map(|(key, _)| key);
            let Some(first) = keys.next() else { break };
            let last = keys.by_ref().take(step - 1).last().unwrap_or(first).to_bytes();
            samples.push((first.to_bytes(), bytes * step as u64 / rows as u64));
            from = Some(last);
        }
        samples
    }

    /// What it holds now lies in the log from this segment on too.
    pub(crate) fn moved_to(&self, log_from: u64) {
        if !self.is_empty() {
            self.log_from.store(log_from, Ordering::Relaxed);
        }
    }

    /// Whether it has a row from `first` to `last`, both included.
    pub(crate) fn meets(&self, first: &[u8], last: &[u8]) -> bool {
        let (low, high) = (Probe::new(first), Probe::new(last));
        let bounds = (Bound::Included(&low as &dyn Keyed), Bound::Included(&high as &dyn Keyed));
        first <= last && read(&self.rows).range::<dyn Keyed, _>(bounds).next().is_some()
    }

    pub(crate) fn bytes(&self) -> usize {
        self.bytes.load(Ordering::Relaxed)
    }

    pub(crate) fn rows(&self) -> usize {
        self.count.load(Ordering::Acquire)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.rows() == 0 && self.ranges.load(Ordering::Acquire) == 0
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
