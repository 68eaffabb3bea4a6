//! Versions across tablets, and sets of time ranges.

use crate::ids::Seq;
use crate::key::KeyRange;
use crate::time::Micros;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// A table version, cursor or snapshot: a map from key ranges to seqs, never from tablets, so that
/// splits and merges cannot invalidate it. Sorted, without gaps between neighbours of one cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionMap {
    entries: Vec<(KeyRange, Seq)>,
}

impl VersionMap {
    /// The same seq for every key: a derived table's version.
    #[must_use]
    pub fn whole(seq: Seq) -> Self {
        Self { entries: vec![(KeyRange::ALL, seq)] }
    }

    /// From one seq for each tablet's range.
    #[must_use]
    pub fn from_ranges(mut entries: Vec<(KeyRange, Seq)>) -> Self {
        entries.sort_by(|a, b| a.0.start.cmp(&b.0.start));
        Self { entries }
    }

    /// The entries in key order.
    #[must_use]
    pub fn entries(&self) -> &[(KeyRange, Seq)] {
        &self.entries
    }

    /// Whether no range has a version: "before everything".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// The lowest seq over `range`: 0 where the map says nothing. A tablet that merged two ranges
    /// reads changes from the lower one, which only repeats some.
    #[must_use]
    pub fn lowest(&self, range: &KeyRange) -> Seq {
        let mut at = range.start.clone();
        let mut lowest = Seq::MAX;
        for (entry, seq) in &self.entries {
            let Some(common) = entry.intersect(range) else { continue };
            if common.start > at {
                return Seq::ZERO;
            }
            lowest = lowest.min(*seq);
            match common.end {
                Some(end) => at = end,
                None => return lowest,
            }
        }
        if range.end.as_ref().is_some_and(|end| at >= *end) { lowest } else { Seq::ZERO }
    }

    /// The version of exactly this table's whole key space, if one seq holds for all of it.
    #[must_use]
    pub fn single(&self) -> Option<Seq> {
        match self.entries.as_slice() {
            [] => Some(Seq::ZERO),
            [(range, seq)] if *range == KeyRange::ALL => Some(*seq),
            _ => None,
        }
    }
}

/// A set of instants as sorted, disjoint, non-touching half-open ranges of µs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RangeSet {
    ranges: Vec<(Micros, Micros)>,
}

impl RangeSet {
    /// Nothing.
    #[must_use]
    pub fn empty() -> Self {
        Self::default()
    }

    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self::of(Micros::MIN, Micros::MAX)
    }

    /// `[start, end)`; empty if `start ≥ end`.
    #[must_use]
    pub fn of(start: Micros, end: Micros) -> Self {
        Self { ranges: if start < end { vec![(start, end)] } else { Vec::new() } }
    }

    /// The ranges in order.
    #[must_use]
    pub fn ranges(&self) -> &[(Micros, Micros)] {
        &self.ranges
    }

    /// Whether nothing lies inside.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.ranges.is_empty()
    }

    /// Whether all of `[start, end)` lies inside.
    #[must_use]
    pub fn covers(&self, start: Micros, end: Micros) -> bool {
        start >= end || self.ranges.iter().any(|&(s, e)| s <= start && end <= e)
    }

    /// Whether some of `[start, end)` lies inside.
    #[must_use]
    pub fn meets(&self, start: Micros, end: Micros) -> bool {
        self.ranges.iter().any(|&(s, e)| s < end && start < e)
    }

    /// Adds `[start, end)`.
    pub fn insert(&mut self, start: Micros, end: Micros) {
        if start >= end {
            return;
        }
        let (mut start, mut end) = (start, end);
        let from = self.ranges.partition_point(|&(_, e)| e < start);
        let to = self.ranges.partition_point(|&(s, _)| s <= end);
        if let Some(&(s, _)) = self.ranges.get(from).filter(|_| from < to) {
            start = start.min(s);
        }
        if from < to {
            end = end.max(self.ranges[to - 1].1);
        }
        self.ranges.splice(from..to, [(start, end)]);
    }

    /// All that lies in either.
    #[must_use]
    pub fn union(&self, other: &Self) -> Self {
        let mut out = self.clone();
        for &(s, e) in &other.ranges {
            out.insert(s, e);
        }
        out
    }

    /// All that lies in both.
    #[must_use]
    pub fn intersect(&self, other: &Self) -> Self {
        let mut ranges = Vec::new();
        let (mut i, mut j) = (0, 0);
        while let (Some(&(s1, e1)), Some(&(s2, e2))) = (self.ranges.get(i), other.ranges.get(j)) {
            if s1.max(s2) < e1.min(e2) {
                ranges.push((s1.max(s2), e1.min(e2)));
            }
            if e1 < e2 { i += 1 } else { j += 1 }
        }
        Self { ranges }
    }

    /// All of `self` that does not lie in `other`.
    #[must_use]
    pub fn subtract(&self, other: &Self) -> Self {
        let mut outside = Self::default();
        let mut at = Micros::MIN;
        for &(s, e) in &other.ranges {
            outside.insert(at, s);
            at = e;
        }
        outside.insert(at, Micros::MAX);
        self.intersect(&outside)
    }
}

