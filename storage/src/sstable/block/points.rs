//! Where in a block a key is: a hash table over its keys, made when single rows of it are asked for again.

use super::columnar::Keys;
use crate::sstable::filter::KeyHash;

/// See the module's page. Open addressing: a key's row stands at the first place from its hash on that holds it.
#[derive(Debug)]
pub(super) struct Points {
    /// Rows + 1, 0 where there is none; at least twice as many places as rows, a power of two.
    places: Box<[u16]>,
}

/// Bytes that it takes for each row, at most.
pub(super) const BYTES_A_ROW: usize = 8;

impl Points {
    /// `None` if the block has more rows than places can name.
    pub(super) fn of(keys: &Keys) -> Option<Self> {
        u16::try_from(keys.len()).ok()?;
        let mut points = Self { places: vec![0; (2 * keys.len()).next_power_of_two().max(1)].into() };
        for row in 0..keys.len() {
            let mut at = points.first(KeyHash::of_row(keys.get(row)));
            while points.places[at] != 0 {
                at = points.next(at);
            }
            points.places[at] = row as u16 + 1;
        }
        Some(points)
    }

    /// The row of this key.
    pub(super) fn find(&self, keys: &Keys, key: &[u8], hash: KeyHash) -> Option<usize> {
        let mut at = self.first(hash);
        loop {
            let row = usize::from(self.places[at]).checked_sub(1)?;
            if keys.get(row) == key {
                return Some(row);
            }
            at = self.next(at);
        }
    }

    fn first(&self, hash: KeyHash) -> usize {
        hash.0 as usize & (self.places.len() - 1)
    }

    fn next(&self, at: usize) -> usize {
        (at + 1) & (self.places.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow_buffer::OffsetBuffer;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    proptest! {
        #[test]
        fn each_key_is_found_at_its_row_and_no_other_is(
            all in prop::collection::btree_set(prop::collection::vec(any::<u8>(), 0..4), 0..200),
            asked in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 20),
        ) {
            let keys = Keys { offsets: OffsetBuffer::from_lengths(all.iter().map(Vec::len)), data: all.iter().flatten().copied().collect() };
            let points = Points::of(&keys).unwrap();
            let found = |key: &[u8]| points.find(&keys, key, KeyHash::of_row(key));
            for (row, key) in all.iter().enumerate() {
                prop_assert_eq!(found(key), Some(row));
            }
            let all: BTreeSet<_> = all;
            prop_assert!(asked.iter().all(|key| found(key).is_some() == all.contains(key)));
        }
    }
}
