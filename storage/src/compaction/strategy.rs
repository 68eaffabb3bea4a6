//! Size-tiered: merge neighbours of about one size.
//!
//! Only neighbours in seq order are merged. So seq ranges of SSTables stay disjoint, and a delete always lies either
//! in the merge or wholly above or below it: GC rules may be applied to a part of the SSTables.

use std::ops::Range;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing.
    Nothing,
    /// Merge these, counted from the oldest.
    Merge(Range<usize>),
}

/// Settings of the strategy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizeTiered {
    /// SSTables merged at once at least. More: less rewriting, more files to read.
    pub(crate) min_files: usize,
    /// SSTables merged at once at most.
    pub(crate) max_merge: usize,
    /// A tier's largest SSTable has at most this many times the bytes of its smallest.
    pub(crate) ratio: u64,
    /// Smaller SSTables count as this large.
    pub(crate) small_bytes: u64,
    /// Above this many SSTables the cheapest neighbours are merged whatever their sizes.
    pub(crate) max_files: usize,
}

impl Default for SizeTiered {
    fn default() -> Self {
        Self { min_files: 4, max_merge: 16, ratio: 4, small_bytes: 1 << 20, max_files: 24 }
    }
}

impl SizeTiered {
    /// Chooses among SSTables of these sizes, oldest first.
    pub(crate) fn choose(&self, sizes: &[u64]) -> Choice {
        let tiers = (0..sizes.len()).filter_map(|from| self.tier(sizes, from));
        let cheapest =
            |ranges: &mut dyn Iterator<Item = Range<usize>>| ranges.min_by_key(|r| sizes[r.clone()].iter().sum::<u64>() / r.len() as u64);
        if let Some(tier) = cheapest(&mut tiers.into_iter()) {
            return Choice::Merge(tier);
        }
        if sizes.len() <= self.max_files {
            return Choice::Nothing;
        }
        let runs = (0..=sizes.len() - self.min_files).map(|from| from..from + self.min_files);
        cheapest(&mut runs.into_iter()).map_or(Choice::Nothing, Choice::Merge)
    }

    /// The longest tier that begins at `from`, if it is long enough.
    fn tier(&self, sizes: &[u64], from: usize) -> Option<Range<usize>> {
        let (mut smallest, mut largest) = (u64::MAX, 0);
        let fits = sizes[from..].iter().take(self.max_merge).take_while(|size| {
            let size = (**size).max(self.small_bytes);
            (smallest, largest) = (smallest.min(size), largest.max(size));
            largest <= smallest.saturating_mul(self.ratio)
        });
        let length = fits.count();
        (length >= self.min_files).then(|| from..from + length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const M: u64 = 1 << 20;

    #[test]
    fn neighbours_of_one_size_are_merged_cheapest_first() {
        let choose = |sizes: &[u64]| SizeTiered::default().choose(sizes);
        assert_eq!(choose(&[]), Choice::Nothing);
        assert_eq!(choose(&[64 * M, M, M, M]), Choice::Nothing);
        assert_eq!(choose(&[64 * M, M, 2 * M, 5, M]), Choice::Merge(1..5));
        assert_eq!(choose(&[90 * M, 80 * M, 70 * M, 60 * M, M, M, M, M]), Choice::Merge(4..8));
        assert_eq!(choose(&[M, 64 * M, M, 64 * M, M, 64 * M]), Choice::Nothing);
    }

    #[test]
    fn too_many_sstables_are_merged_whatever_their_sizes() {
        let sizes: Vec<_> = (0..25).map(|i| if i % 2 == 0 { M } else { 100 * M }).collect();
        assert!(matches!(SizeTiered::default().choose(&sizes), Choice::Merge(r) if r.len() == 4));
    }
}
