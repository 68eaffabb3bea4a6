//! Leveled: level 0 takes flushes; below it each level is a run of disjoint SSTables, `fanout` times as large as the
//! one above. The sizes follow the data: the last level takes nearly all of it, so little of it is dead.

use super::{Choice, Merging, Trigger, names};
use crate::format::SstableRef;
use bytes::Bytes;
use std::collections::BTreeMap;

/// Settings of the strategy.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Leveled {
    /// SSTables of level 0 that are merged into level 1 together.
    pub(crate) level0_files: usize,
    /// How many times as large as the one above a level is. More: fewer levels, more rewriting at each.
    pub(crate) fanout: u64,
    /// Bytes at which an SSTable is closed and the next begun.
    pub(crate) file_bytes: u64,
    /// The least that level 1 holds before there is a level 2.
    pub(crate) base_bytes: u64,
}

/// SSTables that level 1 has at least: rewriting a part of it must not mean all of it.
const BASE_FILES: u64 = 8;
/// SSTables are not cut smaller than this: each is an object.
const MIN_FILE_BYTES: u64 = 1 << 20;

impl Leveled {
    /// Level 1 begins with what one merge of level 0 brings.
    pub(crate) fn of(memtable_bytes: u64, file_bytes: u64) -> Self {
        let level0_files = 4;
        let base_bytes = (memtable_bytes * level0_files).max(4 * MIN_FILE_BYTES);
        let file_bytes = file_bytes.min(base_bytes / BASE_FILES).max(MIN_FILE_BYTES);
        Self { level0_files: level0_files as usize, fanout: 8, file_bytes, base_bytes }
    }

    /// Chooses among the SSTables of one slice.
    pub(crate) fn choose(&self, files: &[&SstableRef]) -> Choice {
        let levels = Levels::new(files);
        let sorted: u64 = levels.deep.values().flatten().map(|f| f.size).sum();
        if levels.zero.len() >= self.level0_files {
            return self.merge_down(&levels.zero, levels.at(1), 1);
        }
        let depth = self.depth(sorted).max(levels.deepest());
        let over = (1..depth).filter_map(|level| {
            let size: u64 = levels.at(level).iter().map(|f| f.size).sum();
            let target = (sorted / self.fanout.saturating_pow(depth - level)).max(self.base_bytes);
            (size > target).then_some((level, size as u128 * 1000 / u128::from(target)))
        });
        let Some((level, _)) = over.max_by_key(|(_, score)| *score) else { return Choice::Nothing };
        let next = levels.at(level + 1);
        let cost = |f: &&SstableRef| {
            let below: u64 = overlapping(next, &span(&[*f])).iter().map(|o| o.size).sum();
            below as u128 * 1000 / u128::from(f.size.max(1))
        };
        match levels.at(level).iter().copied().min_by_key(|f| (cost(f), f.name)) {
            Some(file) => self.merge_down(&[file], next, level + 1),
            None => Choice::Nothing,
        }
    }

    /// How many levels below level 0 these bytes want.
    pub(crate) fn depth(&self, bytes: u64) -> u32 {
        let (mut depth, mut holds) = (1, self.base_bytes.max(1));
        while holds < bytes && depth < 12 {
            holds = holds.saturating_mul(self.fanout.max(2));
            depth += 1;
        }
        depth
    }

    fn merge_down(&self, upper: &[&SstableRef], lower: &[&SstableRef], level: u32) -> Choice {
        let met = overlapping(lower, &span(upper));
        if met.is_empty() && is_run(upper) {
            return Choice::Move(names(upper), level);
        }
        let inputs: Vec<_> = upper.iter().copied().chain(met).collect();
        Choice::Merge(Merging { inputs: names(&inputs), level, file_bytes: self.file_bytes, trigger: Trigger::Size })
    }
}

/// SSTables by level. A level that is no run (of another strategy) counts as level 0.
struct Levels<'a> {
    zero: Vec<&'a SstableRef>,
    deep: BTreeMap<u32, Vec<&'a SstableRef>>,
}

