//! What is asked of all engines in one round, and the right answers.

use crate::checksum::{Checksum, ColumnSum};
use crate::codec;
use crate::engines::RowRange;
use crate::events::Event;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Rows of one range read.
pub const RANGE_ROWS: usize = 100;

/// The reads of one round.
#[derive(Debug)]
pub struct Requests {
    /// Rows that are there; frequent users more often.
    pub gets: Vec<Vec<u8>>,
    /// The sum of those rows.
    pub got: Checksum,
    /// Keys between those that are there.
    pub missing: Vec<Vec<u8>>,
    /// Rows that are there, for reads without cache.
    pub uncached: Vec<Vec<u8>>,
    /// The sum of those rows.
    pub got_uncached: Checksum,
    /// Ranges of [`RANGE_ROWS`] rows of one user.
    pub ranges: Vec<RowRange>,
    /// The sum of the rows in those ranges.
    pub ranged: Checksum,
}

/// The right answers to scans of everything.
#[derive(Clone, Copy, Debug)]
pub struct Whole {
    /// All rows.
    pub rows: Checksum,
    /// Three columns of all rows.
    pub columns: ColumnSum,
    /// Bytes of all keys and values.
    pub bytes: u64,
}

impl Whole {
    /// Those of these events.
    #[must_use]
    pub fn of(events: &[Event]) -> Self {
        let bytes = |e: &Event| (codec::key_of(e).len() + codec::encode(e).len()) as u64;
        Self { rows: Checksum::of(events), columns: ColumnSum::of(events), bytes: events.iter().map(bytes).sum() }
    }
}

impl Requests {
    /// `reads` point reads of each kind, a twentieth as many uncached and a tenth as many ranges.
    #[must_use]
    pub fn new(events: &[Event], sorted: &[u32], reads: usize, seed: u64) -> Self {
        let mut random = StdRng::seed_from_u64(seed);
        let mut pick = |n: usize| -> Vec<&Event> { (0..n).map(|_| &events[random.random_range(0..events.len())]).collect() };
        let (gets, missing, uncached) = (pick(reads), pick(reads), pick((reads / 20).max(100)));
        let keys = |of: &[&Event]| of.iter().map(|e| codec::key_of(e)).collect();
        let (ranges, ranged) = ranges(events, sorted, (reads / 10).max(100), &mut random);
        Self {
            got: Checksum::of(gets.iter().copied()),
            gets: keys(&gets),
            missing: missing.iter().map(|e| codec::key(&e.user_id, e.at, e.event_id + 1)).collect(),
            got_uncached: Checksum::of(uncached.iter().copied()),
            uncached: keys(&uncached),
            ranges,
            ranged,
        }
    }
}

/// The places of events in key order.
#[must_use]
pub fn sorted(events: &[Event]) -> Vec<u32> {
    let mut order: Vec<_> = (0..events.len() as u32).collect();
    let key = |i: u32| {
        let e = &events[i as usize];
        (e.user_id.as_str(), e.at, e.event_id)
    };
    order.sort_unstable_by(|a, b| key(*a).cmp(&key(*b)));
    order
}

/// Ranges that begin at any row after which its user has enough others.
fn ranges(events: &[Event], sorted: &[u32], n: usize, random: &mut StdRng) -> (Vec<RowRange>, Checksum) {
    let at = |place: usize| &events[sorted[place] as usize];
    let long_enough: Vec<usize> = (0..sorted.len().saturating_sub(RANGE_ROWS))
        .filter(|&place| at(place).user_id == at(place + RANGE_ROWS).user_id && at(place).at < at(place + RANGE_ROWS).at)
        .collect();
    let mut sum = Checksum::default();
    let mut out = Vec::with_capacity(n);
    while out.len() < n && !long_enough.is_empty() {
        let place = long_enough[random.random_range(0..long_enough.len())];
        let (first, after) = (at(place), at(place + RANGE_ROWS));
        let start = codec::key_of(first);
        out.push(RowRange { start, end: codec::key_of(after) });
        sum.merge(Checksum::of((place..place + RANGE_ROWS).map(at)));
    }
    (out, sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::Generator;

    #[test]
    fn ranges_hold_so_many_rows_of_one_user_and_missing_keys_none() {
        let events: Vec<_> = Generator::new(5_000, 1).collect();
        let order = sorted(&events);
        let keys: Vec<_> = order.iter().map(|&i| codec::key_of(&events[i as usize])).collect();
        assert!(keys.is_sorted(), "the order of keys is that of their parts");
        let requests = Requests::new(&events, &order, 200, 1);
        for r in &requests.ranges {
            assert_eq!(keys.iter().filter(|k| **k >= r.start && **k < r.end).count(), RANGE_ROWS);
        }
        assert_eq!(requests.ranged.rows, (requests.ranges.len() * RANGE_ROWS) as u64);
        assert!(requests.missing.iter().all(|k| keys.binary_search(k).is_err()));
        assert!(requests.gets.iter().all(|k| keys.binary_search(k).is_ok()));
    }
}
