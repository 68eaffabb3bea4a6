//! Row keys in the order of their bytes, most of them told apart without a look at their buffers.

use crate::format::{RowBuffer, RowPlace};
use bytes::Bytes;
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::sync::Arc;

/// Bytes of a key that lie in the tree itself: most keys are not longer, and those that are mostly differ in them.
const HEAD_BYTES: usize = 32;

/// The first bytes of a key as numbers that have their order; keys of different numbers are in the order of these.
type Head = [u128; 2];

fn head(key: &[u8]) -> Head {
    let mut first = [0; HEAD_BYTES];
    let length = key.len().min(HEAD_BYTES);
    first[..length].copy_from_slice(&key[..length]);
    let number = |at: usize| first[at..].first_chunk().map_or(0, |bytes| u128::from_be_bytes(*bytes));
    [number(0), number(HEAD_BYTES / 2)]
}

/// The order of two keys of the same head. Missing bytes are 0 in a head, so of two that have no others the longer comes last.
fn order_of_rest(a: &[u8], b: &[u8]) -> Ordering {
    if a.len().max(b.len()) <= HEAD_BYTES { a.len().cmp(&b.len()) } else { a.cmp(b) }
}

/// A row key of the memtable.
#[derive(Debug)]
pub(super) struct Key {
    head: Head,
    buffer: Arc<RowBuffer>,
    place: RowPlace,
}

impl Key {
    pub(super) fn new(buffer: Arc<RowBuffer>, place: RowPlace) -> Self {
        Self { head: head(buffer.key(place)), buffer, place }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        self.buffer.key(self.place)
    }

    pub(super) fn to_bytes(&self) -> Bytes {
        self.buffer.key_bytes(self.place)
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head.cmp(&other.head).then_with(|| {
            let both_short = self.place.length().max(other.place.length()) <= HEAD_BYTES;
            if both_short { self.place.length().cmp(&other.place.length()) } else { self.bytes().cmp(other.bytes()) }
        })
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

/// What keys are looked for by.
pub(super) trait Keyed {
    fn head(&self) -> Head;
    fn bytes(&self) -> &[u8];
}

/// A key that is looked for.
#[derive(Debug)]
pub(super) struct Probe<'a> {
    head: Head,
    key: &'a [u8],
}

impl<'a> Probe<'a> {
    pub(super) fn new(key: &'a [u8]) -> Self {
        Self { head: head(key), key }
    }
}

impl Keyed for Probe<'_> {
    fn head(&self) -> Head {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        self.key
    }
}

impl Keyed for Key {
    fn head(&self) -> Head {
        self.head
    }

    fn bytes(&self) -> &[u8] {
        self.bytes()
    }
}

impl<'a> Borrow<dyn Keyed + 'a> for Key {
    fn borrow(&self) -> &(dyn Keyed + 'a) {
        self
    }
}

impl Ord for dyn Keyed + '_ {
    fn cmp(&self, other: &Self) -> Ordering {
        self.head().cmp(&other.head()).then_with(|| order_of_rest(self.bytes(), other.bytes()))
    }
}

impl PartialOrd for dyn Keyed + '_ {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for dyn Keyed + '_ {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for dyn Keyed + '_ {}

#[cfg(test)]
mod tests {
    use super::super::Batch;
    use super::*;
    use crate::format::StoredRow;
    use common::ids::Seq;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn keys_have_the_order_of_their_bytes(mut keys in prop::collection::vec((0usize..40, prop::collection::vec(0u8..3, 0..4)), 2)) {
            let mut next = || keys.pop().map(|(zeros, rest)| [vec![0; zeros], rest].concat()).unwrap();
            let (a, b) = (next(), next());
            let (x, y) = (Probe::new(&a), Probe::new(&b));
            prop_assert_eq!((&x as &dyn Keyed).cmp(&y as &dyn Keyed), a.cmp(&b));
            let key = |bytes: &[u8]| {
                let row = StoredRow { key: Bytes::copy_from_slice(bytes), deletes: Vec::new(), cells: Vec::new() };
                Batch::at(Seq(1), &[row]).entries.remove(0).key()
            };
            prop_assert_eq!(key(&a).cmp(&key(&b)), a.cmp(&b));
        }
    }
}