impl<'a> Levels<'a> {
    fn new(files: &[&'a SstableRef]) -> Self {
        let mut levels = Self { zero: Vec::new(), deep: BTreeMap::new() };
        for file in files {
            let level = if file.level == 0 { &mut levels.zero } else { levels.deep.entry(file.level).or_default() };
            level.push(file);
        }
        let broken: Vec<_> = levels.deep.iter().filter(|(_, run)| !is_run(run)).map(|(level, _)| *level).collect();
        for level in broken {
            levels.zero.extend(levels.deep.remove(&level).unwrap_or_default());
        }
        levels
    }

    fn at(&self, level: u32) -> &[&'a SstableRef] {
        self.deep.get(&level).map_or(&[], Vec::as_slice)
    }

    fn deepest(&self) -> u32 {
        self.deep.last_key_value().map_or(1, |(level, _)| *level)
    }
}

/// First and last key of anything in an SSTable; row-range deletes reach to all keys.
fn bounds(file: &SstableRef) -> (Bytes, Option<Bytes>) {
    if file.range_deletes.is_some() {
        return (file.range.start.clone(), None);
    }
    let both = file.keys.iter().chain(&file.delete_keys);
    let first = both.clone().map(|(first, _)| first.clone()).min().unwrap_or_default();
    (first, Some(both.map(|(_, last)| last.clone()).max().unwrap_or_default()))
}

fn span(files: &[&SstableRef]) -> (Bytes, Option<Bytes>) {
    let mut all = files.iter().map(|f| bounds(f));
    let Some(first) = all.next() else { return (Bytes::new(), Some(Bytes::new())) };
    all.fold(first, |(a, b), (c, d)| (a.min(c), b.zip(d).map(|(b, d)| b.max(d))))
}

fn overlapping<'a>(run: &[&'a SstableRef], span: &(Bytes, Option<Bytes>)) -> Vec<&'a SstableRef> {
    let meets = |f: &&&SstableRef| {
        let (first, last) = bounds(f);
        span.1.as_ref().is_none_or(|end| first <= *end) && last.is_none_or(|last| last >= span.0)
    };
    run.iter().filter(meets).copied().collect()
}

/// Whether no two share a key.
fn is_run(files: &[&SstableRef]) -> bool {
    let mut all: Vec<_> = files.iter().map(|f| bounds(f)).collect();
    all.sort();
    all.windows(2).all(|w| w[0].1.as_ref().is_some_and(|last| *last < w[1].0))
}

#[cfg(test)]
mod tests {
    use super::super::simulation::{file, numbers, spanning};
    use super::*;

    const SMALL: Leveled = Leveled { level0_files: 2, fanout: 4, file_bytes: 10, base_bytes: 30 };

    fn choose(files: &[SstableRef]) -> Choice {
        SMALL.choose(&files.iter().collect::<Vec<_>>())
    }

    fn at(number: u64, level: u32, size: u64, keys: (&str, &str)) -> SstableRef {
        SstableRef { level, ..spanning(file(number, size), keys) }
    }

    #[test]
    fn level_0_goes_into_what_it_meets_of_level_1() {
        let files = [at(1, 0, 5, ("a", "f")), at(2, 0, 5, ("c", "h")), at(3, 1, 10, ("a", "b")), at(4, 1, 9, ("i", "k"))];
        let choice = choose(&files);
        assert_eq!(numbers(&choice), [1, 2, 3]);
        assert!(matches!(choice, Choice::Merge(Merging { level: 1, file_bytes: 10, .. })));
        assert_eq!(choose(&files[1..]), Choice::Nothing);
    }

    #[test]
    fn what_meets_nothing_is_moved() {
        let files = [at(1, 0, 5, ("l", "m")), at(2, 0, 5, ("n", "o")), at(3, 1, 10, ("a", "b"))];
        assert_eq!(choose(&files), Choice::Move(vec![files[0].name, files[1].name], 1));
    }

    #[test]
    fn a_level_that_is_too_large_gives_the_file_that_meets_least() {
        let files = [
            at(1, 1, 20, ("a", "f")),
            at(2, 1, 20, ("g", "k")),
            at(3, 2, 30, ("a", "c")),
            at(4, 2, 10, ("d", "h")),
            at(5, 2, 40, ("i", "z")),
        ];
        assert_eq!(numbers(&choose(&files)), [1, 3, 4]);
    }

    #[test]
    fn a_level_of_overlapping_sstables_counts_as_level_0() {
        let files = [at(1, 3, 15, ("a", "f")), at(2, 3, 15, ("c", "k"))];
        assert_eq!(numbers(&choose(&files)), [1, 2]);
    }
}
