//! Which SSTables to merge, drop or move: pure functions of what the manifest says, the settings and the time.
//!
//! SSTables are grouped by [`SliceKey`]; what is common to all strategies (dropping what has expired, joining hours
//! into days and days into months, rewriting what is mostly dead) is chosen here, the rest within each group by the
//! table's strategy. A group with a compaction under way is left alone.

mod dead;
mod joins;
mod leveled;
#[cfg(test)]
mod simulation;
mod size_tiered;
mod windowed;

use crate::format::{SliceKey, SstableName, SstableRef};
use crate::slice::max_age;
use common::ids::{FamilyId, Seq};
use common::schema::{CompactionKind, Table};
use common::time::Micros;
use std::collections::{BTreeMap, HashSet};

pub(crate) use dead::keys_meet;
pub(crate) use joins::{MAX_SLICES, months_until};
pub(crate) use leveled::Leveled;
pub(crate) use size_tiered::SizeTiered;

/// SSTables merged at once at most: each takes a request and a read-ahead buffer.
const MAX_INPUTS: usize = 64;

/// Why something is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trigger {
    /// The strategy's sizes and levels.
    Size,
    /// Slices that have become old are joined.
    Join,
    /// Much of it is deletes, which hide what lies below.
    Tombstones,
    /// Much of it is too old, or of dropped families.
    Age,
    /// Someone asked for it.
    Full,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    /// Nothing.
    Nothing,
    /// Leave these out: no reader can see anything of them.
    Drop(Vec<SstableName>),
    /// Put these on another level as they are.
    Move(Vec<SstableName>, u32),
    /// Merge.
    Merge(Merging),
}

/// A merge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Merging {
    pub(crate) inputs: Vec<SstableName>,
    /// Where the outputs go.
    pub(crate) level: u32,
    /// Bytes at which an output is closed and the next begun.
    pub(crate) file_bytes: u64,
    pub(crate) trigger: Trigger,
}

/// What is chosen from.
#[derive(Clone, Debug)]
pub(crate) struct Situation<'a> {
    pub(crate) files: &'a [&'a SstableRef],
    /// Groups with a compaction under way.
    pub(crate) busy: &'a HashSet<SliceKey>,
    /// The lowest seq that can be read: up to here nothing need be told apart.
    pub(crate) floor: Seq,
    /// Ages are as of this: earlier than any reader's time.
    pub(crate) removal: Micros,
    /// The time, for widths of slices.
    pub(crate) now: Micros,
}

/// The settings of a table's compaction.
#[derive(Clone, Debug)]
pub(crate) struct Strategy {
    pub(crate) kind: CompactionKind,
    /// By family, the age at which each of its cells is condemned.
    pub(crate) ages: Vec<(FamilyId, Option<u64>)>,
    pub(crate) size_tiered: SizeTiered,
    pub(crate) leveled: Leveled,
}

impl Strategy {
    /// As the table says; by default [`CompactionKind::TimeWindowed`] where there are slices, else
    /// [`CompactionKind::SizeTiered`], which alone writes each byte less than 8 times at 100 times a memtable's size.
    ///
    /// `memtable_bytes`: what a flush may write at most; `file_bytes`: what an SSTable of leveled compaction has.
    pub(crate) fn of(table: &Table, memtable_bytes: u64, file_bytes: u64) -> Self {
        let ages: Vec<_> = table.families.iter().map(|f| (f.id, max_age(&f.gc))).collect();
        let sliced = table.key_schema().has_time() || ages.iter().any(|(_, age)| age.is_some());
        let default = if sliced { CompactionKind::TimeWindowed } else { CompactionKind::SizeTiered };
        Self {
            kind: table.spec.compaction.unwrap_or(default),
            ages,
            size_tiered: SizeTiered::default(),
            leveled: Leveled::of(memtable_bytes, file_bytes),
        }
    }

    /// The next thing to do.
    pub(crate) fn choose(&self, at: &Situation<'_>) -> Choice {
        let expired = dead::expired(self, at);
        if !expired.is_empty() {
            return Choice::Drop(expired);
        }
        let groups = groups(at);
        let within = groups.iter().filter(|(key, _)| !at.busy.contains(*key)).map(|(key, files)| self.within(*key, files, at));
        if let Some(choice) = within.into_iter().find(|choice| *choice != Choice::Nothing) {
            return choice;
        }
        let rest = joins::join(&groups, at).or_else(|| dead::tombstones(at)).or_else(|| dead::aged(self, at));
        match rest {
            // Its outputs need not fit between the others of a level.
            Some(merging) if self.kind == CompactionKind::Leveled && merging.trigger == Trigger::Tombstones => {
                Choice::Merge(Merging { level: 0, ..merging })
            }
            rest => rest.map_or(Choice::Nothing, Choice::Merge),
        }
    }

    fn within(&self, key: SliceKey, files: &[&SstableRef], at: &Situation<'_>) -> Choice {
        match self.kind {
            CompactionKind::SizeTiered => self.size_tiered.choose(files),
            CompactionKind::Leveled => self.leveled.choose(files),
            CompactionKind::TimeWindowed => windowed::choose(&self.size_tiered, key, files, at.now),
        }
    }

    /// Merges all of `inputs`.
    pub(crate) fn full(&self, inputs: &[&SstableRef]) -> Merging {
        let bytes = inputs.iter().map(|f| f.size).sum();
        let highest = inputs.iter().map(|f| f.level).max().unwrap_or(0);
        let (level, file_bytes) = match self.kind {
            CompactionKind::Leveled => (self.leveled.depth(bytes).max(highest).max(1), self.leveled.file_bytes),
            _ => (highest + 1, u64::MAX),
        };
        Merging { inputs: names(inputs), level, file_bytes, trigger: Trigger::Full }
    }
}

type Groups<'a> = BTreeMap<SliceKey, Vec<&'a SstableRef>>;

fn groups<'a>(at: &Situation<'a>) -> Groups<'a> {
    let mut groups = Groups::new();
    for file in at.files {
        groups.entry(file.slice).or_default().push(file);
    }
    groups
}

fn names(files: &[&SstableRef]) -> Vec<SstableName> {
    files.iter().map(|f| f.name).collect()
}

/// One SSTable of everything: what strategies without levels make.
fn into_one(files: &[&SstableRef], trigger: Trigger) -> Merging {
    let level = files.iter().map(|f| f.level).max().unwrap_or(0) + 1;
    Merging { inputs: names(files), level, file_bytes: u64::MAX, trigger }
}
