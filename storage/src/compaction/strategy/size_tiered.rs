//! Size-tiered: merge SSTables of about one size.

use super::{Choice, MAX_INPUTS, Trigger, into_one};
use crate::format::SstableRef;

/// Settings of the strategy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct SizeTiered {
    /// SSTables merged at once at least. More: less rewriting, more files to read.
    pub(crate) min_files: usize,
    /// A tier's largest SSTable has at most this many times the bytes of its smallest.
    pub(crate) ratio: u64,
    /// Smaller SSTables count as this large.
    pub(crate) small_bytes: u64,
    /// Above this many SSTables the smallest are merged whatever their sizes.
    pub(crate) max_files: usize,
}

impl Default for SizeTiered {
    fn default() -> Self {
        Self { min_files: 4, ratio: 2, small_bytes: 1 << 20, max_files: 24 }
    }
}

impl SizeTiered {
    /// Chooses among the SSTables of one slice.
    pub(crate) fn choose(&self, files: &[&SstableRef]) -> Choice {
        let mut sorted = files.to_vec();
        sorted.sort_by_key(|f| (f.size, f.name));
        match self.pick(&sorted) {
            Some(tier) => Choice::Merge(into_one(tier, Trigger::Size)),
            None => Choice::Nothing,
        }
    }

    /// The cheapest tier of `sorted`, smallest first.
    fn pick<'f, 'e>(&self, sorted: &'f [&'e SstableRef]) -> Option<&'f [&'e SstableRef]> {
        let tier = |from: usize| {
            let most = sorted[from].size.max(self.small_bytes).saturating_mul(self.ratio);
            let length = sorted[from..].iter().take(MAX_INPUTS).take_while(|f| f.size <= most).count();
            (length >= self.min_files).then(|| &sorted[from..from + length])
        };
        let found = (0..sorted.len()).find_map(tier);
        let crowded = (sorted.len() > self.max_files).then(|| &sorted[..self.min_files]);
        found.or(crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{file, numbers};
    use super::*;

    const M: u64 = 1 << 20;

    fn choose(sizes: &[u64]) -> Vec<u64> {
        let files: Vec<_> = sizes.iter().enumerate().map(|(i, size)| file(i as u64, *size)).collect();
        let choice = SizeTiered::default().choose(&files.iter().collect::<Vec<_>>());
        numbers(&choice)
    }

    #[test]
    fn sstables_of_one_size_are_merged_smallest_first() {
        assert!(choose(&[]).is_empty());
        assert!(choose(&[64 * M, M, M, M]).is_empty());
        assert_eq!(choose(&[64 * M, M, 2 * M, 5, M]), [3, 1, 4, 2]);
        assert_eq!(choose(&[90 * M, M, 80 * M, M, 70 * M, M, 60 * M, M]), [1, 3, 5, 7]);
        assert!(choose(&[M, 64 * M, M, 64 * M, M, 64 * M]).is_empty());
    }

    #[test]
    fn too_many_sstables_are_merged_whatever_their_sizes() {
        let sizes: Vec<_> = (0..25).map(|i| M * 3u64.pow(i)).collect();
        assert_eq!(choose(&sizes).len(), 4);
    }
}
