//! Time-windowed: size-tiered while a slice is written, one SSTable once it is past.

use super::{Choice, MAX_INPUTS, SizeTiered, Trigger, into_one};
use crate::format::{SliceKey, SstableRef};
use common::time::Micros;

/// What comes late may be merged into a slice that is past once it makes up this share of it: 1 in so many.
const LATE_SHARE: u64 = 4;

/// Chooses among the SSTables of one slice.
pub(super) fn choose(tiers: &SizeTiered, key: SliceKey, files: &[&SstableRef], now: Micros) -> Choice {
    let past = key.slice.is_some_and(|slice| slice.times().end <= now);
    let largest = files.iter().map(|f| f.size).max().unwrap_or(0);
    let late = files.iter().map(|f| f.size).sum::<u64>() - largest;
    if past && files.len() > 1 && files.len() <= MAX_INPUTS && late.saturating_mul(LATE_SHARE) >= largest {
        return Choice::Merge(into_one(files, Trigger::Size));
    }
    tiers.choose(files)
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{file, numbers};
    use super::*;
    use crate::format::Slice;

    #[test]
    fn a_slice_that_is_past_becomes_one_sstable_and_takes_late_rows_in_bulk() {
        let key = SliceKey { max_age: 0, slice: Some(Slice::Hour(10)) };
        let at = |hour: i64, sizes: &[u64]| {
            let files: Vec<_> = sizes.iter().enumerate().map(|(i, size)| file(i as u64, *size << 20)).collect();
            numbers(&choose(&SizeTiered::default(), key, &files.iter().collect::<Vec<_>>(), Micros(hour * 3_600_000_000))).len()
        };
        assert_eq!(at(10, &[8, 3]), 0, "it is still written");
        assert_eq!(at(11, &[8, 3]), 2);
        assert_eq!(at(11, &[8, 1]), 0, "not worth it yet");
        assert_eq!(at(11, &[80, 1, 1, 1, 1]), 4);
        assert_eq!(at(11, &[8]), 0);
    }
}
