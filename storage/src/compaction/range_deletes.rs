//! Which row-range deletes a merge keeps.

use super::retain::Retention;
use crate::raw::RawRow;
use crate::read::Covers;
use crate::sstable::RangeDelete;
use common::ids::Seq;
use common::key::KeyRange;
use std::collections::BTreeSet;

/// The row-range deletes of a merge's sources.
#[derive(Debug)]
pub(super) struct RangeDeletes {
    all: Covers,
    /// Those that hide a cell which was kept for a reader at an older point.
    needed: BTreeSet<Seq>,
}

impl RangeDeletes {
    pub(super) fn new(all: Vec<RangeDelete>) -> Self {
        Self { all: Covers::new(all), needed: BTreeSet::new() }
    }

    /// Looks at what was kept of a row.
    pub(super) fn see(&mut self, kept: &RawRow) {
        if let Some(lowest) = kept.cells.iter().map(|c| c.seq).min().filter(|_| !kept.covers.is_empty()) {
            self.needed.extend(kept.covers.iter().copied().filter(|cover| *cover > lowest));
        }
    }

    /// What stays, in key order, those of one seq that meet as one.
    pub(super) fn keep(&self, retention: Option<&Retention>) -> Vec<RangeDelete> {
        let mut kept: Vec<RangeDelete> = Vec::new();
        for (range, seqs) in self.all.fragments() {
            let above = seqs.iter().skip(1).map(Some).chain([None]);
            for (seq, above) in seqs.iter().zip(above) {
                let goes = retention.is_some_and(|rule| {
                    let shadowed = above.is_some_and(|above| !rule.separates(*seq, *above));
                    shadowed || (rule.is_done(*seq) && !self.needed.contains(seq))
                });
                if !goes {
                    add(&mut kept, range, *seq);
                }
            }
        }
        kept
    }
}

fn add(kept: &mut Vec<RangeDelete>, range: &KeyRange, seq: Seq) {
    match kept.iter_mut().rev().find(|d| d.seq == seq).filter(|d| d.range.end.as_ref() == Some(&range.start)) {
        Some(before) => before.range.end = range.end.clone(),
        None => kept.push(RangeDelete { range: range.clone(), seq }),
    }
}
