//! How far a block's rows come before a key.

use super::columnar::ColumnarBlock;
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
}

/// How many of the first of `len` items are inside, where nothing is inside behind what is not. Looks at the last first,
/// then ever further from the beginning: most runs take all or little.
fn count(len: usize, inside: impl Fn(usize) -> bool) -> usize {
    if len == 0 || inside(len - 1) {
        return len;
    }
    let mut step = 1;
    while step < len && inside(step - 1) {
        step *= 2;
    }
    let (mut low, mut high) = (step / 2, step.min(len - 1));
    while low < high {
        let middle = low.midpoint(high);
        if inside(middle) { low = middle + 1 } else { high = middle }
    }
    low
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_inside_is_counted() {
        for len in 0..70 {
            for inside in 0..=len {
                assert_eq!(count(len, |i| i < inside), inside, "{inside} of {len}");
            }
        }
    }
}
