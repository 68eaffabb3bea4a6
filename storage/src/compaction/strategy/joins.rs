//! Joining slices as they age: hours into days, and the oldest days into months where there are too many.

use super::{Groups, MAX_INPUTS, Merging, Situation, Trigger, into_one};
use crate::format::{Slice, SliceKey, SstableRef};
use crate::slice::hours_from;
use common::time::Micros;
use std::collections::BTreeMap;

/// Slices of a tablet above which its oldest days are joined into months: each is an object to know, and to open.
pub(crate) const MAX_SLICES: usize = 1000;

/// What has joined takes the rest of its slice along if that is at most this many times as large.
const REST: u64 = 4;

/// Times before this belong to months already.
pub(crate) fn months_until<'a>(slices: impl IntoIterator<Item = &'a SliceKey>) -> Micros {
    let month = |key: &SliceKey| match key.slice {
        Some(month @ Slice::Month(_)) => Some(month.times().end),
        _ => None,
    };
    slices.into_iter().filter_map(month).max().unwrap_or(Micros::MIN)
}

pub(super) fn join(groups: &Groups<'_>, at: &Situation<'_>) -> Option<Merging> {
    hours_of_old_days(groups, at).or_else(|| oldest_month(groups, at))
}

fn hours_of_old_days(groups: &Groups<'_>, at: &Situation<'_>) -> Option<Merging> {
    let from = hours_from(at.now);
    let day = |key: &SliceKey| match key.slice {
        Some(hour @ Slice::Hour(_)) => Some(Slice::day(hour.times().start)).filter(|day| *day < from),
        _ => None,
    };
    wider(groups, at, day).next()
}

fn oldest_month(groups: &Groups<'_>, at: &Situation<'_>) -> Option<Merging> {
    let from = hours_from(at.now).times().start;
    let slices = groups.keys().filter(|key| key.slice.is_some()).count();
    let month = |key: &SliceKey| match key.slice {
        Some(day @ Slice::Day(_)) => Some(Slice::month(day.times().start)).filter(|m| m.times().end <= from),
        _ => None,
    };
    if slices > MAX_SLICES { wider(groups, at, month).next() } else { None }
}

/// Merges of all slices that `wide` gives one and the same wider slice, oldest first.
fn wider<'g>(
    groups: &'g Groups<'_>,
    at: &'g Situation<'_>,
    wide: impl Fn(&SliceKey) -> Option<Slice>,
) -> impl Iterator<Item = Merging> + 'g {
    let mut joined: BTreeMap<SliceKey, Vec<SliceKey>> = BTreeMap::new();
    for key in groups.keys() {
        if let Some(slice) = wide(key) {
            joined.entry(SliceKey { slice: Some(slice), ..*key }).or_default().push(*key);
        }
    }
    let mut oldest: Vec<_> = joined.into_iter().collect();
    oldest.sort_by_key(|(key, _)| key.slice.map(|s| s.times().start));
    let free = |(into, from): &(SliceKey, Vec<SliceKey>)| from.iter().chain([into]).all(|key| !at.busy.contains(key));
    oldest.into_iter().filter(free).map(move |(into, from)| {
        let mut inputs: Vec<&SstableRef> = from.iter().filter_map(|key| groups.get(key)).flatten().copied().take(MAX_INPUTS).collect();
        let (bytes, rest) = (size(&inputs), groups.get(&into).map_or(&[][..], Vec::as_slice));
        if size(rest) <= bytes.saturating_mul(REST) && rest.len() + inputs.len() <= MAX_INPUTS {
            inputs.extend(rest);
        }
        into_one(&inputs, Trigger::Join)
    })
}

fn size(files: &[&SstableRef]) -> u64 {
    files.iter().map(|f| f.size).sum()
}
