//! How much of a tablet's SSTables a full compaction would keep: an estimate from what the manifest says of them.

use crate::format::{SliceKey, SstableRef};
use std::collections::BTreeMap;

/// Bytes of SSTables that would be left if all of them were compacted, about.
///
/// SSTables of one slice that overlap in keys are taken to hold the same rows where they do, evenly spread between their
/// first and last key: of each span of keys the SSTable with most bytes there is what stays. So it is low, and the
/// amplification that follows from it high, where flushes brought different rows of one range. Each delete is taken to
/// hide one cell, and goes with it; what GC rules condemn is not looked at.
pub(crate) fn kept_bytes<'a>(files: impl Iterator<Item = &'a SstableRef>) -> u64 {
    let mut slices: BTreeMap<SliceKey, Vec<&SstableRef>> = BTreeMap::new();
    files.for_each(|f| slices.entry(f.slice).or_default().push(f));
    slices.values().map(|files| kept_of_slice(files)).sum::<f64>().round() as u64
}

/// A file on the line of keys, `from < to`.
#[derive(Debug)]
struct Span {
    from: u128,
    to: u128,
    /// Bytes of cells.
    bytes: f64,
    cells: f64,
    deletes: f64,
}

fn kept_of_slice(files: &[&SstableRef]) -> f64 {
    let spans = spans(files);
    let mut ends: Vec<u128> = spans.iter().flat_map(|s| [s.from, s.to]).collect();
    ends.sort_unstable();
    ends.dedup();
    let mut by_start: Vec<&Span> = spans.iter().collect();
    by_start.sort_unstable_by_key(|s| std::cmp::Reverse(s.from));
    let (mut open, mut kept): (Vec<&Span>, f64) = (Vec::new(), 0.0);
    for w in ends.windows(2) {
        open.retain(|s| s.to > w[0]);
        while let Some(next) = by_start.pop_if(|s| s.from <= w[0]) {
            open.push(next);
        }
        kept += kept_between(&open, w[0], w[1]);
    }
    kept
}

/// Of spans that all cover `[from, to)`.
fn kept_between(open: &[&Span], from: u128, to: u128) -> f64 {
    let share = |s: &Span| (to - from) as f64 / (s.to - s.from) as f64;
    let Some(largest) = open.iter().max_by(|a, b| (a.bytes * share(a)).total_cmp(&(b.bytes * share(b)))) else { return 0.0 };
    let cells = largest.cells * share(largest);
    if cells <= 0.0 {
        return 0.0;
    }
    let deletes: f64 = open.iter().map(|s| s.deletes * share(s)).sum();
    largest.bytes * share(largest) * (1.0 - deletes / cells).max(0.0)
}

fn spans(files: &[&SstableRef]) -> Vec<Span> {
    let keys: Vec<(&[u8], &[u8])> = files.iter().map(|f| hull(f)).collect();
    let lowest = keys.iter().map(|k| k.0).min().unwrap_or_default();
    let highest = keys.iter().map(|k| k.1).max().unwrap_or_default();
    let common = lowest.iter().zip(highest).take_while(|(a, b)| a == b).count();
    let span = |(f, (first, last)): (&&SstableRef, &(&[u8], &[u8]))| {
        let (cells, deletes) = (f.puts as f64, f.deletes as f64);
        let bytes = f.size as f64 * cells / (cells + deletes).max(1.0);
        let from = place(first, common);
        Span { from, to: place(last, common).max(from) + 1, bytes, cells, deletes }
    };
    files.iter().zip(&keys).map(span).collect()
}

/// First and last key with cells or deletes, within the part of it that counts.
fn hull(file: &SstableRef) -> (&[u8], &[u8]) {
    let both = || file.keys.iter().chain(&file.delete_keys);
    let start: &[u8] = &file.range.start;
    let first = both().map(|(first, _)| first.as_ref()).min().unwrap_or(start).max(start);
    let last = both().map(|(_, last)| last.as_ref()).max().unwrap_or(first);
    let last = file.range.end.as_deref().map_or(last, |end| last.min(end));
    (first, last.max(first))
}

/// A key as a number: the eight bytes behind what all keys have in common.
fn place(key: &[u8], common: usize) -> u128 {
    let mut bytes = [0; 8];
    let rest = key.get(common..).unwrap_or_default();
    let length = rest.len().min(8);
    bytes[..length].copy_from_slice(&rest[..length]);
    u128::from(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::SstableName;
    use bytes::Bytes;
    use common::ids::{Epoch, Seq, TabletId};
    use common::key::KeyRange;
    use common::time::Micros;

    fn file(first: &str, last: &str, size: u64, (puts, deletes): (u64, u64)) -> SstableRef {
        let keys = Some((Bytes::copy_from_slice(first.as_bytes()), Bytes::copy_from_slice(last.as_bytes())));
        SstableRef {
            name: SstableName { home: TabletId(1), epoch: Epoch(1), number: 1 },
            level: 0,
            slice: SliceKey::default(),
            families: Vec::new(),
            range: KeyRange::ALL,
            delete_keys: keys.clone().filter(|_| deletes > 0),
            keys: keys.filter(|_| puts > 0),
            range_deletes: None,
            seqs: (Seq(1), Seq(1)),
            delete_seqs: None,
            given: None,
            timestamps: (Micros(0), Micros(0)),
            event_times: None,
            size,
            rows: puts,
            puts,
            deletes,
        }
    }

    fn kept(files: &[SstableRef]) -> u64 {
        kept_bytes(files.iter())
    }

    #[test]
    fn disjoint_files_stay_and_of_overlapping_ones_the_largest() {
        assert_eq!(kept(&[]), 0);
        assert_eq!(kept(&[file("a", "c", 100, (10, 0)), file("d", "f", 50, (10, 0))]), 150);
        assert_eq!(kept(&[file("a", "c", 100, (10, 0)), file("a", "c", 80, (10, 0)), file("a", "c", 20, (9, 0))]), 100);
        let half = kept(&[file("key-a", "key-k", 1000, (10, 0)), file("key-f", "key-p", 1000, (10, 0))]);
        assert!((1300..1700).contains(&half), "{half}");
        assert_eq!(kept(&[file("a", "a", 7, (1, 0)), file("a", "a", 5, (1, 0))]), 7);
    }

    #[test]
    fn a_delete_takes_a_cell_along_and_slices_are_counted_apart() {
        assert_eq!(kept(&[file("a", "c", 100, (10, 0)), file("a", "c", 20, (0, 5))]), 50);
        assert_eq!(kept(&[file("a", "c", 100, (10, 0)), file("a", "c", 20, (0, 50))]), 0);
        let other = SstableRef { slice: SliceKey { max_age: 5, slice: None }, ..file("a", "c", 80, (10, 0)) };
        assert_eq!(kept(&[file("a", "c", 100, (10, 0)), other]), 180);
    }

    #[test]
    fn what_a_reference_clips_away_has_no_place() {
        let range = KeyRange::new("b", Some(Bytes::from_static(b"c")));
        let clipped = SstableRef { range, ..file("a", "z", 100, (10, 0)) };
        assert_eq!(kept(&[clipped, file("d", "f", 50, (10, 0))]), 150);
    }
}
