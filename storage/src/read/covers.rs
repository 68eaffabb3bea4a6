//! Which row-range deletes cover a key.

use crate::sstable::RangeDelete;
use bytes::Bytes;
use common::ids::Seq;
use common::key::KeyRange;
use std::collections::BTreeSet;

/// Row-range deletes of some sources, cut where one begins or ends: each fragment has its seqs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Covers {
    /// In key order, disjoint; those without a delete are left out.
    fragments: Vec<(KeyRange, Vec<Seq>)>,
}

impl Covers {
    pub(crate) fn new(deletes: impl IntoIterator<Item = RangeDelete>) -> Self {
        let mut deletes: Vec<_> = deletes.into_iter().filter(|d| !d.range.is_empty()).collect();
        if deletes.is_empty() {
            return Self::default();
        }
        deletes.sort_by(|a, b| a.range.start.cmp(&b.range.start));
        let ends = deletes.iter().filter_map(|d| d.range.end.clone());
        let cuts: BTreeSet<Bytes> = deletes.iter().map(|d| d.range.start.clone()).chain(ends).collect();
        let mut fragments = Vec::with_capacity(cuts.len());
        let (mut open, mut next): (Vec<RangeDelete>, _) = (Vec::new(), deletes.into_iter().peekable());
        let mut cuts = cuts.into_iter().peekable();
        while let Some(start) = cuts.next() {
            open.retain(|d| d.range.end.as_ref().is_none_or(|end| *end > start));
            while let Some(begins) = next.next_if(|d| d.range.start <= start) {
                open.push(begins);
            }
            if !open.is_empty() {
                let mut seqs: Vec<_> = open.iter().map(|d| d.seq).collect();
                seqs.sort_unstable();
                seqs.dedup();
                fragments.push((KeyRange { start, end: cuts.peek().cloned() }, seqs));
            }
        }
        Self { fragments }
    }

    /// The seqs of those that cover the key, rising.
    pub(crate) fn of(&self, key: &[u8]) -> &[Seq] {
        let after = self.fragments.partition_point(|(range, _)| range.start.as_ref() <= key);
        match after.checked_sub(1).and_then(|i| self.fragments.get(i)) {
            Some((range, seqs)) if range.contains(key) => seqs,
            _ => &[],
        }
    }

    /// Where one of a wanted seq lies, in key order, disjoint.
    pub(crate) fn ranges(&self, wanted: impl Fn(Seq) -> bool) -> Vec<KeyRange> {
        let inside = self.fragments.iter().filter(|(_, seqs)| seqs.iter().any(|seq| wanted(*seq)));
        inside.map(|(range, _)| range.clone()).collect()
    }

    /// The parts that [`Self::of`] tells apart, in key order.
    pub(crate) fn fragments(&self) -> &[(KeyRange, Vec<Seq>)] {
        &self.fragments
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn delete(a: u8, b: Option<u8>, seq: u64) -> RangeDelete {
        RangeDelete { range: KeyRange::new(vec![a], b.map(|b| Bytes::from(vec![b]))), seq: Seq(seq) }
    }

    proptest! {
        #[test]
        fn a_key_is_covered_by_the_ranges_that_contain_it(list in prop::collection::vec((0u8..20, prop::option::of(0u8..20), 1u64..9), 0..12)) {
            let deletes: Vec<_> = list.into_iter().map(|(a, b, seq)| delete(a, b, seq)).collect();
            let covers = Covers::new(deletes.clone());
            for key in (0..21u8).map(|k| [k, 7]) {
                let inside: BTreeSet<_> = deletes.iter().filter(|d| d.range.contains(&key)).map(|d| d.seq).collect();
                prop_assert_eq!(covers.of(&key), inside.into_iter().collect::<Vec<_>>());
            }
            prop_assert!(covers.fragments().windows(2).all(|w| w[0].0.end.as_ref().is_some_and(|end| *end <= w[1].0.start)));
        }
    }
}
