//! Rows of runs that are not yet published: in the log and in memory, outside every read.

use crate::format::{StagedRef, StoredRow};
use bytes::Bytes;
use common::ids::{RunId, Seq};
use std::collections::{BTreeMap, HashMap, VecDeque};

/// Applied runs that are remembered, so that a stage or apply that comes twice is known.
const REMEMBER_RUNS: usize = 64;

/// A tablet's staged sets, and the runs applied last.
#[derive(Debug, Default)]
pub(super) struct Staged {
    runs: HashMap<RunId, StagedRun>,
    applied: VecDeque<(RunId, Seq)>,
}

#[derive(Debug)]
struct StagedRun {
    parts: BTreeMap<u32, Vec<StoredRow>>,
    /// The first log segment that holds some of it.
    log_from: u64,
}

/// What a run set, ready for the memtable.
#[derive(Debug)]
pub(super) struct Taken {
    pub(super) rows: Vec<StoredRow>,
    pub(super) log_from: u64,
    /// Bytes that were counted as staged.
    pub(super) weight: usize,
}

pub(super) fn weight(rows: &[StoredRow]) -> usize {
    rows.iter().map(StoredRow::weight).sum()
}

impl Staged {
    pub(super) fn new(applied: Vec<(RunId, Seq)>) -> Self {
        Self { runs: HashMap::new(), applied: applied.into() }
    }

    pub(super) fn has_run(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    pub(super) fn has_part(&self, run: RunId, part: u32) -> bool {
        self.runs.get(&run).is_some_and(|r| r.parts.contains_key(&part))
    }

    pub(super) fn is_applied(&self, run: RunId) -> bool {
        self.applied.iter().any(|(r, _)| *r == run)
    }

    /// Adds a part; the bytes of what it replaces. A part that comes twice is the same part.
    pub(super) fn add(&mut self, run: RunId, part: u32, rows: Vec<StoredRow>, log_from: u64) -> usize {
        let staged = self.runs.entry(run).or_insert_with(|| StagedRun { parts: BTreeMap::new(), log_from });
        staged.log_from = staged.log_from.min(log_from);
        staged.parts.insert(part, rows).map_or(0, |old| weight(&old))
    }

    /// Takes the rows of runs published together: parts in order, rows of one key joined in order.
    pub(super) fn take(&mut self, runs: &[RunId]) -> Taken {
        let mut taken = Taken { rows: Vec::new(), log_from: u64::MAX, weight: 0 };
        let mut by_key: BTreeMap<Bytes, StoredRow> = BTreeMap::new();
        for staged in runs.iter().filter_map(|run| self.runs.remove(run)) {
            taken.log_from = taken.log_from.min(staged.log_from);
            for row in staged.parts.into_values().flatten() {
                taken.weight += row.weight();
                let joined = match by_key.remove(&row.key) {
                    Some(earlier) => earlier.then(row),
                    None => row,
                };
                by_key.insert(joined.key.clone(), joined);
            }
        }
        taken.rows = by_key.into_values().collect();
        taken
    }

    pub(super) fn remember(&mut self, runs: &[RunId], version: Seq) {
        self.applied.extend(runs.iter().map(|run| (*run, version)));
        while self.applied.len() > REMEMBER_RUNS {
            self.applied.pop_front();
        }
    }

    /// The first log segment that a staged set needs; `u64::MAX` if there is none.
    pub(super) fn log_from(&self) -> u64 {
        self.runs.values().map(|r| r.log_from).min().unwrap_or(u64::MAX)
    }

    pub(super) fn applied_up_to(&self, version: Seq) -> Vec<(RunId, Seq)> {
        self.applied.iter().filter(|(_, v)| *v <= version).copied().collect()
    }

    pub(super) fn references(&self) -> Vec<StagedRef> {
        let mut all: Vec<_> =
            self.runs.iter().map(|(run, r)| StagedRef { run: *run, log_from: r.log_from, sstables: Vec::new() }).collect();
        all.sort_by_key(|r| r.run);
        all
    }

    /// All parts, for copying them to another log.
    pub(super) fn parts(&self) -> impl Iterator<Item = (RunId, u32, &Vec<StoredRow>)> {
        self.runs.iter().flat_map(|(run, r)| r.parts.iter().map(|(part, rows)| (*run, *part, rows)))
    }

    /// All of it now lies in the log from this segment on.
    pub(super) fn moved_to(&mut self, log_from: u64) {
        self.runs.values_mut().for_each(|r| r.log_from = log_from);
    }
}
