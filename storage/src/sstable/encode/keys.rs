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
use std::ops::Range;

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
        data: Vec::with_capacity(total.min(input.left().saturating_mul(64)) + LAST),
        total,
        last: [0; LAST],
        is_last: true,
    };
    keys.offsets.push(0);
    let page = &input.bytes[..input.end];
    let mut before = 0;
    for (shared, own) in shared.into_iter().zip(own) {
        let own = usize::try_from(own).map_err(|_| Damaged("a key of negative length"))?;
        let from = input.at;
        input.take(own)?;
        before = keys.push(before, shared, (page, from..input.at))?;
    }
    if keys.data.len() == total { Ok((keys.offsets, keys.data.into())) } else { Err(Damaged("fewer bytes of keys than promised")) }
}

/// The longest key that is put together apart: what is read from where it was just written in other pieces has to wait for them,
/// and so would every key for the one before.
const LAST: usize = 64;
/// Most keys are no longer: they are put together, and copied, as if they were this long, which needs neither a call nor a branch.
const SHORT: usize = 32;
/// Ones, then as many zeros: any number of ones with zeros behind lies somewhere in it.
static MASK: [u8; 2 * LAST] = {
    let mut mask = [0; 2 * LAST];
    let mut at = 0;
    while at < LAST {
        mask[at] = 0xFF;
        at += 1;
    }
    mask
};

struct Keys {
    offsets: Vec<i32>,
    data: Vec<u8>,
    total: usize,
    /// The key added last, and whatever lies behind it.
    last: [u8; LAST],
    /// Whether it is that key: not if it is longer.
    is_last: bool,
}

impl Keys {
    /// Adds a key that shares its first bytes with the one that begins at `before`, and goes on with what lies at `own` in `page`;
    /// where it begins.
    fn push(&mut self, before: usize, shared: i64, (page, own): (&[u8], Range<usize>)) -> Result<usize> {
        let start = self.data.len();
        let shared = match usize::try_from(shared) {
            Ok(shared) if shared <= start - before => shared,
            _ => return Err(Damaged("a key shares more than the key before has")),
        };
        let length = shared + own.len();
        if length > self.total - start {
            return Err(Damaged("more bytes of keys than promised"));
        }
        let is_short = length <= LAST;
        if is_short {
            if !self.is_last {
                self.last[..shared].copy_from_slice(&self.data[before..before + shared]);
            }
            self.push_short(shared, length, (page, own));
        } else {
            self.data.extend_from_within(before..before + shared);
            self.data.extend_from_slice(&page[own]);
        }
        self.is_last = is_short;
        self.offsets.push(self.data.len() as i32);
        Ok(start)
    }

    fn push_short(&mut self, shared: usize, length: usize, (page, own): (&[u8], Range<usize>)) {
        // Where a key whose own bytes are these would begin, if all of it lay here.
        let lying = own.start.checked_sub(shared).and_then(|from| page.get(from..)?.first_chunk::<LAST>());
        match lying {
            Some(lying) if length <= SHORT => overlay::<SHORT>(&mut self.last, shared, lying),
            Some(lying) => overlay::<LAST>(&mut self.last, shared, lying),
            None => self.last[shared..length].copy_from_slice(&page[own]),
        }
        let end = self.data.len() + length;
        if length <= SHORT {
            self.data.extend_from_slice(&self.last[..SHORT]);
        } else {
            self.data.extend_from_slice(&self.last);
        }
        self.data.truncate(end);
    }
}

/// Replaces what lies behind the first `kept` bytes, in the first `N`.
#[inline(always)]
fn overlay<const N: usize>(last: &mut [u8; LAST], kept: usize, with: &[u8; LAST]) {
    let mask = &MASK[LAST - kept..][..N];
    for ((last, mask), with) in last[..N].iter_mut().zip(mask).zip(&with[..N]) {
        *last = (*last & mask) | (with & !mask);
    }
}
