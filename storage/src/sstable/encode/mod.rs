//! The encodings of pages: pure functions between arrays and bytes. `FORMAT.md` has the bytes.
//!
//! Each encoder looks at its values once, estimates what each encoding would take and writes the smallest, behind one byte
//! that names it. An encoding says itself where it ends, so several may follow each other in a page; how many values it
//! holds it does not say: readers know that from the block's header. Whole pages are compressed on top of it.
//!
//! Decoders are loops without branches, they check every length before they take memory for it, and no bytes make them panic.

mod booleans;
mod choice;
mod decimals;
mod integers;
mod keys;
mod pack;
mod presence;
mod spread;
mod strings;
#[cfg(test)]
mod tests;

pub(super) use booleans::{decode_bools, encode_bools};
pub(super) use integers::{decode_ints, encode_ints};
pub(super) use keys::{decode_keys, encode_keys};
pub(super) use presence::{decode_presence, encode_presence};
pub(super) use spread::{spread, spread_offsets};
pub(super) use strings::{ByteColumn, decode_bytes, encode_bytes};

use crate::codec::{Damaged, Result};

/// The most values that one encoding holds. Decoders refuse a larger count before they take memory for it: some encodings
/// say any number of values in a few bytes.
pub(super) const MAX_VALUES: usize = 1 << 20;
/// The most bytes that the keys of one page take when decoded: a long prefix that many keys share takes few bytes encoded.
pub(super) const MAX_KEYS_BYTES: usize = 64 << 20;

fn check_count(count: usize) -> Result<()> {
    if count <= MAX_VALUES { Ok(()) } else { Err(Damaged("more values than a page may hold")) }
}

/// Decodes `bytes` with one of the decoders.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn fuzz(which: u8, count: usize, bytes: &::bytes::Bytes) {
    let input = &mut crate::codec::Input::new(bytes, 0, bytes.len());
    match which % 5 {
        0 => drop(decode_ints(input, count)),
        1 => drop(decode_bytes(input, count)),
        2 => drop(decode_keys(input, count)),
        3 => drop(decode_bools(input, count)),
        _ => drop(decode_presence(input, count)),
    }
}
