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
    let mut keys = Keys {
        offsets: Vec::with_capacity(count + 1),
        data: Vec::with_capacity(total.min(input.left().saturating_mul(64)) + CHUNK),
        total,
    };
    keys.offsets.push(0);
    let mut before = 0;
    for (shared, own) in shared.into_iter().zip(own) {
        let own = usize::try_from(own).map_err(|_| Damaged("a key of negative length"))?;
        let more = &input.bytes[input.at..input.end];
        input.take(own)?;
        before = keys.push(before, shared, own, more)?;
    }
    if keys.data.len() == total { Ok((keys.offsets, keys.data.into())) } else { Err(Damaged("fewer bytes of keys than promised")) }
}

/// Bytes that are copied at once, whether all of them are wanted or not: what is shared and what is not are short, and copies of a
/// known length need no call.
const CHUNK: usize = 16;

struct Keys {
    offsets: Vec<i32>,
    data: Vec<u8>,
    total: usize,
}

impl Keys {
    /// Adds a key that shares its first bytes with the one that begins at `before`, and goes on with the first `own` of `more`;
    /// where it begins.
    fn push(&mut self, before: usize, shared: i64, own: usize, more: &[u8]) -> Result<usize> {
        let start = self.data.len();
        let shared = match usize::try_from(shared) {
            Ok(shared) if shared <= start - before => shared,
            _ => return Err(Damaged("a key shares more than the key before has")),
        };
        if shared + own > self.total - start {
            return Err(Damaged("more bytes of keys than promised"));
        }
        self.repeat(before, shared);
        self.append(&more[..own], more);
        self.offsets.push(self.data.len() as i32);
        Ok(start)
    }

    /// Appends bytes that are there already.
    fn repeat(&mut self, from: usize, len: usize) {
        let end = self.data.len() + len;
        for at in (from..from + len).step_by(CHUNK) {
            match self.data.get(at..).and_then(<[u8]>::first_chunk::<CHUNK>).copied() {
                Some(chunk) => self.data.extend_from_slice(&chunk),
                None => return self.data.extend_from_within(at..from + len),
            }
        }
        self.data.truncate(end);
    }

    /// Appends bytes, behind which `more` goes on.
    fn append(&mut self, own: &[u8], more: &[u8]) {
        let end = self.data.len() + own.len();
        for at in (0..own.len()).step_by(CHUNK) {
            match more[at..].first_chunk::<CHUNK>() {
                Some(chunk) => self.data.extend_from_slice(chunk),
                None => return self.data.extend_from_slice(&own[at..]),
            }
        }
        self.data.truncate(end);
    }
}
