//! The strategies on SSTables that are lists of keys: what do they write, and how many SSTables does a read meet?

use super::{Choice, Leveled, Situation, Strategy};
use crate::format::{SliceKey, SstableName, SstableRef};
use bytes::Bytes;
use common::ids::{Epoch, FamilyId, Seq, TabletId};
use common::key::KeyRange;
use common::schema::CompactionKind;
use common::time::Micros;
use std::collections::{BTreeMap, BTreeSet, HashSet};

fn name(number: u64) -> SstableName {
    SstableName { home: TabletId(1), epoch: Epoch(1), number }
}

/// An SSTable of this number and size.
pub(super) fn file(number: u64, size: u64) -> SstableRef {
    SstableRef {
        name: name(number),
        level: 0,
        slice: SliceKey::default(),
        families: vec![FamilyId(1)],
        range: KeyRange::ALL,
        keys: None,
        delete_keys: None,
        range_deletes: None,
        seqs: (Seq(number), Seq(number)),
        delete_seqs: None,
        given: None,
        timestamps: (Micros(0), Micros(0)),
        event_times: None,
        size,
        rows: size,
        puts: size,
        deletes: 0,
    }
}

/// With cells from one key to another.
pub(super) fn spanning(file: SstableRef, (first, last): (&str, &str)) -> SstableRef {
    SstableRef { keys: Some((Bytes::copy_from_slice(first.as_bytes()), Bytes::copy_from_slice(last.as_bytes()))), ..file }
}

/// Which SSTables are merged.
pub(super) fn numbers(choice: &Choice) -> Vec<u64> {
    match choice {
        Choice::Merge(merging) => merging.inputs.iter().map(|n| n.number).collect(),
        _ => Vec::new(),
    }
}

const KEY_BYTES: u64 = 100;
const KEYS_A_FLUSH: u64 = 500;
const FLUSH: u64 = KEYS_A_FLUSH * KEY_BYTES;

struct Simulation {
    strategy: Strategy,
    files: BTreeMap<u64, (SstableRef, BTreeSet<u32>)>,
    next: u64,
    state: u64,
    flushed: u64,
    written: u64,
    most_files: usize,
}

impl Simulation {
    fn new(kind: CompactionKind) -> Self {
        let table = common::schema::TableSpec { compaction: Some(kind), ..common::schema::TableSpec::named("a.b") };
        let table = common::schema::Table::create(common::ids::TableId(1), common::schema::TableKind::Raw, table).unwrap();
        let mut strategy = Strategy::of(&table, FLUSH, FLUSH / 2);
        strategy.size_tiered.small_bytes = 1;
        strategy.leveled = Leveled { base_bytes: 4 * FLUSH, file_bytes: FLUSH / 2, ..strategy.leveled };
        Self { strategy, files: BTreeMap::new(), next: 1, state: 7, flushed: 0, written: 0, most_files: 0 }
    }

    /// Xorshift: the same keys in every run.
    fn random(&mut self) -> u32 {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        (self.state >> 16) as u32
    }

    fn add(&mut self, level: u32, keys: BTreeSet<u32>) {
        let size = keys.len() as u64 * KEY_BYTES;
        let text = |key: Option<&u32>| format!("{:010}", key.unwrap());
        let (first, last) = (text(keys.first()), text(keys.last()));
        let file = SstableRef { level, ..spanning(file(self.next, size), (&first, &last)) };
        self.written += size;
        self.files.insert(self.next, (file, keys));
        self.next += 1;
    }

    fn flush(&mut self, keys: BTreeSet<u32>) {
        self.flushed += keys.len() as u64 * KEY_BYTES;
        self.add(0, keys);
        while self.step() {}
        self.most_files = self.most_files.max(self.depth());
    }

    fn step(&mut self) -> bool {
        let files: Vec<_> = self.files.values().map(|(f, _)| f).collect();
        let busy = HashSet::new();
        let now = Micros(0);
        let choice = self.strategy.choose(&Situation { files: &files, busy: &busy, floor: Seq::MAX, removal: now, now });
        match choice {
            Choice::Nothing => return false,
            Choice::Drop(_) => panic!("nothing expires"),
            Choice::Move(moved, level) => {
                for name in moved {
                    self.files.get_mut(&name.number).unwrap().0.level = level;
                }
            }
            Choice::Merge(merging) => {
                let keys: BTreeSet<u32> = merging.inputs.iter().flat_map(|n| self.files.remove(&n.number).unwrap().1).collect();
                let keys: Vec<u32> = keys.into_iter().collect();
                let most = usize::try_from(merging.file_bytes / KEY_BYTES).unwrap_or(usize::MAX);
                keys.chunks(most).for_each(|part| self.add(merging.level, part.iter().copied().collect()));
            }
        }
        true
    }

    /// SSTables that a read of one key meets at most.
    fn depth(&self) -> usize {
        let levels: BTreeSet<u32> = self.files.values().filter(|(f, _)| f.level > 0).map(|(f, _)| f.level).collect();
        match self.strategy.kind {
            CompactionKind::Leveled => self.files.values().filter(|(f, _)| f.level == 0).count() + levels.len(),
            _ => self.files.len(),
        }
    }

    fn amplification(&self) -> f64 {
        self.written as f64 / self.flushed as f64
    }
}

fn uniform(kind: CompactionKind, flushes: u64) -> Simulation {
    let mut s = Simulation::new(kind);
    for _ in 0..flushes {
        let keys = (0..KEYS_A_FLUSH).map(|_| s.random()).collect();
        s.flush(keys);
    }
    s
}

/// The bar: at 100 times a memtable's size each byte is written at most 8 times, the log counted apart.
#[test]
fn write_amplification_of_uniform_writes() {
    let tiered = uniform(CompactionKind::SizeTiered, 100);
    let leveled = uniform(CompactionKind::Leveled, 100);
    let figures = [&tiered, &leveled].map(|s| (s.amplification(), s.most_files));
    println!("size-tiered and leveled, (write amplification, most files a read meets): {figures:?}");
    assert!(tiered.amplification() <= 8.0, "{figures:?}");
    assert!(tiered.most_files <= 12, "{figures:?}");
    assert!(leveled.amplification() <= 12.0 && leveled.most_files <= 6, "{figures:?}");
}

#[test]
fn keys_that_only_rise_are_moved_not_rewritten() {
    let mut s = Simulation::new(CompactionKind::Leveled);
    for n in 0..100 {
        s.flush((n * 500..n * 500 + 500).collect());
    }
    assert!(s.amplification() < 1.01, "{}", s.amplification());
}

#[test]
fn nothing_is_lost_or_doubled() {
    for kind in [CompactionKind::SizeTiered, CompactionKind::Leveled, CompactionKind::TimeWindowed] {
        let s = uniform(kind, 60);
        let mut all: Vec<u32> = s.files.values().flat_map(|(_, keys)| keys.iter().copied()).collect();
        all.sort_unstable();
        all.dedup();
        let mut expected = Simulation::new(kind);
        let mut keys: Vec<u32> = (0..60 * KEYS_A_FLUSH).map(|_| expected.random()).collect();
        keys.sort_unstable();
        keys.dedup();
        assert!(all == keys, "{kind:?}");
    }
}
