//! SSTables of which all, or much, is dead.

use super::{MAX_INPUTS, Merging, Situation, Strategy, Trigger, into_one};
use crate::format::{SstableName, SstableRef};
use common::ids::FamilyId;
use common::time::Micros;

/// Deletes below this number are not worth a merge of their own.
const MIN_DELETES: u64 = 64;
/// Deletes are merged with what they hide once they are this share of its cells: 1 in so many.
const DELETE_SHARE: u64 = 4;

/// Whether some row key may lie in both.
pub(crate) fn keys_meet(a: &SstableRef, b: &SstableRef) -> bool {
    // A slice by key is a function of the key.
    let in_time = a.event_times.zip(b.event_times).is_none_or(|(a, b)| a.0 <= b.1 && b.0 <= a.1);
    let in_keys = spans(a).any(|(first, last)| spans(b).any(|(from, to)| first <= to && from <= last));
    (in_time && in_keys) || ranges_meet(a, b) || ranges_meet(b, a)
}

/// The key spans of cells and deletes.
fn spans(file: &SstableRef) -> impl Iterator<Item = (&[u8], &[u8])> + Clone {
    file.keys.iter().chain(&file.delete_keys).map(|(first, last)| (first.as_ref(), last.as_ref()))
}

/// Whether row-range deletes of one reach into another.
fn ranges_meet(a: &SstableRef, b: &SstableRef) -> bool {
    let Some(deleted) = &a.range_deletes else { return false };
    let reaches = |first: &[u8], last: &[u8]| deleted.start.as_ref() <= last && deleted.end.as_ref().is_none_or(|end| first < end.as_ref());
    spans(b).any(|(first, last)| reaches(first, last)) || b.range_deletes.as_ref().is_some_and(|other| other.intersect(deleted).is_some())
}

/// What lies below the deletes of `file`.
fn below<'a>(file: &SstableRef, at: &Situation<'a>) -> Vec<&'a SstableRef> {
    let Some((_, highest)) = file.delete_seqs else { return Vec::new() };
    at.files.iter().filter(|f| f.name != file.name && f.seqs.0 <= highest && keys_meet(f, file)).copied().collect()
}

/// SSTables without anything that a reader can see or that hides something, to be dropped whole.
pub(super) fn expired(strategy: &Strategy, at: &Situation<'_>) -> Vec<SstableName> {
    let gone = |f: &&&SstableRef| !at.busy.contains(&f.slice) && has_expired(strategy, f, at.removal) && below(f, at).is_empty();
    at.files.iter().filter(gone).map(|f| f.name).collect()
}

fn has_expired(strategy: &Strategy, file: &SstableRef, now: Micros) -> bool {
    let dead = |family: &FamilyId| {
        let age = strategy.age(*family);
        age.is_some_and(|age| now.0.saturating_sub(file.timestamps.1.0) > age)
    };
    file.puts == 0 || file.families.iter().all(dead)
}

impl Strategy {
    /// The age in µs above which no cell of a family is seen; `None`: some are for ever.
    fn age(&self, family: FamilyId) -> Option<i64> {
        match self.ages.iter().find(|(f, _)| *f == family) {
            Some((_, age)) => age.map(|s| i64::try_from(s.saturating_mul(1_000_000)).unwrap_or(i64::MAX)),
            // A dropped family is dead at any age; one that is newer than what is known of the table is not.
            None => self.ages.iter().any(|(f, _)| *f > family).then_some(i64::MIN),
        }
    }
}

/// Deletes with all that they may hide: then they and it go.
pub(super) fn tombstones(at: &Situation<'_>) -> Option<Merging> {
    at.files.iter().filter(|f| f.deletes >= MIN_DELETES).find_map(|file| {
        // A delete above the floor would only be written again.
        file.delete_seqs.filter(|(_, highest)| *highest <= at.floor)?;
        let mut inputs = below(file, at);
        inputs.push(file);
        let cells: u64 = inputs.iter().map(|f| f.puts).sum();
        let free = inputs.iter().all(|f| !at.busy.contains(&f.slice));
        let worth = file.deletes.saturating_mul(DELETE_SHARE) >= cells && inputs.len() <= MAX_INPUTS;
        (free && worth).then(|| into_one(&inputs, Trigger::Tombstones))
    })
}

/// An SSTable of which about half is too old, or with cells of a dropped family.
pub(super) fn aged(strategy: &Strategy, at: &Situation<'_>) -> Option<Merging> {
    let file = at.files.iter().find(|f| !at.busy.contains(&f.slice) && f.seqs.1 <= at.floor && is_aged(strategy, f, at.removal))?;
    Some(Merging { level: file.level, ..into_one(&[file], Trigger::Age) })
}

fn is_aged(strategy: &Strategy, file: &SstableRef, now: Micros) -> bool {
    if file.puts == 0 {
        return false;
    }
    let ages: Vec<_> = file.families.iter().map(|f| strategy.age(*f)).collect();
    if ages.contains(&Some(i64::MIN)) {
        return true;
    }
    let Some(age) = ages.into_iter().collect::<Option<Vec<_>>>().and_then(|all| all.into_iter().max()) else { return false };
    let (low, high) = (i128::from(file.timestamps.0.0), i128::from(file.timestamps.1.0));
    let middle = low + (high - low) / 2;
    i128::from(now.0) - middle > i128::from(age) && low < high
}
