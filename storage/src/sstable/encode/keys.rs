//! Row keys, front-coded: of each only what differs from the key before.
//!
//! ```text
//! bytes of all keys when decoded varint
//! bytes shared with the key before · bytes that are not: integers, one a key
//! the bytes that are not shared, one after the other
//! ```
//!
//! There are no restarts: a page is decoded whole, once, and then searched in full keys.

use super::integers::{decode_ints, encode_ints};
use super::{MAX_KEYS_BYTES, check_count};
use crate::codec::{Damaged, Input, Result, put_u64};
use bytes::Bytes;

/// Appends `keys`, in any order (sorted ones take least), together at most [`MAX_KEYS_BYTES`].
pub(in crate::sstable) fn encode_keys(keys: &[&[u8]], out: &mut Vec<u8>) {
    let total: usize = keys.iter().map(|key| key.len()).sum();
    debug_assert!(total <= MAX_KEYS_BYTES, "a page of {total} bytes of keys");
    put_u64(out, total as u64);
    let befores = std::iter::once(&[] as &[u8]).chain(keys.iter().copied());
    let shared: Vec<i64> = keys.iter().zip(befores).map(|(key, before)| common_prefix(before, key) as i64).collect();
    let own: Vec<i64> = keys.iter().zip(&shared).map(|(key, shared)| key.len() as i64 - shared).collect();
    encode_ints(&shared, out);
    encode_ints(&own, out);
    for (key, &shared) in keys.iter().zip(&shared) {
        out.extend_from_slice(&key[shared as usize..]);
    }
}

fn common_prefix(a: &[u8], b: &[u8]) -> usize {
    a.iter().zip(b).take_while(|(a, b)| a == b).count()
}

/// Reads `count` keys: offsets, one more than there are keys, and the bytes of all, one after the other.
///
/// # Errors
/// `Damaged` if the bytes end early or do not fit together, for more than [`super::MAX_VALUES`] keys and more than
/// [`MAX_KEYS_BYTES`].
pub(in crate::sstable) fn decode_keys(input: &mut Input<'_>, count: usize) -> Result<(Vec<i32>, Bytes)> {
    check_count(count)?;
    let total = match usize::try_from(input.u64()?) {
        Ok(total) if total <= MAX_KEYS_BYTES => total,
        _ => return Err(Damaged("more bytes of keys than a page may hold")),
    };
    let shared = decode_ints(input, count)?;
    let own = decode_ints(input, count)?;
    let mut keys =
        Keys { offsets: Vec::with_capacity(count + 1), data: Vec::with_capacity(total.min(input.left().saturating_mul(64))), total };
    keys.offsets.push(0);
    let mut before = 0;
    for (shared, own) in shared.into_iter().zip(own) {
        let own = usize::try_from(own).map_err(|_| Damaged("a key of negative length"))?;
        before = keys.push(before, shared, input.take(own)?)?;
    }
    if keys.data.len() == total { Ok((keys.offsets, keys.data.into())) } else { Err(Damaged("fewer bytes of keys than promised")) }
}

struct Keys {
    offsets: Vec<i32>,
    data: Vec<u8>,
    total: usize,
}

impl Keys {
    /// Adds a key that shares its first bytes with the one that begins at `before`; where it begins.
    fn push(&mut self, before: usize, shared: i64, own: &[u8]) -> Result<usize> {
        let start = self.data.len();
        let shared = match usize::try_from(shared) {
            Ok(shared) if shared <= start - before => shared,
            _ => return Err(Damaged("a key shares more than the key before has")),
        };
        if shared + own.len() > self.total - start {
            return Err(Damaged("more bytes of keys than promised"));
        }
        self.data.extend_from_within(before..before + shared);
        self.data.extend_from_slice(own);
        self.offsets.push(self.data.len() as i32);
        Ok(start)
    }
}
