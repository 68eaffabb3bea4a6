//! Bit packing: value *i* lies at bit *i × width* of a little-endian bit string, padded to a whole byte.
//!
//! Eight values of any width take a whole number of bytes, so that with the width known to the compiler every shift and
//! offset within eight values is a constant. That is why each width has a loop of its own.

use crate::codec::{Damaged, Result};

/// The widest value that one unaligned read of 8 bytes holds at any bit offset; what is wider takes 64 bits.
const MAX_WIDTH: u32 = 57;
/// What a loop may look at for eight values: 57 bytes of them, and the rest of the last one's 8.
const WINDOW: usize = 72;

/// Bits for values up to `max`: 0 to 57, or 64.
pub(super) fn width_of(max: u64) -> u32 {
    let width = u64::BITS - max.leading_zeros();
    if width <= MAX_WIDTH { width } else { u64::BITS }
}

/// Bytes that `count` values of `width` bits take.
pub(super) fn packed_len(count: usize, width: u32) -> usize {
    (count * width as usize).div_ceil(8)
}

/// A width as read from a page.
pub(super) fn check_width(width: u8) -> Result<u32> {
    match u32::from(width) {
        width if width <= MAX_WIDTH || width == u64::BITS => Ok(width),
        _ => Err(Damaged("a width of 58 to 63 or above 64 bits")),
    }
}

/// Appends `values`, none above `width` bits.
pub(super) fn pack(values: impl Iterator<Item = u64>, width: u32, out: &mut Vec<u8>) {
    if width == 0 {
        return;
    }
    let (mut pending, mut bits) = (0u128, 0);
    for value in values {
        pending |= u128::from(value) << bits;
        bits += width;
        if bits >= u64::BITS {
            out.extend_from_slice(&(pending as u64).to_le_bytes());
            pending >>= u64::BITS;
            bits -= u64::BITS;
        }
    }
    out.extend_from_slice(&(pending as u64).to_le_bytes()[..bits.div_ceil(8) as usize]);
}

/// Fills `out` with `map` of each value of `packed`, which has [`packed_len`] bytes.
pub(super) fn unpack<T: Copy>(packed: &[u8], width: u32, out: &mut [T], map: impl Fn(u64) -> T + Copy) {
    macro_rules! by_width {
        ($($w:literal)*) => {
            match width {
                0 => out.fill(map(0)),
                $($w => unpack_width::<$w, T>(packed, out, map),)*
                _ => unpack_words(packed, out, map),
            }
        };
    }
    by_width!(1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26 27 28 29 30 31 32 33 34 35 36 37 38 39 40
        41 42 43 44 45 46 47 48 49 50 51 52 53 54 55 56 57)
}

fn unpack_words<T>(packed: &[u8], out: &mut [T], map: impl Fn(u64) -> T) {
    for (slot, word) in out.iter_mut().zip(packed.as_chunks().0) {
        *slot = map(u64::from_le_bytes(*word));
    }
}

fn unpack_width<const W: usize, T: Copy>(packed: &[u8], out: &mut [T], map: impl Fn(u64) -> T + Copy) {
    let (eights, _) = out.as_chunks_mut::<8>();
    let done = unpack_eights::<W, T>(packed, eights, map);
    // The last ones, where a window would reach over the end, are read from a copy with zeros behind.
    let mut tail = [0; 2 * WINDOW];
    let rest = &packed[(done * W).min(packed.len())..];
    let rest = &rest[..rest.len().min(WINDOW)];
    tail[..rest.len()].copy_from_slice(rest);
    let out = &mut out[done * 8..];
    let (eights, last) = out.as_chunks_mut::<8>();
    let behind = unpack_eights::<W, T>(&tail, eights, map);
    if let Some(window) = tail.get(behind * W..).and_then(<[u8]>::first_chunk) {
        let values = eight::<W>(window);
        for (slot, value) in last.iter_mut().zip(values) {
            *slot = map(value);
        }
    }
}

/// Fills as many whole eights as have a window of bytes; how many.
#[inline(always)]
fn unpack_eights<const W: usize, T>(packed: &[u8], out: &mut [[T; 8]], map: impl Fn(u64) -> T + Copy) -> usize {
    let windows = packed.len().checked_sub(WINDOW).map_or(0, |behind| behind / W + 1);
    let mut rest = packed;
    let mut done = 0;
    for eight_slots in out.iter_mut().take(windows) {
        let Some(window) = rest.first_chunk() else { break };
        for (slot, value) in eight_slots.iter_mut().zip(eight::<W>(window)) {
            *slot = map(value);
        }
        rest = &rest[W..];
        done += 1;
    }
    done
}

#[inline(always)]
fn eight<const W: usize>(window: &[u8; WINDOW]) -> [u64; 8] {
    let mut values = [0; 8];
    for (i, value) in values.iter_mut().enumerate() {
        let at = i * W / 8;
        let mut word = [0; 8];
        word.copy_from_slice(&window[at..at + 8]);
        *value = (u64::from_le_bytes(word) >> (i * W % 8)) & ((1 << W) - 1);
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_width_and_count_comes_back() {
        for width in (0..=57).chain([64]) {
            let mask = 1u64.checked_shl(width).map_or(u64::MAX, |bit| bit.wrapping_sub(1));
            for count in (0..70).chain([127, 128, 129, 500, 1000]) {
                let values: Vec<u64> =
                    (1..=count as u64).map(|i| i.wrapping_mul(0x9E37_79B9_7F4A_7C15).rotate_left(i as u32) & mask).collect();
                let mut packed = Vec::new();
                pack(values.iter().copied(), width, &mut packed);
                assert_eq!(packed.len(), packed_len(count, width), "width {width}, count {count}");
                let mut out = vec![0; count];
                unpack(&packed, width, &mut out, |v| v);
                assert_eq!(out, values, "width {width}, count {count}");
            }
        }
    }

    #[test]
    fn a_width_holds_its_greatest_value() {
        assert_eq!([0, 1, 2, 255, 256].map(width_of), [0, 1, 2, 8, 9]);
        assert_eq!([(1 << 57) - 1, 1 << 57, u64::MAX].map(width_of), [57, 64, 64]);
        assert!(check_width(57).is_ok() && check_width(58).is_err() && check_width(64).is_ok() && check_width(65).is_err());
    }
}
