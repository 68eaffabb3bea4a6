//! How far a block's rows come before a key, and how far they are its own.

use super::columnar::{ColumnarBlock, Keys};
use std::ops::Range;

impl ColumnarBlock {
    /// How many of these rows come before `limit`, from the first in the scan's direction on.
    pub(crate) fn count_before(&self, rows: &Range<usize>, limit: Option<&[u8]>, reverse: bool) -> usize {
        let Some(limit) = limit else { return rows.len() };
        if reverse {
            count(rows.len(), |i| self.key(rows.end - 1 - i) > limit)
        } else {
            count(rows.len(), |i| self.key(rows.start + i) < limit)
        }
    }

    /// How many of these rows come, from the first on, before one that `other` has among `others` too, or that lies behind all of
    /// those: nothing is known of what follows them.
    pub(crate) fn count_apart(&self, rows: &Range<usize>, other: &Self, others: &Range<usize>) -> usize {
        let Some(last) = others.clone().next_back() else { return 0 };
        let known = self.count_before(rows, Some(other.key(last)), false);
        apart((&self.keys, rows.start..rows.start + known), (&other.keys, others.clone()))
    }
}

/// How many keys come before the first that both have. The last of `others` lies behind all of `rows`.
fn apart((mine, rows): (&Keys, Range<usize>), (theirs, others): (&Keys, Range<usize>)) -> usize {
    let (mut at, mut other) = (rows.start, others.start);
    // Some of these, some of those, in turns.
    while at < rows.end {
        let key = mine.get(at);
        other += gallop(others.end - other, |i| theirs.get(other + i) < key);
        let limit = theirs.get(other);
        if limit == key {
            break;
        }
        at += gallop(rows.end - at, |i| mine.get(at + i) < limit);
    }
    at - rows.start
}

/// How many of the first of `len` items are inside, where nothing is inside behind what is not. Looks at the last first,
/// then ever further from the beginning: most runs take all or little.
fn count(len: usize, inside: impl Fn(usize) -> bool) -> usize {
    if len == 0 || inside(len - 1) { len } else { gallop(len, inside) }
}

/// [`count`] that looks ever further from the beginning only.
fn gallop(len: usize, inside: impl Fn(usize) -> bool) -> usize {
    let mut step = 1;
    while step < len && inside(step - 1) {
        step *= 2;
    }
    let (mut low, mut high) = (step / 2, step.min(len));
    while low < high {
        let middle = low.midpoint(high);
        if inside(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_buffer::OffsetBuffer;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn keys_of(keys: &BTreeSet<u8>) -> Keys {
        Keys { offsets: OffsetBuffer::from_lengths(keys.iter().map(|_| 1)), data: keys.iter().copied().collect::<Vec<_>>().into() }
    }

    proptest! {
        #[test]
        fn keys_are_apart_up_to_the_first_that_both_have(mine: BTreeSet<u8>, theirs: BTreeSet<u8>) {
            let Some(last) = theirs.last().copied() else { return Ok(()) };
            let mine: BTreeSet<u8> = mine.range(..last).copied().collect();
            let got = apart((&keys_of(&mine), 0..mine.len()), (&keys_of(&theirs), 0..theirs.len()));
            prop_assert_eq!(got, mine.iter().take_while(|key| !theirs.contains(key)).count());
        }
    }

    #[test]
    fn what_lies_inside_is_counted() {
        for len in 0..70 {
            for inside in 0..=len {
                assert_eq!(count(len, |i| i < inside), inside, "{inside} of {len}");
                assert_eq!(gallop(len, |i| i < inside), inside, "{inside} of {len}");
            }
        }
    }
}