impl FromIterator<(Micros, Micros)> for RangeSet {
    fn from_iter<I: IntoIterator<Item = (Micros, Micros)>>(ranges: I) -> Self {
        let mut all: Vec<_> = ranges.into_iter().filter(|(s, e)| s < e).collect();
        all.sort_unstable();
        let mut out: Vec<(Micros, Micros)> = Vec::new();
        for (s, e) in all {
            match out.last_mut() {
                Some(last) if s <= last.1 => last.1 = last.1.max(e),
                _ => out.push((s, e)),
            }
        }
        Self { ranges: out }
    }
}

/// Splits the whole key space at sorted keys.
#[must_use]
pub fn cut(keys: &[Bytes]) -> Vec<KeyRange> {
    let starts = std::iter::once(Bytes::new()).chain(keys.iter().cloned());
    let ends = keys.iter().cloned().map(Some).chain(std::iter::once(None));
    starts.zip(ends).map(|(s, e)| KeyRange::new(s, e)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sets() -> impl Strategy<Value = Vec<(i64, i64)>> {
        proptest::collection::vec((0i64..30, 0i64..8).prop_map(|(s, l)| (s, s + l)), 0..6)
    }

    fn build(ranges: &[(i64, i64)]) -> RangeSet {
        let mut one_by_one = RangeSet::empty();
        for &(s, e) in ranges {
            one_by_one.insert(Micros(s), Micros(e));
        }
        let at_once: RangeSet = ranges.iter().map(|&(s, e)| (Micros(s), Micros(e))).collect();
        assert_eq!(one_by_one, at_once);
        at_once
    }

    proptest! {
        #[test]
        fn range_sets_are_sets(a in sets(), b in sets()) {
            let (x, y) = (build(&a), build(&b));
            let within = |ranges: &[(i64, i64)], t: i64| ranges.iter().any(|&(s, e)| s <= t && t < e);
            for t in 0..40 {
                let at = |set: &RangeSet| set.covers(Micros(t), Micros(t + 1));
                prop_assert_eq!(at(&x.union(&y)), within(&a, t) || within(&b, t));
                prop_assert_eq!(at(&x.intersect(&y)), within(&a, t) && within(&b, t));
                prop_assert_eq!(at(&x.subtract(&y)), within(&a, t) && !within(&b, t));
            }
        }
    }

    #[test]
    fn a_version_is_the_lowest_over_a_range_and_zero_where_unknown() {
        let key = |s: &'static str| Bytes::from_static(s.as_bytes());
        let map = VersionMap::from_ranges(vec![(KeyRange::new(key("m"), None), Seq(9)), (KeyRange::new("", Some(key("m"))), Seq(5))]);
        assert_eq!(map.lowest(&KeyRange::ALL), Seq(5));
        assert_eq!(map.lowest(&KeyRange::new(key("n"), None)), Seq(9));
        assert_eq!(VersionMap::default().lowest(&KeyRange::ALL), Seq::ZERO);
        let gap = VersionMap::from_ranges(vec![(KeyRange::new(key("m"), None), Seq(9))]);
        assert_eq!(gap.lowest(&KeyRange::ALL), Seq::ZERO);
    }
}
